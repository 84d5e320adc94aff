//! What was asked, how it was answered, and what differed.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::super::answer::Answer;
use crate::stats::approximate;

/// Texts of refusals that are told one by one.
const TEXTS_MAX: usize = 40;

/// Counts of requests.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Streams that ended without a difference.
    pub streams: u64,
    kinds: BTreeMap<String, Count>,
    refusals: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    requests: u64,
    refused: u64,
}

impl Tally {
    /// Counts a request and what was answered to it.
    pub fn add(&mut self, kind: String, answer: Option<&Answer>) {
        let count = self.kinds.entry(kind).or_default();
        count.requests += 1;
        if let Some(error @ Answer::Error { .. }) = answer {
            count.refused += 1;
            *self.refusals.entry(error.flat()).or_default() += 1;
        }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: Tally) {
        self.streams += other.streams;
        for (kind, count) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            sum.requests += count.requests;
            sum.refused += count.refused;
        }
        for (text, count) in other.refusals {
            *self.refusals.entry(text).or_default() += count;
        }
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.kinds.values().map(|count| count.requests).sum()
    }

    fn refused(&self) -> u64 {
        self.kinds.values().map(|count| count.refused).sum()
    }

    fn hashes(&self) -> u64 {
        self.kinds.get("HashKV").map_or(0, |count| count.requests - count.refused)
    }
}

/// A stream on which the servers differ.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub stream: u64,
    /// How many requests it was shrunk to.
    pub requests: usize,
    /// Whether it could be seen again; if not, it was not shrunk.
    pub is_steady: bool,
    /// The script that shows it.
    pub script: String,
}

/// How it went.
#[derive(Debug)]
pub struct Summary {
    /// The server under test, in words.
    pub subject: String,
    /// The server that is believed, in words.
    pub against: String,
    /// The seed.
    pub seed: u64,
    /// What was asked.
    pub tally: Tally,
    /// What differed.
    pub found: Vec<Found>,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    /// In one line.
    pub fn headline(&self) -> String {
        let Summary { subject, against, seed, tally, found, seconds } = self;
        format!(
            "{} streams, {} requests ({:.1} % refused, {} hashes), {} differences; {subject} and \
             {against}, seed {seed}; {seconds:.0} s",
            tally.streams,
            tally.requests(),
            percent(tally.refused(), tally.requests()),
            tally.hashes(),
            found.len(),
        )
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        let mut page = String::new();
        self.write(&mut page).expect("writing into a string does not fail");
        page
    }

    /// For other programs.
    pub fn json(&self) -> Value {
        let found: Vec<Value> = self.found.iter().map(found_json).collect();
        json!({
            "headline": self.headline(),
            "seed": self.seed,
            "streams": self.tally.streams,
            "requests": self.tally.requests(),
            "refused": self.tally.refused(),
            "hashes": self.tally.hashes(),
            "seconds": self.seconds,
            "found": found,
        })
    }

    fn write(&self, page: &mut String) -> std::fmt::Result {
        let all = self.tally.requests();
        writeln!(page, "{}\n", self.headline())?;
        writeln!(page, "| request | count | share | refused |\n|---|--:|--:|--:|")?;
        for (kind, count) in &self.tally.kinds {
            let share = percent(count.requests, all);
            let refused = percent(count.refused, count.requests);
            writeln!(page, "| {kind} | {} | {share:.1} % | {refused:.1} % |", count.requests)?;
        }
        writeln!(page, "\n| refusal | count |\n|---|--:|")?;
        let mut refusals: Vec<(&String, &u64)> = self.tally.refusals.iter().collect();
        refusals.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (text, count) in refusals.iter().take(TEXTS_MAX) {
            writeln!(page, "| {text} | {count} |")?;
        }
        Ok(())
    }
}

fn found_json(found: &Found) -> Value {
    json!({
        "stream": found.stream,
        "requests": found.requests,
        "steady": found.is_steady,
        "script": found.script,
    })
}

fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { 100.0 * approximate(part) / approximate(all) }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn requests_and_refusals_are_counted_by_kind() {
        let text = "etcdserver: key is not provided".to_owned();
        let refusal = Answer::Error { code: Code::InvalidArgument, text };
        let mut tally = Tally { streams: 1, ..Tally::default() };
        tally.add("Put".to_owned(), Some(&refusal));
        tally.add("Put".to_owned(), Some(&Answer::End));
        tally.add("HashKV".to_owned(), Some(&Answer::End));
        let mut sum = tally.clone();
        sum.merge(tally);
        let summary = Summary {
            subject: "a".to_owned(),
            against: "b".to_owned(),
            seed: 7,
            tally: sum,
            found: Vec::new(),
            seconds: 1.0,
        };
        let page = summary.markdown();
        assert!(
            page.starts_with("2 streams, 6 requests (33.3 % refused, 2 hashes), 0 differences")
        );
        assert!(page.contains("| Put | 4 | 66.7 % | 50.0 % |"), "{page}");
        assert!(
            page.contains("| InvalidArgument: etcdserver: key is not provided | 2 |"),
            "{page}"
        );
    }
}
