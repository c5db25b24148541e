//! The comparison of `kennel.h`, which is written by hand, with the code of the library: functions, structs, and numbers of
//! errors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Types of the library, and how the header names them.
const TYPES: [(&str, &str); 21] = [
    ("*const Cache", "const kennel *"),
    ("*mut *mut Cache", "kennel **"),
    ("*mut Cache", "kennel *"),
    ("*const Options", "const kennel_options *"),
    ("*const Bytes", "const kennel_bytes *"),
    ("*const Pair", "const kennel_pair *"),
    ("*const StoreOptions", "const kennel_set_options *"),
    ("*const BeginOptions", "const kennel_create_options *"),
    ("*mut Entry", "kennel_item *"),
    ("*const c_void", "const void *"),
    ("*mut c_void", "void *"),
    ("*const c_char", "const char *"),
    ("*mut *mut c_char", "char **"),
    ("*mut usize", "size_t *"),
    ("*mut c_int", "int *"),
    ("*mut u64", "uint64_t *"),
    ("usize", "size_t"),
    ("u64", "uint64_t"),
    ("i64", "int64_t"),
    ("u32", "uint32_t"),
    ("c_int", "int"),
];

/// Numbers, which the library does not tell apart.
const NUMBERS: [&str; 4] = ["kennel_claim", "kennel_key_lock", "kennel_request", "kennel_listing"];

/// The structs, by their names in the header and in the code.
const STRUCTS: [(&str, &str); 6] = [
    ("kennel_options", "Options"),
    ("kennel_bytes", "Bytes"),
    ("kennel_pair", "Pair"),
    ("kennel_set_options", "StoreOptions"),
    ("kennel_create_options", "BeginOptions"),
    ("kennel_item", "Entry"),
];

/// How a source writes the name of an error with its number.
type Written = fn(&str, &str) -> String;

/// The files in which packages for other languages name the errors.
const NAMED_IN: [(&str, Written); 6] = [
    ("../go/errors.go", |name, _| format!("&Error{{Number: C.KENNEL_E_{name}}}")),
    ("../node/lib/errors.js", |name, number| format!("{number}: '{name}'")),
    ("../php/errors.c", |name, _| format!("{{\"{name}\", KENNEL_E_{name}}}")),
    ("../php/src/Exception.php", |name, number| format!("const {name} = -{number};")),
    ("../php/stubs/kennel.php", |name, number| format!("const {name} = -{number};")),
    ("../ruby/lib/kennel.rb", |name, number| format!("{number} => :{}", name.to_lowercase())),
];

/// Errors that those packages need not name: no function of the header returns the first three, and the packages
/// themselves handle the others.
const NOT_NAMED: [&str; 5] = ["CODEC", "NOT_RESIZED", "FAILED_ELSEWHERE", "BUFFER_TOO_SMALL", "BAD_HANDLE"];

/// Compares the header of the crate in this folder with its sources, with the engine's errors, and with the errors that
/// packages for other languages name.
pub(crate) fn check(folder: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()));
    let header = without_comments(&read(&folder.join("include/kennel.h"))?);
    let mut code = String::new();
    let mut files = fs::read_dir(folder.join("src"))?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        code.push_str(&read(&file.path())?);
    }
    same("function", &declared(&header), &defined(&code)?)?;
    for (in_c, in_rust) in STRUCTS {
        same(in_c, &fields_in_c(&header, in_c)?, &fields_in_rust(&code, in_rust)?)?;
    }
    let engine = read(&folder.join("../../src/error/advice.rs"))?;
    let engines: BTreeMap<String, String> = errors_of_engine(&engine)
        .into_iter()
        .map(|(name, number)| (format!("E_{name}"), format!("-{number}")))
        .collect();
    let own = ["E_BAD_HANDLE", "E_NO_HANDLE", "E_PANIC"];
    let mut errors = numbers(&header);
    for (file, written) in NAMED_IN {
        must_name_all(&errors, &read(&folder.join(file))?, written).with_context(|| file.to_owned())?;
    }
    errors.retain(|name, _| name.starts_with("E_") && !own.contains(&name.as_str()));
    same("error", &errors, &engines)?;
    same("advice", &quoted_names(&read(&folder.join("include/kennel.h"))?)?, &advices(&engine))
}

/// Fails if the source of a package lacks one of the header's errors.
fn must_name_all(header: &BTreeMap<String, String>, source: &str, written: Written) -> Result<()> {
    let errors = header.iter().filter_map(|(name, number)| Some((name.strip_prefix("E_")?, number)));
    for (name, number) in errors.filter(|(name, _)| !NOT_NAMED.contains(name)) {
        let expected = written(name, number.trim_start_matches('-'));
        ensure!(source.contains(&expected), "expected all errors of kennel.h, found no `{expected}`");
    }
    Ok(())
}

