//! How much of the log is kept.
//!
//! Every so many entries that the engine has made durable, the log is marked: the state up to there
//! is kept elsewhere. Entries are then forgotten, but for a number before the mark, from which a
//! member that is a little behind can still be brought up to date. While a snapshot is on its way to
//! a member, and for a while after, nothing is forgotten: it will want what comes after it.
//!
//! Invariant: the log is never marked past what the engine has made durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusd_proto::raftpb::ConfState;
use rusd_raft::Index;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptLog {
    /// `--snapshot-count`: entries from one mark to the next.
    pub entries_per_mark: u64,
    /// `--snapshot-catchup-entries`: entries kept before a mark.
    pub catch_up_entries: u64,
}

/// Snapshots on their way to other members. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SnapshotsUnderWay(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct SnapshotUnderWay(SnapshotsUnderWay);

/// How long nothing of the log is forgotten after a snapshot was taken, as in etcd: the member still has
/// to be given what came after it, and under load it would need another snapshot for ever.
const KEPT_AFTER_SNAPSHOT: Duration = Duration::from_secs(30);

impl SnapshotUnderWay {
    /// It was taken: it counts for a while longer.
    pub async fn linger(self) {
        tokio::time::sleep(KEPT_AFTER_SNAPSHOT).await;
    }
}

impl SnapshotsUnderWay {
    /// One more.
    pub fn begin(&self) -> SnapshotUnderWay {
        self.0.fetch_add(1, Ordering::AcqRel);
        SnapshotUnderWay(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

impl Drop for SnapshotUnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Decides when the log is marked and cut. Owned by the driver.
#[derive(Debug)]
pub(crate) struct LogKeeper {
    kept: KeptLog,
    under_way: SnapshotsUnderWay,
    /// The last mark, or where this life of the member began.
    marked: Index,
    /// Voters and learners from an index on; the first of them at or before what is durable.
    conf_states: BTreeMap<u64, ConfState>,
}

impl LogKeeper {
    /// Of a member that starts with this much applied, durably.
    pub(crate) fn new(
        kept: KeptLog,
        under_way: SnapshotsUnderWay,
        applied: Index,
        conf_state: ConfState,
    ) -> Self {
        let conf_states = BTreeMap::from([(applied.0, conf_state)]);
        LogKeeper { kept, under_way, marked: applied, conf_states }
    }

    /// The entry at `index` led to these voters and learners.
    pub(crate) fn changed(&mut self, index: u64, conf_state: ConfState) {
        self.conf_states.insert(index, conf_state);
    }

    /// Where the log is to be marked now, if it is, with the voters and learners there.
    pub(crate) fn due(&mut self, durable: Index) -> Option<(Index, ConfState)> {
        if durable.0.saturating_sub(self.marked.0) <= self.kept.entries_per_mark {
            return None;
        }
        self.marked = durable;
        let (since, conf_state) = self.conf_states.range(..=durable.0).next_back()?;
        let (since, conf_state) = (*since, conf_state.clone());
        self.conf_states = self.conf_states.split_off(&since);
        Some((durable, conf_state))
    }

    /// The last entry that may be forgotten now.
    pub(crate) fn forgettable(&self) -> Option<Index> {
        let last = self.marked.0.checked_sub(self.kept.catch_up_entries)?;
        self.under_way.is_none().then_some(Index(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(ids: &[u64]) -> ConfState {
        ConfState { voters: ids.to_vec(), ..ConfState::default() }
    }

    fn keeper(under_way: &SnapshotsUnderWay) -> LogKeeper {
        let kept = KeptLog { entries_per_mark: 10, catch_up_entries: 4 };
        LogKeeper::new(kept, under_way.clone(), Index(3), voters(&[1]))
    }

    #[test]
    fn a_mark_has_the_membership_of_its_index() {
        let mut keeper = keeper(&SnapshotsUnderWay::default());
        keeper.changed(12, voters(&[1, 2]));
        keeper.changed(20, voters(&[1, 2, 3]));
        assert_eq!(keeper.due(Index(13)), None, "not more than so many");
        assert_eq!(keeper.due(Index(14)), Some((Index(14), voters(&[1, 2]))));
        assert_eq!(keeper.due(Index(24)), None);
        assert_eq!(keeper.due(Index(40)), Some((Index(40), voters(&[1, 2, 3]))));
        assert_eq!(keeper.due(Index(60)), Some((Index(60), voters(&[1, 2, 3]))));
    }

    #[test]
    fn nothing_is_forgotten_while_a_snapshot_is_under_way() {
        let under_way = SnapshotsUnderWay::default();
        let mut keeper = keeper(&under_way);
        assert_eq!(keeper.forgettable(), None, "the log is shorter than what is kept");
        assert!(keeper.due(Index(14)).is_some());
        assert_eq!(keeper.forgettable(), Some(Index(10)));
        let snapshot = under_way.begin();
        assert_eq!(keeper.forgettable(), None);
        drop(snapshot);
        assert_eq!(keeper.forgettable(), Some(Index(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_forgotten_for_a_while_after_a_snapshot_was_taken() {
        let under_way = SnapshotsUnderWay::default();
        let mut keeper = keeper(&under_way);
        assert!(keeper.due(Index(14)).is_some());
        let lingering = tokio::spawn(under_way.begin().linger());
        tokio::time::sleep(KEPT_AFTER_SNAPSHOT.mul_f64(0.99)).await;
        assert_eq!(keeper.forgettable(), None);
        lingering.await.unwrap();
        assert_eq!(keeper.forgettable(), Some(Index(10)));
    }
}
