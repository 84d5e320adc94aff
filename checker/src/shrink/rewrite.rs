//! A history without some keys and some revisions: the others are counted anew.
//!
//! What happened is known from the replay. It is replayed again without what is left out, which gives
//! every key-value its new revisions and version; what was wrong about it stays as wrong as it was.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::record::{
    Compare, CompareTarget, Event, Header, KeyValue, Operation, Outcome, Range, RangeResponse,
    Record, Request, Response, ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse, WatchBody,
    WatchResponse,
};
use crate::history::text::Text;
use crate::linear::revision::Replayed;
use crate::model::execute::branch;
use crate::model::keyspace::{Span, Stored};

/// What is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Without {
    pub(super) keys: BTreeSet<Text>,
    pub(super) revisions: BTreeSet<i64>,
}

/// A key after a change: as it was, and as it is if nothing is left out of what happened.
struct Version {
    revision: i64,
    was: Option<Stored>,
    is: Option<Stored>,
    /// This change is left out.
    is_void: bool,
}

/// The history counted anew.
struct Anew<'a> {
    without: &'a Without,
    first: i64,
    /// By rank: the revision that it has now.
    revisions: Vec<i64>,
    versions: BTreeMap<Text, Vec<Version>>,
}

/// The records without some of what happened.
pub(super) fn rewrite(records: &[Record], replayed: &Replayed, without: &Without) -> Vec<Record> {
    let Some(Record::Header(header)) = records.first() else { return Vec::new() };
    let anew = Anew::replay(header, replayed, without);
    let mut watches = BTreeSet::new();
    let mut kept = Vec::new();
    for record in records {
        match record {
            Record::Header(header) => {
                let mut header = header.clone();
                header.initial.retain(|kv| anew.keeps(&kv.key));
                kept.push(Record::Header(header));
            }
            Record::Op(operation) => kept.extend(anew.operation(operation).map(Record::Op)),
            Record::Watch(response) => {
                kept.extend(anew.response(response, &mut watches).map(Record::Watch));
            }
            Record::Final(state) => {
                let mut state = state.clone();
                state.revision = anew.revision(state.revision);
                state.kvs = anew.key_values(&state.kvs);
                kept.push(Record::Final(state));
            }
            Record::Nemesis(_) | Record::End(_) => kept.push(record.clone()),
        }
    }
    kept
}

