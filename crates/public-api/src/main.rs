//! `kennel-public-api JSON TEXT [--update]`: compares the public interface that rustdoc describes in a JSON file with a
//! pinned text, one item a line, and says which lines were added or removed. With `--update` it writes the text anew.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (json, text, updates) = match &args[..] {
        [json, text] => (json, text, false),
        [json, text, update] if update == "--update" => (json, text, true),
        _ => bail!("expected: JSON TEXT [--update]"),
    };
    let found = interface(json)?;
    // A checkout on Windows may have other ends of lines.
    let pinned = fs::read_to_string(text).unwrap_or_default().replace("\r\n", "\n");
    if found == pinned {
        println!("the public interface is as {text} says: {} lines", found.lines().count());
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", difference(&pinned, &found));
    if updates {
        fs::write(text, &found).with_context(|| format!("could not write {text}"))?;
        println!("{text} is written anew");
        return Ok(ExitCode::SUCCESS);
    }
    println!("the public interface differs from {text}; if that is meant: cargo xtask public-api --update");
    Ok(ExitCode::FAILURE)
}

/// All public items, one a line. Left out is what every type has without being asked: automatic and blanket traits.
fn interface(json: &str) -> Result<String> {
    let builder = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(false);
    let api = builder.build().with_context(|| {
        format!("could not read {json}; if its format is too new or too old, update `public-api` in crates/public-api")
    })?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

/// The lines that are in one text only, in their order.
fn difference(before: &str, after: &str) -> String {
    let [old, new] = [before, after].map(|text| text.lines().collect::<BTreeSet<_>>());
    let removed = before.lines().filter(|line| !new.contains(line)).map(|line| format!("- {line}\n"));
    let added = after.lines().filter(|line| !old.contains(line)).map(|line| format!("+ {line}\n"));
    removed.chain(added).collect()
}
