//! Auto-compaction: the leader proposes to compact what is old.
//!
//! As in etcd: by time, the revision is looked at ten times a period (an hour at most), and after
//! each period the one of a period ago is compacted; by revision, every five minutes. A member that
//! does not lead keeps looking, so that it knows the past when it does.

use std::collections::VecDeque;
use std::time::Duration;

use rusd_proto::etcdserverpb::{CompactionRequest, InternalRaftRequest};
use rusd_state::View;
use rusd_state::error::ApplyError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::AutoCompaction;
use crate::consensus::progress::Progress;
use crate::consensus::proposer::Proposer;

/// Longest time between two compactions by time.
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// Looks at the revision per interval.
const LOOKS: u32 = 10;
/// Time between two compactions by revision.
const REVISION_INTERVAL: Duration = Duration::from_mins(5);

/// Compacts while this member leads.
#[derive(Debug)]
pub struct AutoCompactor {
    /// What to keep.
    pub keep: AutoCompaction,
    /// Tells the revision.
    pub view: View,
    /// Tells whether this member leads.
    pub progress: std::sync::Arc<Progress>,
    /// Takes the compactions.
    pub proposer: Proposer,
}

impl AutoCompactor {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut chooser = Chooser::new(self.keep, self.view.revision());
        let start = Instant::now();
        while stop.run_until_cancelled(tokio::time::sleep(chooser.interval)).await.is_some() {
            let (now, revision) = (start.elapsed(), self.view.revision());
            if self.progress.is_leader()
                && let Some(old) = chooser.choose(now, revision)
                && self.compact(old).await
            {
                chooser.has_compacted(now, old);
            }
            chooser.look(revision);
        }
    }

    /// Whether the revision is compacted now, by us or before.
    async fn compact(&self, revision: i64) -> bool {
        let compaction = Some(CompactionRequest { revision, physical: false });
        let request = InternalRaftRequest { compaction, ..InternalRaftRequest::default() };
        match self.proposer.propose(request).await {
            Ok(Ok(_) | Err(ApplyError::Compacted)) => {
                tracing::info!(revision, "completed auto compaction");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(revision, %error, "failed auto compaction");
                false
            }
            Err(error) => {
                tracing::warn!(revision, %error, "failed auto compaction");
                false
            }
        }
    }
}

/// Which revision to compact, and when.
#[derive(Debug)]
struct Chooser {
    keep: AutoCompaction,
    /// Time between two looks.
    interval: Duration,
    /// The revisions at the last looks, the oldest a period ago.
    looks: VecDeque<i64>,
    looks_max: usize,
    last_compacted: i64,
    last_success: Duration,
    /// How long the next compaction is after the last.
    pause: Duration,
}

impl Chooser {
    fn new(keep: AutoCompaction, revision: i64) -> Chooser {
        let (interval, pause, looks_max) = match keep {
            AutoCompaction::Periodic(period) => {
                let interval = (period.min(INTERVAL_MAX) / LOOKS).max(Duration::from_millis(1));
                let looks = period.as_nanos() / interval.as_nanos() + 1;
                (interval, period, usize::try_from(looks).unwrap_or(usize::MAX))
            }
            AutoCompaction::Revisions(_) => (REVISION_INTERVAL, Duration::ZERO, 1),
        };
        Chooser {
            keep,
            interval,
            looks: VecDeque::from([revision]),
            looks_max,
            last_compacted: 0,
            last_success: Duration::ZERO,
            pause,
        }
    }

    /// The revision to compact `now`, if it is time.
    fn choose(&self, now: Duration, revision: i64) -> Option<i64> {
        let old = match self.keep {
            AutoCompaction::Periodic(_) if now < self.last_success + self.pause => return None,
            AutoCompaction::Periodic(_) => *self.looks.front()?,
            AutoCompaction::Revisions(kept) => revision - kept,
        };
        (old > 0 && old != self.last_compacted).then_some(old)
    }

    fn has_compacted(&mut self, now: Duration, revision: i64) {
        self.last_compacted = revision;
        self.last_success = now;
        self.pause = self.pause.min(INTERVAL_MAX);
    }

