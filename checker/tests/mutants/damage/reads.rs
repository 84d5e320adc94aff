//! Reads that say what the store did not hold.

use rusd_checker::history::record::{
    KeyValue, Operation, Range, RangeResponse, Request, ResponseBody,
};
use rusd_checker::history::text::Text;

use super::{Mutant, answer, key_values, wrote};

/// A lease that no key has.
const NOBODYS_LEASE: i64 = 7_000_000_000;

fn is_answered_range(operation: &Operation) -> bool {
    matches!(operation.request, Request::Range(_)) && answer(operation).is_some()
}

fn is_fresh_read(operation: &Operation) -> bool {
    is_answered_range(operation)
        && matches!(&operation.request, Request::Range(range)
            if range.revision == 0 && !range.serializable)
}

/// A linearizable read is answered from before a revision that had been told when it began.
pub(crate) fn stale(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_fresh_read, |mutant, place| {
        let seen = mutant.seen_before(mutant.operation(place).call_ns);
        let first = mutant.truth.first;
        if seen <= first {
            return None;
        }
        let revision = (seen - 1 - mutant.below(4)).max(first);
        mutant.answer_from(place, revision);
        Some(())
    })
}

/// A read under the right revision tells what was there before, which is something else.
pub(crate) fn stale_content(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_range, |mutant, place| {
        let (range, at) = read_at(mutant.operation(place))?;
        let now = mutant.truth.answer(&range, at);
        let before = (mutant.truth.first..at)
            .rev()
            .map(|revision| mutant.truth.answer(&range, revision))
            .find(|answer| *answer != now)?;
        mutant.response_mut(place).body = ResponseBody::Range(before);
        Some(())
    })
}

/// A range, and the revision that it was read at.
fn read_at(operation: &Operation) -> Option<(Range, i64)> {
    let Request::Range(range) = &operation.request else { return None };
    let newest = answer(operation)?.revision;
    Some((range.clone(), if range.revision > 0 { range.revision } else { newest }))
}

/// A read that had ended when a write was called tells what only that write wrote.
pub(crate) fn future(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_fresh_or_serializable, |mutant, place| {
        let Request::Range(range) = &mutant.operation(place).request else { return None };
        let ended = mutant.operation(place).return_ns?;
        let shows = |revision: i64| {
            let answer = mutant.truth.answer(range, revision);
            answer.kvs.iter().any(|kv| kv.mod_revision == revision && !range.keys_only)
        };
        let later = mutant.operations().filter(|(_, operation)| operation.call_ns > ended);
        let revisions: Vec<i64> = later
            .filter_map(|(_, operation)| wrote(operation))
            .filter(|revision| shows(*revision))
            .take(8)
            .collect();
        let revision = mutant.one_of(&revisions)?;
        mutant.answer_from(place, revision);
        Some(())
    })
}

fn is_fresh_or_serializable(operation: &Operation) -> bool {
    is_answered_range(operation)
        && matches!(&operation.request, Request::Range(range) if range.revision == 0)
}

/// A read asks for a revision above the one that it is answered from.
pub(crate) fn beyond(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_range, |mutant, place| {
        let revision = mutant.response_mut(place).revision + 1 + mutant.below(3);
        let Request::Range(range) = &mut mutant.operation_mut(place).request else { return None };
        range.revision = revision;
        Some(())
    })
}

/// One of the key-values of an answer, whatever was asked, is damaged.
fn key_value(
    mutant: &mut Mutant<'_>,
    damage: impl Fn(&mut KeyValue, i64) -> Option<()>,
) -> Option<()> {
    let has_some = |operation: &Operation| {
        answer(operation).is_some_and(|response| !key_values(&mut response.clone()).is_empty())
    };
    mutant.at_operation(has_some, |mutant, place| {
        let (which, amount) = (mutant.below(1 << 20), 1 + mutant.below(3));
        let mut kvs = key_values(mutant.response_mut(place));
        let which = usize::try_from(which).expect("small") % kvs.len();
        damage(kvs[which], amount)
    })
}

/// A key has one value at a revision.
pub(crate) fn wrong_value(mutant: &mut Mutant<'_>) -> Option<()> {
    key_value(mutant, |kv, _| {
        kv.value = Text::from("nobody wrote this");
        Some(())
    })
}

/// A key has one version at a revision.
pub(crate) fn wrong_version(mutant: &mut Mutant<'_>) -> Option<()> {
    key_value(mutant, |kv, amount| {
        kv.version = if kv.version > amount { kv.version - amount } else { kv.version + amount };
        Some(())
    })
}

