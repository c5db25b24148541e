//! Links the program so that it starts soon: at a fixed address, and with the unwinder in it, if the C compiler has that as
//! an archive.
//!
//! A program that may lie at any address has thousands of pointers that the loader corrects at each start, on pages of
//! which each process then needs its own. `kennel memo` is a process that lives for a millisecond.
//!
//! Rust's standard library loads `libgcc_s.so.1` only for the unwinder. Each time it is loaded, that library queries the
//! features of the processor, which is slow on a virtual machine: without it, `kennel memo` takes a tenth less time.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const ARCHIVE: &str = "libgcc_eh.a";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if !has_shared_unwinder() {
        return;
    }
    println!("cargo::rustc-link-arg-bins=-no-pie");
    // Without such an archive the program is linked as usual.
    if let Some(folder) = archive().as_deref().and_then(|archive| archive.parent()) {
        println!("cargo::rustc-link-search=native={}", folder.display());
        println!("cargo::rustc-link-lib=static=gcc_eh");
    }
}

/// Whether a program for this target loads the unwinder of GCC when it starts.
fn has_shared_unwinder() -> bool {
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_static = target("FEATURE").split(',').any(|feature| feature == "crt-static");
    target("OS") == "linux" && target("ENV") == "gnu" && !is_static
}

/// The path of the archive of the C compiler that links the program.
fn archive() -> Option<PathBuf> {
    let is_cross = env::var_os("HOST") != env::var_os("TARGET");
    let linker = match env::var_os("RUSTC_LINKER") {
        Some(linker) => linker,
        // The default compiler does not have the libraries of another target.
        None if is_cross => return None,
        None => "cc".into(),
    };
    let told = Command::new(linker).arg(format!("-print-file-name={ARCHIVE}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(told.stdout).ok()?.trim());
    // A compiler without the archive prints the bare name.
    (path.is_absolute() && path.is_file()).then_some(path)
}
