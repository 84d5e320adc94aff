//! Leases that end too early or too late, or are used when they are not there.

use rusd_checker::history::record::{
    EventKind, LeaseGrant, LeaseId, Operation, Outcome, Put, Record, Request, Response,
    ResponseBody,
};
use rusd_checker::history::text::Text;
use rusd_checker::model::refusal::Refusal;

use super::{Mutant, answer, may_be_deleted, wrote};

const NS_PER_SECOND: u64 = 1_000_000_000;
/// Longer than any history here.
const LONG_SECONDS: i64 = 100_000;
/// A lease that nobody has.
const NOBODYS: i64 = 4_321_000_000;

fn granted(operation: &Operation) -> Option<LeaseGrant> {
    match (&operation.request, answer(operation)) {
        (Request::LeaseGrant(grant), Some(_)) => Some(*grant),
        _ => None,
    }
}

fn put_with_lease(operation: &Operation) -> Option<&Put> {
    match (&operation.request, answer(operation)) {
        (Request::Put(put), Some(_)) if put.lease != 0 => Some(put),
        _ => None,
    }
}

/// The only grant of a lease, if it was answered.
fn grant_of(mutant: &Mutant<'_>, lease: i64) -> Option<usize> {
    let of = |operation: &Operation| matches!(&operation.request, Request::LeaseGrant(grant) if grant.id == lease);
    let mut grants = mutant.operations().filter(|(_, operation)| of(operation));
    let (place, grant) = grants.next()?;
    (grants.next().is_none() && granted(grant).is_some()).then_some(place)
}

/// Revokes of a lease that happened, or may have.
fn revokes<'m>(mutant: &'m Mutant<'_>, lease: i64) -> impl Iterator<Item = &'m Operation> {
    mutant.operations().map(|(_, operation)| operation).filter(move |operation| {
        let of = matches!(&operation.request, Request::LeaseRevoke(own) if own.id == lease);
        of && !matches!(operation.outcome, Outcome::Fail(_))
    })
}

/// A revision at which a lease ran out, with the lease: its keys are deleted, and nobody can have asked for
/// that.
fn expiries(mutant: &Mutant<'_>) -> Vec<(i64, i64)> {
    let truth = mutant.truth;
    let made: Vec<i64> = mutant.operations().filter_map(|(_, own)| wrote(own)).collect();
    let expiry = |revision: i64| {
        let events = truth.at(revision);
        let lease = events.first()?.prev_kv.as_ref()?.lease;
        let of_lease = events.iter().all(|event| {
            event.kind == EventKind::Delete
                && event.prev_kv.as_ref().is_some_and(|before| before.lease == lease)
        });
        let by_itself = revokes(mutant, lease).next().is_none()
            && !made.contains(&revision)
            && !may_be_deleted(mutant, &events.first()?.kv.key);
        (lease != 0 && of_lease && by_itself).then_some((revision, lease))
    };
    (truth.first + 1..=truth.newest).filter_map(expiry).collect()
}

/// Whether an answer before the end of the load has told of this revision.
fn is_told(mutant: &Mutant<'_>, revision: i64) -> bool {
    let mut answers = mutant.operations().filter_map(|(_, operation)| answer(operation));
    answers.any(|answer| answer.revision >= revision)
}

/// A lease that ran out was granted for far longer.
pub(crate) fn early_after_grant(mutant: &mut Mutant<'_>) -> Option<()> {
    let (revision, lease) = mutant.one_of(&expiries(mutant))?;
    let place = grant_of(mutant, lease).filter(|_| is_told(mutant, revision))?;
    mutant.response_mut(place).body = ResponseBody::LeaseGrant { ttl: LONG_SECONDS };
    Some(())
}

/// A lease that ran out had been renewed before for far longer: something that was called after the
/// renewal came before the end.
pub(crate) fn early_after_renewal(mutant: &mut Mutant<'_>) -> Option<()> {
    let expiries = expiries(mutant);
    let renews = |operation: &Operation| {
        let Some(response) = answer(operation) else { return false };
        matches!(response.body, ResponseBody::LeaseKeepAlive { ttl } if ttl > 0)
    };
    mutant.at_operation(renews, |mutant, place| {
        let Request::LeaseKeepAlive(renewed) = mutant.operation(place).request else {
            return None;
        };
        let ended = mutant.operation(place).return_ns?;
        let (revision, _) = *expiries.iter().find(|(_, lease)| *lease == renewed.id)?;
        grant_of(mutant, renewed.id).filter(|_| is_told(mutant, revision))?;
        let between = |operation: &Operation| {
            operation.call_ns >= ended && wrote(operation).is_some_and(|own| own < revision)
        };
        mutant.operations().find(|(_, operation)| between(operation))?;
        mutant.response_mut(place).body = ResponseBody::LeaseKeepAlive { ttl: LONG_SECONDS };
        Some(())
    })
}

