//! Hosts: their workers and trackers, and what befalls them.

use crate::moves;
use crate::nodes::Cluster;
use crate::proxy::Proxy;
use crate::server::Server;
use kennel_far::history::{
    ALL_KEYS, Dice, Event, Kind, Load, Log, NO_HOST, Report, Worker, check, now, open_patiently,
};
use kennel_far::resp::Value;
use kennel_far::{Degraded, Far, Options, RedisStore, Store};
use rustix::process::{Pid, Signal, kill_process};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

const T: Duration = Duration::from_millis(200);
const HOSTS: u64 = 2;
/// Processes of a host that read and write, and others that only track.
const WORKERS: u64 = 3;
const TRACKERS: u64 = 2;
/// The longest time after which logs are checked and begun anew.
const ROUND: Duration = Duration::from_secs(10);
/// That of a cluster, which takes a while to begin.
const ROUND_OF_CLUSTER: Duration = Duration::from_secs(40);
/// The file with the address of a cluster.
const ADDRESS: &str = "address";

/// What all workers do.
pub fn load() -> Load {
    Load { prefix: "app:".into(), hosts: HOSTS, workers: WORKERS }
}

/// The arguments of a worker: its folder, host, number and seed. It never returns.
pub fn work(args: &[String]) -> ! {
    let number = |i: usize| args[i].parse::<u64>().unwrap();
    let (folder, host, worker) = (Path::new(&args[0]), number(1), number(2));
    leave_out();
    let far = open(folder, host, if worker < WORKERS { 2 } else { 1 });
    if worker >= WORKERS {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    let log = Log::open(&folder.join(format!("log-{host}-{worker}"))).unwrap();
    let mut worker = Worker::new(load(), far, log, (host, worker), Dice::new(number(3)));
    loop {
        worker.step().unwrap();
    }
}

#[cfg(feature = "faults")]
fn leave_out() {
    let Ok(name) = std::env::var("KENNEL_FAR_LEAVE_OUT") else { return };
    let rule = kennel_far::Rule::ALL.into_iter().find(|(rule, _)| *rule == name);
    kennel_far::leave_out(Some(rule.expect("the name of a rule").1));
}

#[cfg(not(feature = "faults"))]
fn leave_out() {}

/// The tracker's connections go through the host's proxy, those for data do not. A cluster has no proxy.
fn open(folder: &Path, host: u64, keepers: usize) -> Far {
    let options = match std::fs::read_to_string(folder.join(ADDRESS)) {
        Ok(cluster) => Options::new(cluster).timeout(Duration::from_secs(2)),
        Err(_) => {
            let server = format!("unix://{}", folder.join("server.sock").display());
            Options::new(format!("unix://{}", folder.join(format!("proxy-{host}")).display()))
                .store(move || Ok(Box::new(RedisStore::open(&server, Duration::from_secs(2))?) as Box<dyn Store>))
        }
    };
    let options = options
        .prefix("app:")
        .max_staleness(T)
        .keepers(keepers)
        // On one host fills go on while nothing is proved.
        .degraded(if host == 1 { Degraded::Brief } else { Degraded::Bypass })
        .near(kennel::Options::new().capacity(1 << 20).stripes(4));
    open_patiently(&options, &folder.join(format!("near-{host}"))).unwrap()
}

pub struct Outcome {
    pub history: Report,
    pub faults: u64,
    /// Rounds that ended early, or did not begin: the nodes of a cluster did not come to agree, or a server did not answer
    /// in time.
    pub stuck: u64,
}

/// Runs rounds for so many seconds.
pub fn run(program: &Path, seconds: u64, seed: u64, is_cluster: bool) -> Outcome {
    let what = if is_cluster { "a cluster of " } else { "" };
    println!("histories: {what}{}, {seconds} s, T = {} ms, seed {seed}", program.display(), T.as_millis());
    let mut outcome = Outcome { history: Report::default(), faults: 0, stuck: 0 };
    let mut dice = Dice::new(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && outcome.history.violations.is_empty() {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(2));
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let longest = if is_cluster { ROUND_OF_CLUSTER } else { ROUND };
        let (dice, folder) = (&mut dice, place.path());
        let Some(round) = tried("begin", move || Round::new(program, folder, dice, is_cluster)) else {
            outcome.stuck += 1;
            continue;
        };
        let Played { events, faults, is_stuck } = round.play(left.min(longest));
        outcome.faults += faults;
        outcome.stuck += u64::from(is_stuck);
        outcome.history.add(check(&events, T.as_micros() as u64));
    }
    outcome
}

/// What servers that do not answer in time on a busy machine keep from its end costs a round, and not the run. `None`: it
/// did not end, and why has been said.
fn tried<R>(what: &str, work: impl FnOnce() -> R) -> Option<R> {
    let done = catch_unwind(AssertUnwindSafe(work));
    if done.is_err() {
        println!("a round did not {what}: the reason stands above");
    }
    done.ok()
}

struct Process {
    host: u64,
    worker: u64,
    child: Child,
    is_stopped: bool,
}

/// The far tier of a round.
enum Servers {
    One(Server, Vec<Proxy>),
    Cluster(Cluster),
}

struct Played {
    events: Vec<Event>,
    faults: u64,
    is_stuck: bool,
}

struct Round<'a> {
    folder: PathBuf,
    servers: Servers,
    processes: Vec<Process>,
    log: Log,
    dice: &'a mut Dice,
}