/// A key has one create revision at a revision.
pub(crate) fn wrong_create_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    key_value(mutant, |kv, amount| {
        kv.create_revision = match kv.create_revision {
            created if created > amount + 1 => created - amount,
            // Never newer than the newest write.
            created if created < kv.mod_revision => created + 1,
            _ => return None,
        };
        Some(())
    })
}

/// A key has one mod revision at a revision.
pub(crate) fn wrong_mod_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    key_value(mutant, |kv, amount| {
        // Never older than the creation.
        if kv.mod_revision - amount < kv.create_revision {
            return None;
        }
        kv.mod_revision -= amount;
        Some(())
    })
}

/// A key has one lease at a revision. Where only keys were asked for, it may be left out.
pub(crate) fn wrong_lease(mutant: &mut Mutant<'_>) -> Option<()> {
    let nobodys = NOBODYS_LEASE + mutant.below(3);
    key_value(mutant, |kv, amount| {
        kv.lease = if amount == 1 && kv.lease != 0 && !kv.value.is_empty() { 0 } else { nobodys };
        Some(())
    })
}

/// The answer to a range is damaged.
fn range(
    mutant: &mut Mutant<'_>,
    damage: impl Fn(&Range, &mut RangeResponse, i64) -> Option<()>,
) -> Option<()> {
    mutant.at_operation(is_answered_range, |mutant, place| {
        let amount = mutant.below(1 << 20);
        let Request::Range(asked) = mutant.operation(place).request.clone() else { return None };
        let ResponseBody::Range(answer) = &mut mutant.response_mut(place).body else {
            return None;
        };
        damage(&asked, answer, amount)
    })
}

/// A key that was there is not in the answer, nor in its count.
pub(crate) fn missing_key(mutant: &mut Mutant<'_>) -> Option<()> {
    range(mutant, |_, answer, amount| {
        let count = answer.kvs.len();
        (count > 0).then(|| answer.kvs.remove(usize::try_from(amount).expect("small") % count))?;
        answer.count -= 1;
        Some(())
    })
}

/// A key is in the answer that was not there.
pub(crate) fn extra_key(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_range, |mutant, place| {
        let (range, at) = read_at(mutant.operation(place))?;
        let truth = mutant.truth;
        let gone = (truth.first..at).rev().find_map(|revision| {
            let kvs = truth.answer(&Range { limit: 0, ..range.clone() }, revision).kvs;
            kvs.into_iter().find(|kv| truth.key_at(&kv.key, at).is_none())
        })?;
        let ResponseBody::Range(answer) = &mut mutant.response_mut(place).body else {
            return None;
        };
        answer.kvs.push(gone);
        answer.kvs.sort_by(|one, other| one.key.cmp(&other.key));
        answer.count += 1;
        Some(())
    })
}

/// A count is what was there, limit or no limit.
pub(crate) fn wrong_count(mutant: &mut Mutant<'_>) -> Option<()> {
    range(mutant, |_, answer, amount| {
        answer.count += if answer.count > 0 && amount % 2 == 0 { -1 } else { 1 };
        Some(())
    })
}

/// Whether there is more is whether the limit has cut the answer.
pub(crate) fn wrong_more(mutant: &mut Mutant<'_>) -> Option<()> {
    range(mutant, |_, answer, _| {
        answer.more = !answer.more;
        Some(())
    })
}

/// Keys ascend.
pub(crate) fn wrong_order(mutant: &mut Mutant<'_>) -> Option<()> {
    range(mutant, |_, answer, amount| {
        let last = answer.kvs.len().checked_sub(1)?;
        let first = (last > 0).then(|| usize::try_from(amount).expect("small") % last)?;
        answer.kvs.swap(first, first + 1);
        Some(())
    })
}

/// An answer with more key-values than asked for.
pub(crate) fn limit_ignored(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_range, |mutant, place| {
        let (range, at) = read_at(mutant.operation(place))?;
        let limited = mutant.truth.answer(&range, at);
        let all = mutant.truth.answer(&Range { limit: 0, ..range }, at);
        if limited.kvs.len() == all.kvs.len() {
            return None;
        }
        mutant.response_mut(place).body = ResponseBody::Range(all);
        Some(())
    })
}

/// Values come with a range that asked for keys only.
pub(crate) fn values_unasked(mutant: &mut Mutant<'_>) -> Option<()> {
    let keys_only = |operation: &Operation| {
        is_answered_range(operation)
            && matches!(&operation.request, Request::Range(range) if range.keys_only)
    };
    mutant.at_operation(keys_only, |mutant, place| {
        let (range, at) = read_at(mutant.operation(place))?;
        let told = mutant.truth.answer(&Range { keys_only: false, ..range }, at);
        if told.kvs.is_empty() {
            return None;
        }
        mutant.response_mut(place).body = ResponseBody::Range(told);
        Some(())
    })
}
