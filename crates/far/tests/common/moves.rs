//! What befalls a cluster: slots that move, masters that change, and nodes that end.

use crate::history::{ALL_KEYS, Event, Kind, Log, NO_HOST};
use crate::hosts::{Dice, KEYS, name, now};
use crate::nodes::{Cluster, slots_of};
use std::thread;

/// One fault of a cluster. What it does to the values of keys is logged.
pub fn befall(cluster: &mut Cluster, dice: &mut Dice, log: &mut Log) {
    match dice.up_to(100) {
        0..20 => {
            let node = dice.up_to(cluster.nodes.len() as u64) as usize;
            cluster.nodes[node].cut_trackers();
        }
        20..55 => move_slot(cluster, dice),
        55..80 => force(cluster, dice, log),
        80..92 => fail_over(cluster, log),
        _ => {
            // Those without a replica: what a replica did not get would be lost with its master.
            let node = 1 + dice.up_to(2) as usize;
            cluster.nodes[node].kill();
            thread::sleep(dice.millis(1, 400));
            cluster.nodes[node].restart();
            cluster.until("the node to be back", |_| true);
        }
    }
}

/// A slot with keys in it, the node that has it, and another master.
fn choose(cluster: &Cluster, dice: &mut Dice) -> Option<(usize, usize, usize)> {
    let slot = cluster.slot_of(&name(dice.up_to(KEYS)));
    let from = cluster.owner(slot)?;
    let others: Vec<usize> = (0..4).filter(|node| *node != from && cluster.nodes[*node].is_master()).collect();
    let to = others[dice.up_to(others.len() as u64) as usize];
    Some((slot, from, to))
}

fn move_slot(cluster: &Cluster, dice: &mut Dice) {
    let Some((slot, from, to)) = choose(cluster, dice) else { return };
    cluster.begin_move(slot, from, to);
    thread::sleep(dice.millis(0, 150));
    cluster.move_keys(slot, from, to);
    thread::sleep(dice.millis(0, 150));
    // A key that was stored at the source meanwhile.
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, from, to);
    cluster.until("the slot's new master", |cluster| cluster.owner(slot) == Some(to));
}

/// The slot's keys end, at a moment between the order and the agreement of all nodes. Meanwhile the nodes answer
/// differently, and the server itself is older than it promises.
fn force(cluster: &Cluster, dice: &mut Dice, log: &mut Log) {
    let Some((slot, _, to)) = choose(cluster, dice) else { return };
    let began = now();
    let keys: Vec<u64> = (0..KEYS).filter(|key| cluster.slot_of(&name(*key)) == slot).collect();
    let event = |key, kind, ended| Event { kind, host: NO_HOST, key, value: 0, began, ended, ttl: 0 };
    keys.iter().for_each(|key| log.add(event(*key, Kind::Begin, 0)));
    cluster.force(slot, to);
    cluster.until("the slot's new master", |cluster| cluster.owner(slot) == Some(to));
    let ended = now();
    for key in keys {
        log.add(event(key, Kind::Acknowledged, ended));
        log.add(event(key, Kind::Doubt, ended));
    }
}

fn fail_over(cluster: &Cluster, log: &mut Log) {
    let began = now();
    let to = if cluster.nodes[0].is_master() { 3 } else { 0 };
    // A slot that no key of the test is in.
    cluster.fail_over(to, slots_of(0).start);
    cluster.until("the new master", |cluster| cluster.nodes[3 - to].replicates());
    log.add(Event { kind: Kind::Doubt, host: NO_HOST, key: ALL_KEYS, value: 0, began, ended: now(), ttl: 0 });
}
