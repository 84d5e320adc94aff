//! Compactions and leases about which there is more to say than a search can order: decided all the
//! same, or else reported as unknown, and never passed over.

use rusd_checker::history::History;
use rusd_checker::history::record::{
    Compact, Failure, LeaseGrant, LeaseId, Operation, Outcome, Put, PutResponse, Range,
    RangeResponse, Record, Request, Response, ResponseBody, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::{Mix, Run, Shape};
use rusd_checker::{Options, Rule, Verdict, check};

const SEEDS: u64 = 6;
/// More than a search takes.
const MANY: usize = 200;
const TTL: i64 = 10_000;
const EXISTS: &str = "etcdserver: lease already exists";
const NOT_FOUND: &str = "etcdserver: requested lease not found";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// Operations of one process, one after the other; perhaps after a run.
struct Script {
    records: Vec<Record>,
    revision: i64,
    now_ns: u64,
}

impl Script {
    fn new() -> Script {
        let header = Record::Header(Run::new(0).header());
        Script { records: vec![header], revision: 1, now_ns: 0 }
    }

    /// Goes on after a run in which the past is read often and compacted now and then.
    fn after_a_run(seed: u64) -> Script {
        let mix = Mix { range_past: 30, compact: 2, ..Shape::large().mix };
        // Many keys, so that a compaction leaves some of the past.
        let mut run = Run::shaped(seed, Shape { mix, keys: 2_000, ..Shape::medium() });
        let mut script = Script::new();
        script.records.extend(run.records(3_000));
        for record in &script.records {
            let Record::Op(operation) = record else { continue };
            script.now_ns = script.now_ns.max(operation.return_ns.unwrap_or(0));
            if let Outcome::Ok(response) = &operation.outcome {
                script.revision = script.revision.max(response.revision);
            }
        }
        script
    }

    /// The highest compaction that was done.
    fn compacted(&self) -> i64 {
        let done = self.records.iter().filter_map(|record| match record {
            Record::Op(Operation {
                request: Request::Compact(compact),
                outcome: Outcome::Ok(_),
                ..
            }) => Some(compact.revision),
            _ => None,
        });
        done.max().expect("the run compacts")
    }

    fn push(&mut self, request: Request, outcome: Outcome) {
        let call_ns = self.now_ns + 1;
        self.now_ns += 2;
        self.records.push(Record::Op(Operation {
            process: u64::MAX,
            member: 0,
            call_ns,
            return_ns: Some(self.now_ns),
            request,
            outcome,
        }));
    }

    fn ok(&mut self, request: Request, body: ResponseBody) {
        let revision = self.revision;
        self.push(request, Outcome::Ok(Response { revision, body }));
    }

    fn refused(&mut self, request: Request, message: &str) {
        let failure = Failure { code: "any".into(), message: message.into() };
        self.push(request, Outcome::Fail(failure));
    }

    fn compact(&mut self, revision: i64) {
        self.ok(Request::Compact(Compact { revision }), ResponseBody::Compact);
    }

    fn grant(&mut self, id: i64) {
        self.ok(grant(id), ResponseBody::LeaseGrant { ttl: TTL });
    }

    fn revoke(&mut self, id: i64) {
        self.ok(Request::LeaseRevoke(LeaseId { id }), ResponseBody::LeaseRevoke);
    }

    fn keep_alive(&mut self, id: i64) {
        let body = ResponseBody::LeaseKeepAlive { ttl: TTL };
        self.ok(Request::LeaseKeepAlive(LeaseId { id }), body);
    }

    fn put(&mut self, lease: i64) {
        self.revision += 1;
        self.ok(Request::Put(put(lease)), ResponseBody::Put(PutResponse::default()));
    }

    /// Attaches a key to each of two leases at once.
    fn put_both(&mut self, leases: [i64; 2]) {
        self.revision += 1;
        let success = leases.map(|lease| TxnOp::Put(put(lease))).to_vec();
        let responses = vec![TxnOpResponse::Put(PutResponse::default()); 2];
        let body = ResponseBody::Txn(TxnResponse { succeeded: true, responses });
        self.ok(Request::Txn(Txn { success, ..Txn::default() }), body);
    }

    #[track_caller]
    fn is(self, rule: Option<Rule>) {
        let verdict = self.verdict();
        assert_eq!(verdict.rule(), rule, "{verdict:#?}");
        assert!(!matches!(verdict, Verdict::Unknown { .. }), "{verdict:#?}");
    }

    fn verdict(self) -> Verdict {
        let history = History::collect(self.records).expect("well-formed");
        check(&history, &Options::default()).verdict
    }
}

fn grant(id: i64) -> Request {
    Request::LeaseGrant(LeaseGrant { id, ttl: TTL })
}

fn put(lease: i64) -> Put {
    let (key, value) = (Text::from(&format!("leased/{lease}")), Text::from("v"));
    Put { key, value, lease, ..Put::default() }
}

fn read(revision: i64) -> Request {
    Request::Range(Range { key: Text::from("nobody's"), revision, ..Range::default() })
}

#[test]
fn a_run_with_many_reads_of_the_past_is_valid() {
    for seed in 0..SEEDS {
        Script::after_a_run(seed).is(None);
    }
}

#[test]
fn a_compaction_goes_up() {
    for seed in 0..SEEDS {
        let mut again = Script::after_a_run(seed);
        again.compact(again.compacted());
        again.is(Some(Rule::ContentCompacted));
        let mut back = Script::after_a_run(seed);
        back.compact(back.compacted() - 1);
        back.is(Some(Rule::ContentCompacted));
        let mut up = Script::after_a_run(seed);
        up.compact(up.revision);
        up.is(None);
    }
}

#[test]
fn what_is_compacted_cannot_be_read_and_nothing_else_is_refused() {
    for seed in 0..SEEDS {
        let mut reads = Script::after_a_run(seed);
        let body = ResponseBody::Range(RangeResponse::default());
        reads.ok(read(reads.compacted() - 1), body);
        reads.is(Some(Rule::ContentCompacted));
        let mut refuses = Script::after_a_run(seed);
        refuses.refused(read(refuses.revision), COMPACTED);
        refuses.is(Some(Rule::ContentRefusal));
    }
}

#[test]
fn a_lease_has_one_life() {
    let refused = |script: &mut Script| {
        for _ in 0..MANY {
            script.refused(Request::Put(put(7)), NOT_FOUND);
        }
    };
    let life = || {
        let mut script = Script::new();
        refused(&mut script);
        script.grant(7);
        script.put(7);
        for _ in 0..MANY {
            script.refused(grant(7), EXISTS);
        }
        script.revision += 1;
        script.revoke(7);
        refused(&mut script);
        script
    };
    life().is(None);
    let mut again = life();
    again.put(7);
    again.is(Some(Rule::LeaseLifecycle));
    let mut exists = life();
    exists.refused(grant(7), EXISTS);
    exists.is(Some(Rule::ContentRefusal));
}

/// What two leases have in common ties all about them together.
#[test]
fn tied_leases_are_decided_or_unknown() {
    let tied = || {
        let mut script = Script::new();
        script.grant(7);
        script.grant(8);
        script.put_both([7, 8]);
        for _ in 0..MANY {
            script.keep_alive(7);
            script.keep_alive(8);
        }
        script
    };
    tied().is(None);
    let crowded = || {
        let mut script = tied();
        for _ in 0..MANY {
            script.refused(grant(7), EXISTS);
        }
        script
    };
    assert!(matches!(crowded().verdict(), Verdict::Unknown { .. }));
    let mut missing = crowded();
    missing.refused(Request::Put(put(8)), NOT_FOUND);
    missing.is(Some(Rule::ContentRefusal));
}
