//! Files of a killed member that are damaged: the newest segment of its log.
//!
//! - *torn write*: behind the last record there is the beginning of another, as if the power had
//!   gone while it was written. Nobody was promised anything about it: the member serves again.
//! - *bit flip*: a bit of a record is another one. The member must not take it for what it wrote.
//! - *truncate*: the second half of the records is missing, and with them what was acknowledged.
//!   The member must not take part without it.
//!
//! A member that must refuse is started on the damaged file, must end, and must say that its log is
//! the reason; when the fault ends the file is mended and it is started again.

mod frames;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::each;
use crate::cluster::{Cluster, ClusterError};
use crate::workload::{FaultKind, Then};
use frames::Frames;

/// Longest wait for a member to refuse: it reads its whole log before.
const REFUSE_MAX: Duration = Duration::from_secs(30);
/// Words of which a refusal has one: they name the file, or what is wrong with it. etcd's
/// "tocommit out of range" is its word for a log that is too short.
const REASONS: [&str; 5] =
    [".wal: ", "crc mismatch", "corrupt", "is out of range [lastindex", "log ends at index"];
/// What a torn record says that it has, and what it has of its data.
const TORN_SAYS_BYTES: usize = 8192;
const TORN_DATA_BYTES: usize = 200;
/// How it begins: an entry, a CRC, and the length of its data, which is the rest. It must be what a
/// member would write, or it is no torn write but a damaged one.
const TORN_HEAD: [u8; 11] = [0x08, 2, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x1a, 0xf5, 0x3f];
/// A flipped bit is in a record of at least so many bytes: one that holds an entry.
const FLIPPED_RECORD_BYTES_MIN: usize = 48;

/// What a file had before it was damaged.
#[derive(Debug)]
pub struct Damaged {
    member: u32,
    then: Then,
    file: PathBuf,
    before: Segment,
}

/// A segment as it was. All of it: who refuses it may have cut off more than was damaged, as etcd does.
#[derive(Debug)]
struct Segment {
    /// Of the file, with the zeros at its end.
    length: u64,
    /// What it holds before them.
    bytes: Vec<u8>,
}

/// Kills the members and damages a file of each; those that must refuse are started and must end.
pub(super) async fn begin(
    cluster: &Cluster,
    kind: FaultKind,
    then: Then,
    members: &[u32],
    seed: u64,
) -> (Vec<Damaged>, Result<(), ClusterError>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut done = Ok(());
    let mut damage = Vec::new();
    for &member in members {
        done = done.and(cluster.kill(member).await);
        match damaged(cluster, kind, then, member, &mut random) {
            Ok(damaged) => damage.push(damaged),
            Err(error) => done = done.and(Err(error)),
        }
    }
    if then == Then::Refuse {
        for damaged in &mut damage {
            let refused = refuses(cluster, damaged.member).await;
            if matches!(refused, Err(ClusterError::NotEnded { .. })) {
                // It went on with the damaged log, and wrote to it: there is nothing to put back.
                damaged.then = Then::Recover;
            }
            done = done.and(refused);
        }
    }
    (damage, done)
}

async fn refuses(cluster: &Cluster, member: u32) -> Result<(), ClusterError> {
    // What it says goes on in one file from start to start.
    let from = cluster.said(member);
    cluster.launch(member)?;
    cluster.may_end(member);
    let said = cluster.ends(member, "was started on a damaged log", from, REFUSE_MAX).await?;
    let lower = said.to_lowercase();
    if REASONS.iter().any(|word| lower.contains(word)) {
        return Ok(());
    }
    let reason = format!("it ended on a damaged log and does not say so:\n{said}");
    Err(ClusterError::NotDone { member, reason })
}

/// Mends what must be mended, and starts the members.
pub(super) fn end(
    cluster: &Cluster,
    members: &[u32],
    damage: Vec<Damaged>,
) -> Result<(), ClusterError> {
    let mut done = Ok(());
    for damaged in damage.iter().filter(|damaged| damaged.then == Then::Refuse) {
        let mended = damaged.mend().map_err(|source| ClusterError::Io {
            what: format!("cannot mend the log of m{}", damaged.member),
            source,
        });
        done = done.and(mended);
    }
    done.and(each(members, |member| cluster.launch(member)))
}

fn damaged(
    cluster: &Cluster,
    kind: FaultKind,
    then: Then,
    member: u32,
    random: &mut ChaCha8Rng,
) -> Result<Damaged, ClusterError> {
    let damage = || {
        let file = newest_segment(&cluster.data(member).join("member").join("wal"))?;
        let before = damage(&file, kind, random)?;
        Ok(Damaged { member, then, file, before })
    };
    let what = format!("cannot damage the log of m{member}");
    let mut damage = damage;
    damage().map_err(|source| ClusterError::Io { what, source })
}

impl Damaged {
    fn mend(&self) -> io::Result<()> {
        let Segment { length, bytes } = &self.before;
        let file = File::options().write(true).open(&self.file)?;
        file.write_all_at(bytes, 0)?;
        // What comes behind it is zeros again.
        file.set_len(position(bytes.len()))?;
        file.set_len(*length)?;
        file.sync_all()
    }
}

/// The segment with the highest name.
fn newest_segment(folder: &Path) -> io::Result<PathBuf> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            segments.push(path);
        }
    }
    segments.into_iter().max().ok_or_else(|| io::Error::other("it has no segment"))
}

