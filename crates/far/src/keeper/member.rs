//! What a tracker of a cluster checks with each ping: that its master is well, and has the same slots as before.

use super::shared::Shared;
use crate::cluster::{Said, View};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::fault::{Rule, keeps};
use crate::near::Near;
use crate::nears::Nears;
use crate::resp::Value;
use crate::slots::{SlotSet, slot};
use crate::store::unexpected;
use std::sync::Arc;
use std::time::Instant;

/// If the answer about the nodes is longer than this, not every ping asks for it.
const LONG_ANSWER: usize = 64 << 10;
/// After this many pings, the map of the near file is looked at, whether anything is new or not.
const LOOK_EVERY: u32 = 16;
/// How many keys are tried to find one in a slot of the master.
const MOST_TRIES: u32 = 200_000;

pub(super) struct Member {
    /// `HOST:PORT`.
    place: String,
    /// The number of its namespace.
    number: usize,
    said: Said,
    /// The number of the map that has this state.
    map: u64,
    /// Pings since the map was looked at.
    pings: u32,
    /// One of `every` pings asks about the nodes; `left` pings remain until the next one that does.
    every: usize,
    left: usize,
}

impl Member {
    /// Asks a node which slots it has, and changes the map accordingly. `None`: it is no master.
    pub(super) fn join(
        shared: &Shared,
        connection: &mut Connection,
        place: &str,
        deadline: Instant,
    ) -> Result<Option<Self>> {
        let asked = shared.nears.base.clock.now();
        let reply = connection.ask(&["CLUSTER", "NODES"], deadline)?;
        let (view, every) = read(&reply, place, asked)?;
        shared.saw(&view);
        shared.nears.join(&view)?;
        if !view.own.is_master {
            return Ok(None);
        }
        let mut member = Self { place: place.into(), number: 0, said: view.own, map: 0, pings: 0, every, left: every };
        member.check_state(&connection.ask(&["CLUSTER", "INFO"], deadline)?)?;
        (member.number, member.map) = member.position(&shared.nears)?;
        Ok(Some(member))
    }

    /// The near tier of the master.
    pub(super) fn near(&self, nears: &Nears) -> Result<Arc<Near>> {
        nears.part(self.number).cloned().ok_or_else(|| {
            Error::Connection(
                "the near file has no room for a namespace of this master: create it with more `namespaces`".into(),
            )
        })
    }

    /// The number of the master, and of the map.
    fn position(&self, nears: &Nears) -> Result<(usize, u64)> {
        let map = nears.atlas().and_then(|atlas| atlas.current());
        let map = map.ok_or_else(|| Error::Connection("the near file has no room for the map of slots".into()))?;
        let number = map.number_of(&self.said.id);
        let number = number.ok_or_else(|| Error::Connection("the cluster has more masters than a map holds".into()))?;
        Ok((number, map.number))
    }

    /// Whether the next ping asks about the nodes.
    pub(super) fn is_due(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.left = self.every;
            return true;
        }
        false
    }

    /// Checks the answer to `CLUSTER INFO`.
    pub(super) fn check_state(&self, reply: &Value) -> Result<()> {
        let text = reply.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        if field("cluster_state") != Some("ok") {
            return Err(unexpected("`cluster_state:ok`", reply));
        }
        // If this ping asks about the nodes, too, that answer tells more.
        if self.left < self.every && field("cluster_my_epoch") != Some(self.said.epoch.to_string().as_str()) {
            return Err(Error::Connection("the slots of the master changed".into()));
        }
        Ok(())
    }

    /// Checks the answer to `CLUSTER NODES`, which was asked at this host time. Before this returns, any change is in
    /// the map, and the namespaces that it concerns are flushed.
    pub(super) fn check_slots(&mut self, shared: &Shared, reply: &Value, asked: u64) -> Result<()> {
        let (view, every) = read(reply, &self.place, asked)?;
        (self.every, self.left) = (every, every);
        shared.saw(&view);
        self.pings += 1;
        let is_same = view.own == Said { asked, ..self.said.clone() };
        let is_in_map = shared.nears.atlas().is_some_and(|atlas| atlas.stands(self.map));
        if is_same && is_in_map && self.pings < LOOK_EVERY || !keeps(Rule::PingsCompareSlots) {
            return Ok(());
        }
        shared.nears.join(&view)?;
        if !view.own.is_master {
            return Err(Error::Connection("the node is no master any more".into()));
        }
        (self.said, self.pings) = (view.own, 0);
        let (number, map) = self.position(&shared.nears)?;
        if number != self.number {
            return Err(Error::Connection("the master has another namespace".into()));
        }
        self.map = map;
        Ok(())
    }

    /// A key with this beginning in a slot of the master; `None` if there is none.
    pub(super) fn key_here(&self, begin: &[u8]) -> Option<Vec<u8>> {
        key_in(&self.said.slots, begin)
    }
}

fn key_in(slots: &SlotSet, begin: &[u8]) -> Option<Vec<u8>> {
    let key = |number: u32| [begin, format!(":{number}").as_bytes()].concat();
    // With a tag in the beginning all keys lie in one slot.
    let tries = if slots.len() == 0 || slot(&key(0)) == slot(&key(1)) { 1 } else { MOST_TRIES };
    (0..tries).map(key).find(|key| slots.has(slot(key)))
}

/// Parses the answer to `CLUSTER NODES`. Also returns a number N: one of N pings is to ask for the answer.
fn read(reply: &Value, place: &str, asked: u64) -> Result<(View, usize)> {
    let text = reply.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let view = View::parse(&text, place, asked).ok_or_else(|| unexpected("the nodes of a cluster", reply))?;
    Ok((view, text.len() / LONG_ANSWER + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::Bytes(text.into())
    }

    fn member(text: &str) -> Member {
        let (view, every) = read(&bytes(text), "h:1", 7).unwrap();
        Member { place: "h:1".into(), number: 0, said: view.own, map: 0, pings: 0, every, left: every }
    }

    const ONE: &str = "a h:1@2 myself,master - 0 0 12 connected 0-99";

    #[test]
    fn a_long_answer_is_asked_for_with_every_nth_ping_and_the_epoch_with_each() {
        let mut short = member(ONE);
        assert!((0..5).all(|_| short.is_due()));
        let many = format!("{ONE}\n{}", "b h:2@3 slave a 0 0 12 connected\n".repeat(6000));
        let mut long = member(&many);
        let due: Vec<bool> = (0..8).map(|_| long.is_due()).collect();
        assert_eq!(due, [false, false, false, true, false, false, false, true]);
        let info = |state, epoch| bytes(&format!("cluster_state:{state}\r\ncluster_my_epoch:{epoch}\r\n"));
        assert!(long.check_state(&info("ok", 13)).is_ok(), "this ping asks about the nodes");
        assert!(!long.is_due() && long.check_state(&info("ok", 12)).is_ok());
        assert!(long.check_state(&info("ok", 13)).is_err());
        assert!(short.check_state(&info("fail", 12)).is_err() && short.check_state(&bytes("")).is_err());
    }

    #[test]
    fn a_probe_lies_in_a_slot_of_its_master() {
        let slots = member(ONE).said.slots;
        assert!(slot(&key_in(&slots, b"app:probe").unwrap()) < 100);
        assert_eq!(key_in(&slots, b"{app}:probe"), None, "all of these keys lie in another slot");
        assert!(key_in(&SlotSet::default(), b"app:probe").is_none());
    }
}