impl<'a> Round<'a> {
    fn new(program: &Path, folder: &Path, dice: &'a mut Dice, is_cluster: bool) -> Self {
        let servers = if is_cluster {
            let cluster = Cluster::start(program, folder);
            std::fs::write(folder.join(ADDRESS), cluster.url()).unwrap();
            Servers::Cluster(cluster)
        } else {
            let server = Server::start(program, folder);
            let proxy = |host| Proxy::start(&folder.join(format!("proxy-{host}")), &server.socket());
            let proxies = (0..HOSTS).map(proxy).collect();
            Servers::One(server, proxies)
        };
        let log = Log::open(&folder.join("log")).unwrap();
        let mut round = Self { folder: folder.into(), servers, processes: Vec::new(), log, dice };
        for host in 0..HOSTS {
            for worker in 0..WORKERS + TRACKERS {
                let child = round.spawn(host, worker);
                round.processes.push(Process { host, worker, child, is_stopped: false });
            }
        }
        round
    }

    fn spawn(&mut self, host: u64, worker: u64) -> Child {
        let args = [host, worker, self.dice.up_to(u64::MAX)].map(|number| number.to_string());
        let program = std::env::current_exe().unwrap();
        Command::new(program).arg("worker").arg(&self.folder).args(args).spawn().unwrap()
    }

    /// Lets the processes work among faults, until a cluster does not recover from one.
    fn play(mut self, time: Duration) -> Played {
        let end = Instant::now() + time;
        let (mut faults, mut is_stuck) = (0, false);
        thread::sleep(Duration::from_millis(300));
        while Instant::now() < end && !is_stuck {
            let began = now();
            is_stuck = match tried("go on", || self.fault()) {
                Some(is_over) => !is_over,
                None => {
                    // What was begun may have changed any key, without a word of it in the log.
                    moves::doubt(&mut self.log, &[ALL_KEYS], began, moves::NEVER);
                    true
                }
            };
            faults += 1;
            thread::sleep(self.dice.millis(10, 120));
        }
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
        let logs = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log"));
        Played { events: logs.flat_map(|log| Log::read(&log).unwrap()).collect(), faults, is_stuck }
    }

    /// `false`: the servers do not recover from it.
    fn fault(&mut self) -> bool {
        match self.dice.up_to(100) {
            0..30 => self.kill(),
            30..60 => self.stop(),
            60..97 => return self.befall(),
            _ => self.resume(),
        }
        true
    }

    /// What befalls the servers. `false`: they do not recover from it.
    fn befall(&mut self) -> bool {
        let (server, proxies) = match &mut self.servers {
            Servers::Cluster(cluster) => {
                let agree = moves::befall(cluster, self.dice, &mut self.log);
                if !agree {
                    println!("the nodes do not come to agree:\n{}", cluster.show());
                }
                return agree;
            }
            Servers::One(server, proxies) => (server, proxies),
        };
        match self.dice.up_to(37) {
            0..15 => drop(server.cut_trackers()),
            15..30 => freeze(&proxies[self.dice.up_to(HOSTS) as usize], self.dice),
            30..34 => {
                server.kill();
                thread::sleep(self.dice.millis(1, 300));
                server.restart();
            }
            _ => flush_all(server, &mut self.log),
        }
        true
    }

    /// Any process, more often one that only tracks or is likely to.
    fn any(&mut self) -> usize {
        self.dice.up_to(self.processes.len() as u64) as usize
    }

    fn kill(&mut self) {
        let i = self.any();
        let (host, worker) = (self.processes[i].host, self.processes[i].worker);
        let _ = self.processes[i].child.kill();
        let _ = self.processes[i].child.wait();
        // What it sent last is executed before its successor writes.
        thread::sleep(Duration::from_millis(50));
        self.processes[i].child = self.spawn(host, worker);
        self.processes[i].is_stopped = false;
    }

    fn signal(&self, i: usize, signal: Signal) {
        let pid = Pid::from_child(&self.processes[i].child);
        kill_process(pid, signal).unwrap();
    }

    /// Stops one process for a while, or for longer: `resume` lets it go on.
    fn stop(&mut self) {
        let i = self.any();
        self.signal(i, Signal::STOP);
        self.processes[i].is_stopped = true;
        if self.dice.up_to(3) > 0 {
            thread::sleep(self.dice.millis(1, 400));
            self.signal(i, Signal::CONT);
            self.processes[i].is_stopped = false;
        }
        if self.processes.iter().filter(|process| process.is_stopped).count() > 3 {
            self.resume();
        }
    }

    fn resume(&mut self) {
        for i in 0..self.processes.len() {
            self.signal(i, Signal::CONT);
            self.processes[i].is_stopped = false;
        }
    }
}

/// A host's trackers are connected, and nothing passes.
fn freeze(proxy: &Proxy, dice: &mut Dice) {
    proxy.freeze(true);
    thread::sleep(dice.millis(1, 600));
    proxy.freeze(false);
}

fn flush_all(server: &Server, log: &mut Log) {
    let began = now();
    let done = server.try_ask(&["FLUSHALL"]) == Some(Value::Bytes(b"OK".to_vec()));
    let event = Event { kind: Kind::Begin, host: NO_HOST, key: ALL_KEYS, value: 0, began, ended: 0, ttl: 0 };
    log.add(event).unwrap();
    if done {
        log.add(Event { kind: Kind::Acknowledged, ended: now(), ..event }).unwrap();
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
