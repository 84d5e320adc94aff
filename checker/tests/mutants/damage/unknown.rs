//! Effects of operations whose outcome is unknown that cannot be theirs.

use rusd_checker::history::record::{Event, EventKind, KeyValue, Record, WatchResponse};
use rusd_checker::history::record::{Failure, Operation, Outcome, Put, Request, WatchBody};

use super::{Mutant, answer, key_values};
use crate::truth::Truth;

fn unknown_put(operation: &Operation) -> Option<&Put> {
    match (&operation.request, &operation.outcome) {
        (Request::Put(put), Outcome::Unknown(_)) => Some(put),
        _ => None,
    }
}

/// The revision that a put made, told by its value, which nobody else wrote.
fn effect(truth: &Truth, put: &Put) -> Option<i64> {
    let is_own = |event: &&Event| {
        event.kind == EventKind::Put && event.kv.key == put.key && event.kv.value == put.value
    };
    truth.events().find(is_own).map(|event| event.kv.mod_revision)
}

/// Puts of unknown outcome that have happened; or that have not.
fn happened(truth: &Truth, operation: &Operation, wanted: bool) -> bool {
    unknown_put(operation).is_some_and(|put| effect(truth, put).is_some() == wanted)
}

/// What has happened is said to have failed.
pub(crate) fn claimed_failed(mutant: &mut Mutant<'_>) -> Option<()> {
    let truth = mutant.truth;
    mutant.at_operation(
        |operation| happened(truth, operation, true),
        |mutant, place| {
            let operation = mutant.operation_mut(place);
            let failure = Failure { code: "Unavailable".into(), message: "not sent".into() };
            operation.outcome = Outcome::Fail(failure);
            operation.return_ns = Some(operation.return_ns.unwrap_or(operation.call_ns + 1));
            Some(())
        },
    )
}

/// What has happened was asked for by nobody.
pub(crate) fn asked_by_nobody(mutant: &mut Mutant<'_>) -> Option<()> {
    let truth = mutant.truth;
    mutant.at_operation(
        |operation| happened(truth, operation, true),
        |mutant, place| {
            mutant.records.remove(place);
            Some(())
        },
    )
}

/// What has happened was asked for only after it had been told.
pub(crate) fn asked_too_late(mutant: &mut Mutant<'_>) -> Option<()> {
    let truth = mutant.truth;
    mutant.at_operation(
        |operation| happened(truth, operation, true),
        |mutant, place| {
            let revision = effect(truth, unknown_put(mutant.operation(place))?)?;
            let told = mutant.operations().filter_map(|(_, operation)| {
                let told = answer(operation).is_some_and(|answer| answer.revision >= revision);
                operation.return_ns.filter(|_| told)
            });
            let late = told.min()? + 1;
            mutant.move_to(place, late.max(mutant.operation(place).call_ns), None);
            Some(())
        },
    )
}

/// What never happened is read, at the revision of another write.
pub(crate) fn read_though_it_never_happened(mutant: &mut Mutant<'_>) -> Option<()> {
    let (truth, puts) = (mutant.truth, never(mutant));
    let put = one(mutant, &puts)?;
    let shows_key = |operation: &Operation| {
        answer(operation).is_some_and(|response| {
            key_values(&mut response.clone()).iter().any(|kv| kv.key == put.key)
        })
    };
    mutant.at_operation(shows_key, |mutant, place| {
        let mut kvs = key_values(mutant.response_mut(place));
        let kv = kvs.iter_mut().find(|kv| kv.key == put.key && !kv.value.is_empty())?;
        assert!(truth.key_at(&kv.key, kv.mod_revision).is_some(), "the base is right");
        kv.value = put.value.clone();
        Some(())
    })
}

/// What never happened is told by a watch, beside another write.
pub(crate) fn watched_though_it_never_happened(mutant: &mut Mutant<'_>) -> Option<()> {
    let puts = never(mutant);
    let put = one(mutant, &puts)?;
    let has_events = |record: &Record| {
        let Record::Watch(WatchResponse { body: WatchBody::Events { events, .. }, .. }) = record
        else {
            return false;
        };
        events.iter().all(|event| event.kv.key != put.key)
    };
    mutant.somewhere(has_events, |mutant, place| {
        let Record::Watch(response) = &mut mutant.records[place] else { return None };
        let WatchBody::Events { events, .. } = &mut response.body else { return None };
        let last = events.last()?;
        let revision = last.kv.mod_revision;
        let kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: put.lease,
        };
        events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
        Some(())
    })
}

fn never(mutant: &Mutant<'_>) -> Vec<Put> {
    let puts = mutant.operations().filter(|(_, own)| happened(mutant.truth, own, false));
    puts.filter_map(|(_, own)| unknown_put(own)).cloned().collect()
}

fn one(mutant: &mut Mutant<'_>, puts: &[Put]) -> Option<Put> {
    let places: Vec<usize> = (0..puts.len()).collect();
    mutant.one_of(&places).map(|place| puts[place].clone())
}
