//! The page of a store's history: its processes, its watches, its final states, its faults, and the
//! state of each key at each revision.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::lanes::{self, Span};
use super::{
    Band, Clock, Ended, Kind, Lane, Mark, Named, Order, States, Timeline, Violation, Words,
};
use crate::check::Checked;
use crate::history::record::{
    Event, KeyValue, NemesisPhase, Operation, Outcome, Request, Txn, TxnOp, WatchBody,
    WatchResponse,
};
use crate::history::text::Text;
use crate::history::{History, WatchLine};
use crate::linear::timeline::writes;
use crate::model::keyspace::Change;
use crate::render;
use crate::report::text;

/// Kinds of marks, by their places. Their colours are those of the style.
const KINDS: [(&str, &str); 9] = [
    ("put", "c1"),
    ("range", "c3"),
    ("delete", "c2"),
    ("txn", "c4"),
    ("lease", "c5"),
    ("compact", "c6"),
    ("events", "dim"),
    ("watch", "ink"),
    ("final state", "ink"),
];
const EVENTS: u32 = 6;
const WATCH: u32 = 7;
const FINAL: u32 = 8;

/// The page of a history that was judged, under the name of its file.
pub fn of_store<'a>(checked: &'a Checked, name: &str) -> Timeline<'a> {
    let Checked { history, report, .. } = checked;
    let (lanes, marks) = marks(history);
    let mut facts = vec![name.to_owned()];
    facts.extend(text::facts(report).lines().map(str::to_owned));
    let (states, changes) = States::of(checked);
    let written = marks.iter().enumerate().filter(|(_, mark)| mark.wrote);
    let mut order: Vec<(usize, i64)> =
        written.map(|(place, mark)| (place, mark.revision)).collect();
    order.sort_by_key(|(_, revision)| *revision);
    Timeline {
        title: super::title(name),
        verdict: report.verdict.name(),
        headline: text::headline(report),
        facts,
        clock: Clock::Nanoseconds,
        kinds: KINDS.map(|(name, colour)| Kind::new(name, colour)).to_vec(),
        violations: violations(checked, &marks),
        lanes,
        marks,
        bands: bands(history),
        order: Order { name: "revisions", sign: "@", marks: order },
        words: Box::new(Said { history, keys: changes.keys, changes: changes.changes }),
        states,
    }
}

/// Lanes and marks: processes, then watches, then final states.
fn marks(history: &History) -> (Vec<Lane>, Vec<Mark>) {
    let (mut lanes, mut marks) = of_processes(history);
    let watches = history.operations.len();
    let mut place: HashMap<*const WatchLine, usize> = HashMap::new();
    for (index, line) in history.watches.iter().enumerate() {
        place.insert(line, watches + index);
    }
    for (id, responses) in history.watches_by_id() {
        let member = responses.first().map_or(0, |line| line.response.member);
        let mut own: Vec<Mark> = responses
            .into_iter()
            .map(|line| of_watch(line, place[&std::ptr::from_ref(line)]))
            .collect();
        own.sort_by_key(|mark| mark.start);
        lanes.push(Lane {
            name: format!("watch {id}, member {member}"),
            short: format!("w{id}"),
            is_watch: true,
            marks: own.len(),
        });
        marks.append(&mut own);
    }
    let finals = watches + history.watches.len();
    let mut members: BTreeMap<u32, Vec<Mark>> = BTreeMap::new();
    for (index, line) in history.finals.iter().enumerate() {
        let state = &line.state;
        members.entry(state.member).or_default().push(Mark {
            start: state.call_ns,
            end: Some(state.return_ns),
            kind: FINAL,
            ended: Ended::Ok,
            wrote: false,
            line: line.line,
            revision: state.revision,
            looked_at: state.revision,
            source: finals + index,
        });
    }
    for (member, mut own) in members {
        own.sort_by_key(|mark| mark.start);
        lanes.push(Lane {
            name: format!("member {member} at the end"),
            short: format!("m{member}"),
            is_watch: false,
            marks: own.len(),
        });
        marks.append(&mut own);
    }
    (lanes, marks)
}

