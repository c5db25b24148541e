//! The map of the source, enforced by tests: they read from the source which file imports which.
//!
//! * A floor imports only from floors below it.
//! * No two files import each other.
//! * Only the floors up to `store` name offsets of the format (`at!`).
//! * A `mod.rs` is a window: it declares modules and re-exports their items, and defines nothing itself.
//! * No source file is longer than 600 lines, and no function is longer than 60.
//!
//! A window is transparent: an item that it re-exports counts as imported from the file that defines it, or from each
//! such file if every system has its own. There is no list of exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of `src`, from the ground up. Modules on one line share a floor and may import each other.
const FLOORS: [&[&str]; 8] = [
    &["clock", "fault", "hash", "names"],
    &["platform"],
    &["shm"],
    &["sync"],
    &["store"],
    &["error"],
    &["file"],
    &["api"],
];

/// The highest floor that may name an offset.
const OFFSETS_UP_TO: &str = "store";

/// The most lines of a source file.
const LONGEST_FILE: usize = 600;

/// The most lines of a function, from its signature to its closing brace.
const LONGEST_FUNCTION: usize = 60;

type Module = Vec<String>;

/// The targets of the names that a window re-exports: several where each system has its own.
type HandedOn = BTreeMap<String, BTreeSet<Module>>;

/// One file: its imports, and its re-exports if it is a window.
struct Room {
    text: String,
    /// Paths from the crate's root.
    imports: Vec<Module>,
    handed_on: HandedOn,
}

struct House {
    rooms: BTreeMap<Module, Room>,
}

impl House {
    fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        collect(root, &["rs"], &mut files);
        let mut rooms = BTreeMap::new();
        let texts: Vec<(Module, String)> = files
            .iter()
            .map(|file| (module_of(root, file), without_tests(&without_comments(&fs::read_to_string(file).unwrap()))))
            .collect();
        let test_modules: BTreeSet<Module> =
            texts.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
        let names: BTreeSet<Module> = texts.iter().map(|(module, _)| module.clone()).collect();
        for (module, text) in texts {
            if test_modules.iter().any(|test| module.starts_with(test)) {
                continue;
            }
            let (imports, handed_on) = paths(&module, &text, &names);
            rooms.insert(module, Room { text, imports, handed_on });
        }
        Self { rooms }
    }

    /// The files that define the item of a path: one for each system that has its own.
    fn homes(&self, path: &[String]) -> BTreeSet<Module> {
        let mut at: Module = Vec::new();
        for (i, part) in path.iter().enumerate() {
            let mut inner = at.clone();
            inner.push(part.clone());
            if self.rooms.contains_key(&inner) {
                at = inner;
                continue;
            }
            if let Some(targets) = self.rooms.get(&at).and_then(|room| room.handed_on.get(part)) {
                let rest = |target: &Module| -> Module { target.iter().chain(&path[i + 1..]).cloned().collect() };
                return targets.iter().flat_map(|target| self.homes(&rest(target))).collect();
            }
            break;
        }
        [at].into()
    }

    fn edges(&self) -> BTreeSet<(Module, Module)> {
        let mut edges = BTreeSet::new();
        for (module, room) in &self.rooms {
            let homes = room.imports.iter().flat_map(|path| self.homes(path));
            edges.extend(homes.filter(|home| home != module).map(|home| (module.clone(), home)));
        }
        edges
    }
}

/// The files with one of these extensions in a folder. Folders that tools write to are left out.
fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "venv", "__pycache__"].contains(&name) {
                collect(&path, extensions, files);
            }
        } else if extensions.iter().any(|extension| name.ends_with(&format!(".{extension}"))) {
            files.push(path);
        }
    }
}

fn module_of(root: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let mut parts: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at])).collect::<Vec<_>>().join("\n")
}

/// In this source, inline tests are always the last item of a file.
fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |i: &usize| {
        let is_module = |line: &str| line.starts_with("mod ") && line.ends_with('{');
        lines[*i].starts_with("#[cfg(")
            && lines[*i].contains("test")
            && lines[*i + 1..].iter().take(3).find(|line| !line.starts_with("#[")).is_some_and(|line| is_module(line))
    };
    let end = (0..lines.len()).find(is_start).unwrap_or(lines.len());
    lines[..end].join("\n")
}

/// Modules in separate files that are compiled only for tests.
fn test_modules(module: &Module, text: &str) -> Vec<Module> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_for_tests =
        |i: usize| lines[..i].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| line.contains("test"));
    let named = |i: usize| {
        let name = lines[i].rsplit("mod ").next()?.strip_suffix(';')?;
        (lines[i].contains("mod ") && is_for_tests(i))
            .then(|| module.iter().cloned().chain([name.to_owned()]).collect())
    };
    (0..lines.len()).filter_map(named).collect()
}

