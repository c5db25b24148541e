//! The workspace's folders, and the cargo that runs a step.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};

/// The toolchain that runs a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The toolchain that runs xtask.
    InUse,
    /// Rustup's nightly, for tools that need it.
    Nightly,
}

impl Toolchain {
    /// This toolchain's cargo, started at the root of the workspace.
    pub(crate) fn cargo(self) -> Command {
        let mut command = match self {
            Self::InUse => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Self::Nightly => nightly_cargo(),
        };
        command.current_dir(root());
        if let Ok(flags) = env::var("RUSTFLAGS") {
            command.env("RUSTFLAGS", with_test_hooks(&flags));
        }
        command
    }

    /// How a user types it.
    pub(crate) fn cargo_line(self) -> &'static str {
        match self {
            Self::InUse => "cargo",
            Self::Nightly => "cargo +nightly",
        }
    }
}

/// The flags of the environment with the one that opens the library's test hooks: flags in `RUSTFLAGS` take the place of
/// those in `.cargo/config.toml`, which has it.
fn with_test_hooks(flags: &str) -> String {
    format!("{flags} --cfg kennel_test_hooks").trim_start().to_owned()
}

/// Nightly's cargo through rustup: `$CARGO` is the cargo of one toolchain, not rustup's proxy, and does not understand
/// `+nightly`. The child must not inherit it either, because cargo passes it on to subcommands, which would then build
/// with the other toolchain.
fn nightly_cargo() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).env_remove("CARGO");
    command
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The folder for build output.
pub(crate) fn target_dir() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").filter(|name| !name.is_empty());
    PathBuf::from(named.unwrap_or_else(|| OsString::from("target")))
}

/// Installs the `components` that nightly lacks.
pub(crate) fn ensure_nightly(components: &[&str]) -> Result<()> {
    let by_hand = install_line(components);
    let installed =
        nightly_components().map_err(|cause| anyhow!("nightly is needed: {cause:#}; install it with: {by_hand}"))?;
    let missing: Vec<&str> = components.iter().copied().filter(|name| !has_component(&installed, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let added = Command::new("rustup")
        .args(["component", "add", "--toolchain", "nightly"])
        .args(&missing)
        .status()
        .context("could not start rustup")?;
    ensure!(
        added.success(),
        "the nightly toolchain lacks {}, and rustup could not add it, because not every nightly has every component; \
         a newer one may have it: {by_hand}",
        missing.join(" and "),
    );
    Ok(())
}

/// Installs the standard library for `target` if the toolchain in use lacks it.
pub(crate) fn ensure_target(target: &str) -> Result<()> {
    let has_it = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .stdin(Stdio::null())
        .output()
        .context("rustup was not found; see https://rustup.rs")?;
    if String::from_utf8_lossy(&has_it.stdout).lines().any(|line| line.trim() == target) {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", target]).status().context("could not start rustup")?;
    ensure!(added.success(), "the toolchain cannot build for {target}; add it with: rustup target add {target}");
    Ok(())
}

/// The command that installs or updates nightly with `components`.
fn install_line(components: &[&str]) -> String {
    let line = "rustup toolchain install nightly --profile minimal".to_owned();
    components.iter().fold(line, |line, name| line + " --component " + name)
}

fn nightly_components() -> Result<String> {
    let listed = Command::new("rustup")
        .args(["component", "list", "--toolchain", "nightly", "--installed"])
        .stdin(Stdio::null())
        .output()
        .context("rustup was not found; see https://rustup.rs")?;
    if !listed.status.success() {
        let message = String::from_utf8_lossy(&listed.stderr);
        bail!("rustup: {}", message.lines().next().unwrap_or("failed"));
    }
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

/// Whether rustup lists the component, as `miri-x86_64-unknown-linux-gnu` or as plain `rust-src`.
fn has_component(listing: &str, name: &str) -> bool {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix(name))
        .any(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_environment_keep_the_test_hooks() {
        assert_eq!(with_test_hooks("-C opt-level=1"), "-C opt-level=1 --cfg kennel_test_hooks");
        assert_eq!(with_test_hooks(""), "--cfg kennel_test_hooks");
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("crates/xtask/Cargo.toml").is_file());
    }

    #[test]
    fn nightly_is_installed_with_its_components() {
        let bare = "rustup toolchain install nightly --profile minimal";
        assert_eq!(install_line(&[]), bare);
        assert_eq!(install_line(&["miri", "rust-src"]), format!("{bare} --component miri --component rust-src"));
    }

    #[test]
    fn components_are_found_with_and_without_a_target() {
        let listing = "cargo-x86_64-pc-windows-msvc\nmiri-x86_64-pc-windows-msvc\nrust-src\n";
        assert!(has_component(listing, "miri"));
        assert!(has_component(listing, "rust-src"));
        assert!(!has_component(listing, "clippy"));
        assert!(!has_component("rust-srcs\n", "rust-src"));
    }
}
