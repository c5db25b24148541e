//! `cargo xtask node`: the package for Node.js in `crates/node`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::bindings::{self, Library};
use crate::built_from::BuiltFrom;
use crate::python::{REQUIREMENTS, absolute, succeed};
use crate::step::Step;
use crate::toolchain;

const DEBIAN: &str = "nodejs libnode-dev npm gcc libc6-dev pkg-config";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also build a site with Next.js, and check that two of its servers share a page
    #[arg(long)]
    next: bool,
    /// Also build the packed package without an installed C library, from the sources in it
    #[arg(long)]
    from_source: bool,
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("node", "run --quiet --package xtask -- node")
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let Some(package) = Package::built()? else { return Ok(ExitCode::SUCCESS) };
    package.test()?;
    if bindings::missing("Keyv's tests, the types, and the packed package", &[("npm", "--version")], "npm") {
        return Ok(ExitCode::SUCCESS);
    }
    let packed = package.pack()?;
    package.install_packed(&packed, "pkg-config")?;
    package.others()?;
    if args.from_source {
        package.install_packed(&packed, "cargo")?;
    }
    if args.next {
        package.next()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A folder with the package for `NODE_PATH`, unless this machine lacks the tools.
pub(crate) fn modules() -> Result<Option<PathBuf>> {
    let Some(package) = Package::built()? else { return Ok(None) };
    let modules = Package::place("modules")?;
    package.link_into(&modules)?;
    Ok(Some(modules))
}

/// The folder for `NODE_PATH` of what calls are measured beside, unless this machine lacks the tools.
pub(crate) fn peers() -> Result<Option<PathBuf>> {
    let Some(package) = Package::built()? else { return Ok(None) };
    Ok(Some(package.project("figures", &["package.json"])?.join("node_modules")))
}

struct Package {
    folder: PathBuf,
    library: Library,
}

impl Package {
    /// The package with its addon, unless this machine lacks the tools; what is missing is named.
    fn built() -> Result<Option<Self>> {
        let tools = [("node", "--version"), ("cc", "--version"), ("pkg-config", "--version")];
        if !cfg!(unix) || bindings::missing("the package for Node.js", &tools, DEBIAN) {
            return Ok(None);
        }
        let package = Self { folder: toolchain::root().join("crates/node"), library: Library::installed()? };
        package.build()?;
        Ok(Some(package))
    }

    /// A command in the package's folder.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.library.command(program);
        command.current_dir(&self.folder).args(args).env("KENNEL_LIBRARY", "pkg-config").env("KENNEL_WERROR", "1");
        command
    }

    fn build(&self) -> Result<()> {
        succeed(&mut self.command("node", &["scripts/build.js"]))
    }

    fn test(&self) -> Result<()> {
        let mut tests = fs::read_dir(self.folder.join("test"))?
            .map(|entry| Ok(format!("test/{}", entry?.file_name().to_string_lossy())))
            .collect::<Result<Vec<_>>>()?;
        tests.retain(|name| name.ends_with(".test.js"));
        tests.sort_unstable();
        succeed(self.command("node", &["--test"]).args(tests))
    }

    /// A folder of its own in the target folder.
    fn place(name: &str) -> Result<PathBuf> {
        let place = absolute(toolchain::target_dir().join("node").join(name));
        fs::create_dir_all(&place).with_context(|| format!("could not make {}", place.display()))?;
        Ok(place)
    }

    /// Packs the package as it is published.
    fn pack(&self) -> Result<PathBuf> {
        let place = Self::place("packed")?;
        let to = place.to_string_lossy();
        succeed(&mut self.command("npm", &["pack", "--silent", "--pack-destination", &to]))?;
        Ok(place.join(format!("kennel-{}.tgz", env!("CARGO_PKG_VERSION"))))
    }

    /// Installs the packed package in a project that has nothing else, and uses it.
    fn install_packed(&self, packed: &Path, way: &str) -> Result<()> {
        let project = tempfile::tempdir().context("could not make a folder")?;
        // npm runs the scripts of a package with leave only.
        let manifest = format!("{{\"private\":true,\"allowScripts\":{{\"file:{}\":true}}}}", packed.display());
        fs::write(project.path().join("package.json"), manifest).context("could not write package.json")?;
        let within = |program: &str, args: &[&str]| {
            let mut command = self.command(program, args);
            command.current_dir(project.path()).env("KENNEL_LIBRARY", way).env_remove("KENNEL_WERROR");
            succeed(&mut command)
        };
        within("npm", &["install", "--silent", "--no-audit", "--no-fund", &packed.to_string_lossy()])?;
        let used = "const kennel = require('kennel'); const cache = kennel.open('try.cache'); cache.set('key', 'value'); \
                    require('assert').equal(cache.getString('key'), 'value')";
        within("node", &["-e", used])?;
        println!("passed: the packed package, built with the library by {way}");
        Ok(())
    }

    /// Keyv's tests, and the types. Their packages are installed once.
    fn others(&self) -> Result<()> {
        let place = self.project("keyv", &["package.json"])?;
        let types = place.join("types");
        fs::create_dir_all(&types)?;
        for name in ["use.ts", "tsconfig.json"] {
            fs::copy(self.folder.join("test/types").join(name), types.join(name))?;
        }
        fs::copy(self.folder.join("test/keyv/suite.test.mjs"), place.join("suite.test.mjs"))?;
        let within = |args: &[&str]| succeed(self.command("node", args).current_dir(&place));
        within(&["node_modules/vitest/vitest.mjs", "run"])?;
        within(&["node_modules/typescript/bin/tsc", "--project", "types/tsconfig.json"])?;
        println!("passed: the types");
        Ok(())
    }

    /// Two servers of Next.js.
    fn next(&self) -> Result<()> {
        let files = ["package.json", "next.config.js", "cache-handler.js", "run.mjs", "app/layout.js", "app/page.js"];
        let place = self.project("next", &[&files[..], &["app/api/revalidate/route.js"]].concat())?;
        succeed(self.command("node", &["run.mjs"]).current_dir(place))
    }

    /// A project of `test` with its packages, and with this package as it lies in the checkout.
    fn project(&self, name: &str, files: &[&str]) -> Result<PathBuf> {
        let (source, place) = (self.folder.join("test").join(name), Self::place(name)?);
        for file in files {
            let to = place.join(file);
            fs::create_dir_all(to.parent().unwrap_or(&place))?;
            fs::copy(source.join(file), to).with_context(|| format!("could not copy {file}"))?;
        }
        let made = BuiltFrom::read(place.join(REQUIREMENTS), &[source.join("package.json")], "")?;
        if !made.is_current() {
            let args = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"];
            let installed = self.command("npm", &args).current_dir(&place).status().context("could not start npm")?;
            ensure!(
                installed.success(),
                "npm could not install what {name} needs; with a network it can, or leave the step out: --skip node"
            );
            made.write()?;
        }
        self.link_into(&place.join("node_modules"))?;
        Ok(place)
    }

    #[cfg(unix)]
    fn link_into(&self, modules: &Path) -> Result<()> {
        let at = modules.join("kennel");
        let _ = fs::remove_file(&at);
        std::os::unix::fs::symlink(&self.folder, &at).with_context(|| format!("could not link {}", at.display()))
    }

    #[cfg(not(unix))]
    fn link_into(&self, _modules: &Path) -> Result<()> {
        Ok(())
    }
}
