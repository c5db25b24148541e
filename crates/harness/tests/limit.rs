//! The lower bound that Kennel is compared with works as documented.

use kennel_harness::Limit;
use std::collections::HashSet;

fn keys(items: u64) -> Vec<[u8; 8]> {
    (0..items).map(u64::to_le_bytes).collect()
}

#[test]
fn every_key_leads_to_a_value() {
    let directory = tempfile::tempdir().unwrap();
    for (items, size) in [(1, 0), (1000, 8), (10, 4096)] {
        let keys = keys(items);
        let limit = Limit::create(&directory.path().join(size.to_string()), 7, &keys, size).unwrap();
        let mut into = vec![0; size];
        keys.iter().for_each(|key| limit.get_into(key, &mut into));
        assert!(into.iter().take(8).all(|&byte| byte == 1));
    }
}

#[test]
fn nearly_every_key_has_a_record_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(10_000);
    let limit = Limit::create(&directory.path().join("limit"), 2_500, &keys, 16).unwrap();
    let numbers: HashSet<[u8; 16]> = keys
        .iter()
        .map(|key| {
            let mut into = [0; 16];
            limit.get_into(key, &mut into);
            into
        })
        .collect();
    assert!(numbers.len() > 9_500, "{} records for 10 000 keys", numbers.len());
}
