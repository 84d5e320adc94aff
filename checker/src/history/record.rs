//! One line of a history: an operation, a watch response, a fault, or a member's final state.
//!
//! A history is a JSONL file. The first line is the [`Header`], the last one the [`End`]; every
//! other line is written when the thing it tells of has ended, so lines are ordered by their *end*.
//! All times are nanoseconds of one monotonic clock, counted from the start of the run.
//!
//! Invariants a well-formed history keeps (and [`lint`](super) enforces):
//! - operations of one process do not overlap; after an [`Outcome::Unknown`] the process is never
//!   used again;
//! - `call_ns <= return_ns`;
//! - an outcome is [`Outcome::Fail`] only if the operation provably was not applied.
//!
//! Not here: reading files (`jsonl`), or any judgement.

use serde::{Deserialize, Serialize};

use super::digests::Digests;
use super::text::Text;

/// Version of the format written by this crate.
pub const FORMAT_VERSION: u32 = 1;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The first line.
    Header(Header),
    /// A client operation, from call to return.
    Op(Operation),
    /// One response on a watch.
    Watch(WatchResponse),
    /// A fault, or its end.
    Nemesis(Nemesis),
    /// What a member held when the load had ended and the faults were healed.
    Final(FinalState),
    /// The last line: nothing is missing before it. The writer adds it by itself.
    End(End),
}

/// What the run was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// Name of the workload.
    pub workload: String,
    /// Seed of every random choice of the run.
    pub seed: u64,
    /// What was under test, for people: "rusd 0.1.0", "etcd 3.7.3".
    pub system: String,
    /// Store revision before the first operation (1 for a fresh store). A store that is not fresh
    /// must be empty in the checked key range, or the range's content is in `initial`.
    pub first_revision: i64,
    /// Keys that existed before the first operation, with their metadata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initial: Vec<KeyValue>,
}

/// A client operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Jepsen's process: a logical thread of one client.
    #[serde(rename = "p")]
    pub process: u64,
    /// Index of the member that was asked.
    #[serde(rename = "m")]
    pub member: u32,
    /// Before the request was sent.
    #[serde(rename = "c")]
    pub call_ns: u64,
    /// After the response had arrived. `None` with [`Outcome::Unknown`].
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_ns: Option<u64>,
    /// What was asked.
    #[serde(rename = "q")]
    pub request: Request,
    /// What came back.
    #[serde(rename = "o")]
    pub outcome: Outcome,
}

/// What was asked of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Store a value.
    Put(Put),
    /// Read a range of keys.
    Range(Range),
    /// Delete a range of keys.
    DeleteRange(DeleteRange),
    /// Compare, then one of two lists of operations.
    Txn(Txn),
    /// Create a lease.
    LeaseGrant(LeaseGrant),
    /// Revoke a lease and delete its keys.
    LeaseRevoke(LeaseId),
    /// Renew a lease.
    LeaseKeepAlive(LeaseId),
    /// Drop history below a revision.
    Compact(Compact),
}

/// Store a value under a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// The key.
    #[serde(rename = "k")]
    pub key: Text,
    /// The value; empty with `ignore_value`.
    #[serde(rename = "v", default, skip_serializing_if = "Text::is_empty")]
    pub value: Text,
    /// Lease to attach; 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: i64,
    /// Ask for the previous key-value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Keep the current value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_value: bool,
    /// Keep the current lease.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_lease: bool,
}

/// Read a range of keys. Sorted by key, ascending: the only order the format knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First key.
    #[serde(rename = "k")]
    pub key: Text,
    /// End of the range as etcd has it: empty for one key, `\0` for everything from `key` on.
    #[serde(rename = "e", default, skip_serializing_if = "Text::is_empty")]
    pub range_end: Text,
    /// Read at this revision; 0 is the newest.
    #[serde(rename = "rev", default, skip_serializing_if = "is_default")]
    pub revision: i64,
    /// Most key-values to return; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limit: i64,
    /// Served by the asked member from what it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub serializable: bool,
    /// Values are left out of the answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys_only: bool,
    /// Only the count is answered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub count_only: bool,
}

/// Delete a range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRange {
    /// First key.
    #[serde(rename = "k")]
    pub key: Text,
    /// End of the range as etcd has it.
    #[serde(rename = "e", default, skip_serializing_if = "Text::is_empty")]
    pub range_end: Text,
    /// Ask for the deleted key-values.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
}

