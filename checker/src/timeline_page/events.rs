//! The page of a history in Jepsen's terms: what each event says, whatever its model makes of it.
//!
//! A [`Recording`] keeps the events that pass through it on their way to the model. So the page shows
//! every operation, also those that failed, which no judgement needs.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::lanes::{self, Span};
use super::{
    Band, Clock, Ended, Kind, Lane, Mark, Named, Order, States, Timeline, Violation, Words,
};
use crate::check::calls::{CallsReport, NoOrder, ShownCall};
use crate::check::transactions::TransactionsReport;
use crate::elle::draw::style;
use crate::elle::explain::concerned;
use crate::elle::report::Case;
use crate::formats::FormatError;
use crate::formats::edn::Edn;
use crate::formats::jepsen::{Event, Events, Kind as EventKind};

/// Letters of a value that are kept.
const LETTERS_MAX: usize = 400;

/// Calls that have an order and are named beside those that have no place.
const ORDERED_NAMED: usize = 8;

/// Colours of what is called, by the order of its first calls.
const COLOURS: [&str; 6] = ["c1", "c3", "c4", "c2", "c5", "c6"];

/// Events on their way; what they say is kept, if it was asked for.
#[derive(Debug)]
pub struct Recording<E> {
    events: E,
    kept: Option<Kept>,
}

impl<E: Events> Recording<E> {
    /// Keeps what passes, or only lets it pass.
    pub fn new(events: E, keeps: bool) -> Recording<E> {
        Recording { events, kept: keeps.then(Kept::default) }
    }

    /// The rest of the events, and what was kept.
    pub fn into_parts(self) -> (E, Option<Kept>) {
        (self.events, self.kept)
    }
}

impl<E: Events> Events for Recording<E> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        let event = self.events.next_event()?;
        if let (Some(event), Some(kept)) = (&event, &mut self.kept) {
            kept.see(event);
        }
        Ok(event)
    }
}

/// What events have said.
#[derive(Debug, Default)]
pub struct Kept {
    calls: Vec<Call>,
    open: HashMap<u64, usize>,
    /// Names of what is called.
    functions: Vec<String>,
    nemesis: Vec<Done>,
    last: Moment,
    /// The events have no clock that only goes forward.
    clockless: bool,
}

/// When something was.
#[derive(Debug, Default, Clone, Copy)]
struct Moment {
    position: u64,
    time: i64,
}

#[derive(Debug)]
struct Call {
    process: u64,
    line: u64,
    function: usize,
    invoked: Moment,
    returned: Option<Moment>,
    ended: Ended,
    said: [String; 2],
}

/// What a nemesis did.
#[derive(Debug)]
struct Done {
    at: Moment,
    function: String,
    value: String,
}

impl Kept {
    fn see(&mut self, event: &Event) {
        let op = &event.op;
        let time = op.time.unwrap_or(0);
        let is_first = event.position == 0;
        self.clockless |= op.time.is_none() || !is_first && time < self.last.time;
        let at = Moment { position: event.position, time };
        self.last = at;
        let Some(process) = op.process.client() else {
            self.nemesis.push(Done {
                at,
                function: op.f_name().unwrap_or_default().to_owned(),
                value: if op.value == Edn::Nil { String::new() } else { shown(&op.value) },
            });
            return;
        };
        match op.kind {
            EventKind::Invoke => self.call(process, at, event),
            EventKind::Ok | EventKind::Fail | EventKind::Info => {
                let Some(place) = self.open.remove(&process) else { return };
                let call = &mut self.calls[place];
                let error =
                    op.error.as_ref().map_or(String::new(), |error| format!(": {}", shown(error)));
                (call.ended, call.said[1]) = match op.kind {
                    EventKind::Fail => (Ended::Failed, format!("failed{error}")),
                    EventKind::Info => (Ended::Unknown, format!("unknown{error}")),
                    EventKind::Invoke | EventKind::Ok => (Ended::Ok, shown(&op.value)),
                };
                call.returned = Some(at).filter(|_| call.ended != Ended::Unknown);
            }
        }
    }

    fn call(&mut self, process: u64, at: Moment, event: &Event) {
        let name = event.op.f_name().unwrap_or("txn");
        let function = self.functions.iter().position(|own| own == name);
        let function = function.unwrap_or_else(|| {
            self.functions.push(name.to_owned());
            self.functions.len() - 1
        });
        self.open.insert(process, self.calls.len());
        self.calls.push(Call {
            process,
            line: event.place.line,
            function,
            invoked: at,
            returned: None,
            ended: Ended::Unknown,
            said: [format!("{name} {}", shown(&event.op.value)), "unknown".to_owned()],
        });
    }

