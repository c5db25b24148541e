//! A process is killed at each store to the near file while it changes the map of a cluster, flushes, or begins to prove.
//!
//! Afterwards the map is wholly the old one or wholly the new one, or it is lost and no process uses it. No process
//! reads a value that was flushed for the map that it uses. Another process can complete what was begun.

use super::Nears;
use crate::cluster::{Map, View};
use crate::near::{Basis, Near};
use crate::proof::Scope;
use crate::slots::slot;
use kennel::Expiry;
use kennel::crash::{Plan, arm, passed};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// The task of a child: the path of the near file, the name of the case, and the store at which it dies.
const TASK: &str = "KENNEL_FAR_KILL";
/// Identities of servers.
const FIRST: u64 = 7;
const SECOND: u64 = 8;
const SCOPE: Scope<'_> = Scope {
    max_staleness_us: 60_000_000,
    is_tracked: true,
    database: 0,
    prefixes: &[],
    is_cluster: true,
    is_brief: false,
};

struct Case {
    name: &'static str,
    /// What nodes have said before.
    before: &'static [&'static str],
    /// What the child does.
    work: fn(&Nears),
    /// Masters that may have the key's slot afterwards, by their ids: before and after.
    owners: [Option<&'static str>; 2],
    check: fn(&Nears),
}

const A: &str = "a h:1@2 myself,master - 0 0 1 connected 0-16383";
const WITHOUT: &str = "a h:1@2 myself,master - 0 0 1 connected 101-16383";
const B: &str = "b h:2@3 myself,master - 0 0 2 connected 0-100";
const REPLICA: &str = "a h:1@2 myself,slave c 0 0 1 connected";

const CASES: [Case; 6] = [
    Case {
        name: "a master takes a slot of another",
        before: &[WITHOUT, A],
        work: |nears| join(nears, B, 10),
        owners: [Some("a"), Some("b")],
        check: |nears| only_the_owner_has_values(nears, &["b"]),
    },
    Case {
        name: "a master loses a slot to nobody",
        before: &[A],
        work: |nears| join(nears, WITHOUT, 10),
        owners: [Some("a"), None],
        check: |nears| only_the_owner_has_values(nears, &["a"]),
    },
    Case {
        name: "a master is none any more",
        before: &[A],
        work: |nears| join(nears, REPLICA, 10),
        owners: [Some("a"), None],
        check: |nears| {
            let is_gone = map(nears).is_none_or(|map| map.number_of("a").is_none());
            let part = nears.part(0).unwrap();
            // The next master with this number must not inherit the proof.
            assert!(!is_gone || part.proof_of(FIRST).is_none(), "a proof of a master that is gone");
        },
    },
    Case {
        name: "the map is lost",
        before: &[A],
        work: |nears| {
            let map = nears.base.namespace_beside("map").unwrap();
            map.delete("map").unwrap();
            join(nears, A, 10);
        },
        owners: [Some("a"), Some("a")],
        check: |_| (),
    },
    Case {
        name: "a tracker flushes and proves",
        before: &[A],
        work: |nears| {
            let part = nears.part(0).unwrap();
            let lineage = part.lineage().unwrap();
            part.end_generation(lineage, part.proof().generation()).unwrap();
            let generation = part.begin_generation(lineage, SECOND).unwrap().unwrap();
            part.flush();
            assert!(part.prove(lineage, generation, part.clock.now()).unwrap());
        },
        owners: [Some("a"), Some("a")],
        check: |nears| {
            let part = nears.part(0).unwrap();
            let is_proved = part.proof_of(SECOND).is_some_and(|proof| part.is_fresh(proof));
            assert!(!is_proved || value(part).is_none(), "a value from before the flush is proved");
        },
    },
    Case {
        name: "a push is applied and proved",
        before: &[A],
        work: |nears| {
            let part = nears.part(0).unwrap();
            part.delete_multi(&[key(), b"app:other".to_vec()]);
            // In another generation, so that the test sees it.
            let lineage = part.lineage().unwrap();
            part.end_generation(lineage, part.proof().generation()).unwrap();
            part.begin_generation(lineage, SECOND).unwrap().unwrap();
        },
        owners: [Some("a"), Some("a")],
        check: |nears| {
            let part = nears.part(0).unwrap();
            assert!(part.generation_of(SECOND).is_none() || value(part).is_none(), "a deleted value is proved");
        },
    },
];

/// A key in one of the first slots.
fn key() -> Vec<u8> {
    (0..u32::MAX).map(|number| format!("app:{number}").into_bytes()).find(|key| slot(key) <= 100).unwrap()
}

