//! Checks the invariants that `record` promises. What fails here is bad input, not a bad store.

use std::collections::HashMap;

use crate::hashing::Hashing;

use super::collected::{FinalLine, History};
use super::error::InputError;
use super::record::{Header, Operation, Outcome, Request, ResponseBody, WatchBody, WatchResponse};

/// Leaves room to count on.
const FIRST_REVISION_MAX: i64 = i64::MAX / 2;

/// Refuses a history that breaks the format's own rules.
pub(super) fn lint(history: &History) -> Result<(), InputError> {
    lint_header(&history.header)?;
    lint_operations(history)?;
    let mut watches = WatchLint::default();
    history.watches.iter().try_for_each(|line| watches.see(line.line, &line.response))?;
    history.finals.iter().try_for_each(lint_final)
}

/// Refuses a final state that breaks the format's rules.
pub(crate) fn lint_final(line: &FinalLine) -> Result<(), InputError> {
    if line.state.call_ns > line.state.return_ns {
        return Err(InputError::malformed(line.line, "a final state returned before its call"));
    }
    Ok(())
}

/// Refuses a header that breaks the format's rules.
pub(crate) fn lint_header(header: &Header) -> Result<(), InputError> {
    if !(1..=FIRST_REVISION_MAX).contains(&header.first_revision) {
        let reason = format!("first_revision must be from 1 to {FIRST_REVISION_MAX}");
        return Err(InputError::malformed(1, reason));
    }
    for pair in header.initial.windows(2) {
        if pair[0].key >= pair[1].key {
            return Err(InputError::malformed(1, "initial keys must be distinct and ascending"));
        }
    }
    if header.initial.iter().any(|kv| kv.mod_revision > header.first_revision) {
        return Err(InputError::malformed(1, "an initial key is newer than first_revision"));
    }
    Ok(())
}

/// What is known of a process: when its last operation ended; `None` if it never did.
type LastReturn = Option<u64>;

/// Follows the operations of all processes, in file order.
#[derive(Debug, Default)]
pub(crate) struct OperationLint {
    processes: HashMap<u64, LastReturn, Hashing>,
}

impl OperationLint {
    /// Refuses an operation that breaks the format's rules.
    pub(crate) fn see(&mut self, line: u64, operation: &Operation) -> Result<(), InputError> {
        if let Some(reason) = lint_operation(operation) {
            return Err(InputError::malformed(line, reason));
        }
        let process = operation.process;
        let last = match operation.outcome {
            Outcome::Unknown(_) => None,
            Outcome::Ok(_) | Outcome::Fail(_) => operation.return_ns,
        };
        match self.processes.insert(process, last) {
            Some(None) => {
                let reason = format!("process {process} is used again after an unknown outcome");
                Err(InputError::malformed(line, reason))
            }
            Some(Some(returned)) if returned > operation.call_ns => {
                let reason = format!(
                    "operations of process {process} overlap: called at {} ns, but the one before \
                     returned at {returned} ns",
                    operation.call_ns
                );
                Err(InputError::malformed(line, reason))
            }
            None | Some(Some(_)) => Ok(()),
        }
    }
}

fn lint_operations(history: &History) -> Result<(), InputError> {
    let mut lint = OperationLint::default();
    history.operations.iter().try_for_each(|line| lint.see(line.line, &line.operation))
}

fn lint_operation(operation: &Operation) -> Option<String> {
    match (&operation.outcome, operation.return_ns) {
        (Outcome::Unknown(_), _) => {}
        (_, None) => return Some("an operation with a known outcome has no return time".into()),
        (_, Some(returned)) if returned < operation.call_ns => {
            return Some(format!(
                "returned at {returned} ns, before its call at {} ns",
                operation.call_ns
            ));
        }
        (_, Some(_)) => {}
    }
    let Outcome::Ok(response) = &operation.outcome else { return None };
    if answers(&operation.request, &response.body) {
        return None;
    }
    Some("the answer is of another kind than the request".into())
}

fn answers(request: &Request, body: &ResponseBody) -> bool {
    matches!(
        (request, body),
        (Request::Put(_), ResponseBody::Put(_))
            | (Request::Range(_), ResponseBody::Range(_))
            | (Request::DeleteRange(_), ResponseBody::DeleteRange(_))
            | (Request::Txn(_), ResponseBody::Txn(_))
            | (Request::LeaseGrant(_), ResponseBody::LeaseGrant { .. })
            | (Request::LeaseRevoke(_), ResponseBody::LeaseRevoke)
            | (Request::LeaseKeepAlive(_), ResponseBody::LeaseKeepAlive { .. })
            | (Request::Compact(_), ResponseBody::Compact)
    )
}

/// Follows the responses of all watches, in file order.
#[derive(Debug, Default)]
pub(crate) struct WatchLint {
    members: HashMap<u64, u32, Hashing>,
}

impl WatchLint {
    /// Refuses a response that breaks the format's rules.
    pub(crate) fn see(&mut self, line: u64, response: &WatchResponse) -> Result<(), InputError> {
        if let WatchBody::Digests(short) = &response.body
            && let Some(reason) = short.misfit()
        {
            return Err(InputError::malformed(line, reason));
        }
        let known = self.members.get(&response.watch).copied();
        match (&response.body, known) {
            (WatchBody::Created(request), None) => {
                if let Some(resumed) = request.resumes
                    && !self.members.contains_key(&resumed)
                {
                    let reason = format!("watch {} resumes unknown {resumed}", response.watch);
                    return Err(InputError::malformed(line, reason));
                }
                self.members.insert(response.watch, response.member);
            }
            (WatchBody::Created(_), Some(_)) => {
                let reason = format!("watch {} is created twice", response.watch);
                return Err(InputError::malformed(line, reason));
            }
            (_, Some(member)) if member != response.member => {
                let reason = format!("watch {} moved to another member", response.watch);
                return Err(InputError::malformed(line, reason));
            }
            // Whether a server may say anything before `created` is for the rules to judge.
            (_, _) => {}
        }
        Ok(())
    }
}