/// Compare, then one of two lists of operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Txn {
    /// All must hold for `success` to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Compare>,
    /// Runs if every compare holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<TxnOp>,
    /// Runs otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure: Vec<TxnOp>,
}

/// One comparison of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// The key, or the first key of a range all of which must satisfy the comparison.
    #[serde(rename = "k")]
    pub key: Text,
    /// End of the range as etcd has it; empty for one key.
    #[serde(rename = "e", default, skip_serializing_if = "Text::is_empty")]
    pub range_end: Text,
    /// How the key's property must relate to the operand.
    pub result: CompareResult,
    /// The property, with its operand.
    pub target: CompareTarget,
}

/// How the property of a key must relate to the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareResult {
    /// property = operand
    Equal,
    /// property > operand
    Greater,
    /// property < operand
    Less,
    /// property != operand
    NotEqual,
}

/// A property of a key, with the operand it is compared to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareTarget {
    /// Writes since the key's creation; 0 if absent.
    Version(i64),
    /// Revision of the key's creation; 0 if absent.
    Create(i64),
    /// Revision of the key's last write; 0 if absent.
    Mod(i64),
    /// The value. A missing key never satisfies it.
    Value(Text),
    /// The attached lease; 0 if none.
    Lease(i64),
}

/// One operation inside a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOp {
    /// See [`Put`].
    Put(Put),
    /// See [`Range`].
    Range(Range),
    /// See [`DeleteRange`].
    DeleteRange(DeleteRange),
    /// A nested transaction.
    Txn(Txn),
}

/// Create a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseGrant {
    /// Chosen by the client; never 0 in a history.
    pub id: i64,
    /// Asked-for time to live, in seconds.
    pub ttl: i64,
}

/// Names a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseId {
    /// The lease.
    pub id: i64,
}

/// Drop history below a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compact {
    /// Oldest revision that stays readable.
    #[serde(rename = "rev")]
    pub revision: i64,
}

/// What came back of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server answered.
    Ok(Response),
    /// Provably not applied: the server rejected it, or it was never sent.
    Fail(Failure),
    /// It may have been applied, or may be applied later, or never.
    Unknown(Failure),
}

/// An error, as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// gRPC code by its name: "`Unavailable`", "`OutOfRange`".
    pub code: String,
    /// The error's text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An answer: the store revision in its header, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// `header.revision`. 0 if the answer carried none (lease keep-alive may lag).
    #[serde(rename = "rev")]
    pub revision: i64,
    /// What it said.
    #[serde(rename = "b")]
    pub body: ResponseBody,
}

/// What an answer said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseBody {
    /// Answer to a put.
    Put(PutResponse),
    /// Answer to a range.
    Range(RangeResponse),
    /// Answer to a delete range.
    DeleteRange(DeleteRangeResponse),
    /// Answer to a transaction.
    Txn(TxnResponse),
    /// The lease exists, with this time to live in seconds.
    LeaseGrant {
        /// Granted time to live, in seconds.
        ttl: i64,
    },
    /// The lease and its keys are gone.
    LeaseRevoke,
    /// The lease lives on for this many seconds; 0 or less if it does not exist.
    LeaseKeepAlive {
        /// Time to live from now, in seconds.
        ttl: i64,
    },
    /// History was dropped.
    Compact,
}

/// Answer to a put.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutResponse {
    /// The key-value before, if it was asked for and there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue>,
}

/// Answer to a range.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeResponse {
    /// Key-values, ascending by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kvs: Vec<KeyValue>,
    /// Keys in the range, whatever the limit.
    pub count: i64,
    /// The limit cut the answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more: bool,
}

/// Answer to a delete range.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRangeResponse {
    /// Keys deleted.
    pub deleted: i64,
    /// The deleted key-values, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prev_kvs: Vec<KeyValue>,
}

/// Answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnResponse {
    /// The success branch ran.
    pub succeeded: bool,
    /// One answer per operation of the branch that ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<TxnOpResponse>,
}

/// Answer to one operation inside a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOpResponse {
    /// See [`PutResponse`].
    Put(PutResponse),
    /// See [`RangeResponse`].
    Range(RangeResponse),
    /// See [`DeleteRangeResponse`].
    DeleteRange(DeleteRangeResponse),
    /// See [`TxnResponse`].
    Txn(TxnResponse),
}