fn of_processes(history: &History) -> (Vec<Lane>, Vec<Mark>) {
    let mut spans: BTreeMap<u64, Span> = BTreeMap::new();
    for line in &history.operations {
        let Operation { process, call_ns, return_ns, .. } = line.operation;
        let ended = return_ns.unwrap_or(call_ns);
        let span = spans.entry(process);
        let span = span.or_insert(Span { process, first: call_ns, last: 0, crashed: false });
        span.first = span.first.min(call_ns);
        if ended >= span.last {
            span.last = ended;
            span.crashed = return_ns.is_none();
        }
    }
    let mut processes: Vec<(u64, Span)> = spans.into_iter().collect();
    processes.sort_by_key(|(process, span)| (span.first, *process));
    let spans: Vec<Span> = processes.iter().map(|(_, span)| *span).collect();
    let assigned = lanes::assign(&spans);
    let mut names: Vec<Vec<u64>> = Vec::new();
    let mut lane_of: HashMap<u64, usize> = HashMap::new();
    for ((process, _), lane) in processes.iter().zip(assigned) {
        names.resize(names.len().max(lane + 1), Vec::new());
        names[lane].push(*process);
        lane_of.insert(*process, lane);
    }
    let mut own: Vec<Vec<Mark>> = vec![Vec::new(); names.len()];
    for (index, line) in history.operations.iter().enumerate() {
        let mark = of_operation(&line.operation, line.line, index);
        own[lane_of[&line.operation.process]].push(mark);
    }
    let mut marks = Vec::with_capacity(history.operations.len());
    let lanes = names.iter().zip(own).map(|(names, mut own)| {
        own.sort_by_key(|mark| mark.start);
        let (name, short) = lanes::names(names);
        let lane = Lane { name, short, is_watch: false, marks: own.len() };
        marks.append(&mut own);
        lane
    });
    let lanes = lanes.collect();
    (lanes, marks)
}

fn of_operation(operation: &Operation, line: u64, source: usize) -> Mark {
    let (ended, revision, wrote) = match &operation.outcome {
        Outcome::Ok(response) => (Ended::Ok, response.revision, writes(&response.body)),
        Outcome::Fail(_) => (Ended::Failed, 0, false),
        Outcome::Unknown(_) => (Ended::Unknown, 0, false),
    };
    let (kind, asked) = match &operation.request {
        Request::Put(_) => (0, 0),
        Request::Range(range) => (1, range.revision),
        Request::DeleteRange(_) => (2, 0),
        Request::Txn(_) => (3, 0),
        Request::LeaseGrant(_) | Request::LeaseRevoke(_) | Request::LeaseKeepAlive(_) => (4, 0),
        Request::Compact(_) => (5, 0),
    };
    let looked_at = if asked > 0 && ended == Ended::Ok { asked } else { revision };
    Mark {
        start: operation.call_ns,
        end: operation.return_ns,
        kind,
        ended,
        wrote,
        line,
        revision,
        looked_at,
        source,
    }
}

fn of_watch(line: &WatchLine, source: usize) -> Mark {
    let WatchResponse { arrived_ns, revision, ref body, .. } = line.response;
    let kind = match body {
        WatchBody::Events { .. } | WatchBody::Digests(_) => EVENTS,
        _ => WATCH,
    };
    let ended = match body {
        WatchBody::Canceled { .. } | WatchBody::Closed { by_client: false } => Ended::Failed,
        _ => Ended::Ok,
    };
    let line = line.line;
    let end = Some(arrived_ns);
    let wrote = false;
    Mark { start: arrived_ns, end, kind, ended, wrote, line, revision, looked_at: revision, source }
}

