//! A disk that loses what was not synced.
//!
//! A killed process loses nothing that it has written: the system still has it. A loss of power
//! keeps what was synced, and of what was written after the last sync a beginning of any length,
//! as a file that is written in order may. The engine's commits are kept whole or not at all.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rusd_proto::raftpb::Entry;
use rusd_raft::log::{LogStore, MemoryLog, SnapshotMark};
use rusd_raft::{Fatal, HardState, Index, Metadata, Term};
use rusd_state::storage::MemoryBackend;

use crate::engine::{Fuse, SimEngine};

/// How a member's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing that was written is lost.
    OfProcess,
    /// What was not synced may be lost.
    OfPower,
}

/// What is wrong with a disk, on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flaws {
    /// A sync of the log does nothing.
    pub skips_sync: bool,
    /// A vote is never written.
    pub forgets_votes: bool,
}

/// The disk of one member.
#[derive(Debug)]
pub struct Disk {
    log: Arc<Mutex<LogFile>>,
    engine: Arc<SimEngine>,
    fuse: Arc<Fuse>,
}

impl Disk {
    /// With the log of a new member on it, and an empty engine.
    pub fn new(
        metadata: Metadata,
        entries: &[Entry],
        hard_state: HardState,
        engine: MemoryBackend,
    ) -> Disk {
        let mut durable = MemoryLog::new(metadata);
        durable.append(entries, Some(hard_state)).expect("memory takes all");
        let fuse = Arc::new(Fuse::default());
        let engine = Arc::new(SimEngine::new(engine, Arc::clone(&fuse)));
        let log = LogFile {
            live: durable.clone(),
            durable,
            unsynced: Vec::new(),
            fuse: Arc::clone(&fuse),
            flaws: Flaws::default(),
        };
        Disk { log: Arc::new(Mutex::new(log)), engine, fuse }
    }

    /// The log, for the member to write.
    pub fn log(&self) -> SimLog {
        SimLog { file: Arc::clone(&self.log) }
    }

    /// The engine.
    pub fn engine(&self) -> Arc<SimEngine> {
        Arc::clone(&self.engine)
    }

    /// The member is gone.
    pub fn crash(&mut self, loss: Loss, rng: &mut impl Rng) {
        self.fuse.mend();
        let mut log = self.log.lock();
        if loss == Loss::OfPower {
            let kept = rng.random_range(0..=log.unsynced.len());
            log.lose_power(kept);
            let kept = rng.random_range(0..=self.engine.unsynced());
            drop(log);
            self.engine = Arc::new(self.engine.after_crash(kept));
        }
    }

    /// It fails after so many more writes and syncs, in the middle of whatever is being done.
    pub fn fail_after(&self, writes: u64) {
        self.fuse.set(writes);
    }

    /// Sets what is wrong.
    pub fn set_flaws(&self, flaws: Flaws) {
        self.log.lock().flaws = flaws;
    }

    /// Whether this entry would outlive a loss of power.
    pub fn has_durably(&self, index: Index, term: Term) -> bool {
        self.log.lock().durable.term(index) == Some(term)
    }
}

#[derive(Debug)]
struct LogFile {
    live: MemoryLog,
    durable: MemoryLog,
    unsynced: Vec<Unit>,
    fuse: Arc<Fuse>,
    flaws: Flaws,
}

/// What one append wrote.
#[derive(Debug)]
struct Unit {
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
}

impl LogFile {
    fn lose_power(&mut self, kept: usize) {
        for Unit { entries, hard_state } in self.unsynced.drain(..).take(kept) {
            self.durable.append(&entries, hard_state).expect("memory takes all");
        }
        self.unsynced.clear();
        self.live = self.durable.clone();
    }

    fn check(&self, operation: &'static str) -> Result<(), Fatal> {
        let failed = |source| Fatal::Io { operation, path: "log".into(), source };
        self.fuse.burn().map_err(failed)
    }
}

/// The log of a member on its simulated disk.
#[derive(Debug)]
pub struct SimLog {
    file: Arc<Mutex<LogFile>>,
}

impl LogStore for SimLog {
    fn metadata(&self) -> Metadata {
        self.file.lock().live.metadata()
    }

    fn hard_state(&self) -> HardState {
        self.file.lock().live.hard_state()
    }

    fn first_index(&self) -> Index {
        self.file.lock().live.first_index()
    }

    fn last_index(&self) -> Index {
        self.file.lock().live.last_index()
    }

    fn term(&self, index: Index) -> Option<Term> {
        self.file.lock().live.term(index)
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        self.file.lock().live.entries(low, high, bytes_max)
    }

    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("write")?;
        let hard_state = match hard_state {
            Some(state) if file.flaws.forgets_votes => Some(HardState { vote: 0, ..state }),
            hard_state => hard_state,
        };
        file.live.append(entries, hard_state)?;
        file.unsynced.push(Unit { entries: entries.to_vec(), hard_state });
        Ok(())
    }

    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        unreachable!("the logs of these members are never marked, but one is at {mark:?}")
    }

    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        unreachable!("the logs of these members are never cut, but one is at {base}")
    }

    fn restart_after(&mut self, mark: &SnapshotMark, _: HardState) -> Result<(), Fatal> {
        unreachable!("no snapshot is sent, but one came up to {mark:?}")
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("sync")?;
        if !file.flaws.skips_sync {
            for Unit { entries, hard_state } in std::mem::take(&mut file.unsynced) {
                file.durable.append(&entries, hard_state)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn entry(index: u64) -> Entry {
        Entry { index: Some(index), term: Some(1), ..Entry::default() }
    }

    fn disk(entries: &[Entry]) -> Disk {
        let engine = MemoryBackend::crashable();
        Disk::new(Metadata::default(), entries, HardState::default(), engine)
    }

    #[test]
    fn a_loss_of_power_keeps_what_was_synced_and_a_beginning_of_the_rest() {
        let mut kept = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = disk(&[entry(1)]);
            let mut log = disk.log();
            log.append(&[entry(2)], None).unwrap();
            log.sync().unwrap();
            log.append(&[entry(3)], None).unwrap();
            log.append(&[entry(4)], None).unwrap();
            disk.crash(Loss::OfProcess, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(disk.log().last_index(), Index(4));
            disk.crash(Loss::OfPower, &mut ChaCha8Rng::seed_from_u64(seed));
            kept.insert(disk.log().last_index().0);
        }
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn a_failing_disk_writes_nothing_until_the_member_is_gone() {
        let mut disk = disk(&[]);
        disk.fail_after(0);
        assert!(disk.log().append(&[entry(1)], None).is_err());
        assert!(disk.log().sync().is_err());
        disk.crash(Loss::OfProcess, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(disk.log().append(&[entry(1)], None).is_ok());
    }
}
