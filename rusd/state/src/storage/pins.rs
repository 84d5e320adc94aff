//! Pins: who reads which past revision, so that nothing of it is removed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many readers hold which main revision.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    counts: Mutex<BTreeMap<i64, usize>>,
}

impl Pins {
    /// Holds a main revision.
    pub(crate) fn pin(self: &Arc<Self>, main: i64) -> Pin {
        *self.counts.lock().entry(main).or_insert(0) += 1;
        Pin { pins: Arc::clone(self), main }
    }

    /// The lowest one that is held.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.counts.lock().first_key_value().map(|(main, _)| *main)
    }
}

/// Holds a main revision readable; see [`History::pin`](crate::storage::History::pin).
#[derive(Debug)]
pub struct Pin {
    pins: Arc<Pins>,
    main: i64,
}

impl Pin {
    /// The pinned main revision.
    pub fn main(&self) -> i64 {
        self.main
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.pins.counts.lock();
        let count = counts.get_mut(&self.main).expect("a pin was counted when it was made");
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.main);
        }
    }
}
