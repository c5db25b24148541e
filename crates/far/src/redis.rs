//! Data calls over the crate `redis`, with one connection for each thread that is in a call.

use crate::address::{Address, Place, Reach};
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::link::Link;
use crate::master::{check_master, find};
use crate::resp::{Value, encode};
use crate::store::{Answer, Fetched, Reply, Store, TimeToLive, unexpected};
use redis::ConnectionLike;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many connections are kept open while no call uses them.
const MOST_IDLE: usize = 32;
/// A connection that was idle for longer is tested before a write uses it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Data calls over the crate `redis`.
pub struct RedisStore {
    address: Address,
    timeout: Duration,
    /// The server is a node of a cluster, where a replica redirects to its master.
    is_node: bool,
    idle: Mutex<Idle>,
}

struct Idle {
    connections: Vec<Connection>,
    /// Raised when all older connections are to be closed; never 0.
    round: u64,
}

/// A connection to one run of a server. It is never reconnected.
struct Connection {
    redis: Link,
    run_id: Arc<str>,
    round: u64,
    used: Instant,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Data calls to another address than the tracker's: see [`Options::store`](crate::Options::store). The URL has the
    /// form that [`Options::new`](crate::Options::new) describes.
    ///
    /// # Errors
    /// [`Error::Option`].
    pub fn open(url: &str, timeout: Duration) -> Result<Self> {
        Ok(Self::new(Address::parse(url, &Reach::default())?, timeout))
    }

    pub(crate) fn new(address: Address, timeout: Duration) -> Self {
        Self { address, timeout, is_node: false, idle: Mutex::new(Idle { connections: Vec::new(), round: 1 }) }
    }

    /// Data calls to a node of a cluster.
    pub(crate) fn of_node(address: Address, timeout: Duration) -> Self {
        Self { is_node: true, ..Self::new(address, timeout) }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `ask` with a connection of the pool or a new one, and returns the connection to the pool if it still
    /// works. `is_read`: `ask` changes nothing, so it is called again with a new connection if an old one turns out to
    /// be closed.
    fn with<R>(&self, is_read: bool, mut ask: impl FnMut(&mut Connection) -> redis::RedisResult<R>) -> Result<R> {
        while let Some(mut connection) = self.take_idle() {
            let is_tried = is_read || connection.used.elapsed() < TRUSTED_IDLE;
            if !is_tried && redis::cmd("PING").query::<()>(&mut connection.redis).is_err() {
                self.renew();
                continue;
            }
            match ask(&mut connection) {
                Err(error) if !is_of_server(&error) => {
                    // The others are as old, and likely to be closed as well.
                    self.renew();
                    if !is_read || error.is_timeout() {
                        return Err(failed(error));
                    }
                }
                answer => {
                    self.put_back(connection);
                    return answer.map_err(failed);
                }
            }
        }
        let mut connection = self.connect(Instant::now() + self.timeout)?;
        let answer = ask(&mut connection);
        if answer.as_ref().err().is_none_or(is_of_server) {
            self.put_back(connection);
        }
        answer.map_err(failed)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        let round = idle.round;
        idle.connections.retain(|connection| connection.round == round);
        idle.connections.pop()
    }

    fn put_back(&self, mut connection: Connection) {
        connection.used = Instant::now();
        let mut idle = self.idle();
        if connection.round == idle.round && idle.connections.len() < MOST_IDLE {
            idle.connections.push(connection);
        }
    }

    fn connect(&self, deadline: Instant) -> Result<Connection> {
        let round = self.idle().round;
        find(&self.address, deadline, |endpoint, deadline| {
            let mut redis = Link::open(&self.address, endpoint, deadline, self.timeout)?.map_err(failed)?;
            let mut pipe = redis::pipe();
            pipe.cmd("ROLE").cmd("INFO").arg("server").ignore_errors();
            let replies: Vec<redis::RedisResult<redis::Value>> = pipe.query(&mut redis).map_err(failed)?;
            let replies = replies.into_iter().map(|reply| reply.ok().map(value)).collect();
            let run_id = run_of(replies, self.is_node)?.into();
            Ok(Connection { redis, run_id, round, used: Instant::now() })
        })
    }

    /// Whether each read asks if the server is still a master. Sentinels demote masters that go on serving. At a fixed
    /// address, the tracker's pings notice that a master became a replica.
    fn asks_role(&self, connection: &Connection) -> bool {
        let is_named = matches!(self.address.place, Place::Master(_)) && keeps(Rule::ReadsAskRole);
        is_named && !connection.run_id.is_empty()
    }
}

/// The run of the server that answered `ROLE` and `INFO server`. If the user may not call these commands, the run is
/// empty: no tracker proves an empty run, so the near tier stays empty, and data calls work.
fn run_of(replies: Vec<Option<Value>>, is_node: bool) -> Result<String> {
    let [Some(role @ Value::Array(_)), Some(Value::Bytes(info))] = replies.as_slice() else { return Ok(String::new()) };
    if !is_node && keeps(Rule::NamedAreMasters) {
        check_master(role)?;
    }
    Ok(run_id(&String::from_utf8_lossy(info)).unwrap_or_default().to_owned())
}

/// The run of a server in its reply to `INFO server`.
pub(crate) fn run_id(info: &str) -> Option<&str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix("run_id:"))
}

