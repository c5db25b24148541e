//! The table in `docs/orderings.md`: what each place pairs with, and which tests fail when it is weakened.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::toolchain;

const FILE: &str = "docs/orderings.md";

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Such as `fence(Release)`.
    pub what: String,
    /// The tests that fail on the mutant; empty if the mutant survives.
    pub caught_by: Vec<String>,
}

/// Reads the rows, with the names of their places.
pub(crate) fn rows() -> Result<BTreeMap<String, Row>> {
    let path = toolchain::root().join(FILE);
    parse(&fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?)
}

/// Parses the tables under headings that name a file, such as ``## `store/stripe_guard.rs` ``. A row begins with the
/// function and the number of the place: ``| `begin` 1 | `fence(Release)` | ... | tests, or "nothing: why" |``.
fn parse(text: &str) -> Result<BTreeMap<String, Row>> {
    let mut rows = BTreeMap::new();
    let mut file = None;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        }
        let (Some(file), Some(cells)) = (file, line.strip_prefix("| `")) else { continue };
        let cells: Vec<&str> = cells.trim_end_matches('|').split(" | ").map(str::trim).collect();
        ensure!(cells.len() == 4, "{FILE}: expected four cells, found {}: {line}", cells.len());
        let name = format!("{file} {}", cells[0].replace('`', ""));
        let survives = cells[3].starts_with("nothing: ");
        let quoted = cells[3].split('`').skip(1).step_by(2).map(str::to_owned);
        let caught_by: Vec<String> = quoted.filter(|_| !survives).collect();
        ensure!(
            survives || !caught_by.is_empty(),
            "{FILE}: expected the names of tests or \"nothing: why\", found: {line}"
        );
        let row = Row { what: cells[1].trim_matches('`').to_owned(), caught_by };
        ensure!(rows.insert(name.clone(), row).is_none(), "{FILE}: {name} is listed twice");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::scan;
    use super::*;

    const SAMPLE: &str = "
## Prose

| `no` 1 | not a row |

## `a/b.rs`

| place | what | pairs with | without it fails |
|---|---|---|---|
| `f` 1 | `fence(Release)` | `g` 2 | `loom_x`, `core_y` |
| `f` 2 | `Acquire` | the lock | nothing: the lock orders it |
";

    #[test]
    fn rows_are_read_under_the_heading_of_their_file() {
        let rows = parse(SAMPLE).unwrap();
        let row = |what: &str, caught_by: &[&str]| Row {
            what: what.to_owned(),
            caught_by: caught_by.iter().map(|&name| name.to_owned()).collect(),
        };
        let expected = [
            ("a/b.rs f 1".to_owned(), row("fence(Release)", &["loom_x", "core_y"])),
            ("a/b.rs f 2".to_owned(), row("Acquire", &[])),
        ];
        assert_eq!(rows, BTreeMap::from(expected));
    }

    #[test]
    fn a_row_without_tests_says_why() {
        assert!(parse("## `a.rs`\n| `f` 1 | `Acquire` | x | perhaps |\n").is_err());
    }

    /// The table lists every fence and every ordering above `Relaxed` of the library, and nothing else.
    #[test]
    fn the_table_and_the_library_agree() {
        let places = scan::places(&toolchain::root().join("src")).unwrap();
        let mut rows = rows().unwrap();
        for place in &places {
            let row = rows.remove(&place.name());
            let row = row.unwrap_or_else(|| panic!("{FILE} has no row for {}: {}", place.name(), place.what()));
            assert_eq!(row.what, place.what(), "{FILE}: {}", place.name());
        }
        assert!(rows.is_empty(), "{FILE} lists what is not in the library: {:?}", rows.keys());
    }

    #[test]
    fn the_tests_that_the_table_names_exist() {
        let mut sources = String::new();
        read_all(&toolchain::root().join("src"), &mut sources);
        for (name, row) in rows().unwrap() {
            for test in row.caught_by {
                assert!(sources.contains(&format!("fn {test}()")), "{FILE}: {name}: there is no test {test}");
            }
        }
    }

    fn read_all(folder: &std::path::Path, sources: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read_all(&path, sources);
            } else {
                sources.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
}
