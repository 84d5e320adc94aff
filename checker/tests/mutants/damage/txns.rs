//! Transactions that take the wrong branch, or are seen in part.

use rusd_checker::history::record::{
    DeleteRangeResponse, EventKind, Operation, PutResponse, Range, RangeResponse, Request,
    ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use rusd_checker::history::text::Text;

use super::{Mutant, answer, writes};

fn is_answered_txn(operation: &Operation) -> bool {
    matches!(operation.request, Request::Txn(_)) && answer(operation).is_some()
}

fn txn_mut<'m>(mutant: &'m mut Mutant<'_>, place: usize) -> &'m mut TxnResponse {
    match &mut mutant.response_mut(place).body {
        ResponseBody::Txn(txn) => txn,
        other => panic!("not the answer to a transaction: {other:?}"),
    }
}

/// A transaction claims the branch that its compares did not choose, with an answer that fits that branch,
/// and writes if it wrote: what it compared is known.
pub(crate) fn other_branch(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_txn, |mutant, place| {
        let Request::Txn(txn) = mutant.operation(place).request.clone() else { return None };
        let revision = mutant.response_mut(place).revision;
        let claimed = !txn_mut(mutant, place).succeeded;
        let wrote = writes(&txn_mut(mutant, place).responses);
        let responses = fitting(mutant, &txn, claimed, revision)?;
        if writes(&responses) != wrote {
            return None;
        }
        *txn_mut(mutant, place) = TxnResponse { succeeded: claimed, responses };
        Some(())
    })
}

/// Answers that fit a branch at a revision, if it has no transaction within.
fn fitting(
    mutant: &Mutant<'_>,
    txn: &Txn,
    succeeded: bool,
    revision: i64,
) -> Option<Vec<TxnOpResponse>> {
    let ops = if succeeded { &txn.success } else { &txn.failure };
    let fit = |op: &TxnOp| match op {
        TxnOp::Put(_) => Some(TxnOpResponse::Put(PutResponse::default())),
        TxnOp::Range(range) => Some(TxnOpResponse::Range(mutant.truth.answer(range, revision))),
        TxnOp::DeleteRange(delete) => {
            let end = delete.range_end.clone();
            let range = Range { key: delete.key.clone(), range_end: end, ..Range::default() };
            let RangeResponse { count, .. } = mutant.truth.answer(&range, revision - 1);
            Some(TxnOpResponse::DeleteRange(DeleteRangeResponse {
                deleted: count,
                prev_kvs: Vec::new(),
            }))
        }
        TxnOp::Txn(_) => None,
    };
    ops.iter().map(fit).collect()
}

/// A transaction only says that it succeeded, or that it did not: the answers are those of the other branch.
pub(crate) fn flipped(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_txn, |mutant, place| {
        let Request::Txn(txn) = &mutant.operation(place).request else { return None };
        // Two branches that do the same cannot be told apart.
        if txn.success == txn.failure {
            return None;
        }
        let answer = txn_mut(mutant, place);
        answer.succeeded = !answer.succeeded;
        Some(())
    })
}

/// A read in a transaction tells what was there before, which is something else.
pub(crate) fn stale_read(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(is_answered_txn, |mutant, place| {
        let Request::Txn(txn) = mutant.operation(place).request.clone() else { return None };
        let revision = mutant.response_mut(place).revision;
        let (truth, answer) = (mutant.truth, txn_mut(mutant, place));
        let ops = if answer.succeeded { &txn.success } else { &txn.failure };
        for (op, got) in ops.iter().zip(&mut answer.responses) {
            let (TxnOp::Range(range), TxnOpResponse::Range(got)) = (op, got) else { continue };
            if range.revision > 0 {
                continue;
            }
            let mut before = (truth.first..revision).rev().map(|then| truth.answer(range, then));
            if let Some(before) = before.find(|before| before != got) {
                *got = before;
                return Some(());
            }
        }
        None
    })
}

/// A read of the past sees one put of a transaction, and of another put of it what was before.
pub(crate) fn half_seen(mutant: &mut Mutant<'_>) -> Option<()> {
    let from = mutant.readable_from();
    let torn = |revision: &i64| {
        let events = mutant.truth.at(*revision);
        events.len() > 1 && events.iter().any(|event| event.kind == EventKind::Put)
    };
    let revisions: Vec<i64> = (from..=mutant.truth.newest).filter(torn).collect();
    let revision = mutant.one_of(&revisions)?;
    let everything =
        Range { key: Text::from("\0"), range_end: Text::from("\0"), ..Range::default() };
    let place = mutant.add_past_read(everything, revision);
    let hidden = mutant.truth.at(revision).first()?.kv.key.clone();
    let before = mutant.truth.key_at(&hidden, revision - 1).cloned();
    let ResponseBody::Range(answer) = &mut mutant.response_mut(place).body else { return None };
    answer.kvs.retain(|kv| kv.key != hidden);
    answer.kvs.extend(before);
    answer.kvs.sort_by(|one, other| one.key.cmp(&other.key));
    answer.count = i64::try_from(answer.kvs.len()).expect("few keys");
    Some(())
}