    fn look(&mut self, revision: i64) {
        self.looks.push_back(revision);
        if self.looks.len() > self.looks_max {
            self.looks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use prost::Message as _;
    use rusd_proto::etcdserverpb::PutRequest;
    use rusd_proto::raftpb::Entry;
    use rusd_state::storage::{Backend, HistoryOptions, MemoryBackend};
    use rusd_state::{Options, StateMachine};

    use super::*;
    use crate::consensus::inbox::{InboxReceiver, inbox};
    use crate::consensus::links::Links;
    use crate::consensus::proposer::{IdGenerator, ProposerLimits};

    /// The times, in looks, and revisions of all compactions, when the revision rises by one a look.
    fn compactions(keep: AutoCompaction, looks: u32) -> Vec<(u32, i64)> {
        let mut chooser = Chooser::new(keep, 1);
        let mut compacted = Vec::new();
        for look in 1..=looks {
            let (now, revision) = (chooser.interval * look, 1 + i64::from(look));
            if let Some(old) = chooser.choose(now, revision) {
                chooser.has_compacted(now, old);
                compacted.push((look, old));
            }
            chooser.look(revision);
        }
        compacted
    }

    #[test]
    fn a_period_ago_is_compacted_once_a_period() {
        let minute = AutoCompaction::Periodic(Duration::from_mins(1));
        assert_eq!(compactions(minute, 35), [(10, 1), (20, 10), (30, 20)]);
        // Looked at every six minutes; the first time after three hours, then once an hour.
        let hours = AutoCompaction::Periodic(Duration::from_hours(3));
        assert_eq!(compactions(hours, 55), [(30, 1), (40, 10), (50, 20)]);
    }

    /// A store at revision 10, in memory.
    fn at_revision_ten() -> StateMachine {
        let backend: Arc<dyn Backend> = Arc::new(MemoryBackend::default());
        let mut machine =
            StateMachine::open(backend, HistoryOptions::default(), Options::default()).unwrap();
        for index in 1..10 {
            let put = PutRequest { key: "a".into(), ..PutRequest::default() };
            let put = InternalRaftRequest { put: Some(put), ..InternalRaftRequest::default() };
            let data = Some(put.encode_to_vec().into());
            let entry = Entry { term: Some(1), index: Some(index), r#type: None, data };
            machine.apply(&entry).unwrap();
        }
        machine
    }

    /// The next proposal, which the clock's time comes to.
    async fn proposed(inbox: &InboxReceiver) -> InternalRaftRequest {
        loop {
            if let Ok(proposal) = inbox.proposals.try_recv() {
                return InternalRaftRequest::decode(proposal.payload).unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Every five minutes, which no test with a process could wait for.
    #[tokio::test(start_paused = true)]
    async fn a_leader_proposes_to_compact_by_revision() {
        let machine = at_revision_ten();
        let (inbox, inbox_out) = inbox();
        let progress = Arc::new(Progress::new(1, 9));
        let limits = ProposerLimits {
            request_bytes_max: 1000,
            timeout: Duration::from_secs(7),
            election_timeout: Duration::from_secs(1),
        };
        let (waiters, ids) = (Arc::default(), Arc::new(IdGenerator::new(1, UNIX_EPOCH)));
        let links = Arc::new(Links::new(1));
        let proposer = Proposer::new(inbox, waiters, Arc::clone(&progress), links, ids, limits);
        let keep = AutoCompaction::Revisions(3);
        let (view, stop) = (machine.view(), CancellationToken::new());
        let compactor = AutoCompactor { keep, view, progress: Arc::clone(&progress), proposer };
        let running = tokio::spawn(compactor.run(stop.clone()));
        let start = Instant::now();
        tokio::time::sleep(2 * REVISION_INTERVAL + REVISION_INTERVAL / 2).await;
        assert!(inbox_out.proposals.is_empty(), "it does not lead");
        progress.set_leader(1, 1);
        let compaction = CompactionRequest { revision: 7, physical: false };
        assert_eq!(proposed(&inbox_out).await.compaction, Some(compaction));
        assert_eq!(start.elapsed().as_secs() / 60, 15);
        // Nobody answered, so it is proposed again.
        assert_eq!(proposed(&inbox_out).await.compaction, Some(compaction));
        stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn the_newest_revisions_are_kept() {
        let three = AutoCompaction::Revisions(3);
        assert_eq!(compactions(three, 5), [(3, 1), (4, 2), (5, 3)]);
    }

    #[test]
    fn nothing_new_is_not_compacted_again() {
        let mut chooser = Chooser::new(AutoCompaction::Revisions(3), 9);
        assert_eq!(chooser.choose(REVISION_INTERVAL, 9), Some(6));
        chooser.has_compacted(REVISION_INTERVAL, 6);
        assert_eq!(chooser.choose(REVISION_INTERVAL * 2, 9), None);
    }
}
