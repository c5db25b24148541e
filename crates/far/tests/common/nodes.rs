//! A cluster of real servers, which a test changes.

use crate::patience::{comes_to, until};
use crate::server;
use kennel_far::resp::Value;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);

/// The files of a server that speaks TLS.
#[derive(Clone)]
pub struct Certificate {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A server in cluster mode, which keeps what it acknowledged over a kill.
pub struct Node {
    program: PathBuf,
    folder: PathBuf,
    /// Where this test asks it.
    pub port: u16,
    /// Where other nodes and clients ask it: at another port if it speaks TLS.
    pub public: u16,
    tls: Option<Certificate>,
    child: Option<Child>,
    pub id: String,
}

impl Node {
    pub fn start(program: &Path, folder: &Path, tls: Option<&Certificate>) -> Self {
        // Another program may take a port before the server does.
        (0..5).find_map(|_| Self::try_start(program, folder, tls)).expect("a node starts")
    }

    fn try_start(program: &Path, folder: &Path, tls: Option<&Certificate>) -> Option<Self> {
        let port = free_port();
        let public = if tls.is_some() { free_port() } else { port };
        let folder = folder.join(port.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let (program, tls, id) = (program.into(), tls.cloned(), String::new());
        let mut node = Self { program, folder, port, public, tls, child: None, id };
        node.spawn();
        let id = node.until_answer(&["CLUSTER", "MYID"])?;
        node.id = String::from_utf8(id.as_bytes()?.to_vec()).unwrap();
        Some(node)
    }

    pub fn spawn(&mut self) {
        let port = self.port.to_string();
        let child = Command::new(&self.program)
            .args(["--port", &port, "--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--save", ""])
            .args(["--cluster-require-full-coverage", "no", "--cluster-allow-replica-migration", "no"])
            .args([
                "--cluster-replica-validity-factor",
                "0",
                "--repl-diskless-sync-delay",
                "0",
                "--repl-ping-replica-period",
                "1",
            ])
            .args([
                "--bind",
                "127.0.0.1",
                "--loglevel",
                "notice",
                "--logfile",
                "log",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(self.tls_options())
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the server starts"));
    }

    fn tls_options(&self) -> Vec<String> {
        let Some(Certificate { authority, certificate, key }) = &self.tls else { return Vec::new() };
        let [authority, certificate, key] = [authority, certificate, key].map(|file| file.display().to_string());
        let own = ["--tls-port", &self.public.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &authority, "--tls-cluster", "yes", "--tls-replication", "yes"];
        own.into_iter().chain(more).map(str::to_owned).collect()
    }

    fn until_answer(&mut self, command: &[&str]) -> Option<Value> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(value @ Value::Bytes(_)) = self.try_ask(command) {
                return Some(value);
            }
            if self.child.as_mut()?.try_wait().unwrap().is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.until_answer(&["PING"]).expect("the node answers again");
        self.close_slots();
    }

    /// Ends all moves of slots that this node takes part in.
    ///
    /// A server that finds keys of another's slot in its file takes that slot for one that it imports, and then believes
    /// nobody who has it. Redis 7.0 has such keys: it deletes those of a lost slot without telling its file.
    pub fn close_slots(&self) {
        let nodes = self.text(&["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
        let moving = own.split(' ').filter_map(|slot| slot.strip_prefix('['));
        for slot in moving.filter_map(|slot| slot.split('-').next()) {
            self.ask(&["CLUSTER", "SETSLOT", slot, "STABLE"]);
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.public)
    }

    pub fn ask(&self, command: &[&str]) -> Value {
        let reply = self.try_ask(command).expect("the node answers");
        assert!(!matches!(&reply, Value::Error(_)), "{command:?}: {reply:?}");
        reply
    }

    pub fn try_ask(&self, command: &[&str]) -> Option<Value> {
        self.replies(&[command.to_vec()])?.pop()
    }

    /// Sends commands together; none of them fails.
    pub fn ask_all(&self, commands: &[Vec<String>]) {
        let replies = self.replies(commands).expect("the node answers");
        let failed = replies.iter().find(|reply| matches!(reply, Value::Error(_)));
        assert!(failed.is_none(), "{failed:?}");
    }

    fn replies<A: AsRef<[u8]>>(&self, commands: &[Vec<A>]) -> Option<Vec<Value>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        server::replies(stream, commands, 1 << 24)
    }

    /// Whether it is a replica with a link to its master.
    pub fn replicates(&self) -> bool {
        self.text(&["INFO", "replication"]).contains("master_link_status:up")
    }

    pub fn is_master(&self) -> bool {
        self.text(&["INFO", "replication"]).contains("role:master")
    }

    pub fn text(&self, command: &[&str]) -> String {
        let reply = self.try_ask(command);
        reply.and_then(|reply| Some(String::from_utf8_lossy(reply.as_bytes()?).into_owned())).unwrap_or_default()
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Closes the connections of trackers; returns how many.
    pub fn cut_trackers(&self) -> usize {
        let list = self.text(&["CLIENT", "LIST"]);
        let field = |line: &str, name: &str| {
            line.split(' ').find_map(|field| field.strip_prefix(name)).map(str::to_owned).unwrap_or_default()
        };
        let trackers = list.lines().filter(|line| field(line, "flags=").contains('B'));
        trackers.filter(|line| self.try_ask(&["CLIENT", "KILL", "ID", &field(line, "id=")]).is_some()).count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port below those that the system gives out, with room for the port of the bus above it.
fn free_port() -> u16 {
    let mut number = u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    loop {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let port = 10_000 + (number >> 33) as u16 % 12_000;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// Masters with a third of the slots each, and a replica of the first.
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// Slots that were taken by force, each with the number of the master that lost it, which its replica shares.
    pub robbed: Vec<(usize, usize)>,
    /// When a replica last took over.
    pub failed_over: Option<Instant>,
    tls: Option<Certificate>,
    program: PathBuf,
    folder: PathBuf,
}

/// The slots of a master at the beginning.
pub fn slots_of(master: usize) -> std::ops::Range<usize> {
    [0..5461, 5461..10_923, 10_923..16_384][master].clone()
}

impl Cluster {
    pub fn start(program: &Path, folder: &Path) -> Self {
        Self::start_with(program, folder, None)
    }

    /// With a certificate its nodes and clients speak TLS, and show it to each other.
    pub fn start_with(program: &Path, folder: &Path, tls: Option<Certificate>) -> Self {
        let start = || {
            thread::scope(|scope| {
                let nodes: Vec<_> =
                    (0..4).map(|_| scope.spawn(|| Node::start(program, folder, tls.as_ref()))).collect();
                nodes.into_iter().map(|node| node.join().unwrap()).collect()
            })
        };
        let cluster = Self {
            nodes: start(),
            robbed: Vec::new(),
            failed_over: None,
            tls: tls.clone(),
            program: program.into(),
            folder: folder.into(),
        };
        for (i, node) in cluster.nodes.iter().enumerate() {
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]);
            if i < 3 {
                let slots = slots_of(i);
                node.ask(&["CLUSTER", "ADDSLOTSRANGE", &slots.start.to_string(), &(slots.end - 1).to_string()]);
            }
            if i > 0 {
                cluster.meet(node);
            }
        }
        until("the nodes to know each other", || cluster.all_agree());
        cluster.nodes[3].ask(&["CLUSTER", "REPLICATE", &cluster.nodes[0].id]);
        until("the replica", || cluster.nodes[3].text(&["INFO", "replication"]).contains("master_link_status:up"));
        until("the replica to be known", || {
            cluster.nodes.iter().all(|node| node.text(&["CLUSTER", "NODES"]).contains("slave "))
        });
        cluster
    }

    fn meet(&self, node: &Node) {
        self.nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.public.to_string()]);
    }

    /// Adds a master without slots; returns its number.
    pub fn add(&mut self) -> usize {
        let node = Node::start(&self.program, &self.folder, self.tls.as_ref());
        self.meet(&node);
        self.nodes.push(node);
        until("the new node to be known", || self.all_agree());
        self.nodes.len() - 1
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}-cluster://{},{}", self.nodes[0].address(), self.nodes[1].address())
    }

    /// Whether all nodes that answer see the same slots, none of them as lost.
    pub fn all_agree(&self) -> bool {
        let views: Vec<String> = self.nodes.iter().filter(|node| node.child.is_some()).map(Self::view).collect();
        let first = &views[0];
        first.lines().count() == self.nodes.len()
            && views.iter().all(|view| view == first)
            && self
                .nodes
                .iter()
                .filter(|node| node.child.is_some())
                .all(|node| node.text(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    }

    /// Each node with its slots, as this node sees it.
    fn view(node: &Node) -> String {
        let text = node.text(&["CLUSTER", "NODES"]);
        let line = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let slots = fields.get(8..).unwrap_or_default().iter().filter(|slot| !slot.starts_with('['));
            format!("{} {}", fields[0], slots.copied().collect::<Vec<_>>().join(" "))
        };
        let mut lines: Vec<String> = text.lines().filter(|line| !line.contains("handshake")).map(line).collect();
        lines.sort();
        lines.join("\n")
    }

    /// Waits until all nodes agree, and this is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        assert!(self.comes_to(is_so), "waited in vain for {what}:\n{}", self.show());
    }

    /// Whether all nodes come to agree, and this comes to be so.
    pub fn comes_to(&self, is_so: impl Fn(&Self) -> bool) -> bool {
        comes_to(|| is_so(self) && self.all_agree())
    }

    /// Lets a replica take over in the orderly way; whether it did.
    pub fn fail_over(&self, to: usize, slot: usize) -> bool {
        let mut asked: Option<Instant> = None;
        comes_to(|| {
            // The servers give an attempt up after five seconds.
            if asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(6)) && !self.nodes[to].is_master() {
                self.nodes[to].ask(&["CLUSTER", "FAILOVER"]);
                asked = Some(Instant::now());
            }
            self.owner(slot) == Some(to)
        })
    }

    /// What each node sees.
    pub fn show(&self) -> String {
        let view = |node: &Node| {
            let [nodes, role] = [["CLUSTER", "NODES"], ["INFO", "replication"]].map(|command| node.text(&command));
            format!("{}:\n{nodes}{role}{}", node.address(), node.end_of_log())
        };
        self.nodes.iter().map(view).collect::<Vec<_>>().join("\n")
    }

    /// The number of the node that says that it has a slot.
    pub fn owner(&self, slot: usize) -> Option<usize> {
        let has = |node: &Node| {
            let text = node.text(&["CLUSTER", "NODES"]);
            let own = text.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
            own.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse::<usize>().unwrap()..=last.parse().unwrap()).contains(&slot)
            })
        };
        self.nodes.iter().position(has)
    }

    pub fn slot_of(&self, key: &str) -> usize {
        let Value::Int(slot) = self.nodes[1].ask(&["CLUSTER", "KEYSLOT", key]) else { panic!("no slot of {key}") };
        slot as usize
    }

    /// Begins to move a slot in the orderly way.
    pub fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, from, to) = (slot.to_string(), &self.nodes[from], &self.nodes[to]);
        to.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id]);
        from.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id]);
    }

    /// Moves the keys of a slot, one by one.
    pub fn move_keys(&self, slot: usize, from: usize, to: usize) {
        let port = self.nodes[to].public.to_string();
        while let Value::Array(keys) = self.nodes[from].ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "10"])
            && !keys.is_empty()
        {
            for key in keys {
                let key = String::from_utf8(key.as_bytes().unwrap().to_vec()).unwrap();
                // A key may end meanwhile.
                self.nodes[from].try_ask(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
            }
        }
    }

    pub fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), &self.nodes[to].id);
        self.nodes[to].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", id]);
        self.nodes[from].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", id]);
        for node in [from, to] {
            self.nodes[node].ask(&["CLUSTER", "SETSLOT", &slot, "STABLE"]);
        }
    }

    /// Moves a slot with its keys in the orderly way.
    pub fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        self.move_keys(slot, from, to);
        self.end_move(slot, from, to);
    }

    /// A node takes a slot, without its keys and without a word to the one that has it.
    pub fn force(&self, slot: usize, to: usize) {
        let (to, slot) = (&self.nodes[to], slot.to_string());
        let take = ["CLUSTER", "SETSLOT", &slot, "NODE", &to.id].map(str::to_owned).to_vec();
        let bump = ["CLUSTER", "BUMPEPOCH"].map(str::to_owned).to_vec();
        // With a lower epoch than the loser's it would be told that the slot is not its own.
        to.ask_all(&[bump.clone(), take, bump]);
    }
}