impl RedisStore {
    /// [`fetch`](Store::fetch). `is_asking`: this is the node of a cluster to which the slot is being moved.
    pub(crate) fn fetch_as(&self, keys: &[&[u8]], is_asking: bool) -> Result<Fetched> {
        let question = Question::new(keys, is_asking);
        self.with(true, |connection| {
            let asks_role = self.asks_role(connection);
            connection.redis.send(question.commands(asks_role))?;
            question.answered(connection, asks_role)
        })
    }

    /// Sends a question over an idle connection, if there is one.
    pub(crate) fn send(&self, question: &Question) -> Option<Sent> {
        while let Some(mut connection) = self.take_idle() {
            let asks_role = self.asks_role(&connection);
            match connection.redis.send(question.commands(asks_role)) {
                Ok(()) => return Some(Sent { connection, asks_role, was_idle: true }),
                Err(_) => self.renew(),
            }
        }
        None
    }

    /// Sends a question over a new connection.
    pub(crate) fn send_anew(&self, question: &Question, deadline: Instant) -> Result<Sent> {
        let mut connection = self.connect(deadline)?;
        let asks_role = self.asks_role(&connection);
        connection.redis.send(question.commands(asks_role)).map_err(failed)?;
        Ok(Sent { connection, asks_role, was_idle: false })
    }

    /// The answers to a question that was sent. It is sent again over a new connection if an old one turns out to be closed.
    pub(crate) fn receive(&self, sent: Sent, question: &Question, deadline: Instant) -> Result<Fetched> {
        let Sent { mut connection, asks_role, was_idle } = sent;
        connection.redis.wait_for(deadline.saturating_duration_since(Instant::now()));
        match question.answered(&mut connection, asks_role) {
            Ok(fetched) => {
                connection.redis.wait_for(self.timeout);
                self.put_back(connection);
                Ok(fetched)
            }
            Err(error) => {
                self.renew();
                if !was_idle || error.is_timeout() {
                    return Err(failed(error));
                }
                self.receive(self.send_anew(question, deadline)?, question, deadline)
            }
        }
    }

    /// [`call`](Store::call). `is_asking`: as for [`fetch_as`](Self::fetch_as).
    pub(crate) fn call_as(&self, command: &[&[u8]], is_asking: bool) -> Result<Reply> {
        let mut parts = command.iter();
        let name = parts.next().copied().unwrap_or_default();
        let mut packed = redis::cmd(&String::from_utf8_lossy(name));
        parts.for_each(|part| {
            packed.arg(*part);
        });
        let reply = self.with(false, |connection| {
            if is_asking {
                redis::cmd("ASKING").query::<()>(&mut connection.redis)?;
            }
            let reply = connection.redis.req_command(&packed)?;
            // An error of the server is an answer; a replica's refusal means that this is no longer the master.
            if let redis::Value::ServerError(error) = &reply
                && ["READONLY", "MASTERDOWN"].contains(&error.code())
            {
                connection.round = 0;
                self.renew();
            }
            Ok(Reply { run_id: Arc::clone(&connection.run_id), value: value(reply) })
        })?;
        match reply.value {
            Value::Error(text) => Err(Error::Server(text)),
            value => Ok(Reply { value, ..reply }),
        }
    }
}

/// The commands that ask for the values of keys.
pub(crate) struct Question {
    /// The last of them asks for the role.
    commands: Vec<u8>,
    without_role: usize,
    keys: usize,
    is_asking: bool,
}

