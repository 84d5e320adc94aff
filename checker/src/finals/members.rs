//! What the members hold at the end: at one revision, the same keys and the same hash.

use std::collections::BTreeMap;

use crate::findings::{Broken, Findings};
use crate::history::record::{Outcome, Request};
use crate::history::{FinalLine, History};
use crate::render;
use crate::verdict::Rule;

/// Compares the members with each other.
pub(crate) fn check(history: &History, findings: &mut Findings) {
    let mut first_at: BTreeMap<i64, &FinalLine> = BTreeMap::new();
    let hashes_compare = !compacts_late(history);
    for line in &history.finals {
        let first = *first_at.entry(line.state.revision).or_insert(line);
        let (one, other) = (&first.state, &line.state);
        let operations = || vec![render::final_state(first), render::final_state(line)];
        if one.kvs != other.kvs && !findings.breaks(Rule::FinalState) {
            findings.add(Rule::FinalState, || Broken {
                operations: operations(),
                expected: format!("the same keys at revision {}", one.revision),
                got: "members that disagree".into(),
            });
        }
        if let (Some(hash), Some(got)) = (one.hash, other.hash)
            && hash != got
            && hashes_compare
        {
            findings.add(Rule::FinalHash, || Broken {
                operations: operations(),
                expected: format!("hash {hash} at revision {}", one.revision),
                got: format!("hash {got}"),
            });
        }
    }
}

/// Whether a compaction may have happened between the final states: a hash covers what is not yet
/// compacted.
fn compacts_late(history: &History) -> bool {
    let first = history.finals.iter().map(|line| line.state.call_ns).min().unwrap_or(0);
    history.operations.iter().any(|line| {
        let operation = &line.operation;
        matches!(operation.request, Request::Compact(_))
            && match operation.outcome {
                Outcome::Unknown(_) => true,
                Outcome::Ok(_) => operation.return_ns.is_none_or(|returned| returned >= first),
                Outcome::Fail(_) => false,
            }
    })
}
