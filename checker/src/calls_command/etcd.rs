//! A history of etcd, and the same key by key without revisions: what a checker that knows nothing of
//! etcd is given of it.

use std::collections::BTreeMap;

use rusd_checker::history::record::{Operation, Outcome, Record, Request, Response, ResponseBody};
use rusd_checker::history::text::Text;
use rusd_checker::model::append::{AppendOp, AppendRet};
use rusd_checker::model::keyed::KeyedOp;
use rusd_checker::search::{Calls, Recorder};
use rusd_checker::synthetic::{Mix, Run, Shape};

type Op = KeyedOp<String, AppendOp>;

/// A run of as many puts as ranges by 64 clients on 10,000 keys, two in a thousand of unknown outcome;
/// three watches see all of it.
pub(super) fn run(seed: u64) -> Run {
    let large = Shape::large();
    let mix = Mix {
        put: 1,
        range: 1,
        range_past: 0,
        range_serializable: 0,
        delete: 0,
        txn: 0,
        lease_grant: 0,
        lease_put: 0,
        lease_revoke: 0,
        lease_keep_alive: 0,
        compact: 0,
    };
    Run::shaped(seed, Shape { mix, ..large })
}

/// The puts, and the ranges of one key; those of several keys are left out.
pub(super) fn by_key(records: &[Record]) -> Calls<Op, AppendRet> {
    let operations: Vec<&Operation> = records
        .iter()
        .filter_map(|record| match record {
            Record::Op(operation) if op(&operation.request).is_some() => Some(operation),
            _ => None,
        })
        .collect();
    // What is called at the moment of a return was called before it.
    let mut events = Vec::with_capacity(2 * operations.len());
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.call_ns, false, index));
        events.extend(operation.return_ns.map(|return_ns| (return_ns, true, index)));
    }
    events.sort_unstable();
    let mut recorder = Recorder::new();
    let mut open = BTreeMap::new();
    for (_, is_return, index) in events {
        let operation = operations[index];
        if !is_return {
            let called = op(&operation.request).expect("the others were left out");
            open.insert(index, recorder.invoke(operation.process, called));
        } else if let Outcome::Ok(response) = &operation.outcome {
            recorder.returns(open[&index], ret(response));
        }
    }
    recorder.finish()
}

fn op(request: &Request) -> Option<Op> {
    match request {
        Request::Put(put) => {
            Some(KeyedOp { key: plain(&put.key), op: AppendOp::Put(plain(&put.value)) })
        }
        Request::Range(range) if range.range_end.is_empty() && !range.keys_only => {
            Some(KeyedOp { key: plain(&range.key), op: AppendOp::Get })
        }
        _ => None,
    }
}

/// A key that is not there reads as the empty string.
fn ret(response: &Response) -> AppendRet {
    match &response.body {
        ResponseBody::Range(range) => {
            AppendRet::Text(range.kvs.first().map(|kv| plain(&kv.value)).unwrap_or_default())
        }
        _ => AppendRet::Done,
    }
}

fn plain(text: &Text) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use rusd_checker::model::append::AppendString;
    use rusd_checker::model::keyed::Keyed;
    use rusd_checker::search::{Options, Verdict, check};

    use super::*;

    #[test]
    fn what_is_valid_by_revisions_is_linearizable_key_by_key() {
        let calls = by_key(&run(1).records(5_000));
        let reads = calls.list().iter().filter(|call| call.op.op == AppendOp::Get).count();
        assert!(reads > 1_000 && calls.len() - reads > 2_000, "{reads} of {}", calls.len());
        let answer = check(&Keyed::new(AppendString::default()), &calls, &Options::default());
        assert_eq!(answer.verdict, Verdict::Linearizable);
        assert!(answer.partitions > 1_000);
    }
}
