//! The language of golden scripts: one command per line.
//!
//! ```text
//! put KEY=VALUE [lease=N] [prev] [ignore_value] [ignore_lease]
//! del RANGE [prev]
//! range RANGE [rev=N] [limit=N] [keys] [count] [order=asc|desc] [by=key|version|create|mod|value]
//!       [min_mod=N] [max_mod=N] [min_create=N] [max_create=N]
//! txn [if COMPARE , COMPARE] [then OP ; OP] [else OP ; OP]      an OP may be ( txn ... )
//! compact N            grant ID ttl=N      revoke ID      lease ID      leases
//! watch RANGE from=N [prev]                what a watch from the past is sent
//! hash [N]
//! alarm get|raise|disarm [nospace|corrupt|N] [member=N]
//! ```
//!
//! RANGE is `a` (one key), `a..c` (up to before `c`) or `a..` (all from `a`). COMPARE is
//! `mod:a=3`, with `version create mod value lease`, and `= != < >`.

pub(crate) mod print;

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use rusd_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use rusd_proto::etcdserverpb::request_op::Request;

/// A command of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Through the log.
    Put(pb::PutRequest),
    /// Through the log.
    DeleteRange(pb::DeleteRangeRequest),
    /// Through the log, or read only.
    Txn(pb::TxnRequest),
    /// Through the log.
    Compact(pb::CompactionRequest),
    /// Through the log.
    Grant(pb::LeaseGrantRequest),
    /// Through the log.
    Revoke(pb::LeaseRevokeRequest),
    /// Through the log.
    Alarm(pb::AlarmRequest),
    /// A read.
    Range(pb::RangeRequest),
    /// A read.
    Lease(i64),
    /// A read.
    Leases,
    /// A read.
    Watch {
        /// First key and range end.
        range: (String, String),
        /// First revision.
        from: i64,
        /// With previous values.
        prev: bool,
    },
    /// A read.
    Hash(i64),
}

/// Reads one line.
pub(crate) fn parse(line: &str) -> Step {
    let mut spaced = line.to_owned();
    for mark in [";", ",", "(", ")"] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    let mut words = Words { words: spaced.split_whitespace().map(str::to_owned).collect(), at: 0 };
    let step = words.step();
    assert_eq!(words.peek(), None, "left over in {line:?}");
    step
}

struct Words {
    words: Vec<String>,
    at: usize,
}

impl Words {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.words.get(self.at - 1).expect("the command goes on").clone()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn number(&mut self) -> i64 {
        self.next().parse().expect("a number")
    }

    /// Options up to the end of the operation: a name and, after `=`, its value.
    fn option(&mut self) -> Option<(String, String)> {
        let word = self.peek()?;
        if [";", ",", "(", ")", "then", "else"].contains(&word) {
            return None;
        }
        let word = self.next();
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        Some((name.to_owned(), value.to_owned()))
    }

    fn range(&mut self) -> (String, String) {
        range(&self.next())
    }

    fn step(&mut self) -> Step {
        match self.next().as_str() {
            "put" => Step::Put(self.put()),
            "del" => Step::DeleteRange(self.delete_range()),
            "range" => Step::Range(self.range_request()),
            "txn" => Step::Txn(self.txn()),
            "compact" => {
                Step::Compact(pb::CompactionRequest { revision: self.number(), physical: true })
            }
            "grant" => {
                let id = self.number();
                let (_, ttl) = self.option().expect("a grant has ttl=N");
                Step::Grant(pb::LeaseGrantRequest { id, ttl: ttl.parse().expect("seconds") })
            }
            "revoke" => Step::Revoke(pb::LeaseRevokeRequest { id: self.number() }),
            "lease" => Step::Lease(self.number()),
            "leases" => Step::Leases,
            "watch" => self.watch(),
            "alarm" => Step::Alarm(self.alarm()),
            "hash" => Step::Hash(if self.peek().is_some() { self.number() } else { 0 }),
            other => panic!("unknown command {other:?}"),
        }
    }

    fn alarm(&mut self) -> pb::AlarmRequest {
        let mut request = pb::AlarmRequest::default();
        request.set_action(match self.next().as_str() {
            "get" => AlarmAction::Get,
            "raise" => AlarmAction::Activate,
            "disarm" => AlarmAction::Deactivate,
            other => panic!("unknown action {other:?}"),
        });
        while let Some((name, value)) = self.option() {
            match name.as_str() {
                "nospace" => request.set_alarm(pb::AlarmType::Nospace),
                "corrupt" => request.set_alarm(pb::AlarmType::Corrupt),
                "member" => request.member_id = value.parse().expect("a member id"),
                kind => request.alarm = kind.parse().expect("a kind of alarm"),
            }
        }
        request
    }

