//! The same question put to stateright's `LinearizabilityTester`: exact, exponential, and written
//! by others. For small histories, and to test the rest against.
//!
//! Every operation is a thread of its own, since only real time orders operations. One of unknown
//! outcome is invoked and never returns; so is the end of every lease, from when it can first run
//! out. What may be answered from before its call is invoked at the beginning. A compaction is two:
//! itself, and a look at the revision that its answer tells, for between them others may write.

use std::cell::Cell;
use std::rc::Rc;

use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::floating::each_range;
use super::leases::Leases;
use super::timeline::may_be_stale;
use crate::findings::{Broken, Findings};
use crate::history::History;
use crate::history::record::{
    LeaseId, Outcome, Range, RangeResponse, Request, Response, ResponseBody,
};
use crate::history::text::Text;
use crate::model::etcd_store::EtcdStore;
use crate::model::refusal::Refusal;
use crate::verdict::Rule;

/// Operations that the tester is asked about at most.
const OPERATIONS_MAX: usize = 200;

/// An operation as the tester wants it.
struct Step {
    call_ns: u64,
    return_ns: Option<u64>,
    asked: Asked,
    outcome: Outcome,
}

/// What a thread asks of the store.
#[derive(Debug, Clone)]
enum Asked {
    /// What a client asked.
    Request(Request),
    /// How far it has come.
    Revision,
}

/// Asks stateright; notes what it says.
pub(crate) fn check(history: &History, steps_max: u64, findings: &mut Findings) {
    let steps = collect(history);
    if steps.len() > OPERATIONS_MAX {
        findings.undecided(format!(
            "{} operations are too many for stateright, which takes {OPERATIONS_MAX}",
            steps.len()
        ));
        return;
    }
    let left = Rc::new(Cell::new(steps_max));
    let store = Counted { store: EtcdStore::from_header(&history.header), left: Rc::clone(&left) };
    let consistent = feed(LinearizabilityTester::new(store), &steps).is_consistent();
    if consistent {
        return;
    }
    if left.get() == 0 {
        findings.undecided(format!("stateright found no order within {steps_max} steps"));
        return;
    }
    findings.add(Rule::NoOrder, || Broken {
        operations: Vec::new(),
        expected: "an order of all operations that explains every answer".into(),
        got: "none".into(),
    });
}

/// The store, and how many more steps may be taken in all. Without steps no answer is right.
#[derive(Clone)]
struct Counted {
    store: EtcdStore,
    left: Rc<Cell<u64>>,
}

impl SequentialSpec for Counted {
    type Op = Asked;
    type Ret = Outcome;

    fn invoke(&mut self, asked: &Asked) -> Outcome {
        self.left.set(self.left.get().saturating_sub(1));
        match asked {
            Asked::Request(request) => self.store.invoke(request),
            Asked::Revision => {
                let revision = self.store.revision();
                Outcome::Ok(Response { revision, body: ResponseBody::Compact })
            }
        }
    }

    fn is_valid_step(&mut self, asked: &Asked, outcome: &Outcome) -> bool {
        match asked {
            Asked::Request(request) => {
                self.left.set(self.left.get().saturating_sub(1));
                self.left.get() > 0 && self.store.is_valid_step(request, outcome)
            }
            Asked::Revision => self.invoke(asked) == *outcome && self.left.get() > 0,
        }
    }
}

fn collect(history: &History) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in &history.operations {
        let operation = &line.operation;
        let says_nothing = match &operation.outcome {
            Outcome::Ok(_) => false,
            Outcome::Fail(failure) => match Refusal::of(failure) {
                None => true,
                Some(Refusal::Compacted) => compacted_before(history, &operation.request),
                Some(_) => false,
            },
            Outcome::Unknown(_) => matches!(operation.request, Request::Range(_)),
        };
        if says_nothing {
            continue;
        }
        let kept_alive = matches!(
            &operation.outcome,
            Outcome::Ok(Response { body: ResponseBody::LeaseKeepAlive { ttl }, .. }) if *ttl > 0
        );
        let from_before = kept_alive || may_be_stale(&operation.request);
        let unknown = matches!(operation.outcome, Outcome::Unknown(_));
        let step = |asked| Step {
            call_ns: if from_before { 0 } else { operation.call_ns },
            return_ns: operation.return_ns.filter(|_| !unknown),
            asked,
            outcome: operation.outcome.clone(),
        };
        steps.push(step(Asked::Request(operation.request.clone())));
        if let (Request::Compact(_), Outcome::Ok(_)) = (&operation.request, &operation.outcome) {
            steps.push(step(Asked::Revision));
        }
    }
    for (id, lease) in Leases::collect(history, history.operations.iter()).iter() {
        let Some(earliest) = lease.earliest_end() else { continue };
        for _ in 0..lease.grants().max(1) {
            let asked = Asked::Request(Request::LeaseRevoke(LeaseId { id }));
            let outcome = Outcome::Unknown(Refusal::LeaseNotFound.failure());
            steps.push(Step { call_ns: earliest, return_ns: None, asked, outcome });
        }
    }
    for line in &history.finals {
        let state = &line.state;
        let everything =
            Range { key: Text::from("\0"), range_end: Text::from("\0"), ..Range::default() };
        let count = i64::try_from(state.kvs.len()).expect("few keys");
        let body = RangeResponse { kvs: state.kvs.clone(), count, more: false };
        let response = Response { revision: state.revision, body: ResponseBody::Range(body) };
        steps.push(Step {
            call_ns: state.call_ns,
            return_ns: Some(state.return_ns),
            asked: Asked::Request(Request::Range(everything)),
            outcome: Outcome::Ok(response),
        });
    }
    steps
}

/// Whether what is refused as compacted may have been compacted before the history began.
fn compacted_before(history: &History, request: &Request) -> bool {
    let first = history.header.first_revision;
    let reads_before = |range: &Range| range.revision > 0 && range.revision < first;
    first > 1
        && match request {
            Request::Range(range) => reads_before(range),
            Request::Compact(compact) => compact.revision <= first,
            Request::Txn(txn) => {
                let mut before = false;
                each_range(txn, &mut |range| before |= reads_before(range));
                before
            }
            _ => false,
        }
}

/// Tells the tester of calls and returns in the order of time; a return at the moment of a call
/// comes after it.
fn feed(
    mut tester: LinearizabilityTester<usize, Counted>,
    steps: &[Step],
) -> LinearizabilityTester<usize, Counted> {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (thread, step) in steps.iter().enumerate() {
        moments.push((step.call_ns, false, thread));
        moments.extend(step.return_ns.map(|returned| (returned, true, thread)));
    }
    moments.sort_unstable();
    for (_, returns, thread) in moments {
        let step = &steps[thread];
        let told = if returns {
            tester.on_return(thread, step.outcome.clone()).map(|_| ())
        } else {
            tester.on_invoke(thread, step.asked.clone()).map(|_| ())
        };
        told.expect("each thread calls once and then returns");
    }
    tester
}
