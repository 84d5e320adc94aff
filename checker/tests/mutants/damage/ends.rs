//! What members hold at the end.

use rusd_checker::history::record::{FinalState, KeyValue, Operation, Outcome, Record, Request};
use rusd_checker::history::text::Text;

use super::{Mutant, wrote};

/// One member's final state is damaged.
fn one(
    mutant: &mut Mutant<'_>,
    damage: impl Fn(&mut FinalState, usize) -> Option<()>,
) -> Option<()> {
    mutant.somewhere(
        |record| matches!(record, Record::Final(_)),
        |mutant, place| {
            let amount = usize::try_from(mutant.below(1 << 20)).expect("small");
            let Record::Final(state) = &mut mutant.records[place] else { return None };
            damage(state, amount)
        },
    )
}

fn key(state: &mut FinalState, amount: usize) -> Option<&mut KeyValue> {
    let count = state.kvs.len();
    (count > 0).then(|| &mut state.kvs[amount % count])
}

/// A key has another value.
pub(crate) fn wrong_value(mutant: &mut Mutant<'_>) -> Option<()> {
    one(mutant, |state, amount| {
        key(state, amount)?.value = Text::from("nobody wrote this");
        Some(())
    })
}

/// A key has another version.
pub(crate) fn wrong_version(mutant: &mut Mutant<'_>) -> Option<()> {
    one(mutant, |state, amount| {
        key(state, amount)?.version += 1;
        Some(())
    })
}

/// A key is missing.
pub(crate) fn missing_key(mutant: &mut Mutant<'_>) -> Option<()> {
    one(mutant, |state, amount| {
        key(state, amount)?;
        let count = state.kvs.len();
        state.kvs.remove(amount % count);
        Some(())
    })
}

/// A key is there that was deleted.
pub(crate) fn extra_key(mutant: &mut Mutant<'_>) -> Option<()> {
    let truth = mutant.truth;
    let before = truth.events().filter_map(|event| event.prev_kv.as_ref());
    let gone = before.filter(|kv| truth.key_at(&kv.key, truth.newest).is_none()).last()?;
    one(mutant, |state, _| {
        state.kvs.push(gone.clone());
        state.kvs.sort_by(|a, b| a.key.cmp(&b.key));
        Some(())
    })
}

/// A member tells of a revision below one that had been told before it was asked.
pub(crate) fn stale_member(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.somewhere(
        |record| matches!(record, Record::Final(_)),
        |mutant, place| {
            let Record::Final(state) = &mutant.records[place] else { return None };
            let (seen, first) = (mutant.seen_before(state.call_ns), mutant.truth.first);
            if seen <= first {
                return None;
            }
            let revision = (seen - 1 - mutant.below(3)).max(first);
            go_back(mutant, place, revision);
            Some(())
        },
    )
}

/// All members end before an acknowledged write.
pub(crate) fn lost_by_all(mutant: &mut Mutant<'_>) -> Option<()> {
    let finals = mutant.records.iter().enumerate().filter_map(|(place, record)| match record {
        Record::Final(state) => Some((place, state.call_ns)),
        _ => None,
    });
    let finals: Vec<(usize, u64)> = finals.collect();
    let called = finals.iter().map(|(_, call_ns)| *call_ns).min()?;
    let ended = mutant
        .operations()
        .filter(|(_, operation)| operation.return_ns.is_some_and(|returned| returned < called));
    let last = ended.filter_map(|(_, operation)| wrote(operation)).max()?;
    let revision = last - 1 - mutant.below(3);
    if revision < mutant.truth.first {
        return None;
    }
    for (place, _) in finals {
        go_back(mutant, place, revision);
    }
    Some(())
}

fn go_back(mutant: &mut Mutant<'_>, place: usize, revision: i64) {
    let kvs = mutant.truth.state(revision);
    if let Record::Final(state) = &mut mutant.records[place] {
        state.revision = revision;
        state.kvs = kvs;
    }
}

/// A member has another hash at the revision of another member, and nothing can have been compacted since.
pub(crate) fn wrong_hash(mutant: &mut Mutant<'_>) -> Option<()> {
    let compacts = |operation: &Operation| {
        matches!(operation.request, Request::Compact(_))
            && matches!(operation.outcome, Outcome::Unknown(_))
    };
    if mutant.operations().any(|(_, operation)| compacts(operation)) {
        return None;
    }
    one(mutant, |state, amount| {
        let other = u32::try_from(amount).expect("small") + 1;
        state.hash = Some(state.hash? ^ other);
        Some(())
    })
}
