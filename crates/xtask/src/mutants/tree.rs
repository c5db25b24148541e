//! A copy of the project in which each place can be weakened at run time.
//!
//! One build serves all mutants of a tool: an environment variable chooses the place that is weakened (Untch, Offutt
//! and Harrold, "Mutation analysis using mutant schemata", ISSTA 1993).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::scan::Place;
use crate::toolchain;

/// The environment variable with the number of the place to weaken.
pub(crate) const CHOICE: &str = "KENNEL_MUTANT";

/// The files and folders that the library is built from.
const PARTS: [&str; 8] = ["Cargo.toml", "Cargo.lock", "README.md", "src", "crates", "docs", "tests", "benches"];

/// The module that the places of the copy call.
const MODULE: &str = r#"
#[allow(missing_docs, reason = "only in the copy that is mutated")]
mod mutant {
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    fn is_chosen(place: usize) -> bool {
        static CHOSEN: OnceLock<Option<usize>> = OnceLock::new();
        *CHOSEN.get_or_init(|| std::env::var("KENNEL_MUTANT").ok()?.parse().ok()) == Some(place)
    }

    pub(crate) fn order(place: usize, order: Ordering) -> Ordering {
        if is_chosen(place) { Ordering::Relaxed } else { order }
    }

    pub(crate) fn fence(place: usize, fence: impl Fn(Ordering), order: Ordering) {
        if !is_chosen(place) {
            fence(order);
        }
    }
}
"#;

/// Makes or updates the copy and returns its folder. The number of a place is its index in `places`.
pub(crate) fn make(places: &[Place]) -> Result<PathBuf> {
    let tree = std::path::absolute(toolchain::target_dir())?.join("mutants");
    fs::create_dir_all(&tree).with_context(|| format!("could not create {}", tree.display()))?;
    let mut of_file: BTreeMap<PathBuf, Vec<(usize, &Place)>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        of_file.entry(toolchain::root().join("src").join(&place.file)).or_default().push((number, place));
    }
    let front_door = toolchain::root().join("src/lib.rs");
    let read = |path: &Path| -> Result<Vec<u8>> {
        let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        Ok(match of_file.get(path) {
            Some(places) => instrumented(&String::from_utf8(bytes)?, places).into_bytes(),
            None if path == front_door => [&bytes, MODULE.as_bytes()].concat(),
            None => bytes,
        })
    };
    for part in PARTS {
        copy(&toolchain::root().join(part), &tree.join(part), &read)?;
    }
    Ok(tree)
}

fn instrumented(text: &str, places: &[(usize, &Place)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    // The last place comes first, so that the positions of the others stay valid.
    for (number, place) in places.iter().rev() {
        let line = &mut lines[place.line];
        let old = &line[place.from..place.to];
        let new = match old.split_once('(').filter(|_| place.is_fence) {
            Some((fence, order)) => format!("crate::mutant::fence({number}, {fence}, {order}"),
            None => format!("crate::mutant::order({number}, {old})"),
        };
        line.replace_range(place.from..place.to, &new);
    }
    lines.join("\n") + "\n"
}

/// Copies a file, with the contents that `read` returns, or a folder. Removes from the copy what `from` no longer has.
fn copy(from: &Path, to: &Path, read: &impl Fn(&Path) -> Result<Vec<u8>>) -> Result<()> {
    if !from.is_dir() {
        return write(to, &read(from)?);
    }
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    for entry in fs::read_dir(to)? {
        let old = entry?;
        if !from.join(old.file_name()).exists() {
            remove(&old.path()).with_context(|| format!("could not remove {}", old.path().display()))?;
        }
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != "target" {
            copy(&from.join(&name), &to.join(&name), read)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// Writes a file unless it has these bytes already, so that cargo rebuilds only what changed.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_line_asks_whether_it_is_chosen() {
        let place = |is_fence, line, from, to| Place {
            file: String::new(),
            function: String::new(),
            nth: 1,
            is_fence,
            order: String::new(),
            line,
            from,
            to,
        };
        let text = "x.swap(1, Ordering::AcqRel, Ordering::Acquire);\na::fence(Ordering::Release);\n";
        let places = [place(false, 0, 10, 26), place(false, 0, 28, 45), place(true, 1, 0, 26)];
        let numbered: Vec<_> = places.iter().enumerate().map(|(number, place)| (number + 7, place)).collect();
        let expected = "x.swap(1, crate::mutant::order(7, Ordering::AcqRel), crate::mutant::order(8, Ordering::Acquire));\n\
                        crate::mutant::fence(9, a::fence, Ordering::Release);\n";
        assert_eq!(instrumented(text, &numbered), expected);
    }

    #[test]
    fn what_is_no_more_leaves_the_copy() {
        let dir = std::env::temp_dir().join(format!("xtask-mutants-{}", std::process::id()));
        let (from, to) = (dir.join("from"), dir.join("to"));
        for path in ["from/kill", "to/gone"] {
            fs::create_dir_all(dir.join(path)).unwrap();
        }
        for path in ["from/kill/main.rs", "to/kill.rs", "to/gone/main.rs"] {
            fs::write(dir.join(path), "fn main() {}").unwrap();
        }
        copy(&from, &to, &|path| Ok(fs::read(path)?)).unwrap();
        let left: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let is_copied = to.join("kill/main.rs").is_file();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(left, ["kill"]);
        assert!(is_copied);
    }
}