/// The names that the description of `kennel_last_advice` lists.
fn quoted_names(header: &str) -> Result<BTreeMap<String, String>> {
    let described = header.split("/**").find(|part| part.contains("kennel_last_advice(void);"));
    let (described, _) =
        described.and_then(|part| part.split_once('@')?.1.split_once("@return")).context("no advice")?;
    let names = described.split('"').skip(1).step_by(2).filter(|name| !name.is_empty());
    Ok(names.map(|name| (name.to_owned(), String::new())).collect())
}

/// The engine's advices, in the header's spelling.
fn advices(source: &str) -> BTreeMap<String, String> {
    let body = source.split_once("pub enum Advice {").and_then(|(_, rest)| rest.split_once("\n}"));
    let variants = body.map_or("", |(body, _)| body).lines().filter_map(|line| line.trim().strip_suffix(','));
    let names = variants.filter(|line| !line.starts_with('/'));
    names.map(|name| (screaming(name).to_lowercase().replace('_', "-"), String::new())).collect()
}

/// Fails with the first difference.
fn same(what: &str, header: &BTreeMap<String, String>, code: &BTreeMap<String, String>) -> Result<()> {
    for (name, declared) in header {
        let defined = code.get(name).with_context(|| format!("{what} {name} is in kennel.h and not in the code"))?;
        ensure!(declared == defined, "{what} {name}: kennel.h has\n  {declared}\nand the code\n  {defined}");
    }
    let missing = code.keys().find(|name| !header.contains_key(*name));
    ensure!(missing.is_none(), "{what} {} is in the code and not in kennel.h", missing.map_or("", |name| name));
    ensure!(!header.is_empty(), "kennel.h has no {what}");
    Ok(())
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + " " + part.split_once("*/").map_or("", |(_, rest)| rest))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The parameters' types of a list, in the words of the header.
fn types<'t>(list: &'t str, type_of: impl Fn(&'t str) -> String) -> String {
    let kept = list.split(',').map(str::trim).filter(|parameter| !parameter.is_empty());
    kept.map(type_of).collect::<Vec<_>>().join(", ")
}

/// `const char *path` without the name; a name of a number becomes its type.
fn type_in_c(declaration: &str) -> String {
    let end = declaration.rfind([' ', '*']).map_or(0, |at| at + 1);
    let kind = declaration[..end].trim_end();
    NUMBERS.iter().fold(kind.to_owned(), |kind, number| kind.replace(number, "uint64_t"))
}

/// The functions that the header declares: parameters and result.
fn declared(header: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in header.split(';') {
        let lines: Vec<&str> = part.lines().filter(|line| !line.starts_with('#')).collect();
        let text = one_line(&lines.join(" "));
        let text = text.rsplit('{').next().unwrap_or_default().trim();
        let Some((before, list)) = text.split_once('(') else { continue };
        if text.starts_with("typedef") {
            continue;
        }
        let (result, name) = before.split_at(before.rfind([' ', '*']).map_or(0, |at| at + 1));
        let list = list.trim_end_matches(')');
        let list = if list == "void" { "" } else { list };
        found.insert(name.to_owned(), format!("({}) {}", types(list, type_in_c), result.trim()));
    }
    found
}

fn type_in_rust(kind: &str) -> String {
    if kind == "Room" {
        return "kennel_room".into();
    }
    TYPES.iter().find(|(rust, _)| *rust == kind).map_or_else(|| format!("? {kind}"), |(_, c)| (*c).to_owned())
}

/// The functions that the code defines for C.
fn defined(code: &str) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for part in code.split("extern \"C\" fn kennel_").skip(1) {
        let head = one_line(part.split_once('{').context("a function without a body")?.0);
        let (name, rest) = head.split_once('(').context("a function without parameters")?;
        // For the tests alone.
        if name == "test_panic" {
            continue;
        }
        let (list, result) = rest.rsplit_once(')').context("a function without parameters")?;
        let kind = |parameter: &str| type_in_rust(parameter.split_once(':').map_or("", |(_, kind)| kind.trim()));
        let result = result.trim().strip_prefix("-> ").map_or_else(|| "void".to_owned(), type_in_rust);
        found.insert(format!("kennel_{name}"), format!("({}) {result}", types(list, kind)));
    }
    Ok(found)
}

/// The fields of a struct in order, each with its place as the name.
fn numbered(fields: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    fields.enumerate().map(|(i, field)| (format!("field {i:02}"), field)).collect()
}

