//! The first way through a report: which files there are, which watches, and what changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::super::error::FormatError;
use super::changes::Changes;
use super::model::{DELETE_STEP, KeyValue, PUT_STEP, Request, Response, Step, TxnRequest};
use super::operations_file::{Line, Operations};
use super::values;
use super::watch_file::{self, Found};
use crate::history::text::Text;

/// What a report holds.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Files of operations, in the order of the clients.
    pub(super) operations: Vec<PathBuf>,
    /// Files of watches, each with what it holds.
    pub(super) watches: Vec<(PathBuf, Vec<Found>)>,
    /// Ids of members.
    pub(super) members: BTreeSet<u64>,
    /// Streams above this one are of no client.
    pub(super) stream_max: u64,
    pub(super) changes: Changes,
}

impl Survey {
    /// Goes through a report.
    pub(super) fn of(folder: &Path) -> Result<Survey, FormatError> {
        let mut survey = Survey::default();
        for client in clients(folder)? {
            let operations = client.join("operations.json");
            if operations.exists() {
                survey.read_operations(&operations).map_err(|error| named(&operations, error))?;
                survey.operations.push(operations);
            }
            let watches = client.join("watch.json");
            if watches.exists() {
                let found =
                    survey.read_watches(&watches).map_err(|error| named(&watches, error))?;
                survey.watches.push((watches, found));
            }
        }
        survey.changes.finish();
        Ok(survey)
    }

    fn read_operations(&mut self, path: &Path) -> Result<(), FormatError> {
        let mut operations = Operations::new(open(path)?);
        while let Some(line) = operations.next()? {
            self.stream_max = self.stream_max.max(line.stream);
            let response = &line.operation.output;
            if let Some(id) = member_id(&line)? {
                self.members.insert(id);
            }
            self.see_operation(&line.operation.input, response);
        }
        Ok(())
    }

    fn see_operation(&mut self, request: &Request, response: &Response) {
        if let Some(range) = &response.range {
            self.see_key_values(range.kvs.as_deref());
        }
        let Some(txn) = &request.txn else { return };
        let answer = response.txn.as_ref().filter(|_| response.is_answer());
        let Some(answer) = answer else {
            for step in all_steps(txn).filter(|step| step.kind == PUT_STEP) {
                let put = &step.put;
                let value = values::read(&put.value);
                self.changes.see_unanswered_put(Text::from(&put.key), value, put.lease);
            }
            return;
        };
        let results = answer.results.as_deref().unwrap_or_default();
        for result in results {
            self.see_key_values(result.kvs.as_deref());
        }
        let ran =
            if answer.failure { &txn.operations_on_failure } else { &txn.operations_on_success };
        let ran = ran.as_deref().unwrap_or_default();
        let mut wrote = false;
        for (step, result) in ran.iter().zip(results) {
            if step.kind == PUT_STEP {
                let put = &step.put;
                self.changes.see_put(Text::from(&put.key), response.revision, put.lease);
                wrote = true;
            } else if step.kind == DELETE_STEP && result.deleted > 0 {
                self.changes.see_delete(Text::from(&step.delete.key), response.revision);
                wrote = true;
            }
        }
        if wrote {
            self.changes.see_whole(response.revision);
        }
    }

    fn see_key_values(&mut self, kvs: Option<&[KeyValue]>) {
        for kv in kvs.unwrap_or_default() {
            self.changes.see_key_value(Text::from(&kv.key), kv.mod_revision, kv.version);
        }
    }

    fn read_watches(&mut self, path: &Path) -> Result<Vec<Found>, FormatError> {
        let changes = &mut self.changes;
        watch_file::survey(open(path)?, &mut |_, request, response| {
            let sees_all = request.key.is_empty() && request.with_prefix;
            for event in response.events.iter().flatten() {
                let key = Text::from(&event.key);
                if event.kind == DELETE_STEP {
                    changes.see_delete(key, event.revision);
                } else {
                    changes.see_put_event(key, event.revision, event.is_create);
                }
                if sees_all {
                    changes.see_whole(event.revision);
                }
            }
            Ok(())
        })
    }
}

/// The member that answered an operation; `None` if nothing tells.
pub(super) fn member_id(line: &Line) -> Result<Option<u64>, FormatError> {
    let text = &line.operation.output.member_id;
    if text.is_empty() {
        return Ok(None);
    }
    u64::from_str_radix(text, 16).ok().map(Some).ok_or_else(|| {
        let reason = format!("member-id is not a hexadecimal number: {text}");
        FormatError::malformed(line.place, reason)
    })
}

fn all_steps(txn: &TxnRequest) -> impl Iterator<Item = &Step> {
    let branches = [&txn.operations_on_success, &txn.operations_on_failure];
    branches.into_iter().flatten().flatten()
}

/// The folders of the clients, by their numbers.
fn clients(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let failed = |source| FormatError::Open { path: folder.display().to_string(), source };
    let mut clients: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.strip_prefix("client-")) else {
            continue;
        };
        let number = number.parse().ok().ok_or_else(|| {
            FormatError::request(format!("{}: a client has a number", entry.path().display()))
        })?;
        clients.push((number, entry.path()));
    }
    if clients.is_empty() {
        let reason = format!("{}: no report: it has no folder client-N", folder.display());
        return Err(FormatError::request(reason));
    }
    clients.sort();
    Ok(clients.into_iter().map(|(_, path)| path).collect())
}

/// Opens one of the files.
pub(super) fn open(path: &Path) -> Result<BufReader<File>, FormatError> {
    File::open(path)
        .map(BufReader::new)
        .map_err(|source| FormatError::Open { path: path.display().to_string(), source })
}

/// An error in one of the files, named by its client and itself.
pub(super) fn named(path: &Path, error: FormatError) -> FormatError {
    let parts: Vec<_> = path.iter().rev().take(2).collect();
    let name: PathBuf = parts.into_iter().rev().collect();
    error.in_file(name.display().to_string())
}