impl Question {
    pub(crate) fn new(keys: &[&[u8]], is_asking: bool) -> Self {
        let mut commands = Vec::new();
        for (name, key) in keys.iter().flat_map(|key| [("GET", key), ("PTTL", key)]) {
            if is_asking {
                encode(&["ASKING"], &mut commands);
            }
            encode(&[name.as_bytes(), key], &mut commands);
        }
        let without_role = commands.len();
        encode(&["ROLE"], &mut commands);
        Self { commands, without_role, keys: keys.len(), is_asking }
    }

    fn commands(&self, asks_role: bool) -> &[u8] {
        if asks_role { &self.commands } else { &self.commands[..self.without_role] }
    }

    /// The answers, which come over this connection.
    fn answered(&self, connection: &mut Connection, asks_role: bool) -> redis::RedisResult<Fetched> {
        let of_key = if self.is_asking { 4 } else { 2 };
        let mut replies = connection.redis.receive(self.keys * of_key + usize::from(asks_role))?;
        // A server that is a master after it read the values was a master when it read them.
        if asks_role && replies.pop().is_none_or(|role| check_master(&value(role)).is_err()) {
            return Err(std::io::Error::other("the server is no longer the master").into());
        }
        let mut answers = Vec::with_capacity(self.keys);
        let mut replies = replies.into_iter().skip(of_key / 2 - 1).step_by(of_key / 2);
        while let (Some(got), Some(pttl)) = (replies.next(), replies.next()) {
            answers.push(answer(value(got), &value(pttl)));
        }
        Ok(Fetched { run_id: Arc::clone(&connection.run_id), answers })
    }
}

/// A question on its way to the server.
pub(crate) struct Sent {
    connection: Connection,
    asks_role: bool,
    was_idle: bool,
}

impl Store for RedisStore {
    fn fetch(&self, keys: &[&[u8]]) -> Result<Fetched> {
        self.fetch_as(keys, false)
    }

    fn call(&self, command: &[&[u8]]) -> Result<Reply> {
        self.call_as(command, false)
    }

    fn renew(&self) {
        let mut idle = self.idle();
        idle.round += 1;
        idle.connections.clear();
    }
}

fn answer(got: Value, pttl: &Value) -> Answer {
    match got {
        Value::Null => Answer::Absent,
        // A value whose end is unknown is not kept.
        Value::Bytes(bytes) => Answer::Value(bytes, TimeToLive::of(pttl).unwrap_or(TimeToLive::Over)),
        other => Answer::Refused(unexpected("a string", &other)),
    }
}

/// Whether the error is a reply of the server, after which the connection still works.
fn is_of_server(error: &redis::RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(_) | redis::ErrorKind::Extension)
}

fn failed(error: redis::RedisError) -> Error {
    match error.code() {
        Some(code) if is_of_server(&error) => {
            Error::Server(format!("{code} {}", error.detail().unwrap_or_default()).trim_end().to_owned())
        }
        _ => Error::Connection(error.to_string()),
    }
}

/// A reply of the crate `redis` in our own form.
fn value(reply: redis::Value) -> Value {
    let all = |values: Vec<redis::Value>| values.into_iter().map(value).collect();
    match reply {
        redis::Value::Nil => Value::Null,
        redis::Value::Int(number) => Value::Int(number),
        redis::Value::BulkString(bytes) => Value::Bytes(bytes),
        redis::Value::Array(values) | redis::Value::Set(values) => Value::Array(all(values)),
        redis::Value::SimpleString(text) => Value::Bytes(text.into_bytes()),
        redis::Value::Okay => Value::Bytes(b"OK".to_vec()),
        redis::Value::Map(pairs) => Value::Array(pairs.into_iter().flat_map(|(k, v)| [value(k), value(v)]).collect()),
        redis::Value::Attribute { data, .. } => value(*data),
        redis::Value::Double(number) => Value::Bytes(number.to_string().into_bytes()),
        redis::Value::Boolean(yes) => Value::Bool(yes),
        redis::Value::VerbatimString { text, .. } => Value::Bytes(text.into_bytes()),
        redis::Value::BigNumber(digits) => Value::Bytes(digits),
        redis::Value::Push { data, .. } => Value::Push(all(data)),
        redis::Value::ServerError(error) => {
            Value::Error(format!("{} {}", error.code(), error.details().unwrap_or_default()).trim_end().to_owned())
        }
        other => Value::Error(format!("a reply of an unknown type: {other:?}")),
    }
}
