//! A history of our own as Jepsen's, one register for each key: `:read`, `:write` and `:cas` with
//! independent keys. A key that is not there holds nil.
//!
//! ```text
//!  put k v                                     :write [k v]
//!  range k                                     :read  [k value]
//!  txn: k is at revision r, or absent; put k v :cas   [k [value-at-r v]]
//!  the same, and not; range k                  :read  [k value]
//! ```
//!
//! Anything else that may read or change keys is an error that names the first of them: leases,
//! deletes, ranges, reads of the past or of one member. Watches and final states are left out, faults
//! become the nemesis' lines.
//!
//! Our lines are in the order of returns, Jepsen's in the order of calls and returns: memory holds all
//! events until the last is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::edn::{Edn, is_token};
use super::error::{FormatError, Place};
use super::jepsen::{Event, EventSink, JepsenOp, Kind, Process};
use super::left_out::LeftOut;
use super::native::RecordSink;
use crate::history::record::{
    Compare, CompareResult, CompareTarget, Failure, KeyValue, Nemesis, NemesisPhase, Operation,
    Outcome, Put, Range, Record, Request, ResponseBody, Txn, TxnOp, TxnOpResponse, WatchBody,
};
use crate::history::text::Text;

/// Collects a history, and writes it in Jepsen's order.
pub(super) struct Writer<S> {
    sink: S,
    operations: Vec<Line>,
    faults: Vec<(Place, Nemesis)>,
    /// Values by key and the revision that wrote them.
    values: HashMap<(Text, i64), Text>,
    left_out: LeftOut,
}

/// An operation as a register has it.
struct Line {
    place: Place,
    process: u64,
    call_ns: u64,
    return_ns: Option<u64>,
    key: Text,
    did: Did,
    end: End,
}

enum Did {
    Read,
    Write(Text),
    Cas(Held, Text),
}

/// What a register must hold.
enum Held {
    Nothing,
    /// What was written at this revision.
    WrittenAt(i64),
    Value(Text),
}

enum End {
    /// With what a read found.
    Ok(Option<Text>),
    Fail(Failure),
    /// A compare that did not hold.
    Differs,
    Unknown(Failure),
}

impl<S: EventSink> Writer<S> {
    /// Hands the events to `sink`, once all are known.
    pub(super) fn new(sink: S) -> Writer<S> {
        Writer {
            sink,
            operations: Vec::new(),
            faults: Vec::new(),
            values: HashMap::new(),
            left_out: LeftOut::default(),
        }
    }

    fn take(&mut self, place: Place, operation: &Operation) -> Result<(), FormatError> {
        let (key, did, end) =
            tell(operation).map_err(|reason| FormatError::untellable(place, reason))?;
        self.learn(operation);
        self.operations.push(Line {
            place,
            process: operation.process,
            call_ns: operation.call_ns,
            return_ns: operation.return_ns,
            key,
            did,
            end,
        });
        Ok(())
    }

    /// Remembers which value a revision wrote.
    fn learn(&mut self, operation: &Operation) {
        let Outcome::Ok(answer) = &operation.outcome else { return };
        let mut saw = |kv: &KeyValue| {
            self.values.insert((kv.key.clone(), kv.mod_revision), kv.value.clone());
        };
        match &answer.body {
            ResponseBody::Range(range) => range.kvs.iter().for_each(saw),
            ResponseBody::Txn(txn) => {
                for response in &txn.responses {
                    if let TxnOpResponse::Range(range) = response {
                        range.kvs.iter().for_each(&mut saw);
                    }
                }
            }
            _ => {}
        }
        let written = match (&operation.request, &answer.body) {
            (Request::Put(put), _) => Some(put),
            (Request::Txn(txn), ResponseBody::Txn(got)) if got.succeeded => {
                txn.success.iter().find_map(|op| match op {
                    TxnOp::Put(put) => Some(put),
                    _ => None,
                })
            }
            _ => None,
        };
        if let Some(put) = written {
            self.values.insert((put.key.clone(), answer.revision), put.value.clone());
        }
    }

    fn write_all(&mut self) -> Result<(), FormatError> {
        let mut moments = self.moments();
        moments.sort_by_key(|moment| (moment.time, moment.is_end));
        let processes = self.processes();
        for (position, moment) in (0_u64..).zip(&moments) {
            let op = match moment.what {
                What::Operation(index) => {
                    self.op(&self.operations[index], processes[index], moment.is_end)?
                }
                What::Fault(index) => fault(&self.faults[index].1),
            };
            let op = JepsenOp {
                index: position,
                time: Some(i64::try_from(moment.time).unwrap_or(i64::MAX)),
                ..op
            };
            self.sink.write(&Event { place: moment.place, position, op })?;
        }
        self.sink.finish()
    }

