//! The messages between the replaying process and its workers, in little-endian order.
//!
//! ```text
//! to a worker    u8 number of jobs | for each job: 16 bytes key, u32 size
//! from a worker  5 x u64: requests, hits, bytes, hit bytes, too large
//! ```
//!
//! A worker answers each message with one of its own. It ends when its input does.

use std::io::{self, Read, Write};

use super::player::{CHUNK, Job, Tally};
use crate::trace::{KEY_LEN, Key};

const JOB_LEN: usize = KEY_LEN + size_of::<u32>();
const COUNT_LEN: usize = size_of::<u64>();
const TALLY_LEN: usize = 5 * COUNT_LEN;

// The number of jobs in a message is one byte.
const _: () = assert!(CHUNK <= u8::MAX as usize);

/// Sends at most [`CHUNK`] jobs.
pub(super) fn write_jobs(to: &mut impl Write, jobs: &[Job]) -> io::Result<()> {
    // One write for the whole message, because each write wakes the receiving process.
    let mut message = Vec::with_capacity(1 + jobs.len() * JOB_LEN);
    message.push(jobs.len() as u8);
    for job in jobs {
        message.extend(job.key.as_bytes());
        message.extend(job.size.to_le_bytes());
    }
    to.write_all(&message)
}

/// Receives jobs, or nothing at the end of the input.
pub(super) fn read_jobs(from: &mut impl Read) -> io::Result<Option<Vec<Job>>> {
    let mut number = [0];
    match from.read_exact(&mut number) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let jobs = (0..number[0]).map(|_| read_job(from));
    jobs.collect::<io::Result<_>>().map(Some)
}

fn read_job(from: &mut impl Read) -> io::Result<Job> {
    let mut key = [0; KEY_LEN];
    from.read_exact(&mut key)?;
    let mut size = [0; size_of::<u32>()];
    from.read_exact(&mut size)?;
    Ok(Job { key: Key::from_bytes(key), size: u32::from_le_bytes(size) })
}

pub(super) fn write_tally(to: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let Tally { requests, hits, bytes, hit_bytes, too_large } = *tally;
    let mut message = [0; TALLY_LEN];
    let counts = [requests, hits, bytes, hit_bytes, too_large];
    for (place, count) in message.chunks_exact_mut(COUNT_LEN).zip(counts) {
        place.copy_from_slice(&count.to_le_bytes());
    }
    to.write_all(&message)?;
    to.flush()
}

pub(super) fn read_tally(from: &mut impl Read) -> io::Result<Tally> {
    let mut counts = [0; TALLY_LEN / COUNT_LEN];
    for count in &mut counts {
        let mut bytes = [0; COUNT_LEN];
        from.read_exact(&mut bytes)?;
        *count = u64::from_le_bytes(bytes);
    }
    let [requests, hits, bytes, hit_bytes, too_large] = counts;
    Ok(Tally { requests, hits, bytes, hit_bytes, too_large })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jobs_arrive_as_they_were_sent(
            jobs in proptest::collection::vec(any::<(u64, u32)>(), 0..=CHUNK),
        ) {
            let jobs: Vec<_> =
                jobs.into_iter().map(|(key, size)| Job { key: Key::from(key), size }).collect();
            let mut sent = Vec::new();
            write_jobs(&mut sent, &jobs).expect("writing to memory");
            let mut sent = &sent[..];
            prop_assert_eq!(read_jobs(&mut sent).expect("whole"), Some(jobs));
            prop_assert_eq!(read_jobs(&mut sent).expect("the end"), None);
        }

        #[test]
        fn a_tally_arrives_as_it_was_sent(counts: [u64; 5]) {
            let [requests, hits, bytes, hit_bytes, too_large] = counts;
            let tally = Tally { requests, hits, bytes, hit_bytes, too_large };
            let mut sent = Vec::new();
            write_tally(&mut sent, &tally).expect("writing to memory");
            prop_assert_eq!(read_tally(&mut &sent[..]).expect("whole"), tally);
        }
    }

    #[test]
    fn a_cut_off_message_is_an_error() {
        let mut sent = Vec::new();
        let job = Job { key: Key::from(1), size: 2 };
        write_jobs(&mut sent, &[job, job]).expect("writing to memory");
        assert!(read_jobs(&mut &sent[..sent.len() - 1]).is_err());
        assert!(read_tally(&mut &[0; TALLY_LEN - 1][..]).is_err());
    }
}