fn fields_in_c(header: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let start = format!("typedef struct {name} {{");
    let body = header.split_once(&start).and_then(|(_, rest)| rest.split_once('}'));
    let (body, _) = body.with_context(|| format!("kennel.h has no {name}"))?;
    let fields = body.split(';').map(one_line).filter(|field| !field.is_empty());
    let mut split = Vec::new();
    for field in fields {
        let kind = type_in_c(field.split(',').next().unwrap_or_default());
        let names = field[kind.len()..].split(',').map(|name| name.trim().to_owned());
        split.extend(names.map(|name| format!("{kind} {name}")));
    }
    Ok(numbered(split.into_iter()))
}

fn fields_in_rust(code: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let start = format!("#[repr(C)]\npub struct {name} {{");
    let body = code.split_once(&start).and_then(|(_, rest)| rest.split_once('}'));
    let (body, _) = body.with_context(|| format!("the code has no struct {name} with repr(C)"))?;
    let fields =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) ")?.trim_end_matches(',').split_once(": "));
    Ok(numbered(fields.map(|(name, kind)| format!("{} {name}", type_in_rust(kind)))))
}

/// The numbers that the header defines, without `KENNEL_` and parentheses.
fn numbers(header: &str) -> BTreeMap<String, String> {
    let defines = header.lines().filter_map(|line| line.strip_prefix("#define KENNEL_")?.split_once(' '));
    defines.map(|(name, value)| (name.to_owned(), value.trim().trim_matches(['(', ')']).to_owned())).collect()
}

/// The kinds of errors of the engine, in the header's spelling.
fn errors_of_engine(source: &str) -> BTreeMap<String, String> {
    let body = source.split_once("pub enum ErrorCode {").and_then(|(_, rest)| rest.split_once('}'));
    let lines = body.map_or("", |(body, _)| body).lines();
    let variants = lines.filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "));
    variants.map(|(name, number)| (screaming(name), number.to_owned())).collect()
}

/// `NotANumber` as `NOT_A_NUMBER`.
fn screaming(name: &str) -> String {
    let mut made = String::new();
    for (i, letter) in name.char_indices() {
        if i > 0 && letter.is_uppercase() {
            made.push('_');
        }
        made.extend(letter.to_uppercase());
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_declaration_is_found() {
        let code = "pub unsafe extern \"C\" fn kennel_begin(k: *const Cache, claim: *mut u64) -> c_int {}";
        let defined = defined(code).unwrap();
        let right = declared("int kennel_begin(const kennel *k, kennel_claim *claim);");
        same("function", &right, &defined).unwrap();
        for wrong in [
            "int kennel_begin(const kennel *k, kennel_claim **claim);",
            "int kennel_begin(kennel *k, kennel_claim *claim);",
            "int kennel_begin(const kennel *k);",
            "void kennel_begin(const kennel *k, kennel_claim *claim);",
            "int kennel_start(const kennel *k, kennel_claim *claim);",
            "int kennel_begin(const kennel *k, kennel_claim *claim); int kennel_more(void);",
        ] {
            assert!(same("function", &declared(wrong), &defined).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_are_compared_in_order() {
        let code = "#[repr(C)]\npub struct Options {\n    pub(crate) size: usize,\n    pub(crate) capacity: u64,\n}";
        let in_rust = fields_in_rust(code, "Options").unwrap();
        let in_c = |fields: &str| fields_in_c(&format!("typedef struct o {{ {fields} }} o;"), "o").unwrap();
        same("o", &in_c("size_t size; uint64_t capacity;"), &in_rust).unwrap();
        assert!(same("o", &in_c("uint64_t capacity; size_t size;"), &in_rust).is_err());
        assert!(same("o", &in_c("size_t size; int64_t capacity;"), &in_rust).is_err());
        assert!(same("o", &in_c("size_t size;"), &in_rust).is_err());
    }

    #[test]
    fn an_error_without_a_name_in_a_package_is_found() {
        let header = numbers("#define KENNEL_E_IO (-1)\n#define KENNEL_E_CODEC (-23)\n#define KENNEL_FLAG 7u");
        let written = |name: &str, number: &str| format!("{number}: {name}");
        must_name_all(&header, "1: IO", written).unwrap();
        assert!(must_name_all(&header, "1: OI, 23: CODEC", written).is_err());
    }

    #[test]
    fn names_of_errors_are_spelled_as_in_c() {
        assert_eq!(screaming("NotANumber"), "NOT_A_NUMBER");
        assert_eq!(errors_of_engine("pub enum ErrorCode {\n    /// x\n    Io = 1,\n}")["IO"], "1");
    }
}