impl<'a> Anew<'a> {
    fn replay(header: &Header, replayed: &Replayed, without: &'a Without) -> Anew<'a> {
        let first = replayed.first;
        let mut anew = Anew { without, first, revisions: vec![first], versions: BTreeMap::new() };
        let mut now: BTreeMap<Text, Stored> = BTreeMap::new();
        for kv in header.initial.iter().filter(|kv| anew.keeps(&kv.key)) {
            now.insert(kv.key.clone(), Stored::from(kv));
        }
        for revision in first + 1..=replayed.done {
            let before = *anew.revisions.last().expect("never empty");
            let next = before + 1;
            let is_out = without.revisions.contains(&revision);
            let mut is_made = replayed.at(revision).is_empty() && !is_out;
            for change in replayed.at(revision) {
                if !anew.keeps(&change.key) {
                    continue;
                }
                let own = now.get(&change.key);
                let is = match &change.after {
                    _ if is_out => own.cloned(),
                    None => None,
                    Some(after) => Some(Stored {
                        create_revision: own.map_or(next, |own| own.create_revision),
                        mod_revision: next,
                        version: own.map_or(1, |own| own.version + 1),
                        ..after.clone()
                    }),
                };
                let is_void = is_out || (is.is_none() && own.is_none());
                is_made |= !is_void;
                match &is {
                    Some(is) => now.insert(change.key.clone(), is.clone()),
                    None => now.remove(&change.key),
                };
                let version = Version { revision, was: change.after.clone(), is, is_void };
                anew.versions.entry(change.key.clone()).or_default().push(version);
            }
            anew.revisions.push(if is_made { next } else { before });
        }
        anew
    }

    fn keeps(&self, key: &Text) -> bool {
        !self.without.keys.contains(key)
    }

    /// Whether any key that is kept lies in a span, of those that were ever there.
    fn keeps_some(&self, span: Span<'_>) -> bool {
        match span.single() {
            Some(key) => self.keeps(key),
            None => true,
        }
    }

    /// The revision that this one has now.
    fn revision(&self, revision: i64) -> i64 {
        let Ok(rank) = usize::try_from(revision - self.first) else { return revision };
        let last = self.revisions.len() - 1;
        match self.revisions.get(rank) {
            Some(revision) => *revision,
            None => {
                revision - (self.first + i64::try_from(last).unwrap_or(0)) + self.revisions[last]
            }
        }
    }

    /// Whether a revision is still there.
    fn is_made(&self, revision: i64) -> bool {
        self.revision(revision) > self.revision(revision - 1)
    }

    fn version(&self, key: &Text, revision: i64) -> Option<&Version> {
        let versions = self.versions.get(key)?;
        let place = versions.binary_search_by_key(&revision, |version| version.revision).ok()?;
        Some(&versions[place])
    }

    fn key_value(&self, kv: &KeyValue) -> Option<KeyValue> {
        if !self.keeps(&kv.key) {
            return None;
        }
        let Some(version) = self.version(&kv.key, kv.mod_revision) else {
            return Some(KeyValue {
                create_revision: self.revision(kv.create_revision),
                mod_revision: self.revision(kv.mod_revision),
                ..kv.clone()
            });
        };
        let is = version.is.as_ref()?;
        if version.is_void {
            let value = if kv.value.is_empty() { kv.value.clone() } else { is.value.clone() };
            return Some(KeyValue { value, ..is.key_value(&kv.key) });
        }
        let was = version.was.as_ref()?;
        Some(KeyValue {
            create_revision: is.create_revision + kv.create_revision - was.create_revision,
            mod_revision: is.mod_revision,
            version: is.version + kv.version - was.version,
            ..kv.clone()
        })
    }

    fn key_values(&self, kvs: &[KeyValue]) -> Vec<KeyValue> {
        kvs.iter().filter_map(|kv| self.key_value(kv)).collect()
    }

    fn operation(&self, operation: &Operation) -> Option<Operation> {
        let mut operation = operation.clone();
        let Outcome::Ok(Response { revision, body }) = &mut operation.outcome else {
            self.request(&mut operation.request)?;
            return Some(operation);
        };
        let made = *revision;
        *revision = self.revision(made);
        match (&mut operation.request, body) {
            (Request::Put(put), ResponseBody::Put(got)) => {
                if !self.keeps(&put.key) || !self.is_made(made) {
                    return None;
                }
                got.prev_kv = got.prev_kv.as_ref().and_then(|kv| self.key_value(kv));
            }
            (Request::Range(range), ResponseBody::Range(got)) => self.range(range, got)?,
            (Request::DeleteRange(delete), ResponseBody::DeleteRange(got)) => {
                if !self.keeps_some(Span::new(&delete.key, &delete.range_end)) {
                    return None;
                }
                if got.deleted > 0 {
                    if !self.is_made(made) {
                        return None;
                    }
                    let claimed = got.deleted;
                    let were = self.deleted(made, false);
                    got.deleted = self.deleted(made, true) + claimed - were;
                }
                got.prev_kvs = self.key_values(&got.prev_kvs);
            }
            (Request::Txn(txn), ResponseBody::Txn(got)) => {
                let wrote = crate::linear::timeline::writes(&ResponseBody::Txn(got.clone()));
                if wrote && self.without.revisions.contains(&made) {
                    return None;
                }
                self.txn(txn, got)?;
            }
            (request, _) => self.request(request)?,
        }
        Some(operation)
    }

    /// Keys deleted at a revision: as it was, or as it is.
    fn deleted(&self, revision: i64, now: bool) -> i64 {
        let of_key = |versions: &Vec<Version>| {
            let place = versions.binary_search_by_key(&revision, |own| own.revision);
            place.is_ok_and(|place| {
                let version = &versions[place];
                version.was.is_none() && !(now && version.is_void)
            })
        };
        let of_kept = self.versions.values().filter(|versions| of_key(versions)).count();
        i64::try_from(of_kept).expect("keys are few")
    }

    /// A request whose answer is not known, or says nothing of keys.
    fn request(&self, request: &mut Request) -> Option<()> {
        match request {
            Request::Put(put) => self.keeps(&put.key).then_some(()),
            Request::Range(range) => {
                self.past(range);
                self.keeps_some(Span::new(&range.key, &range.range_end)).then_some(())
            }
            Request::DeleteRange(delete) => {
                self.keeps_some(Span::new(&delete.key, &delete.range_end)).then_some(())
            }
            Request::Txn(txn) => {
                txn.compare.retain_mut(|compare| self.compare(compare));
                txn.success.retain_mut(|op| self.txn_op(op));
                txn.failure.retain_mut(|op| self.txn_op(op));
                (!txn.success.is_empty() || !txn.failure.is_empty()).then_some(())
            }
            Request::Compact(compact) => {
                compact.revision = self.revision(compact.revision);
                Some(())
            }
            Request::LeaseGrant(_) | Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_) => {
                Some(())
            }
        }
    }

