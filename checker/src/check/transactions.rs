//! Transactions on lists and registers, judged in Elle's manner.
//!
//! Here the keys and values of a history become the numbers that [`elle`] knows, and its answer gets
//! their names back. What a history has is for [`interpret`](crate::formats::interpret) to say.

mod render;

use std::collections::HashMap;
use std::time::Instant;

use serde::Serialize;

use crate::elle::{self, Anomaly, Element, Key, MicroOp, Names, Validity, draw, explain};
use crate::formats::calls::{AppendMop, Outcome, RegisterMop, Transaction, Value};

/// The answer to a history of transactions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionsReport {
    /// "valid", "invalid" or "unknown".
    pub verdict: &'static str,
    /// Elle's name for what the transactions are on: "list-append" or "rw-register".
    pub model: &'static str,
    /// The consistency models that were to hold.
    pub expected: Vec<elle::Model>,
    /// What was checked.
    pub counts: TransactionCounts,
    /// Elle's answer: keys, elements and transactions by number.
    #[serde(skip)]
    pub answer: elle::Report,
    /// The same with their names, as JSON.
    pub elle: serde_json::Value,
    /// Each case that is listed, in words.
    pub explanations: Vec<Explanation>,
    /// Time that the check took.
    pub check_seconds: f64,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TransactionCounts {
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that aborted.
    pub aborted: u64,
    /// Transactions of unknown outcome.
    pub unknown: u64,
    /// Reads and writes of all of them.
    pub micro_operations: u64,
}

/// A case of an anomaly, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The anomaly.
    pub anomaly: Anomaly,
    /// Over several lines: the transactions, and what is wrong.
    pub text: String,
    /// The same as a graph, for Graphviz.
    #[serde(skip)]
    pub graph: String,
}

impl TransactionsReport {
    /// 0 valid, 1 invalid, 2 unknown.
    pub fn exit_code(&self) -> u8 {
        match self.answer.valid {
            Validity::Valid => 0,
            Validity::Invalid => 1,
            Validity::Unknown => 2,
        }
    }
}

/// Judges transactions on lists.
pub fn check_list_append(
    transactions: &[Transaction<AppendMop>],
    options: &elle::Options,
) -> TransactionsReport {
    use crate::elle::list_append::{Mop, check};
    let mut numbers = Numbers::default();
    let converted = convert(transactions, |mop| match mop {
        AppendMop::Append(key, element) => {
            Mop::Append { key: numbers.key(key), element: numbers.element(element) }
        }
        AppendMop::Read(key, list) => {
            let list = list.as_ref();
            let elements =
                list.map(|list| list.iter().map(|value| numbers.element(value)).collect());
            Mop::Read { key: numbers.key(key), list: elements }
        }
    });
    judge("list-append", &converted, &numbers.names, options, check)
}

/// Judges transactions on registers.
pub fn check_rw_register(
    transactions: &[Transaction<RegisterMop>],
    options: &elle::Options,
) -> TransactionsReport {
    use crate::elle::rw_register::{Mop, check};
    let mut numbers = Numbers::default();
    let converted = convert(transactions, |mop| match mop {
        RegisterMop::Write(key, value) => {
            Mop::Write { key: numbers.key(key), value: numbers.element(value), mod_revision: None }
        }
        RegisterMop::Read(key, value) => {
            let known = value.as_ref().filter(|value| **value != Value::Nil);
            let value = known.map(|value| numbers.element(value));
            Mop::Read { key: numbers.key(key), value, mod_revision: None }
        }
    });
    judge("rw-register", &converted, &numbers.names, options, check)
}

/// Numbers of keys and elements, given out from 0 on.
#[derive(Debug, Default)]
struct Numbers {
    names: Names,
    keys: HashMap<Value, Key>,
    elements: HashMap<Value, Element>,
}

impl Numbers {
    fn key(&mut self, value: &Value) -> Key {
        known(&mut self.keys, value, |name| self.names.key(name))
    }

    fn element(&mut self, value: &Value) -> Element {
        known(&mut self.elements, value, |name| self.names.element(name))
    }
}

/// The number of a value; `number` is asked for a new one's.
fn known<N: Copy>(
    numbers: &mut HashMap<Value, N>,
    value: &Value,
    number: impl FnOnce(&str) -> N,
) -> N {
    if let Some(number) = numbers.get(value) {
        return *number;
    }
    let number = number(&value.to_string());
    numbers.insert(value.clone(), number);
    number
}

fn convert<M, N>(
    transactions: &[Transaction<M>],
    mut mop: impl FnMut(&M) -> N,
) -> Vec<Transaction<N>> {
    let each = transactions.iter().map(|own| {
        let Transaction { process, invoked, returned, outcome, .. } = *own;
        let mops = own.mops.iter().map(&mut mop).collect();
        Transaction { process, invoked, returned, outcome, mops }
    });
    each.collect()
}

