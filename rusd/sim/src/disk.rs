//! A disk that loses what was not synced.
//!
//! A killed process loses nothing that it has written: the system still has it. A loss of power
//! keeps what was synced, and of what was written after the last sync a beginning of any length,
//! which may end within a write: records carry checksums, and a reader stops at the first that is not
//! whole, so that sectors in another order come to the same. The engine's commits are kept whole or not at all. Entries
//! that the log has forgotten may be there again.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;
use rusd_proto::raftpb::Entry;
use rusd_raft::log::{LogStore, MemoryLog, SnapshotMark};
use rusd_raft::{Fatal, HardState, Index, Metadata, Term};
use rusd_state::storage::Shelf;

use crate::engine::Fuse;
use crate::shelf::SimShelf;

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
    /// A log that is to go on after a snapshot keeps what it has.
    pub keeps_entries: bool,
}

/// The disk of one member.
#[derive(Debug)]
pub struct Disk {
    log: Arc<Mutex<LogFile>>,
    shelf: Arc<SimShelf>,
    fuse: Arc<Fuse>,
}

impl Disk {
    /// With the log of a new member on it, and no engine. One that is torn keeps parts of commits.
    pub fn new(
        metadata: Metadata,
        entries: &[Entry],
        hard_state: HardState,
        is_engine_torn: bool,
    ) -> Disk {
        let mut durable = MemoryLog::new(metadata);
        durable.append(entries, Some(hard_state)).expect("memory takes all");
        let fuse = Arc::new(Fuse::default());
        let log = LogFile {
            live: durable.clone(),
            durable,
            marked: Index(0),
            unsynced: Vec::new(),
            fuse: Arc::clone(&fuse),
            flaws: Flaws::default(),
        };
        let shelf = Arc::new(SimShelf::new(Arc::clone(&fuse), is_engine_torn));
        Disk { log: Arc::new(Mutex::new(log)), shelf, fuse }
    }

    /// The log, for the member to write.
    pub fn log(&self) -> SimLog {
        SimLog { file: Arc::clone(&self.log) }
    }

    /// Where the engine's generations are.
    pub fn shelf(&self) -> Arc<dyn Shelf> {
        Arc::<SimShelf>::clone(&self.shelf)
    }

