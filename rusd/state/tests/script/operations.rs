//! Operations as a seed gives them: the same for every server that answers alike.
//!
//! Shared by the test that plays them on a state machine and the one that plays them on a member,
//! or on etcd, over the network.

use std::collections::BTreeSet;

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::request_op::Request;

/// Operations that were played on etcd.
pub(crate) const RECORDED: usize = 10_000;
/// After so many operations the hashes are asked for.
pub(crate) const CHECKED_EVERY: usize = 50;

/// What is done next.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    /// Physically.
    Compact(pb::CompactionRequest),
}

/// Gives operations.
pub(crate) struct Operations {
    state: u64,
    /// Revisions that were to be compacted to, newest last.
    compacted: Vec<i64>,
}

impl Operations {
    /// Those that were recorded.
    pub(crate) fn recorded() -> Self {
        Operations { state: 7, compacted: Vec::new() }
    }

    /// The next one, on a store at this revision.
    pub(crate) fn next(&mut self, revision: i64) -> Operation {
        match self.below(100) {
            0..50 => Operation::Put(self.put()),
            50..65 => Operation::DeleteRange(self.delete_range()),
            65..90 => Operation::Txn(self.txn()),
            90..94 => {
                // So long that none runs out.
                let (id, ttl) = (self.lease(), 1_000_000);
                Operation::LeaseGrant(pb::LeaseGrantRequest { ttl, id })
            }
            94..97 => Operation::LeaseRevoke(pb::LeaseRevokeRequest { id: self.lease() }),
            _ => {
                let behind = i64::try_from(self.below(60)).unwrap();
                let revision = revision - behind;
                self.compacted.push(revision);
                Operation::Compact(pb::CompactionRequest { revision, physical: true })
            }
        }
    }

    /// Revisions whose hashes are asked for, on a store at this revision. Of compactions, of which
    /// etcd remembers ten, those that it remembers for sure, perhaps, and hardly.
    pub(crate) fn checked(&self, revision: i64) -> [i64; 8] {
        let nth_last = |n: usize| self.compacted.iter().rev().nth(n).copied().unwrap_or(-1);
        let [last, tenth, twentieth] = [0, 9, 19].map(nth_last);
        [0, revision, revision - 1, revision - 10, revision - 40, last, tenth, twentieth]
    }

    /// A number below `bound` (`SplitMix64`, so that it never changes).
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn key(&mut self) -> String {
        format!("key/{:02}", self.below(40))
    }

    /// Small, and not many, so that most exist.
    fn lease(&mut self) -> i64 {
        i64::try_from(self.below(8)).unwrap() + 1
    }

    fn put(&mut self) -> pb::PutRequest {
        let length = usize::try_from(self.below(30)).unwrap();
        let mut put = pb::PutRequest {
            key: self.key().into(),
            value: format!("{:x}", self.below(u64::MAX)).repeat(length).into(),
            ..pb::PutRequest::default()
        };
        match self.below(10) {
            0 | 1 => put.lease = self.lease(),
            2 => (put.ignore_value, put.value) = (true, "".into()),
            3 => put.ignore_lease = true,
            _ => {}
        }
        put
    }

    fn delete_range(&mut self) -> pb::DeleteRangeRequest {
        let key = self.key();
        let range_end = match self.below(8) {
            0 => self.key(),
            // Once in a while all is gone.
            1 if self.below(10) == 0 => "\0".to_owned(),
            _ => String::new(),
        };
        let (key, range_end) = (key.into(), range_end.into());
        pb::DeleteRangeRequest { key, range_end, ..pb::DeleteRangeRequest::default() }
    }

    fn txn(&mut self) -> pb::TxnRequest {
        let compare = pb::Compare {
            result: CompareResult::Greater.into(),
            target: CompareTarget::Version.into(),
            key: self.key().into(),
            target_union: Some(TargetUnion::Version(i64::try_from(self.below(3)).unwrap())),
            ..pb::Compare::default()
        };
        let (success, failure) = (self.ops(), self.ops());
        pb::TxnRequest { compare: vec![compare], success, failure }
    }

    /// Each key once: more is refused before it gets into the log.
    fn ops(&mut self) -> Vec<pb::RequestOp> {
        let mut keys = BTreeSet::new();
        let mut ops = Vec::new();
        for _ in 0..self.below(5) {
            let put = self.put();
            let is_delete = self.below(4) == 0;
            if !keys.insert(put.key.clone()) {
                continue;
            }
            let request = if is_delete {
                let delete = pb::DeleteRangeRequest { key: put.key, ..Default::default() };
                Request::RequestDeleteRange(delete)
            } else {
                Request::RequestPut(put)
            };
            ops.push(pb::RequestOp { request: Some(request) });
        }
        ops
    }
}

/// How a hash stands in the record: of what, after which compaction; or that there is none.
pub(crate) fn shown(found: Option<(u32, i64, i64)>) -> String {
    match found {
        Some((hash, compact, revision)) => format!("{hash:08x}@{revision}>{compact}"),
        None => "none".to_owned(),
    }
}

/// What was recorded from etcd 3.7.3: a line for each check.
pub(crate) const RECORD: &str = include_str!("../recorded/hashes_of_operations.txt");
