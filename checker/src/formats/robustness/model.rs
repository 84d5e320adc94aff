//! The report's JSON, field by field. Names and order are Go's.
//!
//! Reading takes what older and newer versions leave out or add. Written, null and the empty list are
//! kept apart as Go's model has them: its checker compares answers deeply.

use serde::{Deserialize, Serialize};

/// A line of `operations.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Operation {
    #[serde(alias = "ClientID")]
    pub(super) client_id: i64,
    pub(super) input: Request,
    pub(super) call: i64,
    pub(super) output: Response,
    #[serde(rename = "Return")]
    pub(super) returned: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) lease_grant: Option<Lease>,
    pub(super) lease_revoke: Option<Lease>,
    pub(super) range: Option<RangeRequest>,
    pub(super) txn: Option<TxnRequest>,
    pub(super) defragment: Option<Nothing>,
    pub(super) compact: Option<CompactRequest>,
}

/// `{}`
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Nothing {}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    #[serde(rename = "LeaseID")]
    pub(super) id: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RangeRequest {
    pub(super) start: String,
    pub(super) end: String,
    pub(super) limit: i64,
    #[serde(default)]
    pub(super) keys_only: bool,
    pub(super) revision: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TxnRequest {
    pub(super) conditions: Option<Vec<Condition>>,
    pub(super) operations_on_success: Option<Vec<Step>>,
    pub(super) operations_on_failure: Option<Vec<Step>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Condition {
    pub(super) key: String,
    pub(super) expected_revision: i64,
    #[serde(default)]
    pub(super) expected_version: i64,
}

/// An operation inside a transaction: one of the three, the others empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Step {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) range: RangeOptions,
    pub(super) put: PutOptions,
    pub(super) delete: DeleteOptions,
}

pub(super) const RANGE_STEP: &str = "range-operation";
pub(super) const PUT_STEP: &str = "put-operation";
pub(super) const DELETE_STEP: &str = "delete-operation";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RangeOptions {
    pub(super) start: String,
    pub(super) end: String,
    pub(super) limit: i64,
    pub(super) keys_only: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PutOptions {
    pub(super) key: String,
    pub(super) value: ValueOrHash,
    #[serde(rename = "LeaseID")]
    pub(super) lease: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DeleteOptions {
    pub(super) key: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CompactRequest {
    pub(super) revision: i64,
}

/// What came back, if anything did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Response {
    pub(super) txn: Option<TxnResponse>,
    pub(super) range: Option<RangeResponse>,
    pub(super) lease_grant: Option<Lease>,
    pub(super) lease_revoke: Option<Nothing>,
    pub(super) defragment: Option<Nothing>,
    pub(super) compact: Option<Nothing>,
    /// A refusal that etcd's model knows.
    pub(super) client_error: String,
    pub(super) revision: i64,
    /// In hexadecimal.
    #[serde(rename = "member-id", skip_serializing_if = "String::is_empty")]
    pub(super) member_id: String,
    pub(super) persisted: bool,
    pub(super) persisted_revision: i64,
    /// Any other error: whether the request took effect is unknown.
    pub(super) error: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TxnResponse {
    pub(super) failure: bool,
    pub(super) results: Option<Vec<StepResult>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RangeResponse {
    #[serde(rename = "KVs")]
    pub(super) kvs: Option<Vec<KeyValue>>,
    pub(super) count: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StepResult {
    #[serde(rename = "KVs")]
    pub(super) kvs: Option<Vec<KeyValue>>,
    pub(super) count: i64,
    pub(super) deleted: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct KeyValue {
    pub(super) key: String,
    pub(super) value: ValueOrHash,
    pub(super) mod_revision: i64,
    pub(super) version: i64,
}

/// A short value as it is, a long one as its digest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ValueOrHash {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) value: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) hash: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(hash: &u32) -> bool {
    *hash == 0
}

/// What a watch of `watch.json` asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchRequest {
    pub(super) key: String,
    pub(super) revision: i64,
    pub(super) with_prefix: bool,
    pub(super) with_progress_notify: bool,
    #[serde(rename = "WithPrevKV")]
    pub(super) with_prev_kv: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<Vec<WatchEvent>>,
    pub(super) is_progress_notify: bool,
    pub(super) revision: i64,
    pub(super) time: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WatchEvent {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) value: ValueOrHash,
    pub(super) revision: i64,
    pub(super) is_create: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prev_value: Option<ValueRevision>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ValueRevision {
    pub(super) value: ValueOrHash,
    pub(super) mod_revision: i64,
    pub(super) version: i64,
}