    fn clock(&self) -> Clock {
        if self.clockless { Clock::Events } else { Clock::Nanoseconds }
    }

    /// A moment on the clock of the page.
    fn at(&self, moment: Moment) -> u64 {
        match self.clock() {
            Clock::Events => moment.position,
            Clock::Nanoseconds => u64::try_from(moment.time).unwrap_or(0),
        }
    }

    fn marks(&self) -> (Vec<Lane>, Vec<Mark>) {
        let mut processes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (place, call) in self.calls.iter().enumerate() {
            processes.entry(call.process).or_default().push(place);
        }
        let mut processes: Vec<(u64, Vec<usize>)> = processes.into_iter().collect();
        processes.sort_by_key(|(_, calls)| self.calls[calls[0]].invoked.position);
        let spans = processes.iter().map(|(process, calls)| {
            let (first, last) = (&self.calls[calls[0]], &self.calls[calls[calls.len() - 1]]);
            let crashed = last.returned.is_none();
            let last = last.returned.unwrap_or(last.invoked);
            let process = *process;
            Span { process, first: self.at(first.invoked), last: self.at(last), crashed }
        });
        let assigned = lanes::assign(&spans.collect::<Vec<_>>());
        let count = assigned.iter().map(|lane| lane + 1).max().unwrap_or(0);
        let mut of_lane: Vec<(Vec<u64>, Vec<usize>)> = vec![Default::default(); count];
        for ((process, mut calls), lane) in processes.into_iter().zip(assigned) {
            of_lane[lane].0.push(process);
            of_lane[lane].1.append(&mut calls);
        }
        let mut marks = Vec::with_capacity(self.calls.len());
        let lanes = of_lane.into_iter().map(|(names, calls)| {
            let (name, short) = lanes::names(&names);
            let lane = Lane { name, short, is_watch: false, marks: calls.len() };
            marks.extend(calls.into_iter().map(|place| self.mark(place)));
            lane
        });
        let lanes = lanes.collect();
        (lanes, marks)
    }

    fn mark(&self, place: usize) -> Mark {
        let call = &self.calls[place];
        Mark {
            start: self.at(call.invoked),
            end: call.returned.map(|returned| self.at(returned)),
            kind: u32::try_from(call.function).expect("fewer than 2^32 names"),
            ended: call.ended,
            wrote: false,
            line: call.line,
            revision: 0,
            looked_at: 0,
            source: place,
        }
    }

    /// What begins with `start` goes on until what ends with the same begins with `stop`; all else is
    /// done in a moment.
    fn bands(&self) -> Vec<Band> {
        let mut bands: Vec<Band> = Vec::new();
        for done in &self.nemesis {
            let at = self.at(done.at);
            if let Some(fault) = done.function.strip_prefix("stop") {
                let own = |band: &&mut Band| band.class == fault && band.end.is_none();
                if let Some(band) = bands.iter_mut().find(own) {
                    band.end = Some(at);
                    continue;
                }
            }
            let begun = done.function.strip_prefix("start");
            let class = begun.unwrap_or(&done.function);
            let goes_on = begun.is_some();
            // Jepsen tells of what the nemesis does before and after.
            if goes_on && bands.iter().any(|band| band.class == class && band.end.is_none()) {
                continue;
            }
            bands.push(Band {
                name: format!("{} {}", done.function, done.value).trim_end().to_owned(),
                class: class.to_owned(),
                start: at,
                end: (!goes_on).then_some(at),
            });
        }
        bands
    }

    fn kinds(&self) -> Vec<Kind> {
        let kinds = self.functions.iter().enumerate();
        kinds.map(|(place, name)| Kind::new(name, COLOURS.get(place).unwrap_or(&"dim"))).collect()
    }

    fn timeline<'a>(
        self,
        name: &str,
        judged: Judged,
        find: impl FnOnce(&Places) -> (Order, Vec<Violation>),
    ) -> Timeline<'a> {
        let (lanes, marks) = self.marks();
        let own = marks.iter().enumerate();
        let places = own.map(|(place, mark)| (self.calls[mark.source].invoked.position, place));
        let places = Places(places.collect());
        let (order, violations) = find(&places);
        Timeline {
            title: super::title(name),
            verdict: judged.verdict,
            headline: judged.headline,
            facts: vec![name.to_owned(), judged.facts],
            clock: self.clock(),
            kinds: self.kinds(),
            lanes,
            marks,
            bands: self.bands(),
            order,
            violations,
            states: States::default(),
            words: Box::new(self),
        }
    }
}

