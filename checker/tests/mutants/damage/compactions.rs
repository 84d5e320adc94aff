//! Reads below the compact revision, and refusals that name a compaction without one.

use rusd_checker::history::record::{
    Compact, Operation, Outcome, Range, Request, Response, ResponseBody,
};
use rusd_checker::history::text::Text;
use rusd_checker::model::refusal::Refusal;

use super::{Mutant, answer};

fn everything() -> Range {
    Range { key: Text::from("\0"), range_end: Text::from("\0"), ..Range::default() }
}

fn compacted(operation: &Operation) -> Option<i64> {
    match (&operation.request, answer(operation)) {
        (Request::Compact(compact), Some(_)) => Some(compact.revision),
        _ => None,
    }
}

/// A read below what had been compacted when it began is answered, with what was there.
pub(crate) fn read_below(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| compacted(operation).is_some(),
        |mutant, place| {
            let (first, to) = (mutant.truth.first, compacted(mutant.operation(place))?);
            if to <= first {
                return None;
            }
            let revision = (to - 1 - mutant.below(3)).max(first);
            mutant.add_past_read(everything(), revision);
            Some(())
        },
    )
}

/// A compaction that had ended when a read of the past began goes as far as beyond that.
pub(crate) fn compacted_beyond_a_read(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| compacted(operation).is_some(),
        |mutant, place| {
            let compaction = mutant.operation(place);
            let (newest, ended) = (answer(compaction)?.revision, compaction.return_ns?);
            let later = mutant.operations().filter(|(_, read)| read.call_ns > ended);
            let read = later.filter_map(|(_, read)| match (&read.request, answer(read)) {
                (Request::Range(range), Some(_)) if range.revision > 0 && !range.serializable => {
                    Some(range.revision)
                }
                _ => None,
            });
            let revision = read.min().filter(|revision| *revision < newest)?;
            let request = Request::Compact(Compact { revision: revision + 1 });
            mutant.operation_mut(place).request = request;
            Some(())
        },
    )
}

/// The newest revision is refused as compacted.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn newest_refused(mutant: &mut Mutant<'_>) -> Option<()> {
    refuse(mutant, mutant.truth.newest, Refusal::Compacted);
    Some(())
}

/// A revision that had been told is refused as one of the future.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn past_refused(mutant: &mut Mutant<'_>) -> Option<()> {
    let back = mutant.below(3);
    refuse(mutant, (mutant.truth.newest - back).max(mutant.truth.first), Refusal::FutureRevision);
    Some(())
}

fn refuse(mutant: &mut Mutant<'_>, revision: i64, refusal: Refusal) {
    let end = mutant.end_ns();
    let range = Range { revision, ..everything() };
    mutant.add((end + 1, end + 2), Request::Range(range), Outcome::Fail(refusal.failure()));
}

/// History is compacted up to a revision that is not there yet.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn future_compacted(mutant: &mut Mutant<'_>) -> Option<()> {
    let (end, revision) = (mutant.end_ns(), mutant.truth.newest);
    let request = Request::Compact(Compact { revision: revision + 1 + mutant.below(3) });
    let outcome = Outcome::Ok(Response { revision, body: ResponseBody::Compact });
    mutant.add((end + 1, end + 2), request, outcome);
    Some(())
}