    /// The member is gone.
    pub fn crash(&self, loss: Loss, rng: &mut impl Rng) {
        self.fuse.mend();
        if loss == Loss::OfPower {
            self.log.lock().lose_power(rng);
            self.shelf.lose_power(rng);
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

    /// Whether this entry, or a state that has it, would outlive a loss of power.
    pub fn has_durably(&self, index: Index, term: Term) -> bool {
        let durable = &self.log.lock().durable;
        index < durable.first_index() || durable.term(index) == Some(term)
    }
}

#[derive(Debug)]
struct LogFile {
    live: MemoryLog,
    durable: MemoryLog,
    /// The last mark that is synced.
    marked: Index,
    unsynced: Vec<Unit>,
    fuse: Arc<Fuse>,
    flaws: Flaws,
}

/// What one call wrote.
#[derive(Debug)]
enum Unit {
    Append { entries: Vec<Entry>, hard_state: Option<HardState> },
    Mark(Index),
    Cut(Index),
    Restart { mark: SnapshotMark, state: HardState, keeps_entries: bool },
}

impl Unit {
    fn write(&self, log: &mut MemoryLog) -> Result<(), Fatal> {
        match self {
            Unit::Append { entries, hard_state } => log.append(entries, *hard_state),
            Unit::Mark(_) => Ok(()),
            Unit::Cut(base) => log.cut(*base),
            Unit::Restart { mark, state, keeps_entries } => {
                if *keeps_entries {
                    log.append(&[], Some(*state))
                } else {
                    log.restart_after(mark, *state)
                }
            }
        }
    }
}

impl Unit {
    /// A beginning of it, if it can have one: some entries, without the hard state that is written
    /// after them.
    fn torn(self, rng: &mut impl Rng) -> Option<Unit> {
        let Unit::Append { mut entries, .. } = self else { return None };
        entries.truncate(rng.random_range(0..=entries.len()));
        (!entries.is_empty()).then_some(Unit::Append { entries, hard_state: None })
    }

    /// Where it marks the log.
    fn mark(&self) -> Option<Index> {
        match self {
            Unit::Mark(index) => Some(*index),
            Unit::Restart { mark, .. } => Some(mark.index),
            Unit::Append { .. } | Unit::Cut(_) => None,
        }
    }
}

impl LogFile {
    fn write(&mut self, unit: Unit) -> Result<(), Fatal> {
        unit.write(&mut self.live)?;
        self.unsynced.push(unit);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        for unit in std::mem::take(&mut self.unsynced) {
            unit.write(&mut self.durable)?;
            self.marked = unit.mark().unwrap_or(self.marked);
        }
        Ok(())
    }

    fn lose_power(&mut self, rng: &mut impl Rng) {
        let kept = rng.random_range(0..=self.unsynced.len());
        for (number, unit) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            let left = match unit {
                // What a cut removes is no part of what is written in order.
                Unit::Cut(_) => rng.random_bool(0.5).then_some(unit),
                unit if number < kept => Some(unit),
                unit if number == kept => unit.torn(rng),
                _ => None,
            };
            if let Some(unit) = left {
                unit.write(&mut self.durable).expect("memory takes all");
                self.marked = unit.mark().unwrap_or(self.marked);
            }
        }
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
        file.write(Unit::Append { entries: entries.to_vec(), hard_state })
    }

    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("write")?;
        assert_eq!(file.live.term(mark.index), Some(mark.term), "the log holds what a mark tells");
        file.write(Unit::Mark(mark.index))
    }

    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("cut")?;
        assert!(base <= file.marked, "what is forgotten was vouched for by a synced mark");
        if base < file.live.first_index() { Ok(()) } else { file.write(Unit::Cut(base)) }
    }

    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("write")?;
        let keeps_entries = file.flaws.keeps_entries;
        file.write(Unit::Restart { mark: mark.clone(), state, keeps_entries })
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        let mut file = self.file.lock();
        file.check("sync")?;
        if file.flaws.skips_sync { Ok(()) } else { file.sync() }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rusd_proto::raftpb::ConfState;

    use super::*;

    fn entry(index: u64) -> Entry {
        Entry { index: Some(index), term: Some(1), ..Entry::default() }
    }

    fn disk(entries: &[Entry]) -> Disk {
        Disk::new(Metadata::default(), entries, HardState::default(), false)
    }

    #[test]
    fn a_loss_of_power_keeps_what_was_synced_and_a_beginning_of_the_rest() {
        let mut kept = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = disk(&[entry(1)]);
            let mut log = disk.log();
            log.append(&[entry(2)], None).unwrap();
            log.sync().unwrap();
            log.append(&[entry(3)], None).unwrap();
            let state = HardState { term: 1, vote: 3, commit: 0 };
            log.append(&[entry(4), entry(5)], Some(state)).unwrap();
            disk.crash(Loss::OfProcess, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(disk.log().last_index(), Index(5));
            disk.crash(Loss::OfPower, &mut ChaCha8Rng::seed_from_u64(seed));
            kept.insert((disk.log().last_index().0, disk.log().hard_state().vote));
        }
        // Torn, too: all entries without the vote that follows them.
        let all = [(2, 0), (3, 0), (4, 0), (5, 0), (5, 3)];
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn a_log_that_begins_anew_does_so_for_good_when_it_is_synced() {
        let mark =
            SnapshotMark { index: Index(9), term: Term(2), conf_state: ConfState::default() };
        let state = HardState { term: 2, vote: 0, commit: 9 };
        let mut kept = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let disk = disk(&[entry(1), entry(2), entry(3)]);
            let mut log = disk.log();
            log.append_mark(&SnapshotMark { index: Index(2), term: Term(1), ..mark.clone() })
                .unwrap();
            log.sync().unwrap();
            log.cut(Index(1)).unwrap();
            disk.crash(Loss::OfPower, &mut ChaCha8Rng::seed_from_u64(seed));
            let first = disk.log().first_index().0;
            log.restart_after(&mark, state).unwrap();
            disk.crash(Loss::OfPower, &mut ChaCha8Rng::seed_from_u64(seed));
            kept.insert((first, disk.log().first_index().0));
            log.restart_after(&mark, state).unwrap();
            log.sync().unwrap();
            disk.crash(Loss::OfPower, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!((log.first_index(), log.term(Index(9))), (Index(10), Some(Term(2))));
        }
        assert!(kept.len() >= 3, "{kept:?}");
    }

    #[test]
    fn a_failing_disk_writes_nothing_until_the_member_is_gone() {
        let disk = disk(&[]);
        disk.fail_after(0);
        assert!(disk.log().append(&[entry(1)], None).is_err());
        assert!(disk.log().sync().is_err());
        disk.crash(Loss::OfProcess, &mut ChaCha8Rng::seed_from_u64(1));
        assert!(disk.log().append(&[entry(1)], None).is_ok());
    }
}
