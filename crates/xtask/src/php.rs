//! `cargo xtask php`: the PHP extension and library in `crates/php`.
//!
//! Builds the C library and the extension, and runs their tests: with the extension, and over FFI. What is missing is
//! installed if this is root on a Debian system; otherwise it is named, and what needs it is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::built_from::BuiltFrom;
use crate::capi::{self, succeed};
use crate::python::absolute;
use crate::step::Step;
use crate::toolchain;
use crate::wine::{Tool, ensure_tools, find};

/// What the extension is built with.
const BUILD: [Tool; 4] = [
    Tool { name: "php", packages: &["php-cli"], find: || find("php") },
    Tool { name: "phpize", packages: &["php-dev"], find: || find("phpize") },
    Tool { name: "make", packages: &["make"], find: || find("make") },
    Tool { name: "pkg-config", packages: &["pkg-config"], find: || find("pkg-config") },
];

/// What the suites and the comparisons need.
const SUITES: [Tool; 7] = [
    Tool { name: "phpunit", packages: &["phpunit"], find: || find("phpunit") },
    Tool { name: "PSR-16", packages: &["php-psr-simple-cache"], find: || file("Psr/SimpleCache/autoload.php") },
    Tool {
        name: "Symfony's cache",
        packages: &["php-symfony-cache"],
        find: || file("Symfony/Component/Cache/autoload.php"),
    },
    Tool {
        name: "the suites of PSR-16 and PSR-6",
        packages: &["php-cache-integration-tests"],
        find: || file("Cache/IntegrationTests/autoload.php"),
    },
    Tool {
        name: "Laravel's cache",
        packages: &["php-illuminate-cache"],
        find: || file("Illuminate/Cache/autoload.php"),
    },
    Tool {
        name: "Laravel's container",
        packages: &["php-illuminate-container"],
        find: || file("Illuminate/Container/autoload.php"),
    },
    Tool { name: "APCu", packages: &["php-apcu"], find: apcu },
];

/// Not installed unasked: on Debian the package starts a server.
const FPM: Tool = Tool { name: "PHP-FPM", packages: &["php-fpm"], find: fpm };

/// What switches APCu on for programs of the command line.
pub(crate) const WITH_APCU: [&str; 4] = ["-d", "apc.enable_cli=1", "-d", "apc.shm_size=64M"];

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Step {
    Step::cargo("php", "run --quiet --package xtask -- php")
}

/// The extension, unless this machine lacks the tools to build it.
pub(crate) fn extension() -> Result<Option<PathBuf>> {
    Ok(Php::built_or_left_out()?.map(|php| php.extension()))
}

pub(crate) fn run() -> Result<ExitCode> {
    let Some(php) = Php::built_or_left_out()? else { return Ok(ExitCode::SUCCESS) };
    let suites = ensure_tools(&SUITES, false);
    if let Err(missing) = ensure_tools(&[FPM], true) {
        println!("left out: workers of FPM, since {missing:#}");
    }
    php.run_phpt()?;
    if let Err(missing) = suites {
        println!("left out: the suites of PSR-16, PSR-6 and Laravel, since {missing:#}");
        return Ok(ExitCode::SUCCESS);
    }
    php.run_suites()?;
    // Short: whether both work. Alone they run for longer.
    succeed(php.with_extension().args(WITH_APCU).args(["demo/kill.php", "3"]))?;
    let path = format!("kennel.path={}", php.files.path().join("cost.cache").display());
    succeed(php.with_extension().args(WITH_APCU).args(["-d", &path, "bench/cost.php", "5"]))?;
    Ok(ExitCode::SUCCESS)
}

/// A file of a Debian package.
fn file(name: &str) -> Option<PathBuf> {
    Some(Path::new("/usr/share/php").join(name)).filter(|path| path.is_file())
}

fn apcu() -> Option<PathBuf> {
    let status = Command::new("php").args(["-r", "exit(extension_loaded('apcu') ? 0 : 1);"]).status().ok()?;
    status.success().then(|| PathBuf::from("apcu"))
}

fn fpm() -> Option<PathBuf> {
    let mut programs = fs::read_dir("/usr/sbin").ok()?.flatten().map(|entry| entry.path());
    programs.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
}

/// The extension, where it was built.
struct Php {
    folder: PathBuf,
    build: PathBuf,
    prefix: PathBuf,
    files: tempfile::TempDir,
}

impl Php {
    /// What is missing to build the extension is named.
    fn built_or_left_out() -> Result<Option<Self>> {
        if !cfg!(target_os = "linux") {
            println!("left out: the PHP extension, which is tested on Linux only");
            return Ok(None);
        }
        if let Err(missing) = ensure_tools(&BUILD, false) {
            println!("left out: the PHP extension, since {missing:#}");
            return Ok(None);
        }
        Self::built().map(Some)
    }

