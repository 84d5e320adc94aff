//! The promises of a watch, each with a name of its own:
//!
//! - *created*: nothing comes before the response that says so;
//! - *ordered*, *unique*, *atomic*: by revision, once, and all events of a revision together;
//! - *complete*, *resumable*: nothing is missing from the start to where the watch has come;
//! - *bookmarkable*: what a progress response says has arrived does not come later;
//! - *filter*, *content*, *prev-kv*: what was asked for, as it happened;
//! - *no-future*, *compacted-cancel*, *closed*.
//!
//! Events tell what happened, never when: an event's arrival says nothing about the operation
//! that made it. A watch has come to a revision if an event or progress response says so, or if
//! the client closed it after everything was to have arrived.

pub(crate) mod compare;
pub(crate) mod follow;
pub(crate) mod happened;
mod order;
pub(crate) mod told;

use crate::findings::Findings;
use crate::history::History;
use crate::history::record::{Outcome, Request};
use crate::linear::pins::Watches;
use crate::linear::revision::Replayed;
use follow::Watch;
use happened::Happened;

/// Responses from which on more threads pay.
const LARGE: usize = 20_000;

/// Checks every watch. Without a replay, only what watches say about themselves.
pub(crate) fn check(
    history: &History,
    watches: &Watches<'_>,
    replayed: Option<&Replayed>,
    findings: &mut Findings,
) {
    let rules = Rules { history, watches, replayed, compactions: compactions(history) };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(watches.by_id.len()).max(1);
    if threads == 1 || history.watches.len() < LARGE {
        rules.check_some(0, 1, findings);
        return;
    }
    let among: Vec<Findings> = std::thread::scope(|scope| {
        let rules = &rules;
        let checking: Vec<_> = (0..threads)
            .map(|thread| {
                let mut own = findings.empty();
                scope.spawn(move || {
                    rules.check_some(thread, threads, &mut own);
                    own
                })
            })
            .collect();
        checking.into_iter().map(|own| own.join().expect("checking does not panic")).collect()
    });
    for own in among {
        findings.merge(own);
    }
}

/// Compactions that happened, or may have.
fn compactions(history: &History) -> Vec<i64> {
    let requests = history.operations.iter().filter_map(|line| {
        match (&line.operation.request, &line.operation.outcome) {
            (_, Outcome::Fail(_)) => None,
            (Request::Compact(compact), _) => Some(compact.revision),
            _ => None,
        }
    });
    requests.collect()
}

/// What all watches are held against.
struct Rules<'a, 'h> {
    history: &'h History,
    watches: &'a Watches<'h>,
    replayed: Option<&'a Replayed>,
    compactions: Vec<i64>,
}

impl Rules<'_, '_> {
    /// Checks every `step`th watch from the one at `first`.
    fn check_some(&self, first: usize, step: usize, findings: &mut Findings) {
        let mut happened = self.replayed.map(Happened::new);
        for (_, lines) in self.watches.by_id.iter().skip(first).step_by(step) {
            let Some(watch) = Watch::follow(self.history, lines, findings) else { continue };
            watch.check_cancel(self.history, &self.compactions, findings);
            if let Some(happened) = &mut happened {
                watch.check_against(happened, &self.compactions, findings);
            }
            if self.watches.see_all(watch.request) {
                let first = self.history.header.first_revision;
                let certain = self.replayed.map_or(first, |own| own.certain);
                watch.check_every_revision(certain, findings);
            }
        }
    }
}
