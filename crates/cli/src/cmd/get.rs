//! `kennel get`: reads one value.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use kennel::Item;
use serde_json::{Map, Value, json};

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{FileArgs, KeyArgs};
use crate::output::{insert_bytes, print_json, stdout};

/// Write the value of a key to standard output, unchanged and with no newline added.
///
/// The exit status is 1, and nothing is written, when the cache does not hold the key. The file is opened read-only and
/// without a lock. Only a copy, or a file from before a restart of the machine, is opened for writing, because it
/// cannot be read until a process has done that once.
///
/// Example: kennel get /dev/shm/my.cache greeting
#[derive(Args)]
pub struct GetArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// Write a JSON object instead: the key, the value, its flags, its stamp (a string of digits that changes with
    /// every write), and its expiry in milliseconds since 1970 or null for never. A key or value that is not UTF-8 is
    /// written in hexadecimal, as key_hex or value_hex.
    #[arg(long)]
    json: bool,
}

pub fn run(args: GetArgs) -> CliResult {
    let key = args.key.bytes()?;
    let Some(cache) = args.key.namespace.find(args.file.open_to_read()?)? else {
        return Ok(hit_or_miss(false));
    };
    let Some(item) = cache.get_item(&key) else {
        return Ok(hit_or_miss(false));
    };
    if args.json {
        print_json(&document(&key, &item))?;
    } else {
        let mut out = stdout();
        out.write_all(&item.value)?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn document(key: &[u8], item: &Item) -> Value {
    let mut object = Map::new();
    insert_bytes(&mut object, "key", key);
    insert_bytes(&mut object, "value", &item.value);
    object.insert("flags".to_owned(), json!(item.flags));
    // As a string, because jq and JavaScript lose the last digits of a 64-bit number.
    object.insert("stamp".to_owned(), json!(item.stamp.0.to_string()));
    object.insert("expires".to_owned(), json!(item.expires.map(unix_millis)));
    object.into()
}

/// Milliseconds since 1970, and 0 for times before that, which have long passed.
fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