    /// Calls and ends, in no order. One whose outcome is unknown ends when nothing else is left.
    fn moments(&self) -> Vec<Moment> {
        let last = self.operations.iter().map(|line| line.return_ns.unwrap_or(line.call_ns)).max();
        let mut moments = Vec::new();
        for (index, line) in self.operations.iter().enumerate() {
            let end = match line.end {
                End::Unknown(_) => last.unwrap_or(0),
                _ => line.return_ns.unwrap_or(line.call_ns),
            };
            for (time, is_end) in [(line.call_ns, false), (end, true)] {
                let what = What::Operation(index);
                moments.push(Moment { time, is_end, place: line.place, what });
            }
        }
        for (index, (place, fault)) in self.faults.iter().enumerate() {
            let what = What::Fault(index);
            moments.push(Moment { time: fault.time_ns, is_end: false, place: *place, what });
        }
        moments
    }

    /// The process of each operation. One that calls in the very moment it has returned is another
    /// one from then on: in one order of events its call comes before that return, so that nothing
    /// else comes between.
    fn processes(&self) -> Vec<u64> {
        let used: BTreeSet<u64> = self.operations.iter().map(|line| line.process).collect();
        let highest = used.last().copied().unwrap_or(0);
        // Numbers are as long as they like in a file, so there may be none above the highest.
        let above = (highest..=u64::MAX).chain(0..highest);
        let mut fresh = above.filter(|process| !used.contains(process));
        let mut busy: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut name = |line: &Line| {
            let until = line.return_ns.unwrap_or(line.call_ns);
            let named = match busy.get(&line.process) {
                Some((named, busy)) if *busy < line.call_ns => *named,
                Some(_) => fresh.next().expect("there are more numbers than operations"),
                None => line.process,
            };
            busy.insert(line.process, (named, until));
            named
        };
        self.operations.iter().map(&mut name).collect()
    }

    fn op(&self, line: &Line, process: u64, is_end: bool) -> Result<JepsenOp, FormatError> {
        let (f, value) = match (&line.did, &line.end) {
            (Did::Read, End::Ok(found)) if is_end => ("read", optional(found.as_ref())),
            (Did::Read, _) => ("read", Edn::Nil),
            (Did::Write(value), _) => ("write", text(value)),
            (Did::Cas(from, to), _) => {
                ("cas", Edn::Vector(vec![self.compared(line, from)?, text(to)]))
            }
        };
        let (kind, error) = match &line.end {
            _ if !is_end => (Kind::Invoke, None),
            End::Ok(_) => (Kind::Ok, None),
            End::Differs => (Kind::Fail, None),
            End::Fail(failure) => (Kind::Fail, Some(error(failure))),
            End::Unknown(failure) => (Kind::Info, Some(error(failure))),
        };
        Ok(JepsenOp {
            index: 0,
            process: Process::Client(process),
            kind,
            f: Some(Edn::keyword(f)),
            value: Edn::Vector(vec![text(&line.key), value]),
            time: None,
            error,
            extra: Vec::new(),
        })
    }

    fn compared(&self, line: &Line, from: &Held) -> Result<Edn, FormatError> {
        match from {
            Held::Nothing => Ok(Edn::Nil),
            Held::Value(value) => Ok(text(value)),
            Held::WrittenAt(revision) => {
                let value = self.values.get(&(line.key.clone(), *revision));
                value.map(text).ok_or_else(|| {
                    let reason = format!(
                        "a compare with revision {revision} of {}, of which the history does not \
                         tell the value",
                        line.key
                    );
                    FormatError::untellable(line.place, reason)
                })
            }
        }
    }
}

/// A moment at which something begins or ends.
struct Moment {
    time: u64,
    is_end: bool,
    place: Place,
    what: What,
}

enum What {
    Operation(usize),
    Fault(usize),
}

/// What an operation does to a register; why it is of none.
fn tell(operation: &Operation) -> Result<(Text, Did, End), String> {
    let end = match &operation.outcome {
        Outcome::Ok(_) => End::Ok(None),
        Outcome::Fail(failure) => End::Fail(failure.clone()),
        Outcome::Unknown(failure) => End::Unknown(failure.clone()),
    };
    let body = match &operation.outcome {
        Outcome::Ok(answer) => Some(&answer.body),
        Outcome::Fail(_) | Outcome::Unknown(_) => None,
    };
    match (&operation.request, body) {
        (Request::Put(put), _) => {
            let (key, value) = put_of(put)?;
            Ok((key, Did::Write(value), end))
        }
        (Request::Range(range), body) => {
            let key = key_of(range)?;
            let found = match body {
                Some(ResponseBody::Range(got)) => End::Ok(value_of(&got.kvs)),
                _ => end,
            };
            Ok((key, Did::Read, found))
        }
        (Request::Txn(txn), body) => {
            let (key, from, to) = cas_of(txn)?;
            let Some(ResponseBody::Txn(got)) = body else {
                return Ok((key, Did::Cas(from, to), end));
            };
            match (got.succeeded, got.responses.first()) {
                (true, _) => Ok((key, Did::Cas(from, to), end)),
                (false, Some(TxnOpResponse::Range(got))) => {
                    Ok((key, Did::Read, End::Ok(value_of(&got.kvs))))
                }
                (false, _) => Ok((key, Did::Cas(from, to), End::Differs)),
            }
        }
        (Request::DeleteRange(_), _) => Err("a register has no delete".into()),
        (Request::LeaseGrant(_) | Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_), _) => {
            Err("a register has no leases".into())
        }
        (Request::Compact(_), _) => Err("a register has no compaction".into()),
    }
}

