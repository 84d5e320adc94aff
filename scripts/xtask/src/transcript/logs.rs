//! What etcd-dump-logs prints of a member's log, with what may differ taken out.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use regex::Regex;

use super::arm::{Exchange, Ids};
use crate::workspace;

/// A pattern, what takes its place, and why it may differ.
const RULES: [(&str, &str, &str); 2] = [
    (r"header:<ID:\d+ >", "header:<ID:* >", "made of the time"),
    (r"commitIndex=\d+", "commitIndex=*", "noted with the entries after it, or at the stop"),
];

/// Entries that a member makes by itself when it starts, the one or the other first.
const UNORDERED: [&str; 2] = ["cluster_member_attr_set:<", "cluster_version_set:<"];

static COMPILED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let compile = |(pattern, instead, why): (&str, &'static str, &str)| {
        debug_assert!(!why.is_empty(), "each rule has a reason");
        (Regex::new(pattern).expect("patterns are tested"), instead)
    };
    RULES.into_iter().map(compile).collect()
});

/// The log of a member that has stopped.
pub(super) fn dump(data_dir: &Path, ids: &Ids) -> Result<Exchange> {
    let mut dump = Command::new(workspace::peer("etcd-dump-logs"));
    let text = workspace::output(dump.arg(data_dir)).context("etcd-dump-logs")?;
    Ok(Exchange {
        line: 0,
        command: "etcd-dump-logs".to_owned(),
        text: normalize(&ids.take_out_of(&text)),
    })
}

/// Takes out what may differ.
fn normalize(text: &str) -> String {
    let text = COMPILED.iter().fold(text.to_owned(), |text, (pattern, instead)| {
        pattern.replace_all(&text, *instead).into_owned()
    });
    let is_unordered = |line: &&str| UNORDERED.iter().any(|entry| line.contains(entry));
    let (unordered, ordered): (Vec<&str>, Vec<&str>) = text.lines().partition(is_unordered);
    // Term, index, kind and data.
    let data = |line: &&str| line.rsplit('\t').next().unwrap_or_default().to_owned();
    let mut unordered: Vec<String> = unordered.iter().map(data).collect();
    unordered.sort();
    format!("{}\n{}", ordered.join("\n"), unordered.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_and_the_order_of_the_first_entries_are_taken_out() {
        let one = "term=2 commitIndex=5 vote=1\n   2\t 3\tnorm\theader:<ID:11 > cluster_version_set:<>\n\
                   \x20  2\t 4\tnorm\theader:<ID:12 > cluster_member_attr_set:<>\n\
                   \x20  2\t 5\tnorm\theader:<ID:13 > put:<key:\"a\" >";
        let other = "term=2 commitIndex=4 vote=1\n   2\t 3\tnorm\theader:<ID:7 > cluster_member_attr_set:<>\n\
                     \x20  2\t 4\tnorm\theader:<ID:8 > cluster_version_set:<>\n\
                     \x20  2\t 5\tnorm\theader:<ID:9 > put:<key:\"a\" >";
        assert_eq!(normalize(one), normalize(other));
        assert_ne!(normalize(one), normalize(&other.replace("\"a\"", "\"b\"")));
        assert_ne!(normalize(one), normalize(&other.replace("term=2", "term=3")));
    }
}
