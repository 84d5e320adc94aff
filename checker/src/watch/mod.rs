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
//!
//! `survey` goes through all responses once, with a follower for each watch; then all events are held
//! against what happened, some revisions on each core. Where something differs the watch is looked
//! at again, revision by revision, to say what.

pub(crate) mod compare;
pub(crate) mod follow;
pub(crate) mod happened;
mod order;
pub(crate) mod survey;
pub(crate) mod told;

use crate::findings::Findings;
use crate::history::record::{Outcome, Request};
use crate::linear::brief::Briefs;
use crate::linear::revision::Replayed;
use crate::threads;
use happened::Happened;
use survey::Survey;

/// Checks every watch. Without a replay, only what watches say about themselves.
pub(crate) fn check(
    briefs: &Briefs<'_>,
    survey: &Survey<'_>,
    replayed: Option<&Replayed>,
    findings: &mut Findings,
) {
    let history = briefs.history;
    let compactions = compactions(briefs);
    let as_it_happened = replayed.map_or_else(Vec::new, |own| as_it_happened(survey, own));
    let mut happened = replayed.map(Happened::all);
    for (place, followed) in survey.followed.iter().enumerate() {
        findings.merge(&followed.findings);
        let Some(watch) = followed.follower.watch() else { continue };
        watch.check_cancel(history, &compactions, findings);
        if let Some(happened) = &mut happened
            && !as_it_happened[place]
        {
            watch.check_against(happened, &compactions, findings);
        }
        if briefs.are_all_seen_by(watch.request) {
            let certain = replayed.map_or(history.header.first_revision, |own| own.certain);
            watch.check_every_revision(certain, findings);
        }
    }
}

/// Of each watch, whether exactly what was due came.
fn as_it_happened(survey: &Survey<'_>, replayed: &Replayed) -> Vec<bool> {
    let parts = threads::in_parts(replayed.revisions(), |part| {
        let revision = |place| replayed.first + i64::try_from(place).expect("revisions are few");
        let mut happened = Happened::at(replayed, revision(part.start) + 1..=revision(part.end));
        let watches = survey.followed.iter().map(|followed| followed.follower.watch());
        watches
            .map(|watch| watch.is_none_or(|watch| watch.is_as_it_happened(&mut happened)))
            .collect()
    });
    let all = |place| parts.iter().all(|part: &Vec<bool>| part[place]);
    (0..survey.followed.len()).map(all).collect()
}

/// Compactions that happened, or may have.
fn compactions(briefs: &Briefs<'_>) -> Vec<i64> {
    let requests = briefs.special().filter_map(|(_, line)| {
        match (&line.operation.request, &line.operation.outcome) {
            (_, Outcome::Fail(_)) => None,
            (Request::Compact(compact), _) => Some(compact.revision),
            _ => None,
        }
    });
    requests.collect()
}
