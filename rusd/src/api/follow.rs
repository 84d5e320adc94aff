//! Follows a key or a range from inside the member.
//!
//! What the task of a watch stream does for a client, for one watcher and one caller who waits.

use std::collections::VecDeque;
use std::sync::Arc;

use rusd_state::event::Event;
use tonic::Status;

use super::status;
use super::watch::scan;
use crate::member::Member;
use crate::watch::hub::{Interest, Wake};
use crate::watch::sync::{Creation, Output, WatchSet};
use crate::watch::watcher::Options;

/// Sees every event of what it follows, once and in order.
#[derive(Debug)]
pub(super) struct Follower {
    member: Member,
    set: WatchSet,
    wake: Arc<Wake>,
    /// Found, and not handed out.
    found: VecDeque<Happened>,
}

/// What happened, as one watch response tells it.
#[derive(Debug)]
pub(super) struct Happened {
    /// The revision that the response's header has.
    pub(super) revision: i64,
    /// In order, never empty.
    pub(super) events: Vec<Event>,
}

impl Follower {
    /// Follows `interest` from the revision `start` on.
    pub(super) fn new(member: &Member, interest: Interest, start: i64) -> Follower {
        let mut set = WatchSet::new(Arc::clone(&member.hub.core));
        let options = Options::default();
        let creation = Creation { watch_id: 0, interest, options, start, newest: 0 };
        set.create(creation).expect("it is the only one");
        Follower { member: member.clone(), wake: set.wake(), set, found: VecDeque::new() }
    }

    /// Waits for what happens next. Cancel-safe: what is found stays until it is handed out.
    pub(super) async fn next(&mut self) -> Result<Happened, Status> {
        loop {
            if let Some(happened) = self.found.pop_front() {
                return Ok(happened);
            }
            let mut outputs = Vec::new();
            self.set.collect(i64::MAX, &mut outputs);
            self.found.extend(outputs.into_iter().map(|output| {
                let last = output.deliveries.last().expect("outputs are not empty");
                let revision = last.events.revision;
                happened(&output, revision)
            }));
            if !self.found.is_empty() || self.set.has_more() {
                continue;
            }
            match self.set.wanted_scan() {
                Some(request) => {
                    let (request, found) = scan(&self.member, request).await?;
                    let (scan, revision) = found.map_err(status::of_read)?;
                    let mut outputs = Vec::new();
                    self.set.feed(request, &scan, &mut outputs);
                    let found = outputs.iter().map(|output| happened(output, revision));
                    self.found.extend(found);
                }
                None => self.wake.notify.notified().await,
            }
        }
    }
}

fn happened(output: &Output, revision: i64) -> Happened {
    Happened { revision, events: output.events().cloned().collect() }
}
