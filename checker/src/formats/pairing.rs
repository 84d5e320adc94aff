//! Calls and their ends, put together; and the rules that every history keeps.
//!
//! A process does one thing at a time: its call, then the end of it. What breaks that cannot be put
//! together and is refused. What is merely odd, a clock that goes back or a process that goes on after
//! an outcome that nobody knows, is remarked on: times and indexes are for people, the order of a
//! history is the order of its lines.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::Outcome;
use super::edn::Edn;
use super::error::{FormatError, Place};
use super::jepsen::{Event, Events, Kind, Process};

/// Remarks that are kept; the rest are counted.
const REMARKS_MAX: usize = 20;

/// Something odd, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line that is odd.
    pub place: Place,
    /// What is odd about it.
    pub text: String,
}

/// What was remarked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The first of them.
    pub first: Vec<Remark>,
    /// How many more there were.
    pub omitted: u64,
}

impl Remarks {
    /// Remarks on something.
    pub(crate) fn add(&mut self, place: Place, text: impl FnOnce() -> String) {
        if self.first.len() < REMARKS_MAX {
            self.first.push(Remark { place, text: text() });
        } else {
            self.omitted += 1;
        }
    }
}

/// What processes are doing, with what is kept of each call.
#[derive(Debug)]
pub(crate) struct Processes<T> {
    open: BTreeMap<u64, Open<T>>,
    /// Whose last outcome is unknown.
    crashed: BTreeSet<u64>,
    clock: Option<i64>,
    index: Option<u64>,
    pub(crate) remarks: Remarks,
}

/// A call that has not returned.
#[derive(Debug)]
pub(crate) struct Open<T> {
    place: Place,
    f: Option<Edn>,
    pub(crate) kept: T,
}

/// What an event is to the process it is of.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// It is of no client.
    Aside,
    /// A call.
    Call,
    /// The end of a call.
    Return(Open<T>),
}

impl<T> Processes<T> {
    pub(crate) fn new() -> Processes<T> {
        Processes {
            open: BTreeMap::new(),
            crashed: BTreeSet::new(),
            clock: None,
            index: None,
            remarks: Remarks::default(),
        }
    }

    /// Takes note of the next event; `keep` says what of a call is to be kept until it returns.
    pub(crate) fn see(
        &mut self,
        event: &Event,
        keep: impl FnOnce(&Event) -> T,
    ) -> Result<Step<T>, FormatError> {
        self.look_at_order(event);
        let Some(process) = event.op.process.client() else { return Ok(Step::Aside) };
        if event.op.kind == Kind::Invoke {
            if let Some(open) = self.open.get(&process) {
                let reason = format!(
                    "{} calls again before its call at {} has returned",
                    who(event),
                    open.place
                );
                return Err(FormatError::malformed(event.place, reason));
            }
            if self.crashed.remove(&process) {
                self.remarks.add(event.place, || {
                    format!("process {process} goes on after an operation of unknown outcome")
                });
            }
            let open = Open { place: event.place, f: event.op.f.clone(), kept: keep(event) };
            self.open.insert(process, open);
            return Ok(Step::Call);
        }
        let Some(open) = self.open.remove(&process) else {
            let reason = format!("{} returns without a call", who(event));
            return Err(FormatError::malformed(event.place, reason));
        };
        if let (Some(called), Some(returned)) = (&open.f, &event.op.f)
            && called.name() != returned.name()
        {
            let reason = format!(
                "{} returns from {returned}, but called {called} at {}",
                who(event),
                open.place
            );
            return Err(FormatError::malformed(event.place, reason));
        }
        if event.op.kind == Kind::Info {
            self.crashed.insert(process);
        }
        Ok(Step::Return(open))
    }

    /// Calls that never returned, in the order of the processes.
    pub(crate) fn into_open(self) -> impl Iterator<Item = T> {
        self.open.into_values().map(|open| open.kept)
    }

