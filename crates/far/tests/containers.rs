//! Containers that share a near file, which are mount and user namespaces here. Where the system does not allow them, or
//! there is no server, these tests say so and are left out.
#![cfg(target_os = "linux")]

#[path = "common/near.rs"]
mod near;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "common/patience.rs"]
mod patience;
// The test `real` uses all of it.
#[allow(dead_code)]
#[path = "common/server.rs"]
mod server;

use kennel_far::{Expiry, Far, Options};
use near::is_near;
use patience::until;
use server::Server;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(500);
/// The task of a child: the URL, the near file as it sees it, and what to mount where.
const TASK: &str = "KENNEL_FAR_CONTAINER";
/// What the test reads of a child's output.
const SAYS: &str = "container: ";
const PATIENCE: Duration = Duration::from_secs(30);

fn options(url: &str) -> Options {
    Options::new(url).prefix("app:").max_staleness(T).near(kennel::Options::new().capacity(1 << 20))
}

fn get(far: &Far, key: &str) -> String {
    far.get(key).unwrap().map(|value| String::from_utf8(value).unwrap()).unwrap_or_default()
}

/// The process in a container: it mounts what it is told, opens the near file, and does what it reads.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let mut parts = task.split('|');
    let (url, near) = (parts.next().unwrap(), Path::new(parts.next().unwrap()));
    for mount in parts {
        let (what, at) = mount.split_once('>').unwrap();
        let output = Command::new("mount").args(["--bind", what, at]).output().unwrap();
        if !output.status.success() {
            return println!("{SAYS}skipped {}", String::from_utf8_lossy(&output.stderr).replace('\n', " "));
        }
    }
    let far = match options(url).open(near) {
        Ok(far) => far,
        Err(error) => return println!("{SAYS}refused {error}"),
    };
    println!("{SAYS}open");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("get", key) => println!("{SAYS}{}", get(&far, key)),
            ("near", key) => println!("{SAYS}{}", is_near(&far, key)),
            ("seat", _) => println!("{SAYS}{}", far.seat().unwrap_or_default()),
            ("proofs", _) => println!("{SAYS}{}", far.stats().proofs),
            (command, _) => panic!("{command}"),
        }
    }
}

struct Container {
    child: Child,
    input: ChildStdin,
    said: Receiver<String>,
}