fn put_of(put: &Put) -> Result<(Text, Text), String> {
    if put.lease != 0 || put.ignore_value || put.ignore_lease {
        return Err("a register has only puts of a value without a lease".into());
    }
    Ok((put.key.clone(), put.value.clone()))
}

fn key_of(range: &Range) -> Result<Text, String> {
    let plain = Range { key: range.key.clone(), limit: range.limit, ..Range::default() };
    if *range != plain || range.limit < 0 {
        return Err("a register has only linearizable reads of one key and its value".into());
    }
    Ok(range.key.clone())
}

/// The key, what it must hold, and what it holds then.
fn cas_of(txn: &Txn) -> Result<(Text, Held, Text), String> {
    let reason = "a register has only transactions that compare one key for equality, put it, and \
                  else read it or nothing";
    let ([compare], [TxnOp::Put(put)]) = (txn.compare.as_slice(), txn.success.as_slice()) else {
        return Err(reason.into());
    };
    let (key, value) = put_of(put)?;
    let from = compared(compare).filter(|_| compare.key == key).ok_or(reason)?;
    let reads_key = match txn.failure.as_slice() {
        [] => true,
        [TxnOp::Range(range)] => key_of(range)? == key,
        _ => false,
    };
    if reads_key { Ok((key, from, value)) } else { Err(reason.into()) }
}

fn compared(compare: &Compare) -> Option<Held> {
    if compare.result != CompareResult::Equal || !compare.range_end.is_empty() {
        return None;
    }
    match &compare.target {
        CompareTarget::Version(0) | CompareTarget::Create(0) | CompareTarget::Mod(0) => {
            Some(Held::Nothing)
        }
        CompareTarget::Mod(revision) => Some(Held::WrittenAt(*revision)),
        CompareTarget::Value(value) => Some(Held::Value(value.clone())),
        CompareTarget::Version(_) | CompareTarget::Create(_) | CompareTarget::Lease(_) => None,
    }
}

fn value_of(kvs: &[KeyValue]) -> Option<Text> {
    kvs.first().map(|kv| kv.value.clone())
}

fn text(text: &Text) -> Edn {
    Edn::string(text.to_string())
}

fn optional(value: Option<&Text>) -> Edn {
    value.map_or(Edn::Nil, text)
}

fn error(failure: &Failure) -> Edn {
    Edn::Vector(vec![Edn::string(&*failure.code), Edn::string(&*failure.message)])
}

fn fault(nemesis: &Nemesis) -> JepsenOp {
    let phase = match nemesis.phase {
        NemesisPhase::Start => "start",
        NemesisPhase::End => "end",
    };
    let name = format!("{phase}-{}", nemesis.fault);
    let members = nemesis.members.iter().map(|member| Edn::Integer(i64::from(*member)));
    JepsenOp {
        index: 0,
        process: Process::Named("nemesis".into()),
        kind: Kind::Info,
        f: Some(if is_token(&name) { Edn::Keyword(name) } else { Edn::String(name) }),
        value: Edn::Vector(members.collect()),
        time: None,
        error: nemesis.error.as_deref().map(Edn::string),
        extra: Vec::new(),
    }
}

impl<S: EventSink> RecordSink for Writer<S> {
    fn write(&mut self, place: Place, record: &Record) -> Result<(), FormatError> {
        match record {
            Record::Header(header) if !header.initial.is_empty() => {
                let reason = "registers are empty at the beginning, but the store was not";
                Err(FormatError::untellable(place, reason))
            }
            Record::Op(operation) => self.take(place, operation),
            Record::Watch(response) => {
                if matches!(response.body, WatchBody::Created(_)) {
                    self.left_out.add("watches");
                }
                Ok(())
            }
            Record::Nemesis(nemesis) => {
                self.faults.push((place, nemesis.clone()));
                Ok(())
            }
            Record::Final(_) => {
                self.left_out.add("final states");
                Ok(())
            }
            Record::Header(_) | Record::End(_) => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        self.write_all()
    }

    fn left_out(&self) -> LeftOut {
        let mut left_out = self.left_out.clone();
        left_out.merge(&self.sink.left_out());
        left_out
    }
}