/// Damages a segment, and gives it as it was.
fn damage(path: &Path, kind: FaultKind, random: &mut impl Rng) -> io::Result<Segment> {
    let mut segment = fs::read(path)?;
    let frames = Frames::of(&segment);
    let file = File::options().write(true).open(path)?;
    let length = position(segment.len());
    let (start, after) = match kind {
        FaultKind::TornWrite => {
            let mut torn = frames::length(TORN_SAYS_BYTES).to_vec();
            torn.extend(TORN_HEAD);
            torn.extend((0..TORN_DATA_BYTES).map(|_| random.random_range(1..=u8::MAX)));
            // A disk keeps what it has of a file that is too short for the whole record.
            let room = segment.len().max(frames.tail + TORN_SAYS_BYTES * 2);
            file.set_len(position(room))?;
            (frames.tail, torn)
        }
        FaultKind::BitFlip => {
            let at = flipped(&frames, random)?;
            (at, vec![segment[at] ^ (1 << random.random_range(0..8))])
        }
        FaultKind::Truncate => {
            let middle = frames.records.get(frames.records.len() / 2);
            let middle = middle.ok_or_else(|| io::Error::other("it has no record"))?;
            // In the middle of a record, as a file system may leave it.
            let start = middle.start + middle.len() / 2;
            file.set_len(position(start))?;
            (start, Vec::new())
        }
        other => unreachable!("{} damages no file", other.name()),
    };
    file.write_all_at(&after, position(start))?;
    file.sync_all()?;
    segment.truncate(frames.tail);
    Ok(Segment { length, bytes: segment })
}

/// A byte of an entry that is in the first half of the segment's, so that later records show that
/// nothing was torn there.
fn flipped(frames: &Frames, random: &mut impl Rng) -> io::Result<usize> {
    let entries: Vec<_> =
        frames.records.iter().filter(|r| r.len() >= FLIPPED_RECORD_BYTES_MIN).collect();
    let first_half = &entries[..entries.len().div_ceil(2)];
    let entry = first_half.choose(random);
    let entry = entry.ok_or_else(|| io::Error::other("it has no entry yet"))?;
    // Behind the fields that come first: its content.
    Ok(random.random_range(entry.start + entry.len() / 2..entry.end))
}

fn position(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a file is no longer than memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten records of 64 bytes, and zeros.
    fn segment(folder: &Path) -> PathBuf {
        let mut bytes = Vec::new();
        for record in 1..=10 {
            bytes.extend(frames::length(64));
            bytes.extend([record; 64]);
        }
        bytes.extend(vec![0; 20_000]);
        for name in ["0000-a.wal", "0001-b.wal", "0.tmp"] {
            fs::write(folder.join(name), &bytes).unwrap();
        }
        newest_segment(folder).unwrap()
    }

    #[test]
    fn each_damage_is_where_it_should_be_and_can_be_mended() {
        for kind in [FaultKind::TornWrite, FaultKind::BitFlip, FaultKind::Truncate] {
            for seed in 0..30 {
                let folder = tempfile::tempdir().unwrap();
                let path = segment(folder.path());
                assert!(path.ends_with("0001-b.wal"));
                let before = fs::read(&path).unwrap();
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                let old = damage(&path, kind, &mut random).unwrap();
                let after = fs::read(&path).unwrap();
                match kind {
                    FaultKind::TornWrite => {
                        assert_eq!(after[..720], before[..720], "what was whole stays whole");
                        assert_eq!(after[720..728], frames::length(TORN_SAYS_BYTES));
                        let data = 728 + TORN_HEAD.len();
                        assert_eq!(after[728..data], TORN_HEAD);
                        assert!(after[data + TORN_DATA_BYTES..].iter().all(|byte| *byte == 0));
                    }
                    FaultKind::BitFlip => {
                        let bits = |at: &usize| (before[*at] ^ after[*at]).count_ones();
                        let differ: Vec<usize> =
                            (0..before.len()).filter(|at| bits(at) > 0).collect();
                        assert_eq!(differ.iter().map(bits).collect::<Vec<u32>>(), [1]);
                        assert!(differ[0] < 360, "in the first half: {differ:?}");
                    }
                    _ => assert_eq!(after, before[..5 * 72 + 8 + 32]),
                }
                // Who refuses it may have written to it before.
                fs::write(&path, [&after[..300], &[9; 1000]].concat()).unwrap();
                let then = Then::Refuse;
                let member = Damaged { member: 0, then, file: path.clone(), before: old };
                member.mend().unwrap();
                assert_eq!(fs::read(&path).unwrap(), before, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_torn_record_says_one_length_in_both_places() {
        let [.., low, high] = TORN_HEAD;
        let data = usize::from(low & 0x7f) + (usize::from(high) << 7);
        assert_eq!(TORN_HEAD.len() + data, TORN_SAYS_BYTES);
    }

    #[test]
    fn a_log_without_entries_cannot_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        assert!(newest_segment(folder.path()).is_err());
        let path = folder.path().join("0.wal");
        fs::write(&path, [0; 100]).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert!(damage(&path, FaultKind::BitFlip, &mut random).is_err());
        assert!(damage(&path, FaultKind::Truncate, &mut random).is_err());
    }
}