impl Container {
    /// Starts the child in namespaces of its own, in which files are mounted at other places. `None`: that is not allowed.
    fn start(url: &str, near: &Path, mounts: &[(&Path, &Path)]) -> Option<Self> {
        let show = |path: &Path| path.display().to_string();
        let mounts = mounts.iter().map(|(what, at)| format!("|{}>{}", show(what), show(at))).collect::<String>();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture"]).env(TASK, format!("{url}|{}{mounts}", show(near)));
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = started else { return skipped("there is no program `unshare`") };
        let output = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness of tests writes before it, on the same line.
                let Some((_, line)) = line.split_once(SAYS) else { continue };
                if say.send(line.to_owned()).is_err() {
                    return;
                }
            }
        });
        Some(Self { input: child.stdin.take().unwrap(), child, said })
    }

    /// The next line; `None` if it ended without one.
    fn hear(&self) -> Option<String> {
        self.said.recv_timeout(PATIENCE).ok()
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.hear().expect("an answer")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn skipped<R>(why: &str) -> Option<R> {
    println!("skipped: this system lets no test mount in a namespace of its own: {why}");
    None
}

/// What a container says first, unless it cannot be had here.
fn first_word(container: &Container) -> Option<String> {
    let Some(said) = container.hear() else { return skipped("unshare failed") };
    match said.strip_prefix("skipped ") {
        Some(why) => skipped(why),
        None => Some(said),
    }
}

struct Place {
    server: Server,
    folder: tempfile::TempDir,
    far: Far,
}

/// A server, and a process of the host that tracks.
fn place(test: &str) -> Option<Place> {
    let Some(program) = server::program() else {
        println!("{test}: left out, because there is no redis-server or valkey-server; `cargo xtask far` brings one");
        return None;
    };
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let server = Server::start(&program, folder.path());
    std::fs::create_dir(folder.path().join("host")).unwrap();
    std::fs::create_dir(folder.path().join("container")).unwrap();
    let far = options(&server.url()).open(folder.path().join("host/near")).unwrap();
    far.set("app:k", "v", Expiry::Never).unwrap();
    until("a near value", || is_near(&far, "app:k"));
    Some(Place { server, folder, far })
}

/// A change by somebody else, which each read that begins T later sees.
fn sees(place: &Place, value: &str, get: &mut dyn FnMut() -> String) {
    place.server.ask(&["SET", "app:k", value]);
    let changed = Instant::now();
    until("the other's value", || {
        let began = changed.elapsed();
        let found = get();
        assert!(found == value || began < T, "{found:?} was read {began:?} after {value:?} was written");
        found == value
    });
}

/// Its locks and its seats are in another folder: two sets of them would exclude nobody.
#[test]
fn a_near_file_that_is_mounted_alone_is_refused_and_the_host_goes_on() {
    let Some(place) = place("a_near_file_that_is_mounted_alone") else { return };
    let (host, there) = (place.folder.path().join("host"), place.folder.path().join("container"));
    std::fs::write(there.join("near"), "").unwrap();
    let mounts = [(host.join("near"), there.join("near"))];
    let mounts = mounts.each_ref().map(|(what, at)| (what.as_path(), at.as_path()));
    let Some(container) = Container::start(&place.server.url(), &there.join("near"), &mounts) else { return };
    let Some(said) = first_word(&container) else { return };
    assert!(said.starts_with("refused ") && said.contains("lock"), "{said}");
    drop(container);
    assert_eq!(std::fs::read_dir(&there).unwrap().count(), 1, "neither locks nor seats were made");
    sees(&place, "w", &mut || get(&place.far, "app:k"));
    until("a near value", || is_near(&place.far, "app:k"));
}

/// With its locks the file can be used, and the container has seats of its own: more processes track, which costs the
/// server a connection each, and nothing else.
#[test]
fn a_near_file_that_is_mounted_with_its_locks_has_more_seats_and_no_old_value() {
    let Some(place) = place("a_near_file_that_is_mounted_with_its_locks") else { return };
    let (host, there) = (place.folder.path().join("host"), place.folder.path().join("container"));
    std::fs::write(there.join("near"), "").unwrap();
    std::fs::create_dir(there.join("near.locks")).unwrap();
    let mounts = ["near", "near.locks"].map(|name| (host.join(name), there.join(name)));
    let mounts = mounts.each_ref().map(|(what, at)| (what.as_path(), at.as_path()));
    let _second = options(&place.server.url()).open(host.join("near")).unwrap();
    let Some(mut container) = Container::start(&place.server.url(), &there.join("near"), &mounts) else { return };
    let Some(said) = first_word(&container) else { return };
    assert_eq!(said, "open");
    // The host's two seats are taken, and this is a third.
    until("a seat of the container", || container.ask("seat").starts_with("seat-"));
    assert!(std::fs::read_dir(&there).unwrap().count() > 2, "its seats lie beside the file that it sees");
    until("proofs of the container", || container.ask("proofs") != "0");
    until("a near value in the container", || container.ask("near app:k") == "true");
    for n in 0..10 {
        sees(&place, &format!("a{n}"), &mut || container.ask("get app:k"));
        sees(&place, &format!("b{n}"), &mut || get(&place.far, "app:k"));
    }
    // The value that one has fetched is near the other: it is one near tier.
    until("a near value", || is_near(&place.far, "app:k"));
    assert_eq!(container.ask("near app:k"), "true");
    // Its tracker alone keeps the near tier of both true.
    let Place { server, folder, far } = place;
    drop(far);
    drop(_second);
    let far = options(&server.url()).keepers(0).open(folder.path().join("host/near")).unwrap();
    let place = Place { server, folder, far };
    until("a near value of a process that does not track", || is_near(&place.far, "app:k"));
    sees(&place, "last", &mut || get(&place.far, "app:k"));
}

#[test]
fn a_near_file_that_is_mounted_with_its_folder_has_one_set_of_seats() {
    let Some(place) = place("a_near_file_that_is_mounted_with_its_folder") else { return };
    let (host, there) = (place.folder.path().join("host"), place.folder.path().join("container"));
    let _second = options(&place.server.url()).open(host.join("near")).unwrap();
    until("the second seat", || _second.seat().is_some());
    let mounts = [(host.as_path(), there.as_path())];
    let Some(mut container) = Container::start(&place.server.url(), &there.join("near"), &mounts) else { return };
    let Some(said) = first_word(&container) else { return };
    assert_eq!(said, "open");
    until("a near value in the container", || container.ask("near app:k") == "true");
    thread::sleep(T * 2);
    assert_eq!(container.ask("seat"), "", "the host's processes have the two seats");
    sees(&place, "w", &mut || container.ask("get app:k"));
}
