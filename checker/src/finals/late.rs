//! Leases that should have ended, and still hold keys at the end.
//!
//! A lease may live longer than its time: a new leader gives it all of its time again, and ending
//! many leases takes a while. So this is generous: it counts from the last renewal and from the last
//! sign of trouble (a fault, an outcome that nobody heard, a broken stream), whichever is later, and
//! gives the lease its time twice, for a change of leaders that nobody noticed. A lease is left alone if a grant or renewal of
//! unknown outcome may still be on its way, or if the run did not grant it: others may renew it.

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::{Broken, Findings};
use crate::history::record::{NemesisPhase, Outcome, Request, ResponseBody, WatchBody};
use crate::history::{NemesisLine, OperationLine, WatchLine};
use crate::linear::brief::Briefs;
use crate::model::refusal::Refusal;
use crate::render;
use crate::verdict::Rule;
use crate::watch::survey::Survey;

const NS_PER_SECOND: u64 = 1_000_000_000;
/// For elections and for noticing that a lease has run out.
const SLACK_SECONDS: u64 = 10;
/// Leases that are ended in a second; etcd ends some 1000.
const ENDED_PER_SECOND: u64 = 100;

/// Looks at every key that is still attached to a lease.
pub(crate) fn check(briefs: &Briefs<'_>, survey: &Survey<'_>, findings: &mut Findings) {
    let Some(calm_ns) = calm(briefs, survey) else { return };
    let lives = Life::collect(briefs);
    let crowd = u64::try_from(lives.len()).expect("usize fits u64") / ENDED_PER_SECOND;
    let mut noted = BTreeSet::new();
    for line in &briefs.history.finals {
        for kv in &line.state.kvs {
            let Some(life) = lives.get(&kv.lease).filter(|life| life.is_known()) else { continue };
            let twice = life.ttl_seconds.saturating_mul(2);
            let seconds = twice.saturating_add(SLACK_SECONDS + crowd);
            let since_ns = life.renewed_ns.max(calm_ns);
            let end_ns = since_ns.saturating_add(seconds.saturating_mul(NS_PER_SECOND));
            if line.state.call_ns <= end_ns || !noted.insert(kv.lease) {
                continue;
            }
            findings.add(Rule::LeaseLateExpiry, || Broken {
                operations: vec![render::operation(life.renewal), render::final_state(line)],
                expected: format!(
                    "lease {} of {} s has ended by {}, with its keys",
                    kv.lease,
                    life.ttl_seconds,
                    render::seconds(end_ns)
                ),
                got: format!(
                    "{} at {}",
                    render::key_value(kv),
                    render::seconds(line.state.call_ns)
                ),
            });
        }
    }
}

/// Since when all was well; `None` if a fault has not ended.
fn calm(briefs: &Briefs<'_>, survey: &Survey<'_>) -> Option<u64> {
    let mut calm_ns = 0;
    let mut open = 0_i64;
    for NemesisLine { nemesis, .. } in &briefs.history.nemeses {
        open += match nemesis.phase {
            NemesisPhase::Start => 1,
            NemesisPhase::End => -1,
        };
        if nemesis.error.is_some() && !nemesis.members.is_empty() {
            return None;
        }
        calm_ns = calm_ns.max(nemesis.time_ns);
    }
    for (_, OperationLine { operation, .. }) in briefs.special() {
        let is_trouble = match &operation.outcome {
            Outcome::Ok(_) => false,
            Outcome::Fail(failure) => Refusal::of(failure).is_none(),
            Outcome::Unknown(_) => true,
        };
        if is_trouble {
            calm_ns = calm_ns.max(operation.return_ns.unwrap_or(operation.call_ns));
        }
    }
    for WatchLine { response, .. } in &survey.eventless {
        if matches!(response.body, WatchBody::Closed { by_client: false }) {
            calm_ns = calm_ns.max(response.arrived_ns);
        }
    }
    (open == 0).then_some(calm_ns)
}

/// What is known of a lease.
struct Life<'h> {
    /// Grants that were answered.
    grants: u64,
    /// Grants and renewals of unknown outcome.
    unknown: u64,
    /// The longest that was granted.
    ttl_seconds: u64,
    /// Latest return of a grant or renewal.
    renewed_ns: u64,
    renewal: &'h OperationLine,
}

impl<'h> Life<'h> {
    fn collect(briefs: &Briefs<'h>) -> BTreeMap<i64, Life<'h>> {
        let mut lives: BTreeMap<i64, Life<'h>> = BTreeMap::new();
        for (_, line) in briefs.special() {
            let operation = &line.operation;
            let id = match &operation.request {
                Request::LeaseGrant(grant) => grant.id,
                Request::LeaseKeepAlive(lease) => lease.id,
                _ => continue,
            };
            let life = lives.entry(id).or_insert(Life {
                grants: 0,
                unknown: 0,
                ttl_seconds: 0,
                renewed_ns: 0,
                renewal: line,
            });
            let ttl = match &operation.outcome {
                Outcome::Fail(_) => continue,
                Outcome::Unknown(_) => {
                    life.unknown += 1;
                    continue;
                }
                Outcome::Ok(response) => match response.body {
                    ResponseBody::LeaseGrant { ttl } => {
                        life.grants += 1;
                        ttl
                    }
                    ResponseBody::LeaseKeepAlive { ttl } if ttl > 0 => ttl,
                    _ => continue,
                },
            };
            life.ttl_seconds = life.ttl_seconds.max(u64::try_from(ttl).unwrap_or(0));
            let returned = operation.return_ns.unwrap_or(0);
            if returned >= life.renewed_ns {
                life.renewed_ns = returned;
                life.renewal = line;
            }
        }
        lives
    }

    fn is_known(&self) -> bool {
        self.grants > 0 && self.unknown == 0
    }
}
