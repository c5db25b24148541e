//! `/stats.json`: what the status page shows, for programs too.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::target::Look;
use crate::sampled::Sampled;

/// Buckets that are sampled for each request.
const BUCKETS: u64 = 1024;

pub fn document(looks: &[Look]) -> Value {
    let caches: Vec<_> = looks.iter().map(cache).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({ "now_ms": now.as_millis() as u64, "version": env!("CARGO_PKG_VERSION"), "caches": caches })
}

fn cache(look: &Look) -> Value {
    let (cache, stats) = match &look.found {
        Ok(found) => found,
        Err(error) => return json!({ "name": look.name, "up": false, "problem": problem(error) }),
    };
    // Clients on the network see the name only. A path need not be text either.
    let mut stats = stats.clone();
    stats.path = PathBuf::new();
    let mut shown = json!(stats);
    shown.as_object_mut().map(|fields| (fields.remove("path"), fields.remove("file_id")));
    json!({
        "name": look.name,
        "up": true,
        "awaits_writer": cache.awaits_writer(),
        "stats": shown,
        "sampled": Sampled::of(cache, BUCKETS),
    })
}

/// Why a file cannot be read, without its path.
fn problem(error: &kennel::Error) -> &'static str {
    match error {
        kennel::Error::NotFound(_) => "there is no such file",
        kennel::Error::NotTrusted { .. } => "the file is not trusted: see --trust",
        kennel::Error::BadFile { .. } => "the file is not a cache file that this version can read",
        _ => "the file cannot be opened",
    }
}
