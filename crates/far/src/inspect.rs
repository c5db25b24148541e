//! What a near file shows without the server.

use crate::clock::HostClock;
use crate::cluster::Atlas;
use crate::error::Result;
use crate::far::Master;
use crate::keeper::{SeatFile, look_at_seats};
use crate::proof::{NAME, PROOF, Stamped};
use crate::report::{NAMESPACE, ProcessReport, has_total, process_prefix, total_key};
use crate::stats::Stats;
use kennel::{Cache, NamespaceOptions};
use std::path::Path;
use std::time::Duration;

/// What the namespaces of near tiers begin with.
const TIERS: &str = "kennel-far:";

/// One near tier of a file: the copies of the keys under certain prefixes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NearTier {
    /// The name of its namespace.
    pub namespace: String,
    /// How long ago it was last proved to have all changes; `None` if nothing is proved. In a cluster, the oldest proof of
    /// the masters that have slots.
    pub proof_age: Option<Duration>,
    /// The masters of a cluster, as the file knows them. Empty without a cluster.
    pub masters: Vec<Master>,
    /// The seats of its trackers.
    pub seats: Vec<Seat>,
    /// The processes with keepers that reported in the last seconds.
    pub processes: Vec<ProcessReport>,
    /// What all processes with keepers did since the file was created, as far as they reported it. A process reports once
    /// a second; `round_trip_us` is the longest of those in `processes`.
    pub totals: Stats,
}

/// A seat of a near tier.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Seat {
    /// Its name.
    pub name: &'static str,
    /// Whether a process has it.
    pub is_held: bool,
    /// The id of that process. `None`: no process has it, or the process is in another process namespace.
    pub pid: Option<u32>,
    /// The tracker's connections, one to each master: the number of the connection, which `CLIENT LIST` shows, and the
    /// run of the server.
    pub connections: Vec<(i64, String)>,
    /// Why the seat cannot be inspected.
    pub problem: Option<String>,
}

impl NearTier {
    /// T, the `max_staleness`, of the processes that reported: the longest if they differ.
    #[must_use]
    pub fn max_staleness(&self) -> Option<Duration> {
        self.processes.iter().map(|process| process.max_staleness).max()
    }

    /// Whether the proof is at most T old. A tier that no running process uses is not proved.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.proof_age.zip(self.max_staleness()).is_some_and(|(age, staleness)| age <= staleness)
    }
}

/// Looks at the near tiers of a file: read-only, without a lock and without the server. The options are those for opening
/// the file.
///
/// # Errors
/// [`Error::Near`](crate::Error::Near) if the file cannot be opened.
pub fn inspect(path: impl AsRef<Path>, options: &kennel::Options) -> Result<Vec<NearTier>> {
    let file = options.open_read_only(path)?;
    // The namespaces of a cluster's masters have another `:` in their names.
    let is_tier = |name: &String| {
        let rest = name.strip_prefix(TIERS);
        name != NAMESPACE && rest.is_some_and(|rest| !rest.contains(':'))
    };
    let tiers = file.namespaces().into_iter().filter(is_tier);
    tiers.map(|namespace| look(&file, namespace)).collect()
}

fn look(file: &Cache, namespace: String) -> Result<NearTier> {
    let masters = masters(file, &namespace)?;
    let proof_age = match masters.as_slice() {
        [] => proof_age(&file.namespace(&namespace, &NamespaceOptions::new())?),
        masters => {
            let ages = masters.iter().filter(|master| master.slots > 0).map(|master| master.proof_age);
            ages.collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().max())
        }
    };
    let records = file.namespace(NAMESPACE, &NamespaceOptions::new())?;
    let report = |key: Vec<u8>| ProcessReport::of_text(&records.get(key)?);
    let mut processes: Vec<_> = records.keys_with(process_prefix(&namespace)).filter_map(report).collect();
    processes.sort_by_key(|process| process.pid);
    processes.dedup();
    let number = |bytes: Vec<u8>| std::str::from_utf8(&bytes).ok()?.parse::<u64>().ok();
    let total = |name: &'static str| match has_total(name) {
        true => records.get(total_key(&namespace, name)).and_then(number).unwrap_or(0),
        false => processes.iter().map(|process| process.round_trip.as_micros() as u64).max().unwrap_or(0),
    };
    Ok(NearTier {
        proof_age,
        masters,
        seats: look_at_seats(file.path(), &namespace).into_iter().map(seat).collect(),
        totals: Stats::by_name(total),
        processes,
        namespace,
    })
}

fn masters(file: &Cache, namespace: &str) -> Result<Vec<Master>> {
    let map = format!("{namespace}:map");
    if !file.namespaces().contains(&map) {
        return Ok(Vec::new());
    }
    let map = Atlas::new(file.namespace(&map, &NamespaceOptions::new())?, HostClock::new()).last_known();
    let of = |(number, master): (usize, &crate::cluster::Master)| {
        let part = file.namespace(&format!("{namespace}:{number}"), &NamespaceOptions::new())?;
        Ok(Master {
            id: master.id.clone(),
            address: master.address.clone(),
            slots: map.count(number),
            proof_age: proof_age(&part),
        })
    };
    map.masters().map(of).collect()
}

fn proof_age(tier: &Cache) -> Option<Duration> {
    let word = |index| tier.namespace_word(index).map(Stamped);
    let (proof, name) = (word(PROOF)?, word(NAME)?);
    let is_proof = proof.low() != 0 && name.generation() == proof.generation();
    let age = proof.age(HostClock::new().now()).filter(|_| is_proof)?;
    Some(Duration::from_micros(age))
}

fn seat((name, found): (&'static str, std::io::Result<SeatFile>)) -> Seat {
    let none = Seat { name, is_held: false, pid: None, connections: Vec::new(), problem: None };
    match found {
        Err(error) => Seat { problem: Some(error.to_string()), ..none },
        Ok(SeatFile { is_held, pid, holders }) => {
            let connections = holders.into_iter().map(|holder| (holder.client_id, holder.run_id)).collect();
            Seat { is_held, pid, connections, ..none }
        }
    }
}
