//! Which hashes of final states are compared: each case says how many, and whether the store is to
//! blame if the last of them differs.

use rusd_checker::history::History;
use rusd_checker::history::record::{
    Compact, Failure, FinalState, KeyValue, Operation, Outcome, Put, PutResponse, Range, Record,
    Request, Response, ResponseBody,
};
use rusd_checker::history::text::Text;
use rusd_checker::report::{json, text};
use rusd_checker::synthetic::Run;
use rusd_checker::{Options, Report, Rule, Verdict, check};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const HASH: u32 = 7;
/// When the first final state is read.
const END_NS: u64 = 1_000;

/// What happens after the puts.
type Other = (Request, Outcome);
/// A final state at revision 5 or later, perhaps with a hash.
type Final = (i64, Option<u32>);

/// Puts make revisions 2 to 6; then these operations happen, and these final states are read.
fn judge(others: &[Other], finals: &[Final]) -> Report {
    let mut records = vec![Record::Header(Run::new(0).header())];
    let mut now_ns = 0;
    let mut push = |request: Request, outcome: Outcome| {
        now_ns += 10;
        let unknown = matches!(outcome, Outcome::Unknown(_));
        records.push(Record::Op(Operation {
            process: now_ns,
            member: 0,
            call_ns: now_ns,
            return_ns: (!unknown).then_some(now_ns + 5),
            request,
            outcome,
        }));
    };
    let put = Put { key: Text::from("a"), value: Text::from("v"), ..Put::default() };
    for revision in 2..=6 {
        push(Request::Put(put.clone()), ok(revision, ResponseBody::Put(PutResponse::default())));
    }
    for (request, outcome) in others {
        push(request.clone(), outcome.clone());
    }
    for (member, (revision, hash)) in (0..).zip(finals) {
        let call_ns = END_NS + 10 * u64::from(member);
        let kvs = vec![put_at(*revision)];
        let (return_ns, revision, hash) = (call_ns + 5, *revision, *hash);
        records.push(Record::Final(FinalState { member, call_ns, return_ns, revision, kvs, hash }));
    }
    let history = History::collect(records).expect("well-formed");
    check(&history, &Options::default())
}

fn put_at(revision: i64) -> KeyValue {
    KeyValue {
        key: Text::from("a"),
        value: Text::from("v"),
        create_revision: 2,
        mod_revision: revision,
        version: revision - 1,
        lease: 0,
    }
}

fn ok(revision: i64, body: ResponseBody) -> Outcome {
    Outcome::Ok(Response { revision, body })
}

fn failure(message: &str) -> Failure {
    Failure { code: "any".into(), message: message.into() }
}

fn compact(revision: i64) -> Request {
    Request::Compact(Compact { revision })
}

fn compacted(revision: i64) -> Other {
    (compact(revision), ok(6, ResponseBody::Compact))
}

fn unknown(revision: i64) -> Other {
    (compact(revision), Outcome::Unknown(failure("gone")))
}

fn refused_read(revision: i64) -> Other {
    let range = Range { key: Text::from("a"), revision, ..Range::default() };
    (Request::Range(range), Outcome::Fail(failure(COMPACTED)))
}

#[test]
fn hashes_are_compared_where_no_compaction_can_come_between() {
    let cases: [(&str, Vec<Other>, u64); 7] = [
        ("nothing is compacted", vec![], 3),
        ("all compactions are answered", vec![compacted(3), compacted(4)], 3),
        ("one may come at any time", vec![compacted(3), unknown(4)], 0),
        ("what may come is compacted already", vec![unknown(3), compacted(4)], 3),
        ("a read was told that it has come", vec![unknown(4), refused_read(3)], 3),
        ("a read was told of less", vec![unknown(4), refused_read(2)], 0),
        (
            "a compaction was told that it has come",
            vec![unknown(4), (compact(4), Outcome::Fail(failure(COMPACTED)))],
            3,
        ),
    ];
    for (what, others, compared) in cases {
        let same = judge(&others, &[(6, Some(HASH)), (6, Some(HASH)), (6, Some(HASH))]);
        assert_eq!(same.verdict, Verdict::Valid, "{what}");
        assert_eq!(same.counts.hashes_compared, compared, "{what}");
        let other = judge(&others, &[(6, Some(HASH)), (6, Some(HASH)), (6, Some(HASH + 1))]);
        let blamed = (compared > 0).then_some(Rule::FinalHash);
        assert_eq!(other.verdict.rule(), blamed, "{what}");
    }
}

#[test]
fn hashes_of_one_revision_are_compared() {
    let cases: [(&str, Vec<Final>, u64); 4] = [
        ("the first has none", vec![(6, None), (6, Some(HASH)), (6, Some(HASH + 1))], 2),
        ("one is missing", vec![(6, Some(HASH)), (6, None), (6, Some(HASH + 1))], 2),
        ("there is one", vec![(6, None), (6, None), (6, Some(HASH))], 0),
        ("there is none", vec![(6, None), (6, None), (6, None)], 0),
    ];
    for (what, finals, compared) in cases {
        let report = judge(&[], &finals);
        assert_eq!(report.counts.hashes_compared, compared, "{what}");
        let blamed = (compared > 0).then_some(Rule::FinalHash);
        assert_eq!(report.verdict.rule(), blamed, "{what}");
    }
}

/// A lease that runs out while the final states are read leaves them at two revisions.
#[test]
fn hashes_of_other_revisions_are_not() {
    let valid = judge(&[], &[(6, Some(HASH)), (6, Some(HASH))]);
    assert_eq!(valid.counts.hashes_compared, 2);
    let mut finals = vec![(5, Some(1)), (6, Some(HASH)), (6, Some(HASH + 1))];
    let report = judge(&[], &finals);
    assert_eq!(report.counts.hashes_compared, 2);
    assert!(report.verdict.breaks(Rule::FinalHash), "{:#?}", report.verdict);
    finals.pop();
    assert_eq!(judge(&[], &finals).counts.hashes_compared, 0);
}

#[test]
fn reports_say_how_many() {
    let report = judge(&[], &[(6, Some(HASH)), (6, Some(HASH)), (6, None)]);
    let told = text::render(&report);
    assert!(told.contains("3 final states, 2 of their hashes compared"), "{told}");
    let told = json::render(&report);
    assert!(told.contains("\"hashes_compared\": 2"), "{told}");
}