/// The imports of a file: its `use` lines, and the paths from `crate` and `super` in its code.
fn paths(module: &Module, text: &str, names: &BTreeSet<Module>) -> (Vec<Module>, HandedOn) {
    let (mut imports, mut handed_on) = (Vec::new(), HandedOn::new());
    let mut rest = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        let statement = start.strip_prefix("use ").map(|path| (path, false)).or_else(|| {
            let at = start.find(" use ")?;
            start.starts_with("pub").then(|| (&start[at + 5..], true))
        });
        let Some((first, is_public)) = statement else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut whole = first.to_owned();
        while !whole.contains(';') {
            whole.push_str(lines.next().unwrap_or(";").trim());
        }
        for path in expand(whole.split(';').next().unwrap()) {
            let (path, name) = path.split_once(" as ").map_or((path.as_str(), None), |(path, name)| (path, Some(name)));
            let Some(path) = from_root(module, path, names) else { continue };
            let name = name.or_else(|| path.last().map(String::as_str)).unwrap_or_default().to_owned();
            if is_public {
                handed_on.entry(name).or_default().insert(path.clone());
            }
            imports.push(path);
        }
    }
    for word in rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            imports.extend(from_root(module, word, names));
        }
    }
    // A window does not use the items that it re-exports.
    let is_window = names.iter().any(|name| name.len() == module.len() + 1 && name.starts_with(module));
    if is_window {
        imports.retain(|path| !handed_on.values().any(|handed| handed.contains(path)));
    }
    (imports, handed_on)
}

/// Each path of a `use` tree.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, inner)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = inner.rsplit_once('}').unwrap().0;
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(&format!("{}{}", before.trim(), part.trim()))).collect()
}

/// A path from the crate's root; `None` for one into another crate.
fn from_root(module: &Module, path: &str, names: &BTreeSet<Module>) -> Option<Module> {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).filter(|part| !part.is_empty()).collect();
    let mut base = module.clone();
    match *parts.first()? {
        "crate" => {
            base.clear();
            parts.remove(0);
        }
        "self" => {
            parts.remove(0);
        }
        "super" => {
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
        }
        first => {
            let mut child = module.clone();
            child.push(first.to_owned());
            if !names.contains(&child) {
                return None;
            }
        }
    }
    parts.retain(|part| *part != "self");
    base.extend(parts.into_iter().map(str::to_owned));
    Some(base)
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("/") }
}

fn floor(module: &[String]) -> usize {
    let Some(room) = module.first() else { return FLOORS.len() };
    let found = FLOORS.iter().position(|floor| floor.contains(&room.as_str()));
    found.unwrap_or_else(|| panic!("src/{room} is on no floor: add it to FLOORS, and to docs/architecture.md"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn a_floor_imports_only_from_floors_below() {
    let edges = House::read(&root()).edges();
    let up: Vec<_> = edges.iter().filter(|(from, to)| !to.is_empty() && floor(from) < floor(to)).collect();
    let lines: Vec<_> = up.iter().map(|(from, to)| format!("{} imports from {}", name(from), name(to))).collect();
    assert!(up.is_empty(), "{} arrows point upward:\n{}", up.len(), lines.join("\n"));
}

#[test]
fn no_two_files_import_each_other() {
    let mut all = Vec::new();
    for root in roots() {
        let edges = House::read(&root).edges();
        let pairs = edges.iter().filter(|(a, b)| a < b && edges.contains(&(b.clone(), a.clone())));
        let place = root.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        all.extend(pairs.map(|(a, b)| format!("{place}: {} and {}", name(a), name(b))));
    }
    assert!(all.is_empty(), "{} pairs of files import each other:\n{}", all.len(), all.join("\n"));
}

/// The source directories of this workspace.
fn roots() -> Vec<PathBuf> {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(whole.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let mut roots: Vec<_> = [whole.join("src")].into_iter().chain(crates.filter(|src| src.is_dir())).collect();
    roots.sort();
    roots
}

#[test]
fn offsets_are_named_on_the_lower_floors_only() {
    let house = House::read(&root());
    let limit = FLOORS.iter().position(|floor| floor.contains(&OFFSETS_UP_TO)).unwrap();
    let above = house.rooms.iter().filter(|(module, _)| floor(module) > limit);
    let found: Vec<_> = above
        .filter(|(_, room)| {
            room.text.split(|c: char| !(c.is_alphanumeric() || "_!".contains(c))).any(|word| word == "at!")
        })
        .map(|(module, _)| format!("offsets in {}", name(module)))
        .collect();
    assert!(found.is_empty(), "too high up: {}", found.join(", "));
}

/// The statements of a file that do more than declare a module or import a name.
fn definitions(text: &str) -> Vec<String> {
    let text = without_attributes(&without_comments(text));
    let is_of_a_window = |statement: &str| {
        let rest = statement.strip_prefix("pub").map_or(statement, |rest| match rest.split_once(')') {
            Some((scope, rest)) if scope.starts_with('(') => rest.trim_start(),
            _ => rest.trim_start(),
        });
        rest.starts_with("use ") || (rest.starts_with("mod ") && !rest.contains('{'))
    };
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.filter(|statement| !is_of_a_window(statement)).map(str::to_owned).collect()
}

fn without_attributes(text: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("#[").into_iter().chain(rest.find("#![")).min() {
        kept.push_str(&rest[..at]);
        let mut depth = 0;
        let mut closes = |c: char| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ']' && depth == 0
        };
        let end = rest[at..].find(&mut closes).expect("an attribute ends");
        rest = &rest[at + end + 1..];
    }
    kept + rest
}

#[test]
fn every_mod_rs_is_a_window() {
    let (mut files, mut found) = (Vec::new(), Vec::new());
    roots().iter().for_each(|root| collect(root, &["rs"], &mut files));
    files.retain(|file| file.ends_with("mod.rs"));
    assert!(files.len() > 10, "only {} windows were found", files.len());
    for file in files {
        // The first one is enough to find it: what follows may be the inside of a function.
        let definitions = definitions(&fs::read_to_string(&file).unwrap());
        found.extend(definitions.first().map(|first| format!("{}: {first}", in_repository(&file))));
    }
    assert!(found.is_empty(), "move to a file that names the concept:\n{}", found.join("\n"));
}

/// The path of a file from the root of the repository.
fn in_repository(file: &Path) -> String {
    file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string()
}

/// All Rust and Python files of the repository.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &["rs", "py", "pyi"], &mut files);
    files
}

#[test]
fn no_file_is_too_long() {
    let lines = |file: &Path| fs::read_to_string(file).unwrap().lines().count();
    let files = sources();
    assert!(files.len() > 300, "only {} files were found", files.len());
    let long = files.iter().map(|file| (file, lines(file))).filter(|&(_, lines)| lines > LONGEST_FILE);
    let long: Vec<_> = long.map(|(file, lines)| format!("{}: {lines} lines", in_repository(file))).collect();
    assert!(long.is_empty(), "split by subject, at most {LONGEST_FILE} lines:\n{}", long.join("\n"));
}

/// The functions of a formatted source, each with the number of its lines. The last line of a function has the indent
/// of its first one.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((before, after)) = code.split_once("fn ") else { continue };
        let is_signature = before
            .split_whitespace()
            .all(|word| word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word));
        if !is_signature || code.ends_with([';', '}']) {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let ends = |line: &&str| {
            line.strip_prefix(indent)
                .is_some_and(|rest| rest.starts_with('}') || rest.starts_with(')') && rest.ends_with(';'))
        };
        let length = lines[at..].iter().position(ends).map_or(0, |end| end + 1);
        found.push((after.split(['(', '<']).next().unwrap_or_default(), length));
    }
    found
}

