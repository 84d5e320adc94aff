//! The revision-guided check against stateright's tester, on random small histories: both must
//! say the same of each, valid or invalid. A tenth of the full number by default; all of it with
//! `ORACLE_HISTORIES=100000`.

use rusd_checker::history::History;
use rusd_checker::history::record::{
    Failure, LeaseGrant, Operation, Outcome, Range, Record, Request, Response, ResponseBody,
    TxnOpResponse,
};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::{Dice, Mix, Run, Shape};
use rusd_checker::{Engine, Options, Report, Verdict, check};

const HISTORIES_DEFAULT: u64 = 10_000;

#[test]
fn agrees_with_stateright_on_small_histories() {
    let histories = match std::env::var("ORACLE_HISTORIES") {
        Ok(text) => text.parse().expect("ORACLE_HISTORIES is a number"),
        Err(_) => HISTORIES_DEFAULT,
    };
    let (mut invalid, mut unpinned, mut leased, mut refused) = (0_u64, 0_u64, 0_u64, 0_u64);
    for seed in 0..histories {
        let history = make(seed);
        let revision = judge(&history, Engine::Revision);
        let stateright = judge(&history, Engine::Stateright);
        assert_eq!(
            revision.verdict.name(),
            stateright.verdict.name(),
            "seed {seed}: {:#?}\n{}",
            revision.verdict,
            show(&history)
        );
        assert!(!matches!(revision.verdict, Verdict::Unknown { .. }), "seed {seed} is undecided");
        invalid += u64::from(revision.verdict.exit_code() == 1);
        unpinned += u64::from(revision.counts.gaps_unpinned > 0);
        leased += u64::from(revision.counts.lease_operations > 0);
        refused += u64::from(revision.counts.failed > 0);
    }
    println!(
        "{histories} histories: {invalid} invalid, {unpinned} with unpinned gaps, {leased} with \
         leases, {refused} with refusals; no disagreement"
    );
    assert!(invalid * 5 >= histories, "only {invalid} of {histories} are invalid");
    assert!(unpinned * 20 >= histories, "only {unpinned} of {histories} have unpinned gaps");
}

fn judge(history: &History, engine: Engine) -> Report {
    check(history, &Options { engine, ..Options::default() })
}

fn show(history: &History) -> String {
    let lines = history.operations.iter().map(|line| format!("{:?}", line.operation));
    lines.collect::<Vec<_>>().join("\n")
}

/// A valid history, and with most seeds some damage, which need not make it invalid.
fn make(seed: u64) -> History {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let mut run = Run::shaped(seed, shape(&mut dice));
    let header = run.header();
    let calls = 4 + dice.below(8);
    let mut operations: Vec<Operation> = run
        .records(calls)
        .into_iter()
        .map(|record| match record {
            Record::Op(operation) => operation,
            other => panic!("an unobserved run has operations only, not {other:?}"),
        })
        .collect();
    limit_unknown(&mut operations);
    for _ in 0..dice.below(5) {
        damage(&mut operations, &mut dice);
    }
    for (process, operation) in (0..).zip(&mut operations) {
        operation.process = process;
        // The model answers a keep-alive at once, a server from two members: no revision in it.
        if let (Request::LeaseKeepAlive(_), Outcome::Ok(response)) =
            (&operation.request, &mut operation.outcome)
        {
            response.revision = 0;
        }
    }
    let records = std::iter::once(Record::Header(header));
    History::collect(records.chain(operations.into_iter().map(Record::Op))).expect("well-formed")
}

fn shape(dice: &mut Dice) -> Shape {
    let small = Shape::small();
    // Renewed leases do not run out here: stateright cannot be told what a renewal proves.
    if dice.per_mille(300) {
        return Shape { lease_ttl: 1000, ..small };
    }
    let mix = Mix { lease_keep_alive: 0, ..small.mix };
    let keys = 1 + dice.below(3);
    Shape { mix, keys, unique_values: dice.per_mille(300), ..small }
}

/// stateright tries every order of what never returns: more than a few, and it never ends.
fn limit_unknown(operations: &mut Vec<Operation>) {
    let mut unknown = 0;
    operations.retain(|operation| {
        let floats = matches!(operation.outcome, Outcome::Unknown(_))
            || matches!(operation.request, Request::LeaseGrant(_));
        unknown += usize::from(floats);
        !floats || unknown <= 4
    });
}

fn damage(operations: &mut Vec<Operation>, dice: &mut Dice) {
    let Some(index) = pick(operations.len(), dice) else { return };
    match dice.below(9) {
        0 => shift_revision(&mut operations[index], dice),
        1 => change_content(&mut operations[index], dice),
        2 => change_times(&mut operations[index], dice),
        3 => {
            operations.remove(index);
        }
        4 => forget_outcome(operations, index),
        5 => swap_outcomes(operations, index, dice),
        6 => fail_unknown(&mut operations[index]),
        7 => read_all(operations, dice),
        _ => refuse(&mut operations[index], dice),
    }
}

fn pick(len: usize, dice: &mut Dice) -> Option<usize> {
    let len = u64::try_from(len).expect("usize fits u64");
    (len > 0).then(|| usize::try_from(dice.below(len)).expect("below a usize"))
}

fn shift_revision(operation: &mut Operation, dice: &mut Dice) {
    if let Outcome::Ok(response) = &mut operation.outcome {
        response.revision = (response.revision + if dice.per_mille(500) { 1 } else { -1 }).max(1);
    }
}