/// A put uses a lease that nobody granted.
pub(crate) fn foreign(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| put_with_lease(operation).is_some(),
        |mutant, place| {
            let lease = put_with_lease(mutant.operation(place))?.lease;
            let grant = grant_of(mutant, lease)?;
            mutant.records.remove(grant);
            Some(())
        },
    )
}

/// A put uses a lease that was revoked before, at the revision of its grant, and never granted again.
pub(crate) fn used_after_revoke(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| put_with_lease(operation).is_some(),
        |mutant, place| {
            let put = mutant.operation(place);
            let (used, lease, end) = (wrote(put)?, put_with_lease(put)?.lease, put.return_ns?);
            let grant = mutant.operation(grant_of(mutant, lease)?);
            let (revision, call) = (answer(grant)?.revision, grant.call_ns);
            if used <= revision || !is_answered_write(mutant, revision) {
                return None;
            }
            add_revoke(mutant, lease, revision, (call, end));
            Some(())
        },
    )
}

/// A revoke is answered at a revision at which the lease has keys, and did not make that revision.
pub(crate) fn keys_survive(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| put_with_lease(operation).is_some(),
        |mutant, place| {
            let put = mutant.operation(place);
            let (revision, lease) = (wrote(put)?, put_with_lease(put)?.lease);
            let call = mutant.operation(grant_of(mutant, lease)?).call_ns;
            let end = mutant.end_ns();
            add_revoke(mutant, lease, revision, (call, end));
            Some(())
        },
    )
}

fn add_revoke(mutant: &mut Mutant<'_>, lease: i64, revision: i64, times: (u64, u64)) {
    let outcome = Outcome::Ok(Response { revision, body: ResponseBody::LeaseRevoke });
    mutant.add(times, Request::LeaseRevoke(LeaseId { id: lease }), outcome);
}

/// Whether a revision was there from the beginning, or somebody was told that he had made it.
fn is_answered_write(mutant: &Mutant<'_>, revision: i64) -> bool {
    revision == mutant.truth.first
        || mutant.operations().any(|(_, operation)| wrote(operation) == Some(revision))
}

/// A lease is granted while it is there: at that revision a key is attached to it.
pub(crate) fn granted_twice(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| put_with_lease(operation).is_some(),
        |mutant, place| {
            let put = mutant.operation(place);
            let (revision, lease) = (wrote(put)?, put_with_lease(put)?.lease);
            let (call, end) = (put.call_ns, mutant.end_ns());
            grant_of(mutant, lease)?;
            let body = ResponseBody::LeaseGrant { ttl: LONG_SECONDS };
            let request = Request::LeaseGrant(LeaseGrant { id: lease, ttl: LONG_SECONDS });
            mutant.add((call, end), request, Outcome::Ok(Response { revision, body }));
            Some(())
        },
    )
}

