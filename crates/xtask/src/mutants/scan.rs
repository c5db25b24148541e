//! Finds every fence and every ordering stronger than `Relaxed` in the library.
//!
//! The scan reads lines of text. `rustfmt` determines their layout, and the style of the project makes orderings easy
//! to find: they are written `Ordering::Acquire` and never imported by their bare names. The scan fails on a file that
//! does.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const STRONG: [&str; 4] = ["Ordering::Acquire", "Ordering::Release", "Ordering::AcqRel", "Ordering::SeqCst"];

/// A fence or an ordering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The path of the file, relative to `src/`.
    pub file: String,
    pub function: String,
    /// The number of the place among those in functions of this name in this file, from 1.
    pub nth: usize,
    pub is_fence: bool,
    /// The ordering, such as `Acquire`.
    pub order: String,
    /// Where to change the text: the line, counted from 0, and the range of bytes in it.
    pub line: usize,
    pub from: usize,
    pub to: usize,
}

impl Place {
    /// A name that stays the same when other parts of the file change: `store/stripe_guard.rs begin 1`.
    pub(crate) fn name(&self) -> String {
        format!("{} {} {}", self.file, self.function, self.nth)
    }

    /// The form in which the table writes the place.
    pub(crate) fn what(&self) -> String {
        if self.is_fence { format!("fence({})", self.order) } else { self.order.clone() }
    }
}

/// All places of the library in `src`, ordered by file and line.
pub(crate) fn places(src: &Path) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    collect(src, &mut files)?;
    files.sort();
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
            Ok((path, text))
        })
        .collect::<Result<_>>()?;
    let of_tests: HashSet<PathBuf> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut places = Vec::new();
    for (path, text) in texts.iter().filter(|(path, _)| !of_tests.contains(path)) {
        let file = path.strip_prefix(src)?.to_string_lossy().replace('\\', "/");
        places.extend(places_of(&file, text)?);
    }
    Ok(places)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a line is an attribute that restricts the next item to tests or models.
fn is_for_tests(line: &str) -> bool {
    let Some(predicate) = line.trim().strip_prefix("#[cfg(") else { return false };
    let inner = predicate.strip_prefix("all(").or(predicate.strip_prefix("any(")).unwrap_or(predicate);
    inner.starts_with("test")
}

/// The files of the modules that a file declares for tests only.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_name().and_then(|name| name.to_str()) {
        Some("mod.rs" | "lib.rs") => path.parent().unwrap_or(path).to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| is_for_tests(pair[0])).filter_map(|pair| {
        let name = pair[1].trim().strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(folder.join(format!("{name}.rs")))
    });
    declared.collect()
}

/// The places of one file, without items that are for tests only.
fn places_of(file: &str, text: &str) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut function = String::new();
    let mut skipping = Skip::default();
    for (line, whole) in text.lines().enumerate() {
        let code = whole.split("//").next().unwrap_or(whole);
        if skipping.skips(code) {
            continue;
        }
        if let Some(name) = function_in(code) {
            function = name.to_owned();
        }
        for (from, to, order) in strong_orderings(code) {
            if code.trim_start().starts_with("use ") {
                bail!("src/{file}:{}: write Ordering::{order} where it is used, so that it can be found", line + 1);
            }
            let nth = numbers.entry(function.clone()).or_default();
            *nth += 1;
            let fence = fence_around(code, from);
            places.push(Place {
                file: file.to_owned(),
                function: function.clone(),
                nth: *nth,
                is_fence: fence.is_some(),
                order: order.to_owned(),
                line,
                from: fence.unwrap_or_else(|| path_before(code, from)),
                to,
            });
        }
        if code.contains("Ordering::{") {
            bail!("src/{file}:{}: write Ordering::Name where it is used, so that it can be found", line + 1);
        }
    }
    Ok(places)
}

/// Skips an item, from its attribute to the brace or semicolon that ends it.
#[derive(Default)]
struct Skip {
    active: bool,
    depth: i32,
}

