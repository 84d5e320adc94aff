//! Histories written as text, for tables.
//!
//! A transaction is a line of micro-operations: `ax1` appends 1 to x, `rx12` reads x = [1 2], `rx` reads
//! it empty, `wx1` writes 1 to the register x. `!` before it: it aborted; `?`: its outcome is unknown;
//! `3:` : process 3 did it (otherwise each has its own). In a register `rx1@7` and `wx1@7` tell the
//! revision.

use rusd_checker::elle::{Element, Key, Outcome, Transaction, list_append, rw_register};

/// Transactions that all run at once.
pub(crate) fn at_once<M>(lines: &[&str], mop: impl Fn(&str) -> M) -> Vec<Transaction<M>> {
    let count = u64::try_from(lines.len()).expect("usize fits u64");
    let at = |own: u64| (own, count + own);
    (0..).zip(lines).map(|(own, line)| transaction(own, at(own), line, &mop)).collect()
}

/// Transactions that run one after the other.
pub(crate) fn in_turn<M>(lines: &[&str], mop: impl Fn(&str) -> M) -> Vec<Transaction<M>> {
    let at = |own: u64| (2 * own, 2 * own + 1);
    (0..).zip(lines).map(|(own, line)| transaction(own, at(own), line, &mop)).collect()
}

fn transaction<M>(
    own: u64,
    (invoked, returned): (u64, u64),
    line: &str,
    mop: &impl Fn(&str) -> M,
) -> Transaction<M> {
    let (process, line) = match line.split_once(':') {
        Some((process, line)) => (process.trim().parse().expect("a process"), line.trim()),
        None => (100 + own, line.trim()),
    };
    let (outcome, line) = match line.split_at_checked(1) {
        Some(("!", rest)) => (Outcome::Fail, rest),
        Some(("?", rest)) => (Outcome::Unknown, rest),
        _ => (Outcome::Ok, line),
    };
    let mops = line.split_whitespace().map(mop).collect();
    Transaction { process, invoked, returned: Some(returned), outcome, mops }
}

/// The key named by a letter.
pub(crate) fn key(name: char) -> Key {
    Key(u32::from(name) - u32::from('a'))
}

/// A micro-operation on a list.
pub(crate) fn list(word: &str) -> list_append::Mop {
    let mut letters = word.chars();
    let (what, name) = (letters.next().expect("a or r"), letters.next().expect("a key"));
    let mut elements = letters.map(|digit| Element(digit.to_digit(36).expect("an element")));
    match what {
        'a' => list_append::Mop::Append {
            key: key(name),
            element: elements.next().expect("an element"),
        },
        'r' => list_append::Mop::Read { key: key(name), list: Some(elements.collect()) },
        other => panic!("{other} in {word}"),
    }
}

/// A micro-operation on a register.
pub(crate) fn register(word: &str) -> rw_register::Mop {
    let (word, mod_revision) = match word.split_once('@') {
        Some((word, revision)) => (word, Some(revision.parse().expect("a revision"))),
        None => (word, None),
    };
    let mut letters = word.chars();
    let (what, name) = (letters.next().expect("w or r"), letters.next().expect("a key"));
    let value = letters.next().map(|digit| Element(digit.to_digit(36).expect("a value")));
    match what {
        'w' => {
            rw_register::Mop::Write { key: key(name), value: value.expect("a value"), mod_revision }
        }
        'r' => rw_register::Mop::Read { key: key(name), value, mod_revision },
        other => panic!("{other} in {word}"),
    }
}

/// The names of what a report tells, and of the weakest models that do not hold.
pub(crate) fn answer(report: &rusd_checker::elle::Report) -> (String, String) {
    let types: Vec<String> = report.anomaly_types.iter().map(ToString::to_string).collect();
    let not: Vec<String> = report.not.iter().map(ToString::to_string).collect();
    (types.join(" "), not.join(" "))
}
