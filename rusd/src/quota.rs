//! The space quota: how much of the disk the engine may take, and whether a request still fits.
//!
//! Each member measures its own engine. Whoever finds it full raises the `NOSPACE` alarm through
//! the log; from then on the state machine of every member refuses what takes space.

use std::sync::Arc;

use rusd_state::{Applied, EntryKind, LeaseEffect};
use tokio::sync::Notify;

use crate::engine::EngineMeter;

/// The quota when none is given, as in etcd.
pub const DEFAULT_BYTES: i64 = 2 * 1024 * 1024 * 1024;

/// The quota of this member. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quota {
    /// As given; 0 stands for the default, and less than 0 for no limit.
    given: i64,
    engine: Arc<EngineMeter>,
}

impl Quota {
    /// `--quota-backend-bytes` over an engine.
    pub fn new(given: i64, engine: Arc<EngineMeter>) -> Self {
        Quota { given, engine }
    }

    /// The quota as it is shown.
    pub fn shown(&self) -> i64 {
        if self.given == 0 { DEFAULT_BYTES } else { self.given }
    }

    /// What takes `cost` bytes still fits.
    pub fn has_room_for(&self, cost: usize) -> bool {
        // A limit below 0 is none.
        let Ok(limit) = u64::try_from(self.shown()) else { return true };
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        self.engine.bytes().saturating_add(cost) < limit
    }
}

/// Sees that this member applies more than it has room for. Cheap to clone.
///
/// The api refuses what does not fit on the member that it serves; this is for the others, whose
/// engine may be larger.
#[derive(Debug, Clone)]
pub struct SpaceWatch {
    quota: Quota,
    exceeded: Arc<Notify>,
}

impl SpaceWatch {
    /// Over a quota.
    pub fn new(quota: Quota) -> Self {
        SpaceWatch { quota, exceeded: Arc::default() }
    }

    /// Looks whether there is still room after these entries.
    pub(crate) fn applied(&self, entries: &[Applied]) {
        if !self.quota.has_room_for(0) && entries.iter().any(takes_space) {
            self.exceeded.notify_one();
        }
    }

    /// Returns when more was applied than there was room for.
    pub async fn exceeded(&self) {
        self.exceeded.notified().await;
    }
}

fn takes_space(applied: &Applied) -> bool {
    matches!(applied.lease, Some(LeaseEffect::Granted { .. }))
        || applied.events.list.iter().any(|event| event.kind == EntryKind::Put)
}

#[cfg(test)]
mod tests {
    use rusd_state::storage::{History, HistoryOptions, MemoryBackend};

    use super::*;

    #[test]
    fn what_is_given_limits_what_fits() {
        let backend = Arc::new(MemoryBackend::default());
        let (history, _) = History::open(backend, HistoryOptions::default()).unwrap();
        let engine = Arc::new(EngineMeter::new(history).unwrap());
        let quota = |given| Quota::new(given, Arc::clone(&engine));
        assert_eq!(quota(0).shown(), DEFAULT_BYTES);
        assert!(quota(0).has_room_for(1 << 30));
        assert!(!quota(0).has_room_for(2 << 30));
        let used = usize::try_from(engine.bytes()).unwrap();
        let limit = i64::try_from(used + 100).unwrap();
        assert!(quota(limit).has_room_for(99));
        assert!(!quota(limit).has_room_for(100), "as in etcd, the quota itself is too much");
        assert!(!quota(1).has_room_for(1));
        assert_eq!(quota(-1).shown(), -1);
        assert!(quota(-1).has_room_for(usize::MAX));
    }
}
