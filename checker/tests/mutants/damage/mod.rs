//! Ways to damage a valid history, each in one place of it.
//!
//! What a damage says was done is wrong by construction, given what the watches on all keys have told:
//! the comment of each says why. It does nothing where that does not hold. Without the watches a mutant
//! may be explained otherwise; then somebody else has to say whether it is valid.

pub(crate) mod compactions;
pub(crate) mod ends;
pub(crate) mod leases;
pub(crate) mod reads;
pub(crate) mod resumed;
pub(crate) mod txns;
pub(crate) mod unknown;
pub(crate) mod watches;
pub(crate) mod writes;

use rusd_checker::history::record::{
    KeyValue, Operation, Outcome, Range, Record, Request, Response, ResponseBody, Txn, TxnOp,
    TxnOpResponse,
};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::Dice;

use crate::truth::{Truth, contains};

/// Damages a history; `None` if there is nothing of the kind to damage.
pub(crate) type Damage = fn(&mut Mutant<'_>) -> Option<()>;

/// Places that are tried, of those where a damage may be possible.
const PLACES_TRIED_MAX: usize = 200;
/// Processes from here on do what a damage adds.
const PROCESSES_ADDED: u64 = 1_000_000_000;

/// A history that is being damaged.
pub(crate) struct Mutant<'t> {
    /// The header first.
    pub(crate) records: Vec<Record>,
    /// What happened before the damage.
    pub(crate) truth: &'t Truth,
    pub(crate) dice: Dice,
    added: u64,
}

impl<'t> Mutant<'t> {
    pub(crate) fn new(records: &[Record], truth: &'t Truth, seed: u64) -> Mutant<'t> {
        Mutant { records: records.to_vec(), truth, dice: Dice::new(seed), added: PROCESSES_ADDED }
    }

    /// A number below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        let bound = u64::try_from(bound).expect("positive");
        i64::try_from(self.dice.below(bound)).expect("below an i64")
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        let count = i64::try_from(choices.len()).expect("few");
        if count == 0 {
            return None;
        }
        choices.get(usize::try_from(self.below(count)).expect("not negative")).copied()
    }

    /// Tries a damage at the records that are `wanted`, from a random one on, until one can be done.
    pub(crate) fn somewhere(
        &mut self,
        wanted: impl Fn(&Record) -> bool,
        damage: impl Fn(&mut Mutant<'_>, usize) -> Option<()>,
    ) -> Option<()> {
        let all = self.records.iter().enumerate();
        let mut places: Vec<usize> =
            all.filter(|(_, record)| wanted(record)).map(|(place, _)| place).collect();
        let first = self.one_of(&(0..places.len()).collect::<Vec<_>>())?;
        places.rotate_left(first);
        places.into_iter().take(PLACES_TRIED_MAX).find_map(|place| damage(self, place))
    }

    /// Tries a damage at operations.
    pub(crate) fn at_operation(
        &mut self,
        wanted: impl Fn(&Operation) -> bool,
        damage: impl Fn(&mut Mutant<'_>, usize) -> Option<()>,
    ) -> Option<()> {
        let wanted = |record: &Record| matches!(record, Record::Op(operation) if wanted(operation));
        self.somewhere(wanted, damage)
    }

    /// The operation at a place.
    pub(crate) fn operation(&self, place: usize) -> &Operation {
        match &self.records[place] {
            Record::Op(operation) => operation,
            other => panic!("not an operation: {other:?}"),
        }
    }

    /// The operation at a place, to be damaged.
    pub(crate) fn operation_mut(&mut self, place: usize) -> &mut Operation {
        match &mut self.records[place] {
            Record::Op(operation) => operation,
            other => panic!("not an operation: {other:?}"),
        }
    }

    /// The answer of the operation at a place, which has one.
    pub(crate) fn response_mut(&mut self, place: usize) -> &mut Response {
        match &mut self.operation_mut(place).outcome {
            Outcome::Ok(response) => response,
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// All operations, with their places.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (usize, &Operation)> {
        self.records.iter().enumerate().filter_map(|(place, record)| match record {
            Record::Op(operation) => Some((place, operation)),
            _ => None,
        })
    }

    /// The newest revision that an answer had told before this time: whatever begins then sees it.
    pub(crate) fn seen_before(&self, ns: u64) -> i64 {
        let answered = self.operations().filter_map(|(_, operation)| {
            let ended = operation.return_ns.is_some_and(|returned| returned < ns);
            answer(operation).filter(|_| ended).map(|response| response.revision)
        });
        answered.max().unwrap_or(0)
    }

    /// When everything had ended.
    pub(crate) fn end_ns(&self) -> u64 {
        let ends = self.records.iter().filter_map(|record| match record {
            Record::Op(operation) => operation.return_ns.or(Some(operation.call_ns)),
            Record::Watch(response) => Some(response.arrived_ns),
            Record::Final(state) => Some(state.return_ns),
            _ => None,
        });
        ends.max().unwrap_or(0)
    }

    /// Answers the range at a place as after a revision.
    pub(crate) fn answer_from(&mut self, place: usize, revision: i64) {
        let truth = self.truth;
        let Request::Range(range) = &self.operation(place).request else { panic!("not a range") };
        let body = ResponseBody::Range(truth.answer(range, revision));
        self.operation_mut(place).outcome = Outcome::Ok(Response { revision, body });
    }

    /// Adds an operation of a process of its own.
    pub(crate) fn add(&mut self, times: (u64, u64), request: Request, outcome: Outcome) -> usize {
        self.added += 1;
        self.records.push(Record::Op(Operation {
            process: self.added,
            member: 0,
            call_ns: times.0,
            return_ns: Some(times.1),
            request,
            outcome,
        }));
        self.records.len() - 1
    }

    /// Moves an operation in time; its process does nothing else.
    pub(crate) fn move_to(&mut self, place: usize, call_ns: u64, return_ns: Option<u64>) {
        self.added += 1;
        let process = self.added;
        let operation = self.operation_mut(place);
        operation.process = process;
        operation.call_ns = call_ns;
        operation.return_ns = return_ns;
    }

    /// Adds a read of the past, at the end, answered as after `revision`.
    pub(crate) fn add_past_read(&mut self, range: Range, revision: i64) -> usize {
        let end = self.end_ns();
        let body = ResponseBody::Range(self.truth.answer(&range, revision));
        let range = Range { revision, ..range };
        let newest = self.truth.newest;
        let outcome = Outcome::Ok(Response { revision: newest, body });
        self.add((end + 1, end + 2), Request::Range(range), outcome)
    }

    /// The oldest revision that can be read at the end, whatever was compacted.
    pub(crate) fn readable_from(&self) -> i64 {
        let compactions = self.operations().filter_map(|(_, operation)| match &operation.request {
            Request::Compact(compact) if !matches!(operation.outcome, Outcome::Fail(_)) => {
                Some(compact.revision)
            }
            _ => None,
        });
        compactions.max().unwrap_or(0).max(self.truth.first)
    }
}

/// Whether an operation of unknown outcome may have deleted a key, other than by the end of its lease.
pub(crate) fn may_be_deleted(mutant: &Mutant<'_>, key: &Text) -> bool {
    mutant.operations().any(|(_, operation)| {
        matches!(operation.outcome, Outcome::Unknown(_))
            && match &operation.request {
                Request::DeleteRange(delete) => contains(&delete.key, &delete.range_end, key),
                Request::Txn(txn) => may_delete(txn, key),
                _ => false,
            }
    })
}

fn may_delete(txn: &Txn, key: &Text) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        TxnOp::DeleteRange(delete) => contains(&delete.key, &delete.range_end, key),
        TxnOp::Txn(txn) => may_delete(txn, key),
        TxnOp::Put(_) | TxnOp::Range(_) => false,
    })
}