    fn look_at_order(&mut self, event: &Event) {
        if let Some(time) = event.op.time {
            if let Some(before) = self.clock.filter(|before| *before > time) {
                self.remarks.add(event.place, || {
                    format!("the clock goes back from {before} ns to {time} ns")
                });
            }
            self.clock = Some(time);
        }
        let index = event.op.index;
        if let Some(before) = self.index.filter(|before| *before >= index) {
            self.remarks.add(event.place, || format!("index {index} after index {before}"));
        }
        self.index = Some(index);
    }
}

/// Whose an event is, for people.
fn who(event: &Event) -> String {
    match event.op.process.client() {
        Some(process) if event.op.process != Process::Unnamed => format!("process {process}"),
        _ => "the process of all operations without :process".into(),
    }
}

/// Events as they come, with remarks on them.
#[derive(Debug)]
pub struct Linted<E> {
    events: E,
    processes: Processes<()>,
}

impl<E: Events> Linted<E> {
    /// Looks at the events of a history as they are read.
    pub fn new(events: E) -> Linted<E> {
        Linted { events, processes: Processes::new() }
    }

    /// What was odd in what was read.
    pub fn into_remarks(self) -> Remarks {
        self.processes.remarks
    }
}

impl<E: Events> Events for Linted<E> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        let event = self.events.next_event()?;
        if let Some(event) = &event {
            self.processes.see(event, |_| ())?;
        }
        Ok(event)
    }
}

/// A call and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paired {
    /// Who called.
    pub process: u64,
    /// Where the call stands.
    pub place: Place,
    /// Position of the call in the history.
    pub invoked: u64,
    /// Position of its end; `None` if its outcome is unknown.
    pub returned: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was called.
    pub f: Option<Edn>,
    /// The value of the call.
    pub called: Edn,
    /// The value of its end; nil if it never ended.
    pub answered: Edn,
}

/// Pairs in the order of their ends; those without an end come last.
#[derive(Debug)]
pub struct Pairs<E> {
    events: E,
    processes: Processes<Event>,
    /// Calls without an end, once all events were read: the last first.
    left: Option<Vec<Event>>,
}

impl<E: Events> Pairs<E> {
    /// Puts the events of a history together.
    pub fn new(events: E) -> Pairs<E> {
        Pairs { events, processes: Processes::new(), left: None }
    }

    /// What was odd in what was read so far.
    pub fn remarks(&self) -> &Remarks {
        &self.processes.remarks
    }

    /// The next pair; `None` at the end.
    pub fn next_pair(&mut self) -> Result<Option<Paired>, FormatError> {
        while self.left.is_none() {
            let Some(event) = self.events.next_event()? else {
                let remarks = self.processes.remarks.clone();
                let processes = std::mem::replace(&mut self.processes, Processes::new());
                self.processes.remarks = remarks;
                let mut left: Vec<Event> = processes.into_open().collect();
                left.sort_unstable_by_key(|event| std::cmp::Reverse(event.position));
                self.left = Some(left);
                break;
            };
            if let Step::Return(open) = self.processes.see(&event, Event::clone)? {
                return Ok(Some(pair(open.kept, Some(event))));
            }
        }
        Ok(self.left.as_mut().and_then(Vec::pop).map(|call| pair(call, None)))
    }
}

fn pair(call: Event, end: Option<Event>) -> Paired {
    let outcome = match end.as_ref().map(|end| end.op.kind) {
        Some(Kind::Ok) => Outcome::Ok,
        Some(Kind::Fail) => Outcome::Fail,
        Some(Kind::Info | Kind::Invoke) | None => Outcome::Unknown,
    };
    let is_known = outcome != Outcome::Unknown;
    Paired {
        process: call.op.process.client().unwrap_or(0),
        place: call.place,
        invoked: call.position,
        returned: end.as_ref().map(|end| end.position).filter(|_| is_known),
        outcome,
        f: call.op.f,
        called: call.op.value,
        answered: end.map_or(Edn::Nil, |end| end.op.value),
    }
}
