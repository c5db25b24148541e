//! `cargo xtask ruby`: the gem in `crates/ruby`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::bindings::{self, Library};
use crate::python::{absolute, succeed};
use crate::step::Step;
use crate::toolchain;

const DEBIAN: &str = "ruby ruby-dev ruby-minitest gcc make libc6-dev pkg-config";

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("ruby", "run --quiet --package xtask -- ruby")
}

/// The folders of the gem for `RUBYLIB`, unless this machine lacks the tools.
pub(crate) fn load_path() -> Result<Option<OsString>> {
    let Some(gem) = Gem::found()? else { return Ok(None) };
    Ok(Some(std::env::join_paths([gem.build()?, gem.folder.join("lib")])?))
}

pub(crate) fn run() -> Result<ExitCode> {
    let Some(gem) = Gem::found()? else { return Ok(ExitCode::SUCCESS) };
    let built = gem.build()?;
    gem.test(&built, "kennel_test.rb")?;
    if has("active_support") {
        gem.test(&built, "rails_test.rb")?;
    } else {
        println!("left out: the store of Rails; on Debian: apt-get install ruby-activesupport");
    }
    gem.install()?;
    Ok(ExitCode::SUCCESS)
}

/// Whether Ruby has a library.
fn has(library: &str) -> bool {
    let mut ruby = Command::new("ruby");
    ruby.args(["-e", "begin; require ARGV[0]; rescue LoadError; exit 1; end", library]);
    ruby.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

struct Gem {
    folder: PathBuf,
    library: Library,
}

impl Gem {
    /// What is missing to build it is named.
    fn found() -> Result<Option<Self>> {
        let tools = [("ruby", "--version"), ("make", "--version"), ("cc", "--version"), ("pkg-config", "--version")];
        if !cfg!(unix) || bindings::missing("the gem for Ruby", &tools, DEBIAN) {
            return Ok(None);
        }
        if !has("mkmf") || !has("minitest") {
            println!(
                "left out: the gem for Ruby, without the headers of Ruby and minitest; on Debian: apt-get install \
                 {DEBIAN}"
            );
            return Ok(None);
        }
        Ok(Some(Self { folder: toolchain::root().join("crates/ruby"), library: Library::installed()? }))
    }

    fn command(&self, program: &str, args: &[&str], within: &Path) -> Command {
        let mut command = self.library.command(program);
        command.args(args).current_dir(within).env("KENNEL_WERROR", "1");
        command
    }

    /// Compiles the extension, and returns a folder to load it from.
    fn build(&self) -> Result<PathBuf> {
        let place = absolute(toolchain::target_dir().join("ruby"));
        let lib = place.join("lib");
        fs::create_dir_all(lib.join("kennel")).with_context(|| format!("could not make {}", lib.display()))?;
        let script = self.folder.join("ext/kennel/extconf.rb");
        succeed(&mut self.command("ruby", &[&script.to_string_lossy()], &place))?;
        succeed(&mut self.command("make", &["--silent"], &place))?;
        let name = if cfg!(target_os = "macos") { "kennel.bundle" } else { "kennel.so" };
        fs::copy(place.join(name), lib.join("kennel").join(name)).context("could not copy the extension")?;
        Ok(lib)
    }

    fn test(&self, built: &Path, test: &str) -> Result<()> {
        let test = format!("test/{test}");
        succeed(&mut self.command("ruby", &["-I", &built.to_string_lossy(), "-I", "lib", &test], &self.folder))
    }

    /// Builds the gem, installs it into a folder of its own, and uses it.
    fn install(&self) -> Result<()> {
        if bindings::missing("the packed gem", &[("gem", "--version")], "ruby") {
            return Ok(());
        }
        let place = tempfile::tempdir().context("could not make a folder")?;
        let (gem, home) = (place.path().join("kennel.gem"), place.path().join("home"));
        let gem = gem.to_string_lossy();
        succeed(&mut self.command("gem", &["build", "--silent", "kennel.gemspec", "--output", &gem], &self.folder))?;
        let home = home.to_string_lossy();
        let install = ["install", "--silent", "--local", "--no-document", "--install-dir", &home, &gem];
        succeed(&mut self.command("gem", &install, place.path()))?;
        let used = "require 'kennel'; cache = Kennel.open('try.cache'); cache['a'] = 'b'; exit(cache['a'] == 'b')";
        succeed(self.command("ruby", &["-e", used], place.path()).env("GEM_HOME", &*home))?;
        println!("passed: the gem");
        Ok(())
    }
}
