//! Gives the cause a better name, once something is known to be wrong.
//!
//! A transaction that a store applied in two steps shows as a gap that nothing explains and as
//! answers with odd revisions; an acknowledged write that was lost, as a revision that holds
//! something else; what was read before it was asked for, as a revision taken again. Values tell: one
//! that only a single operation wrote names that operation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::pins::{each_key_value, each_key_value_of, each_put};
use crate::findings::{Broken, Findings};
use crate::history::record::{
    EventKind, KeyValue, Outcome, Put, Request, ResponseBody, Txn, TxnOp, WatchBody,
};
use crate::history::text::Text;
use crate::history::{History, OperationLine};
use crate::model::execute::branch;
use crate::render;
use crate::verdict::Rule;

/// Rules whose violation may have one of the causes looked for here.
const SYMPTOMS: [Rule; 10] = [
    Rule::LostWrite,
    Rule::WatchComplete,
    Rule::RevisionGap,
    Rule::NoOrder,
    Rule::ContentResponse,
    Rule::TxnBranch,
    Rule::WatchContent,
    Rule::WatchAtomic,
    Rule::FinalState,
    Rule::RevisionDuplicate,
];

/// Looks for causes, if there are symptoms.
pub(crate) fn diagnose(history: &History, findings: &mut Findings) {
    if !SYMPTOMS.iter().any(|rule| findings.breaks(*rule)) {
        return;
    }
    let seen = Seen::collect(history);
    for line in &history.operations {
        match &line.operation.request {
            Request::Txn(txn) => seen.check_split(line, txn, findings),
            Request::Put(put) => seen.check_replaced(line, put, findings),
            _ => {}
        }
        seen.check_future(line, findings);
    }
}

/// Which values were seen where.
struct Seen<'h> {
    /// Operations that put this value under this key: one of them, and how many.
    writers: HashMap<(&'h Text, &'h Text), (&'h OperationLine, usize)>,
    /// Revisions at which a put of the value was seen.
    revisions: HashMap<(Text, Text), BTreeSet<i64>>,
    /// The first put seen at a revision.
    at: BTreeMap<i64, KeyValue>,
}

impl<'h> Seen<'h> {
    fn collect(history: &'h History) -> Seen<'h> {
        let mut writers: HashMap<(&Text, &Text), (&OperationLine, usize)> = HashMap::new();
        for line in &history.operations {
            let mut count = |put: &'h Put| {
                writers.entry((&put.key, &put.value)).or_insert((line, 0)).1 += 1;
            };
            match &line.operation.request {
                Request::Put(put) => count(put),
                Request::Txn(txn) => each_put(txn, &mut count),
                _ => {}
            }
        }
        for kv in &history.header.initial {
            // Nobody wrote it, so it names nobody.
            writers.remove(&(&kv.key, &kv.value));
        }
        let mut seen = Seen { writers, revisions: HashMap::new(), at: BTreeMap::new() };
        each_key_value(history, &mut |kv, whole| {
            if whole {
                seen.see(kv);
            }
        });
        for line in &history.watches {
            let WatchBody::Events { events, .. } = &line.response.body else { continue };
            events.iter().filter(|event| event.kind == EventKind::Put).for_each(|event| {
                seen.see(&event.kv);
            });
        }
        seen
    }

    fn see(&mut self, kv: &KeyValue) {
        let value = (kv.key.clone(), kv.value.clone());
        self.revisions.entry(value).or_default().insert(kv.mod_revision);
        self.at.entry(kv.mod_revision).or_insert_with(|| kv.clone());
    }

    /// Revisions at which a value of only one writer was seen.
    fn revisions_of(&self, put: &Put) -> impl Iterator<Item = i64> {
        let only = self.only_writer(&put.key, &put.value).filter(|_| !put.ignore_value);
        let value = (put.key.clone(), put.value.clone());
        let revisions = only.and_then(|_| self.revisions.get(&value));
        revisions.into_iter().flatten().copied()
    }

    /// The operation that wrote a value, if no other did.
    fn only_writer(&self, key: &Text, value: &Text) -> Option<&'h OperationLine> {
        let (line, count) = self.writers.get(&(key, value))?;
        (*count == 1).then_some(*line)
    }

    /// An answer shows what was asked for only after it had come.
    fn check_future(&self, line: &OperationLine, findings: &mut Findings) {
        let Some(returned) = line.operation.return_ns else { return };
        each_key_value_of(line, &mut |kv, whole| {
            let Some(writer) = self.only_writer(&kv.key, &kv.value).filter(|_| whole) else {
                return;
            };
            if writer.operation.call_ns <= returned {
                return;
            }
            findings.add(Rule::FutureRead, || Broken {
                operations: vec![render::operation(line), render::operation(writer)],
                expected: "nothing that nobody had asked for yet".into(),
                got: render::key_value(kv),
            });
        });
    }

    /// The puts of one branch of a transaction were seen at different revisions.
    fn check_split(&self, line: &OperationLine, txn: &Txn, findings: &mut Findings) {
        let branches: &[bool] = match &line.operation.outcome {
            Outcome::Fail(_) => return,
            Outcome::Unknown(_) => &[true, false],
            Outcome::Ok(response) => match &response.body {
                ResponseBody::Txn(got) if got.succeeded => &[true],
                _ => &[false],
            },
        };
        for succeeded in branches {
            let mut places: Vec<(i64, &Put)> = Vec::new();
            // Where all puts that were seen were seen: one that an answer shows elsewhere as well
            // splits nothing.
            let mut common: Option<BTreeSet<i64>> = None;
            for op in branch(txn, *succeeded) {
                let TxnOp::Put(put) = op else { continue };
                let own: BTreeSet<i64> = self.revisions_of(put).collect();
                if own.is_empty() {
                    continue;
                }
                places.extend(own.iter().map(|revision| (*revision, put)));
                common = Some(common.map_or(own.clone(), |common| &common & &own));
            }
            if common.is_none_or(|common| !common.is_empty()) {
                continue;
            }
            findings.add(Rule::TxnAtomic, || Broken {
                operations: vec![render::operation(line)],
                expected: "all writes of the transaction at one revision".into(),
                got: render::list(&places, |(revision, put)| {
                    format!(
                        "{}={} at {revision}",
                        render::short(&put.key),
                        render::short(&put.value)
                    )
                }),
            });
        }
    }

    /// An acknowledged put was never seen, and its revision holds another key's put; or it was seen
    /// at another revision than its answer says.
    fn check_replaced(&self, line: &OperationLine, put: &Put, findings: &mut Findings) {
        let Outcome::Ok(response) = &line.operation.outcome else { return };
        let seen_at: Vec<i64> = self.revisions_of(put).collect();
        if !seen_at.is_empty() && !seen_at.contains(&response.revision) {
            findings.add(Rule::ContentResponse, || Broken {
                operations: vec![render::operation(line)],
                expected: format!("revision {}, at which it was seen", seen_at[0]),
                got: format!("revision {}", response.revision),
            });
        }
        let Some(kv) = self.at.get(&response.revision) else { return };
        let own = (put.key.clone(), put.value.clone());
        if kv.key == put.key || self.revisions.contains_key(&own) || put.ignore_value {
            return;
        }
        findings.add(Rule::LostWrite, || Broken {
            operations: vec![render::operation(line)],
            expected: format!("the acknowledged write at revision {}", response.revision),
            got: format!("{} at that revision, and the write nowhere", render::key_value(kv)),
        });
    }
}
