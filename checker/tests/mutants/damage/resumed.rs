//! Watches whose stream breaks and that go on as another watch.

use rusd_checker::history::record::{Record, WatchBody, WatchRequest, WatchResponse};

use super::Mutant;
use super::watches::{events, watch_of};

/// What a watch that goes on is called.
const RESUMED: u64 = 1_000_000;

/// Lets the stream of a watch break before a response: what follows is of a watch that goes on where this
/// one was. The place of the first response after that.
fn broken(mutant: &mut Mutant<'_>, place: usize) -> Option<usize> {
    let watch = watch_of(&mutant.records[place])?;
    let first = events(&mutant.records[place])?.first()?.kv.mod_revision;
    let before = &mutant.records[..place];
    let request =
        before.iter().find_map(|record| match record {
            Record::Watch(WatchResponse {
                watch: own, body: WatchBody::Created(request), ..
            }) if *own == watch => Some(request.clone()),
            _ => None,
        })?;
    // What came before that is of the same revision: it is a fragment.
    let last = before.iter().rev().find(|record| watch_of(record) == Some(watch))?;
    let last = events(last).and_then(|events| events.last()).map(|event| event.kv.mod_revision);
    if last == Some(first) {
        return None;
    }
    let Record::Watch(response) = &mutant.records[place] else { return None };
    let (closed, created) = (response.clone(), response.clone());
    for record in &mut mutant.records[place..] {
        match record {
            Record::Watch(response) if response.watch == watch => response.watch = RESUMED,
            Record::Watch(WatchResponse { body: WatchBody::Created(request), .. })
                if request.resumes == Some(watch) =>
            {
                request.resumes = Some(RESUMED);
            }
            _ => {}
        }
    }
    let request = WatchRequest { start_revision: first, resumes: Some(watch), ..request };
    let body = WatchBody::Created(request);
    let created = WatchResponse { watch: RESUMED, revision: first, body, ..created };
    let closed = WatchResponse { body: WatchBody::Closed { by_client: false }, ..closed };
    mutant.records.splice(place..place, [Record::Watch(closed), Record::Watch(created)]);
    Some(place + 2)
}

/// No damage: a stream breaks, and its watch goes on.
pub(crate) fn well(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.somewhere(
        |record| events(record).is_some(),
        |mutant, place| broken(mutant, place).map(drop),
    )
}

/// What came first after the break does not come.
pub(crate) fn without_the_first(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.somewhere(
        |record| events(record).is_some(),
        |mutant, place| {
            let first = broken(mutant, place)?;
            mutant.records.remove(first);
            Some(())
        },
    )
}

/// What came last before the break comes again.
pub(crate) fn from_before_the_break(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.somewhere(
        |record| events(record).is_some(),
        |mutant, place| {
            let watch = watch_of(&mutant.records[place]);
            let before = mutant.records[..place].iter().rev();
            let mut before = before.filter(|record| watch_of(record) == watch);
            let mut last = before.find(|record| events(record).is_some())?.clone();
            let first = broken(mutant, place)?;
            if let Record::Watch(response) = &mut last {
                response.watch = RESUMED;
            }
            mutant.records.insert(first, last);
            Some(())
        },
    )
}