    fn past(&self, range: &mut Range) {
        if range.revision > 0 {
            range.revision = self.revision(range.revision);
        }
    }

    fn range(&self, range: &mut Range, got: &mut RangeResponse) -> Option<()> {
        let span = Span::new(&range.key, &range.range_end);
        if !self.keeps_some(span) {
            return None;
        }
        let is_partial = range.count_only || got.more;
        if is_partial && span.single().is_none() {
            // It does not say which keys it counts.
            return None;
        }
        let kvs = self.key_values(&got.kvs);
        let gone = got.kvs.len() - kvs.len();
        got.count -= i64::try_from(gone).expect("keys are few");
        got.kvs = kvs;
        self.past(range);
        Some(())
    }

    fn compare(&self, compare: &mut Compare) -> bool {
        if let CompareTarget::Mod(revision) | CompareTarget::Create(revision) = &mut compare.target
        {
            *revision = self.revision(*revision);
        }
        self.keeps_some(Span::new(&compare.key, &compare.range_end))
    }

    /// An operation of a transaction that did not run.
    fn txn_op(&self, op: &mut TxnOp) -> bool {
        let mut request = match op {
            TxnOp::Put(put) => Request::Put(put.clone()),
            TxnOp::Range(range) => Request::Range(range.clone()),
            TxnOp::DeleteRange(delete) => Request::DeleteRange(delete.clone()),
            TxnOp::Txn(txn) => Request::Txn(txn.clone()),
        };
        if self.request(&mut request).is_none() {
            return false;
        }
        *op = match request {
            Request::Put(put) => TxnOp::Put(put),
            Request::Range(range) => TxnOp::Range(range),
            Request::DeleteRange(delete) => TxnOp::DeleteRange(delete),
            Request::Txn(txn) => TxnOp::Txn(txn),
            _ => unreachable!("it was one of these"),
        };
        true
    }

    /// A transaction and its answer: operation by operation.
    fn txn(&self, txn: &mut Txn, got: &mut TxnResponse) -> Option<()> {
        let mut ran = Vec::new();
        let mut said = Vec::new();
        for (op, response) in branch(txn, got.succeeded).iter().zip(&got.responses) {
            let (mut op, mut response) = (op.clone(), response.clone());
            if self.ran(&mut op, &mut response)? {
                ran.push(op);
                said.push(response);
            }
        }
        got.responses = said;
        txn.compare.retain_mut(|compare| self.compare(compare));
        let (mine, other) = if got.succeeded {
            (&mut txn.success, &mut txn.failure)
        } else {
            (&mut txn.failure, &mut txn.success)
        };
        *mine = ran;
        other.retain_mut(|op| self.txn_op(op));
        (!mine.is_empty() || !other.is_empty()).then_some(())
    }

