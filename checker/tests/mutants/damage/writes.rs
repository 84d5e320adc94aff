//! Writes that are lost, or whose answers are wrong.

use rusd_checker::history::record::{
    DeleteRangeResponse, KeyValue, Operation, Put, PutResponse, Request, ResponseBody,
    TxnOpResponse,
};
use rusd_checker::history::text::Text;

use super::{Mutant, answer, may_be_deleted, wrote};

fn is_write(operation: &Operation) -> bool {
    wrote(operation).is_some()
}

fn is_put(operation: &Operation) -> bool {
    put_of(operation).is_some() && answer(operation).is_some()
}

fn put_of(operation: &Operation) -> Option<&Put> {
    match &operation.request {
        Request::Put(put) if !put.ignore_value => Some(put),
        _ => None,
    }
}

fn overlap(one: &Operation, other: &Operation) -> bool {
    let end = |operation: &Operation| operation.return_ns.unwrap_or(u64::MAX);
    one.call_ns <= end(other) && other.call_ns <= end(one)
}

/// Two writes that `are` such a pair; the places of the first and the second.
fn pair(
    mutant: &mut Mutant<'_>,
    are: impl Fn(&Operation, &Operation) -> bool,
) -> Option<(usize, usize)> {
    let found = std::cell::Cell::new(None);
    mutant.at_operation(is_write, |mutant, place| {
        let one = mutant.operation(place);
        let pairs = mutant.operations().filter(|(other, _)| *other != place);
        let pairs: Vec<usize> = pairs
            .filter(|(_, other)| is_write(other) && are(one, other))
            .map(|(other, _)| other)
            .take(8)
            .collect();
        found.set(Some((place, mutant.one_of(&pairs)?)));
        Some(())
    })?;
    found.into_inner()
}

/// Two writes at a time are answered with one revision.
pub(crate) fn duplicate_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    let (one, other) = pair(mutant, overlap)?;
    let revision = wrote(mutant.operation(one))?;
    mutant.response_mut(other).revision = revision;
    Some(())
}

/// A write that began after another had ended is answered with its revision: that one was lost.
pub(crate) fn revision_taken_again(mutant: &mut Mutant<'_>) -> Option<()> {
    let follows = |one: &Operation, other: &Operation| {
        one.return_ns.is_some_and(|returned| returned < other.call_ns)
    };
    let (one, other) = pair(mutant, follows)?;
    let revision = wrote(mutant.operation(one))?;
    mutant.response_mut(other).revision = revision;
    Some(())
}

/// Two puts at a time, of different keys, each answered with the revision of the other. Values that nobody
/// else wrote show which made which.
pub(crate) fn swapped_revisions(mutant: &mut Mutant<'_>) -> Option<()> {
    let swappable = |one: &Operation, other: &Operation| match (put_of(one), put_of(other)) {
        (Some(put), Some(with)) => put.key != with.key && overlap(one, other),
        _ => false,
    };
    let (one, other) = pair(mutant, swappable)?;
    let (first, second) = (wrote(mutant.operation(one))?, wrote(mutant.operation(other))?);
    mutant.response_mut(one).revision = second;
    mutant.response_mut(other).revision = first;
    Some(())
}

/// A write is answered with a revision above the newest there ever was.
pub(crate) fn revision_of_the_future(mutant: &mut Mutant<'_>) -> Option<()> {
    let revision = mutant.truth.newest + 1 + mutant.below(3);
    mutant.at_operation(is_write, |mutant, place| {
        mutant.response_mut(place).revision = revision;
        Some(())
    })
}

/// An acknowledged put of a key that was never seen: its revision holds the put of another key.
pub(crate) fn replaced(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_put, |mutant, place| {
        let Request::Put(put) = &mut mutant.operation_mut(place).request else { return None };
        if put.ignore_lease {
            return None;
        }
        put.key = Text::from("lost");
        put.value = Text::from("never seen");
        put.prev_kv = false;
        mutant.response_mut(place).body = ResponseBody::Put(PutResponse::default());
        Some(())
    })
}

/// An acknowledged put whose value is not the one that its revision holds.
pub(crate) fn other_value_stored(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_put, |mutant, place| {
        let Request::Put(put) = &mut mutant.operation_mut(place).request else { return None };
        put.value = Text::from("never seen");
        Some(())
    })
}

/// A write that was answered is in nobody's history, and its revision is: nobody else wrote its value.
pub(crate) fn vanished(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_put, |mutant, place| {
        mutant.records.remove(place);
        Some(())
    })
}

/// A write is called only after its revision had been told.
pub(crate) fn seen_before_its_call(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_write, |mutant, place| {
        let own = mutant.operation(place);
        let (revision, call, returned) = (wrote(own)?, own.call_ns, own.return_ns?);
        let told = mutant.operations().filter(|(other, operation)| {
            *other != place && answer(operation).is_some_and(|answer| answer.revision >= revision)
        });
        let told_ns = told.filter_map(|(_, operation)| operation.return_ns).min()?;
        let length = returned - call;
        let late = call.max(told_ns + 1);
        mutant.move_to(place, late, Some(late + length));
        Some(())
    })
}

/// A put that asked for what was there before is told that nothing was.
pub(crate) fn forgotten_prev_kv(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_put, |mutant, place| {
        let ResponseBody::Put(put) = &mut mutant.response_mut(place).body else { return None };
        put.prev_kv.take().map(drop)
    })
}

/// A put is told what was before: what it did not ask for, or what was not there.
pub(crate) fn invented_prev_kv(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_put, |mutant, place| {
        let key = put_of(mutant.operation(place))?.key.clone();
        let ResponseBody::Put(put) = &mut mutant.response_mut(place).body else { return None };
        if put.prev_kv.is_some() {
            return None;
        }
        let mod_revision = 2;
        put.prev_kv = Some(KeyValue {
            key,
            create_revision: mod_revision,
            mod_revision,
            version: 1,
            ..KeyValue::default()
        });
        Some(())
    })
}

/// A delete tells of one key more than it deleted.
pub(crate) fn wrong_deleted(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_write, |mutant, place| {
        let deletes = match &mut mutant.response_mut(place).body {
            ResponseBody::DeleteRange(delete) => vec![delete],
            ResponseBody::Txn(txn) => txn.responses.iter_mut().filter_map(deleted).collect(),
            _ => return None,
        };
        let delete = deletes.into_iter().find(|delete| delete.deleted > 0)?;
        delete.deleted += 1;
        Some(())
    })
}

fn deleted(response: &mut TxnOpResponse) -> Option<&mut DeleteRangeResponse> {
    match response {
        TxnOpResponse::DeleteRange(delete) => Some(delete),
        _ => None,
    }
}

/// A delete that made a revision says that it found nothing. Who else deletes that key could have made it.
pub(crate) fn denied_delete(mutant: &mut Mutant<'_>) -> Option<()> {
    let deletes = |operation: &Operation| {
        is_write(operation) && matches!(operation.request, Request::DeleteRange(_))
    };
    mutant.at_operation(deletes, |mutant, place| {
        let revision = wrote(mutant.operation(place))?;
        let events = mutant.truth.at(revision);
        let mut gone = events.iter().filter_map(|event| event.prev_kv.as_ref());
        if gone.any(|kv| kv.lease != 0) || may_be_deleted(mutant, &events.first()?.kv.key) {
            return None;
        }
        mutant.response_mut(place).body = ResponseBody::DeleteRange(DeleteRangeResponse::default());
        Some(())
    })
}