    fn put(&mut self) -> pb::PutRequest {
        let word = self.next();
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        let mut put = pb::PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..pb::PutRequest::default()
        };
        while let Some((name, value)) = self.option() {
            match name.as_str() {
                "lease" => put.lease = value.parse().expect("a lease id"),
                "prev" => put.prev_kv = true,
                "ignore_value" => put.ignore_value = true,
                "ignore_lease" => put.ignore_lease = true,
                other => panic!("unknown option {other:?}"),
            }
        }
        put
    }

    fn delete_range(&mut self) -> pb::DeleteRangeRequest {
        let (key, end) = self.range();
        let mut prev_kv = false;
        while let Some((name, _)) = self.option() {
            assert_eq!(name, "prev", "the only option of del");
            prev_kv = true;
        }
        pb::DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv }
    }

    fn range_request(&mut self) -> pb::RangeRequest {
        let (key, end) = self.range();
        let mut range = pb::RangeRequest {
            key: key.into(),
            range_end: end.into(),
            ..pb::RangeRequest::default()
        };
        while let Some((name, value)) = self.option() {
            let number = || value.parse::<i64>().expect("a number");
            match name.as_str() {
                "rev" => range.revision = number(),
                "limit" => range.limit = number(),
                "keys" => range.keys_only = true,
                "count" => range.count_only = true,
                "order" => range.set_sort_order(order(&value)),
                "by" => range.set_sort_target(target(&value)),
                "min_mod" => range.min_mod_revision = number(),
                "max_mod" => range.max_mod_revision = number(),
                "min_create" => range.min_create_revision = number(),
                "max_create" => range.max_create_revision = number(),
                other => panic!("unknown option {other:?}"),
            }
        }
        range
    }

    fn watch(&mut self) -> Step {
        let range = self.range();
        let (mut from, mut prev) = (0, false);
        while let Some((name, value)) = self.option() {
            match name.as_str() {
                "from" => from = value.parse().expect("a revision"),
                "prev" => prev = true,
                other => panic!("unknown option {other:?}"),
            }
        }
        Step::Watch { range, from, prev }
    }

    fn txn(&mut self) -> pb::TxnRequest {
        let mut txn = pb::TxnRequest::default();
        if self.take("if") {
            txn.compare.push(compare(&self.next()));
            while self.take(",") {
                txn.compare.push(compare(&self.next()));
            }
        }
        if self.take("then") {
            txn.success = self.ops();
        }
        if self.take("else") {
            txn.failure = self.ops();
        }
        txn
    }

    fn ops(&mut self) -> Vec<pb::RequestOp> {
        let mut ops = vec![self.op()];
        while self.take(";") {
            ops.push(self.op());
        }
        ops
    }

    fn op(&mut self) -> pb::RequestOp {
        let request = match self.next().as_str() {
            "put" => Request::RequestPut(self.put()),
            "del" => Request::RequestDeleteRange(self.delete_range()),
            "range" => Request::RequestRange(self.range_request()),
            "(" => {
                assert!(self.take("txn"), "only a txn stands in parentheses");
                let nested = self.txn();
                assert!(self.take(")"), "a nested txn ends with a parenthesis");
                Request::RequestTxn(nested)
            }
            other => panic!("unknown operation {other:?}"),
        };
        pb::RequestOp { request: Some(request) }
    }
}

fn range(word: &str) -> (String, String) {
    match word.split_once("..") {
        None => (word.to_owned(), String::new()),
        Some((key, "")) => (key.to_owned(), "\0".to_owned()),
        Some((key, end)) => (key.to_owned(), end.to_owned()),
    }
}

fn order(word: &str) -> SortOrder {
    match word {
        "asc" => SortOrder::Ascend,
        "desc" => SortOrder::Descend,
        other => panic!("unknown order {other:?}"),
    }
}

fn target(word: &str) -> SortTarget {
    match word {
        "key" => SortTarget::Key,
        "version" => SortTarget::Version,
        "create" => SortTarget::Create,
        "mod" => SortTarget::Mod,
        "value" => SortTarget::Value,
        other => panic!("unknown sort target {other:?}"),
    }
}

fn compare(word: &str) -> pb::Compare {
    let (name, rest) = word.split_once(':').expect("a compare is target:key=operand");
    let results = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        ("<", CompareResult::Less),
        (">", CompareResult::Greater),
    ];
    let (keys, result, operand) = results
        .iter()
        .find_map(|(sign, result)| {
            rest.split_once(sign).map(|(keys, operand)| (keys, *result, operand))
        })
        .expect("a compare has a sign");
    let number = || operand.parse().expect("a number");
    let (target, union) = match name {
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        "value" => (CompareTarget::Value, TargetUnion::Value(operand.to_owned().into())),
        other => panic!("unknown compare target {other:?}"),
    };
    let (key, end) = range(keys);
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        range_end: end.into(),
        target_union: Some(union),
    }
}