fn join(nears: &Nears, text: &str, asked: u64) {
    let address = format!("{}:1", &text[..1]);
    nears.join(&View::parse(text, &address, asked).unwrap()).unwrap();
}

fn map(nears: &Nears) -> Option<std::sync::Arc<Map>> {
    nears.atlas().unwrap().current()
}

fn value(near: &Near) -> Option<Vec<u8>> {
    near.of(Basis::Proved).get(key())
}

/// As soon as a map shows that a slot changed hands, these masters have no value from before.
fn only_the_owner_has_values(nears: &Nears, flushed: &[&str]) {
    let Some(map) = map(nears).filter(|map| map.owner(slot(&key())) != map.number_of("a")) else { return };
    for id in flushed.iter().chain(&["a"]) {
        let part = nears.part(map.number_of(id).unwrap()).unwrap();
        assert_eq!(value(part), None, "{id} has a value from before the slot changed hands");
    }
}

fn open(path: &Path) -> Nears {
    let options = kennel::Options::new().capacity(1 << 20);
    Nears::of_cluster(Near::open(path, &options, &SCOPE, std::sync::Arc::default()).unwrap()).unwrap()
}

/// A near file whose map has what the nodes said; all parts are proved, and each has a value of the key.
fn prepare(path: &Path, case: &Case) -> Nears {
    let nears = open(path);
    case.before.iter().zip(1..).for_each(|(text, asked)| join(&nears, text, asked));
    for number in [0, 1] {
        let part = nears.part(number).unwrap();
        let lineage = part.lineage().unwrap();
        let generation = part.begin_generation(lineage, FIRST).unwrap().unwrap();
        part.prove(lineage, generation, part.clock.now()).unwrap();
        part.store_unclaimed(&key(), b"old", Expiry::Never);
    }
    nears
}

/// The child of the test: it dies at the store that its task names.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [path, name, nth] = task.split('|').collect::<Vec<_>>()[..] else { panic!("{task}") };
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let nears = open(Path::new(path));
    // The parts are opened before the work begins.
    [0, 1].iter().for_each(|number| assert!(nears.part(*number).is_some()));
    arm(None, nth.parse().unwrap(), Plan::Kill);
    (case.work)(&nears);
    passed();
    println!("went through");
}

/// Whether a child dies at its store with this number.
fn dies(path: &Path, case: &Case, nth: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "nears::kills::child", "--nocapture"]);
    let output = command.env(TASK, format!("{}|{}|{nth}", path.display(), case.name)).stdin(Stdio::null()).output();
    let output = output.unwrap();
    let went_through = String::from_utf8_lossy(&output.stdout).contains("went through");
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(went_through || signal == Some(9), "{}, store {nth}: {}, {said}", case.name, output.status);
    !went_through
}

/// Which master has the key: `None` if the map is lost, else its id.
fn check(nears: &Nears, case: &Case) -> Option<Option<String>> {
    (case.check)(nears);
    let map = map(nears)?;
    assert_eq!(Map::decode(&map.encode()).as_ref(), Some(&*map));
    let owner = map.owner(slot(&key())).map(|number| map.master(number).expect("a slot of a master").id.clone());
    assert!(case.owners.contains(&owner.as_deref()), "{}: {owner:?}", case.name);
    // The other slots are all there: the map is whole.
    let rest = map.owner(16_000).and_then(|number| map.master(number));
    assert!(rest.is_some_and(|master| master.id == "a") || owner.is_none(), "{map:?}");
    Some(owner)
}

#[test]
fn a_process_that_is_killed_at_any_store_leaves_an_old_or_a_new_map_and_no_stale_value() {
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for (i, case) in CASES.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for nth in 0.. {
            let path = place.path().join(format!("near-{i}-{nth}"));
            let survivor = prepare(&path, case);
            let is_killed = dies(&path, case, nth);
            // A process that was running all the time, and a new one.
            for nears in [&survivor, &open(&path)] {
                seen.insert(check(nears, case));
            }
            // Another process completes what the killed one began.
            (case.work)(&survivor);
            let last = check(&survivor, case).expect("a map");
            assert_eq!(last.as_deref(), case.owners[1], "{}, store {nth}: the survivor's map", case.name);
            drop(survivor);
            std::fs::remove_file(&path).unwrap();
            if !is_killed {
                assert!(nth >= 3, "{}: only {nth} stores", case.name);
                println!("{}: killed at {nth} stores", case.name);
                break;
            }
        }
        for owner in case.owners {
            assert!(seen.contains(&Some(owner.map(str::to_owned))), "{}: {owner:?} was not seen", case.name);
        }
    }
}