    /// Builds the library and the extension. The sources are copied, because phpize fills the folder that it is called in.
    fn built() -> Result<Self> {
        let target = absolute(toolchain::target_dir().join("php"));
        let php = Self {
            folder: toolchain::root().join("crates/php"),
            build: target.join("build"),
            prefix: target.join("prefix"),
            files: tempfile::tempdir_in("/dev/shm").context("could not make a folder for the tests")?,
        };
        capi::install(&php.prefix, &php.prefix)?;
        let built = php.built_from()?;
        if built.is_current() && php.extension().is_file() {
            println!("the extension is up to date");
            return Ok(php);
        }
        if php.build.is_dir() {
            fs::remove_dir_all(&php.build).with_context(|| format!("could not empty {}", php.build.display()))?;
        }
        fs::create_dir_all(&php.build)?;
        for path in php.sources()? {
            fs::copy(&path, php.build.join(path.file_name().unwrap_or_default()))?;
        }
        php.quietly("phpize", &[])?;
        php.quietly("./configure", &[&format!("--with-kennel={}", php.prefix.display())])?;
        php.quietly("make", &["EXTRA_CFLAGS=-Werror"])?;
        built.write()?;
        Ok(php)
    }

    /// The sources of the extension, sorted.
    fn sources(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.folder).context("could not read crates/php")?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.retain(|path| {
            path.extension().is_some_and(|extension| ["c", "h", "m4"].iter().any(|known| extension == *known))
        });
        paths.sort_unstable();
        Ok(paths)
    }

    /// The extension is built from its sources and the header, for one version of PHP. It loads the library when it runs.
    fn built_from(&self) -> Result<BuiltFrom> {
        let mut sources = self.sources()?;
        sources.push(self.prefix.join("include/kennel.h"));
        let version = Command::new("php").arg("--version").output().context("could not start php")?;
        BuiltFrom::read(self.build.join("built-from"), &sources, &String::from_utf8_lossy(&version.stdout))
    }

    /// Runs a program in the build folder; its output is of interest only if it fails.
    fn quietly(&self, program: &str, args: &[&str]) -> Result<()> {
        let output = Command::new(program).args(args).current_dir(&self.build).output();
        let output = output.with_context(|| format!("could not start {program}"))?;
        let said = [&output.stdout[..], &output.stderr].concat();
        ensure!(output.status.success(), "{program}: {}\n{}", output.status, String::from_utf8_lossy(&said));
        println!("done: {program} {}", args.join(" "));
        Ok(())
    }

    fn extension(&self) -> PathBuf {
        self.build.join("modules/kennel.so")
    }

    fn library(&self) -> PathBuf {
        self.prefix.join("lib").join(capi::SONAME)
    }

    /// PHP in the folder of the library.
    fn php(&self) -> Command {
        let mut command = Command::new("php");
        command.current_dir(&self.folder).args(["-d", "zend.assertions=1"]).env("KENNEL_LIBRARY", self.library());
        command
    }

    fn with_extension(&self) -> Command {
        let mut command = self.php();
        command.arg("-d").arg(format!("extension={}", self.extension().display()));
        // For programs that a test starts.
        command.env("KENNEL_EXTENSION", self.extension());
        command
    }

    /// The tests of the extension itself. Those whose other extensions are missing skip themselves.
    fn run_phpt(&self) -> Result<()> {
        let mut command = Command::new("php");
        command.current_dir(&self.folder).arg("-n").arg(self.build.join("run-tests.php"));
        command.args(["-n", "-q", "--show-diff", "-d"]).arg(format!("extension={}", self.extension().display()));
        for optional in ["apcu", "ffi", "posix"] {
            if self.extension_file(optional).is_some() {
                command.arg("-d").arg(format!("extension={optional}"));
            }
        }
        let php = find("php").context("php is gone")?;
        command.args(["-d", "apc.enable_cli=1", "tests"]).env("KENNEL_EXTENSION", self.extension());
        command.env("TEST_PHP_EXECUTABLE", php).env("NO_INTERACTION", "1").env("REPORT_EXIT_STATUS", "1");
        succeed(command.env("LD_LIBRARY_PATH", self.prefix.join("lib")))
    }

    fn extension_file(&self, name: &str) -> Option<PathBuf> {
        let output = Command::new("php-config").arg("--extension-dir").output().ok()?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Some(Path::new(&folder).join(format!("{name}.so"))).filter(|path| path.is_file())
    }

    fn run_suites(&self) -> Result<()> {
        let phpunit = find("phpunit").context("phpunit is gone")?;
        let suites = [
            (self.with_extension(), "CacheTest"),
            (self.php(), "CacheTest"),
            (self.with_extension(), "AdapterTest"),
            (self.with_extension(), "Psr16Test"),
            (self.with_extension(), "SymfonyTest"),
            (self.with_extension(), "LaravelTest"),
            (self.php(), "LaravelTest"),
            (self.with_extension(), "WordPressTest"),
        ];
        for (mut php, suite) in suites {
            php.arg(&phpunit).args(["--no-configuration", "--do-not-cache-result", "--fail-on-skipped"]);
            succeed(php.args(["--bootstrap", "tests/suites/bootstrap.php"]).arg(format!("tests/suites/{suite}.php")))?;
        }
        Ok(())
    }
}
