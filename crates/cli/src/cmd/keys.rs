//! `kennel keys`: lists the keys.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::outcome::{CliResult, hit_or_miss};
use crate::args::{KeyHexArgs, OptionalFileArgs, find_namespace};
use crate::{hex, output};

/// List the keys that the cache holds, one per line, in no particular order.
///
/// The list is not a snapshot: it may or may not contain keys that are written or evicted while it is made. The file is
/// opened read-only and without a lock; only a copy, or a file from before a restart of the machine, is opened for
/// writing, as with "kennel get". The exit status is 1 when the file does not have the namespace.
///
/// Example: kennel keys my.cache --prefix session:
#[derive(Args)]
pub struct KeysArgs {
    #[command(flatten)]
    file: OptionalFileArgs,
    /// List only the keys that begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: OsString,
    #[command(flatten)]
    spelling: KeyHexArgs,
    /// List only the keys of this namespace, without its name. By default all keys of the file are listed as they are
    /// stored: those of a namespace begin with its name and a zero byte.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// End each key with a zero byte instead of a newline, for xargs -0.
    #[arg(long)]
    null: bool,
    /// Write the keys in hexadecimal, the notation of --key-hex in other commands.
    #[arg(long)]
    hex: bool,
}

pub fn run(args: KeysArgs) -> CliResult {
    let layout = Layout { hex: args.hex, end: if args.null { b"\0" } else { b"\n" } };
    let prefix = args.spelling.bytes(args.prefix)?;
    let mut cache = args.file.open_to_read()?;
    if let Some(name) = &args.namespace {
        let Some(namespace) = find_namespace(&cache, name)? else {
            return Ok(hit_or_miss(false));
        };
        cache = namespace;
    }
    let mut out = output::stdout();
    for key in cache.keys_with(prefix) {
        layout.write(&mut out, &key)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

struct Layout {
    hex: bool,
    end: &'static [u8],
}

impl Layout {
    fn write(&self, out: &mut impl Write, key: &[u8]) -> io::Result<()> {
        if self.hex {
            out.write_all(hex::encode(key).as_bytes())?;
        } else {
            out.write_all(key)?;
        }
        out.write_all(self.end)
    }
}