/// Faults from their begin to the end of their kind on the same members.
fn bands(history: &History) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut open: Vec<(usize, &[u32])> = Vec::new();
    for line in &history.nemeses {
        let nemesis = &line.nemesis;
        match nemesis.phase {
            NemesisPhase::Start => {
                let members: Vec<String> =
                    nemesis.members.iter().map(|member| format!("m{member}")).collect();
                let failed = nemesis
                    .error
                    .as_deref()
                    .map_or(String::new(), |error| format!(" (failed: {error})"));
                open.push((bands.len(), &nemesis.members));
                bands.push(Band {
                    name: format!("{} {}{failed}", nemesis.fault, members.join(" ")),
                    class: nemesis.fault.clone(),
                    start: nemesis.time_ns,
                    end: None,
                });
            }
            NemesisPhase::End => {
                let is_its = |(band, members): &(usize, &[u32])| {
                    bands[*band].class == nemesis.fault && nemesis.members.starts_with(members)
                };
                if let Some(place) = open.iter().position(is_its) {
                    bands[open.remove(place).0].end = Some(nemesis.time_ns);
                }
            }
        }
    }
    bands
}

fn violations(checked: &Checked, marks: &[Mark]) -> Vec<Violation> {
    let violations = checked.report.verdict.violations();
    let named: BTreeSet<u64> =
        violations.iter().flat_map(|own| &own.operations).map(|named| named.line).collect();
    let mut place: HashMap<u64, usize> = HashMap::new();
    if !named.is_empty() {
        let own = marks.iter().enumerate().filter(|(_, mark)| named.contains(&mark.line));
        place.extend(own.map(|(place, mark)| (mark.line, place)));
    }
    violations
        .iter()
        .map(|own| Violation {
            name: own.rule.to_string(),
            words: vec![format!("expected: {}", own.expected), format!("got: {}", own.got)],
            lines: own
                .operations
                .iter()
                .map(|named| Named {
                    name: format!("line {}", named.line),
                    text: named.text.clone(),
                    mark: place.get(&named.line).copied(),
                })
                .collect(),
            arrows: Vec::new(),
        })
        .collect()
}

/// What the words of changes and keys are taken from.
struct Changes<'a> {
    keys: Vec<&'a Text>,
    changes: Vec<Left<'a>>,
}

/// What a change left.
enum Left<'a> {
    Initial(&'a KeyValue),
    Change(i64, &'a Change),
}

impl States {
    fn of(checked: &Checked) -> (States, Changes<'_>) {
        let history = &checked.history;
        let first = history.header.first_revision;
        let initial = history.header.initial.iter();
        let mut left: Vec<(i64, &Text, Left<'_>)> =
            initial.map(|kv| (first, &kv.key, Left::Initial(kv))).collect();
        let (mut certain, mut done) = (first, first);
        if let Some(replayed) = &checked.replayed {
            (certain, done) = (replayed.certain, replayed.done);
            for revision in first + 1..=done {
                let changes = replayed.at(revision).iter();
                left.extend(changes.map(|own| (revision, &own.key, Left::Change(revision, own))));
            }
        }
        let mut keys: BTreeSet<&Text> = left.iter().map(|(_, key, _)| *key).collect();
        let mut spans = Vec::new();
        for line in &history.operations {
            spans_of(&line.operation.request, &mut spans);
            keys.extend(spans.drain(..).filter(|(_, end)| end.is_empty()).map(|(key, _)| key));
        }
        let keys: Vec<&Text> = keys.into_iter().collect();
        let number = |key: &Text| narrow(keys.partition_point(|own| *own < key));
        let states = States {
            keys: keys.iter().map(|key| render::short(key)).collect(),
            changes: left.iter().map(|(revision, key, _)| (*revision, number(key))).collect(),
            certain,
            done,
        };
        (states, Changes { changes: left.into_iter().map(|(_, _, left)| left).collect(), keys })
    }
}

/// Keys and ends of ranges that a request is on.
fn spans_of<'a>(request: &'a Request, spans: &mut Vec<(&'a Text, &'a Text)>) {
    match request {
        Request::Put(put) => spans.push((&put.key, &NO_END)),
        Request::Range(range) => spans.push((&range.key, &range.range_end)),
        Request::DeleteRange(delete) => spans.push((&delete.key, &delete.range_end)),
        Request::Txn(txn) => spans_of_txn(txn, spans),
        Request::LeaseGrant(_)
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::Compact(_) => {}
    }
}

/// Of a single key.
static NO_END: std::sync::LazyLock<Text> = std::sync::LazyLock::new(Text::default);

fn spans_of_txn<'a>(txn: &'a Txn, spans: &mut Vec<(&'a Text, &'a Text)>) {
    spans.extend(txn.compare.iter().map(|compare| (&compare.key, &compare.range_end)));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            TxnOp::Put(put) => spans.push((&put.key, &NO_END)),
            TxnOp::Range(range) => spans.push((&range.key, &range.range_end)),
            TxnOp::DeleteRange(delete) => spans.push((&delete.key, &delete.range_end)),
            TxnOp::Txn(txn) => spans_of_txn(txn, spans),
        }
    }
}

