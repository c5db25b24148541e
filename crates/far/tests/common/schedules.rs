//! Schedules that random runs do not find: each is a function that fails if a promise is broken.

use super::played::{At, Stage, Stopped, T};
use crate::near::is_near;
use crate::patience::until;
use kennel_far::{Degraded, Expiry, Far, TimeToLive};
use std::thread;
use std::time::{Duration, Instant};

type Outcome = Result<(), String>;

/// What a schedule shows, the rule whose absence it finds, and how to play it.
type Schedule = (&'static str, &'static str, fn() -> Outcome);

pub const ALL: [Schedule; 19] = [
    ("a fill is slow and its key changes", "fills-claim", slow_fill),
    ("a fill is slow and the tracker reconnects", "joining-flushes", slow_fill_and_reconnect),
    ("a proof is renewed between a look and its check", "proof-before-value", renewed_between_look_and_check),
    ("a push comes after the answer to a ping", "proof-is-sending", push_after_pong),
    ("a bypass is followed by a trusted read", "bypasses-delete", bypass_then_trusted),
    ("a voided fill is followed by an older one", "bypasses-delete", voided_then_older),
    ("a waiter gives up on a fill", "fills-claim", waiter_gives_up),
    ("a tracker is cut off", "hits-need-proof", cut_off),
    ("pings are not answered", "hits-need-proof", unanswered),
    ("a write returns", "writes-delete", own_write),
    ("data comes from another run", "fills-check-run", another_run),
    ("a value has an end", "fills-expire", ends),
    ("a brief value is followed by a proved one", "bypasses-delete", proved_after_brief),
    ("a proved value is followed by a brief one", "bypasses-delete", brief_after_proved),
    ("a brief fill is slow and a proved one is newer", "bypasses-delete", slow_brief_fill),
    ("a proved fill is slow and a brief one is newer", "bypasses-delete", slow_proved_fill),
    ("a write ends brief and proved values, and fills of both", "writes-delete", write_ends_both),
    ("a brief value grows old", "brief-ends", brief_ends),
    ("a near file is made again behind a tracker", "proofs-stay-in-file", made_again),
];

fn get(far: &Far, key: &str) -> String {
    far.get(key).unwrap().map_or("none".into(), |value| String::from_utf8(value).unwrap())
}

fn expect(what: &str, found: &str, expected: &str) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

/// A stage, and a near tier that holds `v1` for the key `k`.
fn with_near_value() -> (Stage, Far) {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    until("a near value", || is_near(&far, "k"));
    (stage, far)
}

/// Waits until the tracker has applied what was pushed to it.
fn applied(stage: &Stage) {
    stage.next_ping();
    stage.next_ping();
}

/// A read in another thread.
fn reader(far: &Far, key: &'static str) -> impl FnOnce() -> String + Send + 'static {
    let far = far.clone();
    move || get(&far, key)
}

fn slow_fill() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    let slow = Stopped::at(At::AfterFetch, reader(&far, "k"));
    stage.set("k", "v2");
    applied(&stage);
    expect("the slow read", &slow.go(), "v1")?;
    expect("a later read", &get(&far, "k"), "v2")
}

fn slow_fill_and_reconnect() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    let slow = Stopped::at(At::AfterFetch, reader(&far, "k"));
    stage.refuse_dials(true);
    stage.cut();
    stage.set_silently("k", "v2");
    thread::sleep(T * 2);
    stage.refuse_dials(false);
    until("a new tracker", || stage.trackers() == 1);
    stage.until_trusted(&far);
    slow.go();
    expect("a read after the reconnect", &get(&far, "k"), "v2")
}

#[cfg(feature = "faults")]
fn renewed_between_look_and_check() -> Outcome {
    let (stage, far) = with_near_value();
    stage.hold_pongs(true);
    stage.next_ping();
    stage.set_silently("k", "v2");
    // Whoever begins to read now must not find v1: nothing is proved any more.
    thread::sleep(T + T / 4);
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let reading = far.clone();
    let slow = thread::spawn(move || {
        kennel_far::after_copy(move || {
            arrived.send(()).unwrap();
            may_go.recv().unwrap();
        });
        get(&reading, "k")
    });
    // An error: the read has ended without a copy.
    let has_copied = has_arrived.recv().is_ok();
    stage.push("k");
    stage.hold_pongs(false);
    stage.until_trusted(&far);
    if has_copied {
        go.send(()).unwrap();
    }
    expect("a read that began longer than T after v1's end", &slow.join().unwrap(), "v2")
}

/// Without the hook the schedule cannot be played.
#[cfg(not(feature = "faults"))]
fn renewed_between_look_and_check() -> Outcome {
    Ok(())
}