fn change_content(operation: &mut Operation, dice: &mut Dice) {
    let Outcome::Ok(Response { body, .. }) = &mut operation.outcome else { return };
    match body {
        ResponseBody::Range(range) => match pick(range.kvs.len(), dice) {
            None => range.count += 1,
            Some(index) => match dice.below(4) {
                0 => range.kvs[index].value = Text::from(&format!("v{}", dice.below(3))),
                1 => range.kvs[index].version += 1,
                2 => range.kvs[index].mod_revision -= 1,
                _ => {
                    range.kvs.remove(index);
                    range.count -= 1;
                }
            },
        },
        ResponseBody::Put(put) => put.prev_kv = None,
        ResponseBody::DeleteRange(delete) => {
            delete.deleted = 1 - delete.deleted.min(1);
            delete.prev_kvs.clear();
        }
        ResponseBody::Txn(txn) => {
            if dice.per_mille(500) {
                txn.succeeded = !txn.succeeded;
            } else if let Some(TxnOpResponse::Range(range)) = txn.responses.last_mut() {
                range.kvs.clear();
                range.count = 0;
            }
        }
        ResponseBody::LeaseKeepAlive { ttl } => *ttl = if *ttl > 0 { 0 } else { 1000 },
        ResponseBody::LeaseGrant { .. } | ResponseBody::LeaseRevoke | ResponseBody::Compact => {}
    }
}

fn change_times(operation: &mut Operation, dice: &mut Dice) {
    let shift = dice.below(2_000_000_000);
    if dice.per_mille(500) {
        operation.call_ns += shift;
        operation.return_ns = operation.return_ns.map(|ns| ns + shift);
    } else {
        operation.call_ns = operation.call_ns.saturating_sub(shift);
        let call = operation.call_ns;
        operation.return_ns = operation.return_ns.map(|ns| ns.saturating_sub(shift).max(call));
    }
}

fn forget_outcome(operations: &mut [Operation], index: usize) {
    let unknown = operations.iter().filter(|own| matches!(own.outcome, Outcome::Unknown(_)));
    if unknown.count() >= 4 || matches!(operations[index].request, Request::Range(_)) {
        return;
    }
    operations[index].outcome = Outcome::Unknown(unavailable());
    operations[index].return_ns = None;
}

fn swap_outcomes(operations: &mut [Operation], index: usize, dice: &mut Dice) {
    let other = pick(operations.len(), dice).expect("not empty");
    let kind = |operation: &Operation| {
        std::mem::discriminant(&operation.request)
            .eq(&std::mem::discriminant(&operations[index].request))
            && !matches!(operation.outcome, Outcome::Unknown(_))
    };
    if kind(&operations[other]) && kind(&operations[index]) && other != index {
        let outcome = operations[index].outcome.clone();
        operations[index].outcome = std::mem::replace(&mut operations[other].outcome, outcome);
    }
}

/// Claims that an operation of unknown outcome did nothing, which may leave its gap unexplained.
fn fail_unknown(operation: &mut Operation) {
    if matches!(operation.outcome, Outcome::Unknown(_)) {
        operation.outcome = Outcome::Fail(unavailable());
        operation.return_ns = Some(operation.call_ns + 1);
    }
}

/// Adds a read of the past at the end, answered with what an earlier one said.
fn read_all(operations: &mut Vec<Operation>, dice: &mut Dice) {
    let Some(from) = pick(operations.len(), dice) else { return };
    let Outcome::Ok(response) = operations[from].outcome.clone() else { return };
    let (Request::Range(range), ResponseBody::Range(_)) =
        (operations[from].request.clone(), &response.body)
    else {
        return;
    };
    let end = operations.iter().filter_map(|own| own.return_ns).max().unwrap_or(0) + 1;
    let past = Range { revision: response.revision, serializable: false, ..range };
    let newest = operations.iter().filter_map(|own| match &own.outcome {
        Outcome::Ok(response) => Some(response.revision),
        _ => None,
    });
    let revision = newest.max().expect("at least the one taken");
    operations.push(Operation {
        process: 0,
        member: 0,
        call_ns: end,
        return_ns: Some(end + 1),
        request: Request::Range(past),
        outcome: Outcome::Ok(Response { revision, body: response.body }),
    });
}

/// Claims a refusal.
fn refuse(operation: &mut Operation, dice: &mut Dice) {
    let message = match (&operation.request, &operation.outcome) {
        (_, Outcome::Unknown(_)) => return,
        (Request::Put(put), _) if put.lease != 0 => "etcdserver: requested lease not found",
        (Request::LeaseRevoke(_), _) => "etcdserver: requested lease not found",
        (Request::LeaseGrant(LeaseGrant { .. }), _) if dice.per_mille(500) => {
            "etcdserver: lease already exists"
        }
        (Request::Range(range), _) if range.revision > 1 => {
            if dice.per_mille(500) {
                "etcdserver: mvcc: required revision is a future revision"
            } else {
                "etcdserver: mvcc: required revision has been compacted"
            }
        }
        _ => return,
    };
    operation.outcome = Outcome::Fail(Failure { code: "NotFound".into(), message: message.into() });
}

fn unavailable() -> Failure {
    Failure { code: "Unavailable".into(), message: "gone".into() }
}