/// The words of a history.
struct Said<'a> {
    history: &'a History,
    keys: Vec<&'a Text>,
    changes: Vec<Left<'a>>,
}

impl Words for Said<'_> {
    fn of_mark(&self, source: usize) -> [String; 3] {
        let History { operations, watches, finals, .. } = self.history;
        if let Some(line) = operations.get(source) {
            let operation = &line.operation;
            let answer = match &operation.outcome {
                // Its revision is told beside it.
                Outcome::Ok(response) => render::answer(&response.body),
                outcome => render::outcome(outcome),
            };
            let who = format!("process {} on member {}", operation.process, operation.member);
            return [who, render::request(&operation.request), answer];
        }
        let source = source - operations.len();
        if let Some(line) = watches.get(source) {
            return watched(line);
        }
        let state = &finals[source - watches.len()].state;
        let hash = state.hash.map_or(String::new(), |hash| format!(", hash {hash}"));
        let who = format!("member {} at the end", state.member);
        [who, "all keys".to_owned(), format!("{} keys{hash}", state.kvs.len())]
    }

    fn keys(&self, source: usize) -> Vec<Range<u32>> {
        let Some(line) = self.history.operations.get(source) else { return Vec::new() };
        let mut spans = Vec::new();
        spans_of(&line.operation.request, &mut spans);
        let from = |key: &Text| narrow(self.keys.partition_point(|own| *own < key));
        let mut ranges: Vec<Range<u32>> = spans
            .into_iter()
            .map(|(key, end)| {
                let first = from(key);
                match end.as_bytes() {
                    [] => first..first + 1,
                    [0] => first..narrow(self.keys.len()),
                    _ => first..from(end).max(first),
                }
            })
            .collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges.dedup();
        ranges
    }

    fn of_change(&self, place: usize) -> String {
        match &self.changes[place] {
            Left::Initial(kv) => render::key_value(kv),
            Left::Change(revision, change) => match &change.after {
                Some(stored) => render::key_value(&stored.key_value(&change.key)),
                None => format!("{} deleted@{revision}", render::short(&change.key)),
            },
        }
    }
}

/// A watch's response without what is told of its revision anyway.
fn watched(line: &WatchLine) -> [String; 3] {
    let response = &line.response;
    let who = format!("watch {} on member {}", response.watch, response.member);
    let revisions = match &response.body {
        WatchBody::Events { events, .. } => {
            let revision = |event: &Event| event.kv.mod_revision;
            let ends = events.first().map(revision).zip(events.last().map(revision));
            ends.map(|ends| (events.len(), ends))
        }
        WatchBody::Digests(short) => short.revisions().map(|ends| (short.count(), ends)),
        _ => return [who, render::watch_body(&response.body), String::new()],
    };
    let told = match revisions {
        None => "no events".to_owned(),
        Some((count, (first, last))) => {
            let plural = if count == 1 { "" } else { "s" };
            match (first, last) {
                (first, last) if first == last && last == response.revision => {
                    format!("{count} event{plural}")
                }
                (first, last) if first == last => {
                    format!("{count} event{plural} of revision {first}")
                }
                _ => format!("{count} events of revisions {first} to {last}"),
            }
        }
    };
    [who, told, String::new()]
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("fewer keys than 2^32")
}
