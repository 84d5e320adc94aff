//! Promises of progress: "you have got everything up to this revision".
//!
//! A client asks for one about all the watchers of its stream, and gets it under no watcher's id;
//! a watcher with progress notifications gets one at every tick that it had no events since the
//! last.

use std::collections::BTreeMap;

use super::sync::WatchSet;

/// What a promise about all watchers is addressed to.
const ALL: i64 = -1;
/// Requests remembered until they can be answered. More are overlooked: an answer says the same to
/// all of them.
const REQUESTS_MAX: usize = 1024;

/// The promises that a stream owes.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    requests: usize,
    /// The newest revision when the client last asked: what it may have read before it asked is not
    /// missing from the answer.
    asked_at: i64,
    notified: BTreeMap<i64, Notified>,
}

/// Whether a watcher is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notified {
    /// It had events since the last tick.
    Elided,
    /// At the next tick.
    AtTick,
    /// As soon as it can be promised.
    Due,
}

impl Promises {
    /// The client asks, when this is the newest revision.
    pub(crate) fn request(&mut self, revision: i64) {
        self.requests = (self.requests + 1).min(REQUESTS_MAX);
        self.asked_at = self.asked_at.max(revision);
    }

    /// This watcher wants notifications.
    pub(crate) fn add(&mut self, watch_id: i64) {
        self.notified.insert(watch_id, Notified::AtTick);
    }

    /// The watcher is gone.
    pub(crate) fn remove(&mut self, watch_id: i64) {
        self.notified.remove(&watch_id);
    }

    /// The watcher had events: it knows how far it is.
    pub(crate) fn has_got_events(&mut self, watch_id: i64) {
        if let Some(notified) = self.notified.get_mut(&watch_id) {
            *notified = Notified::Elided;
        }
    }

    /// Time for notifications.
    pub(crate) fn tick(&mut self) {
        for notified in self.notified.values_mut() {
            *notified = match notified {
                Notified::Elided => Notified::AtTick,
                Notified::AtTick | Notified::Due => Notified::Due,
            };
        }
    }

    /// There is a promise to make.
    pub(crate) fn is_any(&self) -> bool {
        self.requests > 0 || self.notified.values().any(|notified| *notified == Notified::Due)
    }

    /// Returns whom to promise everything up to `through`, by watch id. Call right after `set` has
    /// collected up to there. What cannot be promised yet stays due; a watcher that starts later is
    /// not told.
    pub(crate) fn keep(&mut self, set: &WatchSet, through: i64) -> Vec<i64> {
        let mut kept = Vec::new();
        if self.requests > 0 && through >= self.asked_at && set.is_complete(through) {
            let requests = std::mem::take(&mut self.requests);
            kept.extend(std::iter::repeat_n(ALL, requests));
        }
        for (watch_id, notified) in &mut self.notified {
            if *notified != Notified::Due {
                continue;
            }
            if set.starts_after(*watch_id, through) {
                *notified = Notified::AtTick;
            } else if set.is_watcher_complete(*watch_id, through) {
                kept.push(*watch_id);
                *notified = Notified::AtTick;
            }
        }
        kept
    }
}