/// The mark of each call, by the position of its event.
struct Places(HashMap<u64, usize>);

impl Places {
    fn of(&self, position: u64) -> Option<usize> {
        self.0.get(&position).copied()
    }
}

struct Judged {
    verdict: &'static str,
    headline: String,
    facts: String,
}

/// The page of calls that were judged, under the name of their file.
pub fn of_calls(kept: Kept, report: &CallsReport, name: &str) -> Timeline<'static> {
    let judged =
        Judged { verdict: report.verdict, headline: report.headline(), facts: report.facts() };
    kept.timeline(name, judged, |places| {
        let mut order = Order { name: "order", sign: "#", marks: Vec::new() };
        let Some(why) = &report.counterexample else { return (order, Vec::new()) };
        let ordered = why.ordered.iter().filter_map(|call| places.of(call.invoked));
        order.marks = ordered.zip(1..).collect();
        (order, vec![no_order(why, places)])
    })
}

fn no_order(why: &NoOrder, places: &Places) -> Violation {
    let named = |what: &str, call: &ShownCall| Named {
        name: format!("event {}{what}", call.invoked),
        text: format!("process {}: {}", call.process, call.call),
        mark: places.of(call.invoked),
    };
    let unplaced = why.unplaced.iter().map(|call| named(", no place", call));
    let from = why.ordered.len().saturating_sub(ORDERED_NAMED);
    let ordered = why.ordered[from..].iter().map(|call| named("", call));
    let states = match why.states.as_slice() {
        [] => Vec::new(),
        states => vec![format!("after these the state is {}", states.join(" or "))],
    };
    let words = format!("{} calls have an order that explains their answers", why.ordered.len());
    Violation {
        name: format!("no order of the calls on {}", why.object),
        words: std::iter::once(words).chain(states).collect(),
        lines: unplaced.chain(ordered).collect(),
        arrows: Vec::new(),
    }
}

/// The page of transactions that were judged, under the name of their file; `invoked` are the positions
/// of their calls, in the order in which they were judged.
pub fn of_transactions(
    kept: Kept,
    report: &TransactionsReport,
    invoked: &[u64],
    name: &str,
) -> Timeline<'static> {
    let judged =
        Judged { verdict: report.verdict, headline: report.headline(), facts: report.facts() };
    kept.timeline(name, judged, |places| {
        let found = &report.answer;
        let cases = found.anomaly_types.iter().flat_map(|anomaly| found.cases(*anomaly));
        let violations = cases.zip(&report.explanations).map(|(case, why)| {
            let concerned = concerned(case);
            let lines = concerned.iter().zip(1..).map(|(id, number)| {
                let position = usize::try_from(id.0).ok().and_then(|id| invoked.get(id));
                let mark = position.and_then(|position| places.of(*position));
                let event =
                    position.map_or(String::new(), |position| format!(", event {position}"));
                Named { name: format!("T{number}{event}"), text: String::new(), mark }
            });
            let mut words = why.text.lines().map(|line| line.trim().to_owned());
            Violation {
                name: words.next().unwrap_or_default(),
                words: words.collect(),
                lines: lines.collect(),
                arrows: arrows(case),
            }
        });
        (Order { name: "order", sign: "#", marks: Vec::new() }, violations.collect())
    })
}

/// Each step of a cycle leads from where it begins to where the next one does.
fn arrows(case: &Case) -> Vec<(usize, usize, &'static str)> {
    let Case::Cycle { steps, .. } = case else { return Vec::new() };
    let arrows = steps.iter().enumerate();
    arrows.map(|(place, step)| (place, (place + 1) % steps.len(), style(&step.because).0)).collect()
}

impl Words for Kept {
    fn of_mark(&self, source: usize) -> [String; 3] {
        let Call { process, said: [asked, answered], .. } = &self.calls[source];
        [format!("process {process}"), asked.clone(), answered.clone()]
    }

    fn keys(&self, _source: usize) -> Vec<Range<u32>> {
        Vec::new()
    }

    fn of_change(&self, _place: usize) -> String {
        unreachable!("a history in Jepsen's terms has no revisions")
    }
}

fn shown(value: &Edn) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(LETTERS_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