/// What a valid operation was answered.
pub(crate) fn answer(operation: &Operation) -> Option<&Response> {
    match &operation.outcome {
        Outcome::Ok(response) => Some(response),
        Outcome::Fail(_) | Outcome::Unknown(_) => None,
    }
}

/// The revision that an answered operation made, if it wrote.
pub(crate) fn wrote(operation: &Operation) -> Option<i64> {
    let response = answer(operation)?;
    let writes = match &response.body {
        ResponseBody::Put(_) => true,
        ResponseBody::DeleteRange(delete) => delete.deleted > 0,
        ResponseBody::Txn(txn) => writes(&txn.responses),
        _ => false,
    };
    writes.then_some(response.revision)
}

/// Whether one of these answers tells of a write.
pub(crate) fn writes(responses: &[TxnOpResponse]) -> bool {
    responses.iter().any(|response| match response {
        TxnOpResponse::Put(_) => true,
        TxnOpResponse::DeleteRange(delete) => delete.deleted > 0,
        TxnOpResponse::Txn(txn) => writes(&txn.responses),
        TxnOpResponse::Range(_) => false,
    })
}

/// Every key-value in an answer, to be damaged.
pub(crate) fn key_values(response: &mut Response) -> Vec<&mut KeyValue> {
    match &mut response.body {
        ResponseBody::Range(range) => range.kvs.iter_mut().collect(),
        ResponseBody::Put(put) => put.prev_kv.iter_mut().collect(),
        ResponseBody::DeleteRange(delete) => delete.prev_kvs.iter_mut().collect(),
        ResponseBody::Txn(txn) => {
            let mut all = Vec::new();
            collect(&mut txn.responses, &mut all);
            all
        }
        _ => Vec::new(),
    }
}

fn collect<'r>(responses: &'r mut [TxnOpResponse], all: &mut Vec<&'r mut KeyValue>) {
    for response in responses {
        match response {
            TxnOpResponse::Range(range) => all.extend(&mut range.kvs),
            TxnOpResponse::Put(put) => all.extend(&mut put.prev_kv),
            TxnOpResponse::DeleteRange(delete) => all.extend(&mut delete.prev_kvs),
            TxnOpResponse::Txn(txn) => collect(&mut txn.responses, all),
        }
    }
}