fn push_after_pong() -> Outcome {
    let (stage, far) = with_near_value();
    stage.hold_pongs(true);
    stage.next_ping();
    stage.hold_pushes(true);
    stage.set("k", "v2");
    let changed = Instant::now();
    thread::sleep(T * 4 / 5);
    stage.hold_pongs(false);
    stage.next_ping();
    stage.hold_pongs(true);
    thread::sleep((T * 13 / 10).saturating_sub(changed.elapsed()));
    expect("a read longer than T after the change", &get(&far, "k"), "v2")?;
    stage.hold_pongs(false);
    Ok(())
}

fn bypass_then_trusted() -> Outcome {
    let (stage, far) = with_near_value();
    stage.hold_pushes(true);
    stage.set("k", "v2");
    let fresh = far.get_fresh("k").unwrap().unwrap();
    expect("a read from the server", &String::from_utf8_lossy(&fresh), "v2")?;
    expect("a later read", &get(&far, "k"), "v2")
}

fn voided_then_older() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    let first = Stopped::at(At::BeforeFetch, reader(&far, "k"));
    // A read from the server ends the first one's claim, as each of them does.
    far.call(&["NOTHING"], &["k"]).unwrap();
    let second = Stopped::at(At::AfterFetch, reader(&far, "k"));
    stage.hold_pushes(true);
    stage.set("k", "v2");
    expect("the first", &first.go(), "v2")?;
    expect("the second, which began before the change", &second.go(), "v1")?;
    expect("a read after v2 was returned", &get(&far, "k"), "v2")
}

fn waiter_gives_up() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "v1");
    let slow = Stopped::at(At::AfterFetch, reader(&far, "k"));
    expect("a reader that waited in vain", &get(&far, "k"), "v1")?;
    stage.set("k", "v2");
    applied(&stage);
    slow.go();
    expect("a later read", &get(&far, "k"), "v2")
}

fn cut_off() -> Outcome {
    let (stage, far) = with_near_value();
    stage.refuse_dials(true);
    stage.cut();
    stage.set_silently("k", "v2");
    thread::sleep(T + T / 4);
    expect("a read longer than T after the change", &get(&far, "k"), "v2")?;
    stage.refuse_dials(false);
    stage.until_trusted(&far);
    Ok(())
}

fn unanswered() -> Outcome {
    let (stage, far) = with_near_value();
    stage.hold_pongs(true);
    stage.next_ping();
    stage.set_silently("k", "v2");
    thread::sleep(T + T / 4);
    let found = get(&far, "k");
    stage.hold_pongs(false);
    expect("a read longer than T after the change", &found, "v2")
}

fn own_write() -> Outcome {
    let (stage, far) = with_near_value();
    far.set("k", "v2", Expiry::Never).unwrap();
    expect("a read after a write", &get(&far, "k"), "v2")?;
    stage.fail_calls(true);
    assert!(far.set("k", "v3", Expiry::Never).is_err());
    expect("a read after a write that failed", &get(&far, "k"), "v3")
}

fn another_run() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_silently("k", "of run 1");
    let slow = Stopped::at(At::BeforeFetch, reader(&far, "k"));
    stage.set_run("run-2");
    stage.set_silently("k", "of run 2");
    expect("a fetch from another run", &slow.go(), "of run 2")?;
    stage.set_run("run-1");
    stage.set_silently("k", "of run 1");
    get(&far, "k-first");
    far.get_fresh("k-first").unwrap();
    expect("a read of the run that is proved", &get(&far, "k"), "of run 1")
}

fn ends() -> Outcome {
    let stage = Stage::new();
    let far = stage.tracked();
    stage.set_for("k", "short", TimeToLive::Millis(100));
    expect("a fill", &get(&far, "k"), "short")?;
    // The time to live counts from the sending of the fetch, which lies before this.
    let filled = Instant::now();
    stage.remove("k");
    thread::sleep(Duration::from_millis(101).saturating_sub(filled.elapsed()));
    expect("a read at the value's end", &get(&far, "k"), "none")
}

/// Two processes of a host: one sees that the near tier is proved. The other does not, because its data came from another
/// run of the server, or because it has asked for nothing yet.
fn proved_and_brief(stage: &Stage) -> (Far, Far) {
    let options = stage.options().degraded(Degraded::Brief);
    let proved = options.open(stage.near()).unwrap();
    stage.set_silently("k-first", "0");
    stage.until_trusted(&proved);
    until("a proof", || proved.stats().proofs > 0);
    let brief = options.keepers(0).open(stage.near()).unwrap();
    (proved, brief)
}

/// A read of a process whose data comes from another run, so that nothing is proved to it.
fn get_brief(stage: &Stage, brief: &Far) -> String {
    stage.set_run("run-2");
    let found = get(brief, "k");
    stage.set_run("run-1");
    found
}