fn judge<M: MicroOp>(
    model: &'static str,
    transactions: &[Transaction<M>],
    names: &Names,
    options: &elle::Options,
    check: impl FnOnce(&[Transaction<M>], &elle::Options) -> elle::Report,
) -> TransactionsReport {
    let start = Instant::now();
    let answer = check(transactions, options);
    let check_seconds = start.elapsed().as_secs_f64();
    let cases = answer.anomaly_types.iter().flat_map(|anomaly| {
        answer.cases(*anomaly).iter().map(|case| Explanation {
            anomaly: *anomaly,
            text: explain::case(*anomaly, case, transactions, names),
            graph: draw::dot(*anomaly, case, transactions, names),
        })
    });
    TransactionsReport {
        verdict: match answer.valid {
            Validity::Valid => "valid",
            Validity::Invalid => "invalid",
            Validity::Unknown => "unknown",
        },
        model,
        expected: options.consistency_models.clone(),
        counts: count(transactions),
        elle: named(&answer, names),
        explanations: cases.collect(),
        answer,
        check_seconds,
    }
}

fn count<M>(transactions: &[Transaction<M>]) -> TransactionCounts {
    let mut counts = TransactionCounts::default();
    for own in transactions {
        match own.outcome {
            Outcome::Ok => counts.committed += 1,
            Outcome::Fail => counts.aborted += 1,
            Outcome::Unknown => counts.unknown += 1,
        }
        counts.micro_operations += u64::try_from(own.mops.len()).expect("usize fits u64");
    }
    counts
}

/// The answer as JSON, with the names of keys and elements for their numbers.
fn named(answer: &elle::Report, names: &Names) -> serde_json::Value {
    let mut json = serde_json::to_value(answer).expect("a report is plain data");
    if let Some(anomalies) = json.get_mut("anomalies").and_then(serde_json::Value::as_object_mut) {
        anomalies.values_mut().for_each(|found| name_numbers(found, names));
    }
    json
}

/// Fields of a case that are elements, alone or in lists.
const ELEMENTS: [&str; 8] =
    ["element", "elements", "value", "value'", "expected", "version", "versions", "lists"];

fn name_numbers(json: &mut serde_json::Value, names: &Names) {
    match json {
        serde_json::Value::Array(items) => {
            for item in items {
                name_numbers(item, names);
            }
        }
        serde_json::Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                if field == "key" {
                    name_each(value, &|number| names.of_key(Key(number)));
                } else if ELEMENTS.contains(&field.as_str()) {
                    name_each(value, &|number| names.of_element(Element(number)));
                } else {
                    name_numbers(value, names);
                }
            }
        }
        _ => {}
    }
}

/// Names every number in a value, which has no fields.
fn name_each(json: &mut serde_json::Value, name: &dyn Fn(u32) -> String) {
    match json {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| name_each(item, name)),
        serde_json::Value::Number(number) => {
            if let Some(number) = number.as_u64().and_then(|number| u32::try_from(number).ok()) {
                *json = serde_json::Value::String(name(number));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(key: &str, element: i64) -> AppendMop {
        AppendMop::Append(Value::Text(key.into()), Value::Integer(element))
    }

    fn read(key: &str, list: &[i64]) -> AppendMop {
        let list = list.iter().copied().map(Value::Integer).collect();
        AppendMop::Read(Value::Text(key.into()), Some(list))
    }

    fn committed<M>(process: u64, invoked: u64, mops: Vec<M>) -> Transaction<M> {
        let returned = Some(invoked + 2);
        Transaction { process, invoked, returned, outcome: Outcome::Ok, mops }
    }

    #[test]
    fn the_answer_has_the_names_of_the_history() {
        let history = [
            committed(0, 0, vec![read("x", &[]), append("y", 71)]),
            committed(1, 1, vec![read("y", &[]), append("x", 72)]),
            Transaction { outcome: Outcome::Unknown, ..committed(2, 4, vec![append("y", 73)]) },
        ];
        let report = check_list_append(&history, &elle::Options::default());
        assert_eq!((report.verdict, report.exit_code()), ("invalid", 1));
        assert_eq!(report.counts.committed, 2);
        assert_eq!((report.counts.unknown, report.counts.micro_operations), (1, 5));
        let steps = &report.elle["anomalies"]["G2-item"]["cases"][0]["steps"];
        assert_eq!(steps[0]["key"], "\"x\"", "{steps}");
        assert_eq!(steps[0]["value'"], "72", "{steps}");
        assert_eq!(steps[0]["from"], 0, "transactions stay numbers");
        assert!(report.explanations[0].text.contains("appended 72 to \"x\""));
    }

    #[test]
    fn nil_is_no_value_of_a_register() {
        let key = || Value::Other(":x".into());
        let write = |value| RegisterMop::Write(key(), Value::Integer(value));
        let read = |value| RegisterMop::Read(key(), Some(value));
        let history = [
            committed(0, 0, vec![write(1)]),
            committed(0, 3, vec![read(Value::Integer(1))]),
            // After the write has returned.
            committed(1, 6, vec![read(Value::Nil)]),
        ];
        let report = check_rw_register(&history, &elle::Options::default());
        assert_eq!(report.verdict, "invalid");
        assert!(report.explanations[0].text.contains("read :x before anything was in it"));
        let report = check_rw_register(&history[..2], &elle::Options::default());
        assert_eq!((report.verdict, report.exit_code()), ("valid", 0));
    }
}