/// Just after its grant: it cannot have run out, and nobody had asked to revoke it.
fn while_it_lives(
    mutant: &mut Mutant<'_>,
    add: impl Fn(&mut Mutant<'_>, i64, (u64, u64)),
) -> Option<()> {
    mutant.at_operation(
        |operation| granted(operation).is_some(),
        |mutant, place| {
            let grant = mutant.operation(place);
            let (lease, call, ended) = (granted(grant)?.id, grant.call_ns, grant.return_ns?);
            grant_of(mutant, lease)?;
            let ResponseBody::LeaseGrant { ttl } = answer(grant)?.body else { return None };
            let until = call + u64::try_from(ttl).ok()? * NS_PER_SECOND;
            let times = (ended + 1, ended + 2);
            let revoked = revokes(mutant, lease).any(|revoke| revoke.call_ns <= times.1);
            if times.1 >= until || revoked {
                return None;
            }
            add(mutant, lease, times);
            Some(())
        },
    )
}

/// A put is refused for want of a lease that is there.
pub(crate) fn denied_to_a_put(mutant: &mut Mutant<'_>) -> Option<()> {
    while_it_lives(mutant, |mutant, lease, times| {
        let put = Put { key: Text::from("k"), lease, ..Put::default() };
        let outcome = Outcome::Fail(Refusal::LeaseNotFound.failure());
        mutant.add(times, Request::Put(put), outcome);
    })
}

/// A keep-alive is told that a lease is gone that is there.
pub(crate) fn denied_to_a_keep_alive(mutant: &mut Mutant<'_>) -> Option<()> {
    while_it_lives(mutant, |mutant, lease, times| {
        let body = ResponseBody::LeaseKeepAlive { ttl: 0 };
        let outcome = Outcome::Ok(Response { revision: 0, body });
        mutant.add(times, Request::LeaseKeepAlive(LeaseId { id: lease }), outcome);
    })
}

/// A keep-alive renews a lease that nobody ever granted.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn kept_alive_though_never_granted(mutant: &mut Mutant<'_>) -> Option<()> {
    let end = mutant.end_ns();
    let outcome =
        Outcome::Ok(Response { revision: 0, body: ResponseBody::LeaseKeepAlive { ttl: 5 } });
    mutant.add((end + 1, end + 2), Request::LeaseKeepAlive(LeaseId { id: NOBODYS }), outcome);
    Some(())
}

/// A grant of a lease that nobody has is refused: it is said to be there.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn refused_grant(mutant: &mut Mutant<'_>) -> Option<()> {
    let end = mutant.end_ns();
    let outcome = Outcome::Fail(Refusal::LeaseExists.failure());
    let request = Request::LeaseGrant(LeaseGrant { id: NOBODYS, ttl: 1 });
    mutant.add((end + 1, end + 2), request, outcome);
    Some(())
}

/// A put that used no lease is refused for want of one.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of many damages, of which most may find no place"
)]
pub(crate) fn refused_without_lease(mutant: &mut Mutant<'_>) -> Option<()> {
    let end = mutant.end_ns();
    let put = Put { key: Text::from("k"), ..Put::default() };
    let outcome = Outcome::Fail(Refusal::LeaseNotFound.failure());
    mutant.add((end + 1, end + 2), Request::Put(put), outcome);
    Some(())
}

/// A key is attached to a lease that it was not put with: the put asked for another one.
pub(crate) fn other_lease_attached(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| put_with_lease(operation).is_some(),
        |mutant, place| {
            let own = put_with_lease(mutant.operation(place))?.lease;
            let grants = mutant.operations().filter_map(|(_, operation)| granted(operation));
            let others: Vec<i64> = grants.map(|grant| grant.id).filter(|id| *id != own).collect();
            let other = mutant.one_of(&others)?;
            let Request::Put(put) = &mut mutant.operation_mut(place).request else { return None };
            put.lease = other;
            Some(())
        },
    )
}

/// An hour later the members still hold keys of leases that nobody renewed.
pub(crate) fn late(mutant: &mut Mutant<'_>) -> Option<()> {
    let mut held = Vec::new();
    for record in &mutant.records {
        if let Record::Final(state) = record {
            held.extend(state.kvs.iter().map(|kv| kv.lease).filter(|lease| *lease != 0));
        }
    }
    let renewal_unknown = |operation: &Operation, id: i64| {
        matches!(&operation.request, Request::LeaseKeepAlive(own) if own.id == id)
            && matches!(operation.outcome, Outcome::Unknown(_))
    };
    let is_known = |lease: i64| {
        grant_of(mutant, lease).is_some()
            && !mutant.operations().any(|(_, operation)| renewal_unknown(operation, lease))
    };
    held.iter().find(|lease| is_known(**lease))?;
    let later_ns = 3_600 * NS_PER_SECOND;
    let mut called = u64::MAX;
    for record in &mut mutant.records {
        if let Record::Final(state) = record {
            called = called.min(state.call_ns);
            state.call_ns += later_ns;
            state.return_ns += later_ns;
        }
    }
    for record in &mut mutant.records {
        if let Record::Watch(response) = record
            && response.arrived_ns >= called
        {
            response.arrived_ns += later_ns;
        }
    }
    Some(())
}