impl Skip {
    fn skips(&mut self, code: &str) -> bool {
        if !self.active {
            self.active = is_for_tests(code);
            return self.active;
        }
        if code.trim_start().starts_with("#[") && self.depth == 0 {
            return true;
        }
        let braces = |brace| code.matches(brace).count() as i32;
        self.depth += braces('{') - braces('}');
        let ends = code.contains('}') || code.trim_end().ends_with(';') || code.trim_end().ends_with(',');
        self.active = self.depth > 0 || !ends;
        true
    }
}

fn function_in(code: &str) -> Option<&str> {
    let at = if code.trim_start().starts_with("fn ") { code.find("fn ")? } else { code.find(" fn ")? + 1 };
    let name = &code[at + 3..];
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &name[..end])
}

/// The strong orderings of a line: where each begins and ends, and its name.
fn strong_orderings(code: &str) -> Vec<(usize, usize, &'static str)> {
    let found = STRONG.iter().flat_map(|&name| {
        code.match_indices(name).map(move |(at, _)| (at, at + name.len(), &name["Ordering::".len()..]))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_unstable();
    found
}

/// The start of the path that ends at `at`, such as `std::sync::atomic::`.
fn path_before(code: &str, at: usize) -> usize {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code[..at].rfind(|c| !is_path(c)).map_or(0, |before| before + 1)
}

/// The start of the call of `fence` whose argument is the ordering at `at`.
fn fence_around(code: &str, at: usize) -> Option<usize> {
    let argument = path_before(code, at);
    let call = code[..argument].strip_suffix("fence(")?;
    Some(path_before(code, call.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
//! A fence(Ordering::Release) in prose.
fn first() {
    fence(Ordering::Release); // Ordering::Acquire
    word.compare_exchange(1, 2, Ordering::AcqRel, Ordering::Acquire);
    word.load(Ordering::Relaxed);
}

#[cfg(any(test, loom))]
impl Thing {
    fn hidden() { fence(Ordering::SeqCst); }
}

#[cfg(test)]
use something::Ordering;

pub(crate) fn second<'a>() {
    std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
}
"#;

    #[test]
    fn fences_and_orderings_are_found_by_name() {
        let found = places_of("a/b.rs", SAMPLE).unwrap();
        let names: Vec<_> = found.iter().map(|place| format!("{}: {}", place.name(), place.what())).collect();
        let expected = [
            "a/b.rs first 1: fence(Release)",
            "a/b.rs first 2: AcqRel",
            "a/b.rs first 3: Acquire",
            "a/b.rs second 1: fence(Acquire)",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_bytes_named_are_those_of_the_whole_expression() {
        let lines: Vec<_> = SAMPLE.lines().collect();
        let texts: Vec<_> = places_of("a/b.rs", SAMPLE).unwrap();
        let texts: Vec<_> = texts.iter().map(|place| &lines[place.line][place.from..place.to]).collect();
        let expected = [
            "fence(Ordering::Release",
            "Ordering::AcqRel",
            "Ordering::Acquire",
            "std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn an_imported_name_is_refused() {
        assert!(places_of("a.rs", "use std::sync::atomic::Ordering::{Acquire, Release};\n").is_err());
        assert!(places_of("a.rs", "use std::sync::atomic::Ordering::Acquire;\n").is_err());
        assert!(places_of("a.rs", "use std::sync::atomic::Ordering::Relaxed;\n").unwrap().is_empty());
    }

    #[test]
    fn modules_for_tests_are_left_out() {
        let text = "#[cfg(all(test, loom))]\nmod models;\nmod real;\n#[cfg(test)]\npub(crate) mod reorder;\n";
        let found = test_modules(Path::new("src/store/mod.rs"), text);
        assert_eq!(found, [PathBuf::from("src/store/models.rs"), PathBuf::from("src/store/reorder.rs")]);
        assert_eq!(test_modules(Path::new("src/a.rs"), "#[cfg(test)]\nmod b;\n"), [PathBuf::from("src/a/b.rs")]);
    }
}
