//! Random transactions.

use std::collections::BTreeSet;

use prost::bytes::Bytes;
use rusd_proto::etcdserverpb::compare::TargetUnion;
use rusd_proto::etcdserverpb::request_op::Request as Op;
use rusd_proto::etcdserverpb::{Compare, DeleteRangeRequest, RangeRequest, RequestOp, TxnRequest};

use super::draw::Draw;
use super::requests;

const OPS_MAX: usize = 4;
const DEPTH_MAX: usize = 2;
/// More operations than etcd allows unless it is told to.
const TOO_MANY_OPS: usize = 129;

/// A transaction being drawn.
struct Drawing<'a> {
    draw: &'a mut Draw,
    /// Keys that are put or deleted already: most transactions name a key once.
    taken: BTreeSet<Bytes>,
    /// Whether keys were deleted up to the end of all keys. Then nothing is put any more: etcd
    /// overlooks that the put's key was deleted just now, and ends itself, at once or when that
    /// revision is compacted.
    has_deleted_rest: bool,
}

/// Draws one.
pub(super) fn txn(draw: &mut Draw) -> TxnRequest {
    let mut drawing = Drawing { draw, taken: BTreeSet::new(), has_deleted_rest: false };
    let mut txn = drawing.txn(0);
    if drawing.draw.in_thousand(4) {
        let count = TOO_MANY_OPS - drawing.draw.count(0..=1);
        txn.success = (0..count).map(|_| of(Op::RequestRange(one_key(drawing.draw)))).collect();
    }
    txn
}

impl Drawing<'_> {
    fn txn(&mut self, depth: usize) -> TxnRequest {
        let compares = self.draw.weighted(&[(0, 3), (1, 5), (2, 2), (3, 1)]);
        let compare = (0..compares).map(|_| compare(self.draw)).collect();
        let before = self.taken.clone();
        let success = self.ops(depth);
        // Only one branch is done, so the other may name the same keys.
        let in_success = std::mem::replace(&mut self.taken, before);
        let failure = self.ops(depth);
        self.taken.extend(in_success);
        TxnRequest { compare, success, failure }
    }

    fn ops(&mut self, depth: usize) -> Vec<RequestOp> {
        let count = self.draw.count(0..=OPS_MAX);
        (0..count).map(|_| self.op(depth)).collect()
    }

    fn op(&mut self, depth: usize) -> RequestOp {
        match self.draw.number(0..100) {
            0 if self.draw.in_thousand(300) => RequestOp { request: None },
            0..40 if !self.has_deleted_rest => self.put(),
            40..70 => of(Op::RequestRange(requests::range(self.draw))),
            70..85 if depth < DEPTH_MAX => of(Op::RequestTxn(self.txn(depth + 1))),
            _ => self.delete(),
        }
    }

    fn put(&mut self) -> RequestOp {
        let mut put = requests::put(self.draw);
        put.key = self.free(put.key);
        of(Op::RequestPut(put))
    }

    fn delete(&mut self) -> RequestOp {
        let mut delete = requests::delete_range(self.draw);
        // A range meets most puts, which is refused.
        if self.draw.in_thousand(600) {
            let key = self.free(delete.key);
            delete = DeleteRangeRequest { key, range_end: Bytes::new(), ..delete };
        }
        self.has_deleted_rest |= delete.range_end == Bytes::from_static(b"\0");
        of(Op::RequestDeleteRange(delete))
    }

    /// A key that is not taken, if there is one near.
    fn free(&mut self, mut key: Bytes) -> Bytes {
        if !self.draw.in_thousand(40) {
            for _ in 0..8 {
                if !self.taken.contains(&key) {
                    break;
                }
                key = self.draw.key();
            }
        }
        self.taken.insert(key.clone());
        key
    }
}

fn of(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn one_key(draw: &mut Draw) -> RangeRequest {
    RangeRequest { key: draw.key(), ..RangeRequest::default() }
}

fn compare(draw: &mut Draw) -> Compare {
    let keys = draw.keys();
    let (target, operand) = match draw.number(0..5) {
        0 => (0, TargetUnion::Version(draw.number(0..4))),
        1 => (1, TargetUnion::CreateRevision(revision_or_zero(draw))),
        2 => (2, TargetUnion::ModRevision(revision_or_zero(draw))),
        3 => (3, TargetUnion::Value(draw.value())),
        _ => (4, TargetUnion::Lease(if draw.in_thousand(400) { 0 } else { draw.lease() })),
    };
    Compare {
        key: keys.key,
        range_end: if draw.in_thousand(600) { Bytes::new() } else { keys.end },
        // Seldom one that does not exist.
        result: if draw.in_thousand(10) { 4 } else { draw.one_of(&[0, 0, 1, 2, 3]) },
        // Seldom another target than the operand is for.
        target: if draw.in_thousand(20) { draw.one_of(&[0, 1, 2, 3, 4, 5]) } else { target },
        target_union: if draw.in_thousand(30) { None } else { Some(operand) },
    }
}

fn revision_or_zero(draw: &mut Draw) -> i64 {
    if draw.in_thousand(300) { 0 } else { draw.revision() }
}
