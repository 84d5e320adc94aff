//! What the members hold at the end: at one revision, the same keys and the same hash.
//!
//! A hash covers what is not compacted. So hashes compare if no compaction can have come between
//! them; the report counts those that were compared, since a check that never runs proves nothing.

use std::collections::BTreeMap;

use crate::findings::{Broken, Findings};
use crate::history::record::{Outcome, Request, WatchBody};
use crate::history::{FinalLine, OperationLine, WatchLine};
use crate::linear::brief::Briefs;
use crate::model::refusal::Refusal;
use crate::render;
use crate::verdict::Rule;
use crate::watch::survey::Survey;

/// Compares the members with each other. Says how many hashes were compared with another.
pub(crate) fn check(briefs: &Briefs<'_>, survey: &Survey<'_>, findings: &mut Findings) -> u64 {
    let mut by_revision: BTreeMap<i64, Vec<&FinalLine>> = BTreeMap::new();
    for line in &briefs.history.finals {
        by_revision.entry(line.state.revision).or_default().push(line);
    }
    let mut compared = 0;
    for lines in by_revision.values() {
        check_keys(lines, findings);
        let with_hash = lines.iter().filter_map(|line| Some((*line, line.state.hash?)));
        let with_hash: Vec<(&FinalLine, u32)> = with_hash.collect();
        if with_hash.len() > 1 && !may_compact_meanwhile(briefs, survey, lines) {
            check_hashes(&with_hash, findings);
            compared += u64::try_from(with_hash.len()).expect("usize fits u64");
        }
    }
    compared
}

fn check_keys(lines: &[&FinalLine], findings: &mut Findings) {
    let Some((first, others)) = lines.split_first() else { return };
    for line in others.iter().filter(|line| line.state.kvs != first.state.kvs) {
        if findings.breaks(Rule::FinalState) {
            return;
        }
        findings.add(Rule::FinalState, || Broken {
            operations: vec![render::final_state(first), render::final_state(line)],
            expected: format!("the same keys at revision {}", first.state.revision),
            got: "members that disagree".into(),
        });
    }
}

fn check_hashes(lines: &[(&FinalLine, u32)], findings: &mut Findings) {
    let Some(((first, hash), others)) = lines.split_first() else { return };
    for (line, got) in others.iter().filter(|(_, got)| got != hash) {
        findings.add(Rule::FinalHash, || Broken {
            operations: vec![render::final_state(first), render::final_state(line)],
            expected: format!("hash {hash} at revision {}", first.state.revision),
            got: format!("hash {got}"),
        });
    }
}

/// Whether a compaction may have come between these final states. One that is not above what was
/// compacted before them changes nothing, whenever it comes.
fn may_compact_meanwhile(briefs: &Briefs<'_>, survey: &Survey<'_>, lines: &[&FinalLine]) -> bool {
    let first_ns = lines.iter().map(|line| line.state.call_ns).min().unwrap_or(0);
    let before = compacted_before(briefs, survey, first_ns);
    briefs.special().any(|(_, OperationLine { operation, .. })| {
        let Request::Compact(compact) = &operation.request else { return false };
        !matches!(operation.outcome, Outcome::Fail(_)) && compact.revision > before
    })
}

/// What is certainly compacted at that time: by a compaction that was answered, or because a read
/// or a watch was told so.
fn compacted_before(briefs: &Briefs<'_>, survey: &Survey<'_>, time_ns: u64) -> i64 {
    let mut compacted = -1;
    for (_, OperationLine { operation, .. }) in briefs.special() {
        if operation.return_ns.is_none_or(|returned| returned >= time_ns) {
            continue;
        }
        compacted = compacted.max(match (&operation.request, &operation.outcome) {
            (Request::Compact(compact), Outcome::Ok(_)) => compact.revision,
            (request, Outcome::Fail(failure))
                if Refusal::of(failure) == Some(Refusal::Compacted) =>
            {
                match request {
                    Request::Compact(compact) => compact.revision,
                    // A read is refused below the compact revision.
                    Request::Range(range) => range.revision.saturating_add(1),
                    _ => continue,
                }
            }
            _ => continue,
        });
    }
    for WatchLine { response, .. } in &survey.eventless {
        if let WatchBody::Canceled { compact_revision, .. } = response.body
            && response.arrived_ns < time_ns
        {
            compacted = compacted.max(compact_revision);
        }
    }
    compacted
}