/// A key with its value and metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValue {
    /// The key.
    #[serde(rename = "k")]
    pub key: Text,
    /// The value; empty if the range asked for keys only.
    #[serde(rename = "v", default, skip_serializing_if = "Text::is_empty")]
    pub value: Text,
    /// Revision of the key's creation.
    #[serde(rename = "cr")]
    pub create_revision: i64,
    /// Revision of this write.
    #[serde(rename = "mr")]
    pub mod_revision: i64,
    /// Writes since the creation.
    #[serde(rename = "ver")]
    pub version: i64,
    /// Attached lease; 0 is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: i64,
}

/// One response on a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchResponse {
    /// The watch, unique in the history. A watch that was resumed after its stream broke is a new
    /// watch with `resumes` set on its `Created`.
    #[serde(rename = "w")]
    pub watch: u64,
    /// Index of the member that serves it.
    #[serde(rename = "m")]
    pub member: u32,
    /// When it arrived. Tells when the client knew, never when it happened.
    #[serde(rename = "r")]
    pub arrived_ns: u64,
    /// `header.revision`.
    #[serde(rename = "rev")]
    pub revision: i64,
    /// What it said.
    #[serde(rename = "b")]
    pub body: WatchBody,
}

/// What a watch response said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchBody {
    /// The watch exists from here on.
    Created(WatchRequest),
    /// Things that happened.
    Events {
        /// Ascending by revision.
        events: Vec<Event>,
        /// More of the same revision follows in the next response.
        #[serde(default, skip_serializing_if = "is_default")]
        fragment: bool,
    },
    /// Responses with events, told in short; time and revision of the record are those of the last.
    Digests(Digests),
    /// Everything up to the response's revision has been sent.
    Progress,
    /// The server ended the watch.
    Canceled {
        /// Its reason.
        reason: String,
        /// Set if the start was compacted: oldest revision that can be watched.
        #[serde(default, skip_serializing_if = "is_default")]
        compact_revision: i64,
    },
    /// The stream broke, or the client closed it at the end of the run.
    Closed {
        /// The client closed it, after the final state was read and everything up to that
        /// revision had arrived or the wait for it had run out.
        by_client: bool,
    },
}

/// What a watch asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchRequest {
    /// First key.
    #[serde(rename = "k")]
    pub key: Text,
    /// End of the range as etcd has it.
    #[serde(rename = "e", default, skip_serializing_if = "Text::is_empty")]
    pub range_end: Text,
    /// First revision asked for; 0 is "from now on" (after the created response's revision).
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_revision: i64,
    /// Events carry the key-value before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Puts are left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_put: bool,
    /// Deletes are left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_delete: bool,
    /// The watch this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<u64>,
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Put or delete.
    #[serde(rename = "e")]
    pub kind: EventKind,
    /// The key-value after; of a delete, only the key and its mod revision.
    #[serde(rename = "kv")]
    pub kv: KeyValue,
    /// The key-value before, if asked for and there was one.
    #[serde(rename = "prev", default, skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue>,
}

/// Put or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A key was written.
    Put,
    /// A key was deleted.
    Delete,
}

/// A fault, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nemesis {
    /// When it was done.
    #[serde(rename = "c")]
    pub time_ns: u64,
    /// The fault, as the workload names it: `kill`, `move_leader`.
    pub fault: String,
    /// It begins or it ends.
    pub phase: NemesisPhase,
    /// Indexes of the members it was done to.
    pub members: Vec<u32>,
    /// How the target was named: "leader".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// What went wrong in doing it, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A fault begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NemesisPhase {
    /// It begins.
    Start,
    /// It ends: healed, restarted, resumed.
    End,
}

/// What a member held when the load had ended and the faults were healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalState {
    /// Index of the member.
    #[serde(rename = "m")]
    pub member: u32,
    /// Before the read was sent.
    #[serde(rename = "c")]
    pub call_ns: u64,
    /// After the answer had arrived.
    #[serde(rename = "r")]
    pub return_ns: u64,
    /// `header.revision` of a linearizable read of everything.
    #[serde(rename = "rev")]
    pub revision: i64,
    /// All key-values, ascending.
    pub kvs: Vec<KeyValue>,
    /// `HashKV` at `revision`, if the server has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<u32>,
}

/// The end of a history. Without it a file that lost its last lines would look like a shorter run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Records before this one, the header among them.
    pub records: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