    /// Whether an operation of the branch that ran is kept; `None` if the transaction cannot be told
    /// without it.
    fn ran(&self, op: &mut TxnOp, response: &mut TxnOpResponse) -> Option<bool> {
        match (op, response) {
            (TxnOp::Put(put), TxnOpResponse::Put(got)) => {
                got.prev_kv = got.prev_kv.as_ref().and_then(|kv| self.key_value(kv));
                Some(self.keeps(&put.key))
            }
            (TxnOp::Range(range), TxnOpResponse::Range(got)) => {
                if !self.keeps_some(Span::new(&range.key, &range.range_end)) {
                    return Some(false);
                }
                self.range(range, got).map(|()| true)
            }
            (TxnOp::DeleteRange(delete), TxnOpResponse::DeleteRange(got)) => {
                let span = Span::new(&delete.key, &delete.range_end);
                got.prev_kvs = self.key_values(&got.prev_kvs);
                match span.single() {
                    Some(key) => Some(self.keeps(key)),
                    // It does not say which keys it counts.
                    None => (got.deleted == 0).then_some(true),
                }
            }
            (TxnOp::Txn(txn), TxnOpResponse::Txn(got)) => self.txn(txn, got).map(|()| true),
            _ => None,
        }
    }

    /// A response of a watch; notes in `gone` the watches that are left out.
    fn response(
        &self,
        response: &WatchResponse,
        gone: &mut BTreeSet<u64>,
    ) -> Option<WatchResponse> {
        let mut response = response.clone();
        response.revision = self.revision(response.revision);
        if gone.contains(&response.watch) {
            return None;
        }
        match &mut response.body {
            WatchBody::Created(request) => {
                let resumes_gone = request.resumes.is_some_and(|id| gone.contains(&id));
                if !self.keeps_some(Span::new(&request.key, &request.range_end)) || resumes_gone {
                    gone.insert(response.watch);
                    return None;
                }
                if request.start_revision > 0 {
                    // The first that is still there, of those that were due.
                    request.start_revision = self.revision(request.start_revision - 1) + 1;
                }
            }
            WatchBody::Events { events, .. } => {
                *events = events.iter().filter_map(|event| self.event(event)).collect();
                if events.is_empty() {
                    return None;
                }
            }
            // It does not say which keys it is about.
            WatchBody::Digests(_) => return None,
            WatchBody::Canceled { compact_revision, .. } if *compact_revision > 0 => {
                *compact_revision = self.revision(*compact_revision);
            }
            WatchBody::Progress | WatchBody::Canceled { .. } | WatchBody::Closed { .. } => {}
        }
        Some(response)
    }

    fn event(&self, event: &Event) -> Option<Event> {
        let revision = event.kv.mod_revision;
        let is_void = self.version(&event.kv.key, revision).is_some_and(|own| own.is_void);
        if !self.keeps(&event.kv.key) || is_void || self.without.revisions.contains(&revision) {
            return None;
        }
        let kv = match self.version(&event.kv.key, revision) {
            Some(Version { is: Some(_), was: Some(_), .. }) => self.key_value(&event.kv)?,
            _ => KeyValue {
                create_revision: self.revision(event.kv.create_revision),
                mod_revision: self.revision(revision),
                ..event.kv.clone()
            },
        };
        let prev_kv = event.prev_kv.as_ref().and_then(|kv| self.key_value(kv));
        Some(Event { kind: event.kind, kv, prev_kv })
    }
}
