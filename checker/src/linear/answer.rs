//! One answer held against the keys: of a write, which is done, or of something that looked at them.
//!
//! Shared by the `replay` of a whole history and by the check of a stream. Leases and compactions
//! float; they are not looked at here.

use super::checks::{Check, range_matches};
use crate::findings::Broken;
use crate::history::record::{Range, RangeResponse, Request, ResponseBody};
use crate::history::{FinalLine, OperationLine};
use crate::model::execute::{self, Path, Surroundings};
use crate::model::keyspace::{Change, Keyspace, Span};
use crate::render;
use crate::verdict::Rule;

/// How an answer is wrong: the rule that it breaks, and what was expected.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) rule: Rule,
    pub(crate) expected: String,
}

impl Wrong {
    fn response(expected: String) -> Wrong {
        Wrong { rule: Rule::ContentResponse, expected }
    }

    fn branch(path: &Path) -> Wrong {
        let branch = if path.succeeded { "then" } else { "else" };
        Wrong { rule: Rule::TxnBranch, expected: format!("the {branch} branch") }
    }

    /// Of this operation.
    pub(crate) fn broken(self, line: &OperationLine) -> Broken {
        Broken {
            operations: vec![render::operation(line)],
            expected: self.expected,
            got: render::outcome(&line.operation.outcome),
        }
    }
}

/// Does the write of an operation with a known outcome, and compares its answer. The write is done
/// as it claims, whatever the answer.
pub(crate) fn write(
    keys: &mut Keyspace,
    request: &Request,
    body: &ResponseBody,
    revision: i64,
    changes: &mut Vec<Change>,
) -> Result<(), Wrong> {
    let surroundings = Unchecked { current: revision - 1 };
    match (request, body) {
        (Request::Put(put), ResponseBody::Put(got)) => {
            let refused = execute::check_put(keys, &surroundings, put);
            let expected = execute::put(keys, put, revision, changes);
            if let Err(refusal) = refused {
                return Err(Wrong::response(refusal.failure().message));
            }
            if expected != *got {
                let before = expected.prev_kv.as_ref().map_or("none".into(), render::key_value);
                return Err(Wrong::response(format!("previous key: {before}")));
            }
        }
        (Request::DeleteRange(delete), ResponseBody::DeleteRange(got)) => {
            let expected = execute::delete_range(keys, delete, changes);
            if expected != *got {
                return Err(Wrong::response(format!(
                    "{} deleted, previous keys {}",
                    expected.deleted,
                    render::list(&expected.prev_kvs, render::key_value)
                )));
            }
        }
        (Request::Txn(txn), ResponseBody::Txn(got)) => {
            let path = Path::choose(keys, txn);
            let claimed = Path::claimed(txn, got);
            let refused = execute::check_txn(keys, &surroundings, txn, &path, revision - 1);
            let expected = execute::txn(keys, &surroundings, txn, &claimed, revision, changes);
            if path != claimed {
                return Err(Wrong::branch(&path));
            }
            if let Err(refusal) = refused {
                return Err(Wrong::response(refusal.failure().message));
            }
            if !execute::same_txn(txn, &expected, got, &mut |_, _, _| true) {
                return Err(Wrong::response(render::txn_response(&expected)));
            }
        }
        _ => unreachable!("only puts, deletes and transactions are placed as writes"),
    }
    Ok(())
}

/// Compares the answer of an operation that looked at the keys as they were at `revision`.
pub(crate) fn look(keys: &mut Keyspace, revision: i64, check: Check<'_>) -> Result<(), Wrong> {
    let wrong = match check {
        Check::Range(range, got) => {
            if range_matches(keys.span(Span::new(&range.key, &range.range_end)), range, got) {
                return Ok(());
            }
            Wrong::response(render::range_response(&execute::range(keys, range)))
        }
        Check::Txn(txn, got) => {
            let path = Path::choose(keys, txn);
            if path == Path::claimed(txn, got) {
                let surroundings = Unchecked { current: revision };
                // It wrote nothing, or so it says: run it, and take back what it writes.
                let mut changes = Vec::new();
                let expected =
                    execute::txn(keys, &surroundings, txn, &path, revision + 1, &mut changes);
                keys.undo(&changes);
                if execute::same_txn(txn, &expected, got, &mut |_, _, _| true) {
                    return Ok(());
                }
                Wrong::response(render::txn_response(&expected))
            } else {
                Wrong::branch(&path)
            }
        }
        Check::NothingDeleted(delete, got) => {
            let span = Span::new(&delete.key, &delete.range_end);
            let found = keys.span(span).count();
            if found == 0 && got.prev_kvs.is_empty() {
                return Ok(());
            }
            Wrong::response(format!("{found} deleted"))
        }
        Check::Revoked(lease) => {
            let Some(key) = keys.attached(lease).next() else { return Ok(()) };
            let text = format!("no key of lease {lease}; {} is left", render::short(key));
            return Err(Wrong { rule: Rule::LeaseLifecycle, expected: text });
        }
    };
    Err(Wrong { expected: format!("at revision {revision}: {}", wrong.expected), ..wrong })
}

/// Compares what a member held at the end.
pub(crate) fn final_state(keys: &Keyspace, line: &FinalLine) -> Option<Broken> {
    let kvs = &line.state.kvs;
    let same = keys.len() == kvs.len()
        && keys.iter().zip(kvs).all(|((key, stored), kv)| *key == kv.key && stored.is(kv));
    if same {
        return None;
    }
    let expected = keys.iter().map(|(key, stored)| stored.key_value(key));
    let expected: Vec<_> = expected.filter(|kv| !kvs.contains(kv)).take(4).collect();
    let only = kvs.iter().filter(|kv| keys.get(&kv.key).is_none_or(|own| !own.is(kv)));
    let only: Vec<_> = only.take(4).cloned().collect();
    Some(Broken {
        operations: vec![render::final_state(line)],
        expected: format!(
            "{} keys, among them {}",
            keys.len(),
            render::list(&expected, render::key_value)
        ),
        got: format!("{} keys, among them {}", kvs.len(), render::list(&only, render::key_value)),
    })
}

/// Leases and compactions float; they are not checked here.
struct Unchecked {
    current: i64,
}

impl Surroundings for Unchecked {
    fn lease_exists(&self, _lease: i64) -> bool {
        true
    }

    fn compact_revision(&self) -> i64 {
        -1
    }

    fn range_then(&self, range: &Range) -> RangeResponse {
        debug_assert!(range.revision > 0 || self.current > 0, "reads of the past have a revision");
        RangeResponse::default()
    }
}