#[test]
fn no_function_is_too_long() {
    let (mut long, mut all) = (Vec::new(), 0);
    for file in sources().iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(file).unwrap();
        for (name, lines) in functions(&text) {
            all += 1;
            if lines > LONGEST_FUNCTION {
                long.push(format!("{}: {name}: {lines} lines", in_repository(file)));
            }
        }
    }
    assert!(all > 2_000, "only {all} functions were found");
    assert!(long.is_empty(), "split, at most {LONGEST_FUNCTION} lines:\n{}", long.join("\n"));
}

#[test]
fn the_map_sees_what_it_must_see() {
    let house = House::read(&root());
    let edges = house.edges();
    let module = |text: &str| -> Module { text.split('/').map(str::to_owned).collect() };
    assert!(edges.len() > 200, "only {} imports were found", edges.len());
    assert!(edges.contains(&(module("store/read"), module("shm/memory"))), "a path into another floor");
    assert!(edges.contains(&(module("store/read"), module("store/record"))), "a path to a neighbour");
    assert!(edges.contains(&(module("file/attached"), module("store/table"))), "a path through a window");
    assert!(!house.rooms.contains_key(&module("store/tests")), "tests are not part of the house");
    assert_eq!(expand("a::{b, c::{d, self}}"), ["a::b", "a::c::d", "a::c::self"]);
    let homes = house.homes(&module("platform/boot_id"));
    let expected = ["apple", "linux", "other_unix", "windows"].map(|system| module(&format!("platform/{system}")));
    assert_eq!(homes, expected.into(), "each system has its own");
    let window = "#![a = \"b;\"]\nmod b;\n#[cfg(all(c[0]))]\npub(in d) use d::{\n    e,\n    f,\n};\npub mod g;\n";
    assert_eq!(definitions(window), [""; 0]);
    let text = "fn a() {}\npub(crate) fn b<T>(\n    c: T,\n) -> T {\n    fn d() {\n        e();\n    }\n}\n// fn f\n";
    assert_eq!(functions(text), [("b", 7), ("d", 3)]);
    let room = "mod a;\nuse b::c;\npub(crate) const D: u32 = 1;\nmod e {}\n";
    assert_eq!(definitions(room), ["pub(crate) const D: u32 = 1", "mod e {}"]);
}
