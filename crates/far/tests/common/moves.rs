//! What befalls a cluster: slots that move, masters that change, and nodes that end.

use crate::hosts::load;
use crate::nodes::{Cluster, slots_of};
use kennel_far::history::{ALL_KEYS, Dice, Event, Kind, Log, NO_HOST, key_name, now};
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
///
/// Servers before 7.2 delete the loser's keys without telling their file and their replica, so a restart or a failover brings
/// the values back. So the loser never gets the slot again.
fn force(cluster: &mut Cluster, dice: &mut Dice, log: &mut Log) {
    let Some((slot, from, to)) = choose(cluster, dice) else { return };
    cluster.robbed.push((slot, from % 3));
    let began = now();
    let keys: Vec<u64> = (0..load().keys()).filter(|key| cluster.slot_of(&name(*key)) == slot).collect();
    let event = |key, kind, ended| Event { kind, host: NO_HOST, key, value: 0, began, ended, ttl: 0 };
    keys.iter().for_each(|key| log.add(event(*key, Kind::Begin, 0)).unwrap());
    cluster.force(slot, to);
    cluster.until("the slot's new master", |cluster| cluster.owner(slot) == Some(to));
    let ended = now();
    for key in keys {
        log.add(event(key, Kind::Acknowledged, ended)).unwrap();
        log.add(event(key, Kind::Doubt, ended)).unwrap();
    }
}

fn fail_over(cluster: &Cluster, log: &mut Log) {
    let began = now();
    let to = if cluster.nodes[0].is_master() { 3 } else { 0 };
    // A slot that no key of the test is in.
    cluster.fail_over(to, slots_of(0).start);
    cluster.until("the new master", |cluster| cluster.nodes[3 - to].replicates());
    log.add(Event { kind: Kind::Doubt, host: NO_HOST, key: ALL_KEYS, value: 0, began, ended: now(), ttl: 0 }).unwrap();
}
