//! Links the unwinder into the program, where the C compiler has it as an archive.
//!
//! Rust's library loads `libgcc_s.so.1` for the unwinder alone. That library asks the processor what it can do each time
//! it is loaded, which takes long on a virtual machine: without it, `kennel memo` needs a tenth less from start to end.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const ARCHIVE: &str = "libgcc_eh.a";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if !has_shared_unwinder() {
        return;
    }
    // Where there is no such archive the program is linked as any other.
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

/// Where the C compiler that links the program keeps its archive.
fn archive() -> Option<PathBuf> {
    let is_cross = env::var_os("HOST") != env::var_os("TARGET");
    let linker = match env::var_os("RUSTC_LINKER") {
        Some(linker) => linker,
        // Another target's libraries are not this compiler's.
        None if is_cross => return None,
        None => "cc".into(),
    };
    let told = Command::new(linker).arg(format!("-print-file-name={ARCHIVE}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(told.stdout).ok()?.trim());
    // A compiler that does not know it repeats the bare name.
    (path.is_absolute() && path.is_file()).then_some(path)
}