fn proved_after_brief() -> Outcome {
    let stage = Stage::new();
    let (proved, brief) = proved_and_brief(&stage);
    stage.set_silently("k", "v1");
    expect("a brief fill", &get_brief(&stage, &brief), "v1")?;
    stage.set_silently("k", "v2");
    expect("a proved fill", &get(&proved, "k"), "v2")?;
    expect("a brief read after it", &get_brief(&stage, &brief), "v2")
}

fn brief_after_proved() -> Outcome {
    let stage = Stage::new();
    let (proved, brief) = proved_and_brief(&stage);
    stage.set_silently("k", "v1");
    expect("a proved fill", &get(&proved, "k"), "v1")?;
    stage.set_silently("k", "v2");
    expect("a brief fill", &get_brief(&stage, &brief), "v2")?;
    expect("a proved read after it", &get(&proved, "k"), "v2")
}

fn slow_brief_fill() -> Outcome {
    let stage = Stage::new();
    let (proved, brief) = proved_and_brief(&stage);
    stage.set_silently("k", "v1");
    stage.set_run("run-2");
    let slow = Stopped::at(At::AfterFetch, reader(&brief, "k"));
    stage.set_run("run-1");
    stage.set_silently("k", "v2");
    expect("a proved fill", &get(&proved, "k"), "v2")?;
    expect("the slow read, which began before", &slow.go(), "v1")?;
    expect("a brief read after it", &get_brief(&stage, &brief), "v2")?;
    expect("a proved read after it", &get(&proved, "k"), "v2")
}

fn slow_proved_fill() -> Outcome {
    let stage = Stage::new();
    let (proved, brief) = proved_and_brief(&stage);
    stage.set_silently("k", "v1");
    let slow = Stopped::at(At::AfterFetch, reader(&proved, "k"));
    stage.set_silently("k", "v2");
    expect("a brief fill", &get_brief(&stage, &brief), "v2")?;
    expect("the slow read, which began before", &slow.go(), "v1")?;
    expect("a proved read after it", &get(&proved, "k"), "v2")?;
    expect("a brief read after it", &get_brief(&stage, &brief), "v2")
}

fn write_ends_both() -> Outcome {
    let stage = Stage::new();
    let (proved, brief) = proved_and_brief(&stage);
    stage.set_silently("k", "v1");
    expect("a proved fill", &get(&proved, "k"), "v1")?;
    expect("a brief fill", &get_brief(&stage, &brief), "v1")?;
    proved.set("k", "v2", Expiry::Never).unwrap();
    expect("a proved read after the write", &get(&proved, "k"), "v2")?;
    expect("a brief read after the write", &get_brief(&stage, &brief), "v2")?;
    proved.set("k", "v3", Expiry::Never).unwrap();
    stage.set_run("run-2");
    let slow = Stopped::at(At::AfterFetch, reader(&brief, "k"));
    stage.set_run("run-1");
    brief.set("k", "v4", Expiry::Never).unwrap();
    expect("a brief fill that began before a write", &slow.go(), "v3")?;
    expect("a brief read after that write", &get_brief(&stage, &brief), "v4")
}

fn brief_ends() -> Outcome {
    let stage = Stage::new();
    let far = stage.options().degraded(Degraded::Brief).keepers(0).open(stage.near()).unwrap();
    stage.set_silently("k", "v1");
    expect("a brief fill", &get(&far, "k"), "v1")?;
    // It was asked for before this.
    let filled = Instant::now();
    stage.set_silently("k", "v2");
    thread::sleep(T.saturating_sub(filled.elapsed()) + Duration::from_millis(2));
    expect("a read longer than T after it", &get(&far, "k"), "v2")
}

/// The near file is removed with `rm`, and another process makes it again and proves, as the same generation. While the
/// trackers of that process are gone, the one of the removed file goes over to the new one. What it has applied, it has
/// applied to the removed file.
fn made_again() -> Outcome {
    let (stage, old) = with_near_value();
    std::fs::remove_file(stage.near()).unwrap();
    let tracking = stage.options().open(stage.near()).unwrap();
    stage.until_trusted(&tracking);
    let reader = stage.options().keepers(0).open(stage.near()).unwrap();
    stage.until_trusted(&reader);
    expect("a fill of the new file", &get(&reader, "k"), "v1")?;
    drop(tracking);
    stage.set("k", "v2");
    thread::sleep(T + T / 4);
    // Reads that miss look whether the file was removed, once a second.
    let mut n = 0;
    until("a proof of the new file", || {
        n += 1;
        get(&old, &format!("k-{n}"));
        let hits = reader.stats().hits;
        (0..2).for_each(|_| drop(get(&reader, "k-first")));
        reader.stats().hits > hits
    });
    expect("a read longer than T after the change", &get(&reader, "k"), "v2")
}
