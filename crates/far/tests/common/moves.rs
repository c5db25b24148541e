//! What befalls a cluster: slots that move, masters that change, and nodes that end.

use crate::hosts::load;
use crate::nodes::{Cluster, slots_of};
use kennel_far::history::{ALL_KEYS, Dice, Event, Kind, Log, NO_HOST, key_name, now};
use std::thread;
use std::time::{Duration, Instant};

/// A node of Redis 7.0 that is asked to take over counts the votes of its last election, if that was less than four times
/// `cluster-node-timeout` ago. It becomes a second master for a moment, and what it acknowledges is lost.
const VOTES_ARE_KEPT: Duration = Duration::from_secs(7);
/// The end of a time that does not end.
pub const NEVER: u64 = u64::MAX;

/// One fault of a cluster. What it does to the values of keys is logged. `false`: the nodes do not come to agree.
pub fn befall(cluster: &mut Cluster, dice: &mut Dice, log: &mut Log) -> bool {
    match dice.up_to(100) {
        0..20 => {
            let node = dice.up_to(cluster.nodes.len() as u64) as usize;
            cluster.nodes[node].cut_trackers();
            true
        }
        20..55 => move_slot(cluster, dice, log),
        55..80 => force(cluster, dice, log),
        80..92 => fail_over(cluster, log),
        _ => {
            // Those without a replica: what a replica did not get would be lost with its master.
            let node = 1 + dice.up_to(2) as usize;
            cluster.nodes[node].kill();
            thread::sleep(dice.millis(1, 400));
            cluster.nodes[node].restart();
            let agree = cluster.comes_to(|_| true);
            if !agree {
                doubt(log, &[ALL_KEYS], now(), NEVER);
            }
            agree
        }
    }
}

fn name(key: u64) -> String {
    key_name(&load().prefix, key)
}

/// A slot with keys in it, the node that has it, and another master.
fn choose(cluster: &Cluster, dice: &mut Dice) -> Option<(usize, usize, usize)> {
    let slot = cluster.slot_of(&name(dice.up_to(load().keys())));
    let from = cluster.owner(slot)?;
    let may_take = |node: &usize| {
        *node != from && cluster.nodes[*node].is_master() && !cluster.robbed.contains(&(slot, *node % 3))
    };
    let others: Vec<usize> = (0..4).filter(may_take).collect();
    let to = *others.get(dice.up_to(others.len().max(1) as u64) as usize)?;
    Some((slot, from, to))
}

fn keys_in(cluster: &Cluster, slot: usize) -> Vec<u64> {
    (0..load().keys()).filter(|key| cluster.slot_of(&name(*key)) == slot).collect()
}

/// Promise 1 does not hold for these keys meanwhile, because the nodes do not keep it.
pub fn doubt(log: &mut Log, keys: &[u64], began: u64, ended: u64) {
    for key in keys {
        log.add(Event { kind: Kind::Doubt, host: NO_HOST, key: *key, value: 0, began, ended, ttl: 0 }).unwrap();
    }
}

fn move_slot(cluster: &Cluster, dice: &mut Dice, log: &mut Log) -> bool {
    let Some((slot, from, to)) = choose(cluster, dice) else { return true };
    let began = now();
    cluster.begin_move(slot, from, to);
    thread::sleep(dice.millis(0, 150));
    cluster.move_keys(slot, from, to);
    thread::sleep(dice.millis(0, 150));
    // A key that was stored at the source meanwhile.
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, from, to);
    let agree = cluster.comes_to(|cluster| cluster.owner(slot) == Some(to));
    if !agree {
        doubt(log, &keys_in(cluster, slot), began, NEVER);
    }
    agree
}

/// The slot's keys end, at a moment between the order and the agreement of all nodes. Meanwhile the nodes answer
/// differently, and the server itself is older than it promises.
///
/// Redis 7.0 deletes the loser's keys without telling its file and its replica, so a restart or a failover brings the values
/// back. So the loser never gets the slot again.
fn force(cluster: &mut Cluster, dice: &mut Dice, log: &mut Log) -> bool {
    let Some((slot, from, to)) = choose(cluster, dice) else { return true };
    cluster.robbed.push((slot, from % 3));
    let began = now();
    let keys = keys_in(cluster, slot);
    let event = |key, kind, ended| Event { kind, host: NO_HOST, key, value: 0, began, ended, ttl: 0 };
    keys.iter().for_each(|key| log.add(event(*key, Kind::Begin, 0)).unwrap());
    cluster.force(slot, to);
    let agree = cluster.comes_to(|cluster| cluster.owner(slot) == Some(to));
    let ended = now();
    if agree {
        keys.iter().for_each(|key| log.add(event(*key, Kind::Acknowledged, ended)).unwrap());
        [from, to].iter().for_each(|node| cluster.nodes[*node].close_slots());
    }
    doubt(log, &keys, began, if agree { ended } else { NEVER });
    agree
}

fn fail_over(cluster: &mut Cluster, log: &mut Log) -> bool {
    if cluster.failed_over.is_some_and(|last| last.elapsed() < VOTES_ARE_KEPT) {
        return true;
    }
    let began = now();
    let to = if cluster.nodes[0].is_master() { 3 } else { 0 };
    // A slot that no key of the test is in.
    let took_over = cluster.fail_over(to, slots_of(0).start);
    cluster.failed_over = Some(Instant::now());
    let agree = took_over && cluster.comes_to(|cluster| cluster.nodes[3 - to].replicates());
    doubt(log, &[ALL_KEYS], began, if agree { now() } else { NEVER });
    agree
}
