//! An operation of a Jepsen history: a call, or its end, as the file says it.
//!
//! ```text
//!  {:index 0, :time 12, :type :invoke, :process 3, :f :read, :value nil}
//! ```
//!
//! The files differ in notation only ([`jepsen_edn`](super::jepsen_edn),
//! [`jepsen_json`](super::jepsen_json), [`jepsen_log`](super::jepsen_log),
//! [`porcupine_kv`](super::porcupine_kv)), and all become this. What `:f` and `:value` mean is for
//! the models to say ([`interpret`](super::interpret)).

use std::collections::BTreeSet;

use super::edn::{Edn, Field, is_token};
use super::error::{FormatError, Place};
use super::left_out::LeftOut;

/// One line of a Jepsen history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JepsenOp {
    /// `:index`; the position in the file where there is none.
    pub index: u64,
    /// `:process`: who did it.
    pub process: Process,
    /// `:type`: a call, or how it ended.
    pub kind: Kind,
    /// `:f`: what was done. Elle's histories may leave it out.
    pub f: Option<Edn>,
    /// `:value`: to what, or what came of it.
    pub value: Edn,
    /// `:time`, in nanoseconds.
    pub time: Option<i64>,
    /// `:error`: what went wrong.
    pub error: Option<Edn>,
    /// Everything else that the line says.
    pub extra: Vec<(Edn, Edn)>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// A logical thread of one client.
    Client(u64),
    /// Somebody with a name: `:nemesis`.
    Named(String),
    /// The history has one process, and does not say so.
    Unnamed,
}

impl Process {
    /// The number of a client; `None` if it is not one.
    pub fn client(&self) -> Option<u64> {
        match self {
            Process::Client(number) => Some(*number),
            Process::Unnamed => Some(0),
            Process::Named(_) => None,
        }
    }
}

/// A call, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The operation begins.
    Invoke,
    /// It took effect.
    Ok,
    /// It did not take effect.
    Fail,
    /// Whether it took effect is unknown; or, of the nemesis, anything.
    Info,
}

impl Kind {
    /// The name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        }
    }

    fn named(name: &str) -> Option<Kind> {
        [Kind::Invoke, Kind::Ok, Kind::Fail, Kind::Info]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// An operation and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it begins.
    pub place: Place,
    /// How many came before it: its position in the order of the history.
    pub position: u64,
    /// What it says.
    pub op: JepsenOp,
}

/// A history as it is read, one line after another.
pub trait Events {
    /// The next one; `None` at the end.
    fn next_event(&mut self) -> Result<Option<Event>, FormatError>;
}

impl<E: Events + ?Sized> Events for &mut E {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        (**self).next_event()
    }
}

impl<E: Events + ?Sized> Events for Box<E> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        (**self).next_event()
    }
}

/// A history as it is written, one line after another.
pub trait EventSink {
    /// Writes one.
    fn write(&mut self, event: &Event) -> Result<(), FormatError>;

    /// Writes what must come last.
    fn finish(&mut self) -> Result<(), FormatError>;

    /// What was left out so far.
    fn left_out(&self) -> LeftOut {
        LeftOut::default()
    }
}

impl<S: EventSink + ?Sized> EventSink for Box<S> {
    fn write(&mut self, event: &Event) -> Result<(), FormatError> {
        (**self).write(event)
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        (**self).finish()
    }

    fn left_out(&self) -> LeftOut {
        (**self).left_out()
    }
}

impl JepsenOp {
    /// The operation that `fields` say; it begins at `place`.
    pub(crate) fn from_fields(
        place: Place,
        position: u64,
        fields: Vec<Field>,
    ) -> Result<JepsenOp, FormatError> {
        let mut kind = None;
        let mut op = JepsenOp {
            index: position,
            process: Process::Unnamed,
            kind: Kind::Invoke,
            f: None,
            value: Edn::Nil,
            time: None,
            error: None,
            extra: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for field in fields {
            let Edn::Keyword(name) = &field.key else {
                op.extra.push((field.key, field.value));
                continue;
            };
            if !seen.insert(name.clone()) {
                return Err(FormatError::malformed(field.place, format!("a second :{name}")));
            }
            match name.as_str() {
                "index" => op.index = index(&field)?,
                "process" => op.process = process(&field)?,
                "type" => kind = Some(kind_of(&field)?),
                "f" => op.f = Some(field.value).filter(|f| *f != Edn::Nil),
                "value" => op.value = field.value,
                "time" => op.time = time(&field)?,
                "error" => op.error = Some(field.value).filter(|error| *error != Edn::Nil),
                _ => op.extra.push((field.key, field.value)),
            }
        }
        op.kind =
            kind.ok_or_else(|| FormatError::malformed(place, "an operation without :type"))?;
        Ok(op)
    }

    /// The name of what was done.
    pub fn f_name(&self) -> Option<&str> {
        self.f.as_ref().and_then(Edn::name)
    }

    /// The operation as a map, with everything it says.
    pub(crate) fn to_pairs(&self) -> Vec<(Edn, Edn)> {
        let mut pairs = vec![(Edn::keyword("index"), number(self.index))];
        let mut add = |name, value| pairs.push((Edn::keyword(name), value));
        if let Some(time) = self.time {
            add("time", Edn::Integer(time));
        }
        add("type", Edn::keyword(self.kind.name()));
        match &self.process {
            Process::Client(process) => add("process", number(*process)),
            Process::Named(name) if is_token(name) => add("process", Edn::keyword(name)),
            Process::Named(name) => add("process", Edn::string(name)),
            Process::Unnamed => {}
        }
        if let Some(f) = &self.f {
            add("f", f.clone());
        }
        add("value", self.value.clone());
        if let Some(error) = &self.error {
            add("error", error.clone());
        }
        pairs.extend(self.extra.iter().cloned());
        pairs
    }
}

fn number(number: u64) -> Edn {
    i64::try_from(number).map_or_else(|_| Edn::Number(number.to_string()), Edn::Integer)
}

fn natural(value: &Edn) -> Option<u64> {
    match value {
        Edn::Integer(value) => u64::try_from(*value).ok(),
        Edn::Number(text) => text.strip_suffix('N').unwrap_or(text).parse().ok(),
        _ => None,
    }
}

fn index(field: &Field) -> Result<u64, FormatError> {
    natural(&field.value).ok_or_else(|| {
        let reason = format!(":index is {}, not a natural number", field.value.kind());
        FormatError::malformed(field.place, reason)
    })
}

fn process(field: &Field) -> Result<Process, FormatError> {
    if let Some(name) = field.value.name() {
        return Ok(Process::Named(name.to_owned()));
    }
    match natural(&field.value) {
        Some(number) => Ok(Process::Client(number)),
        None if field.value == Edn::Nil => Ok(Process::Unnamed),
        None => {
            let reason =
                format!(":process is {}, not a natural number and no name", field.value.kind());
            Err(FormatError::malformed(field.place, reason))
        }
    }
}

fn kind_of(field: &Field) -> Result<Kind, FormatError> {
    field.value.name().and_then(Kind::named).ok_or_else(|| {
        let shown = match field.value.name() {
            Some(name) => format!(":{name}"),
            None => field.value.kind().into(),
        };
        let reason = format!("unknown :type {shown}: there are :invoke, :ok, :fail and :info");
        FormatError::malformed(field.place, reason)
    })
}

fn time(field: &Field) -> Result<Option<i64>, FormatError> {
    match &field.value {
        Edn::Nil => Ok(None),
        Edn::Integer(time) => Ok(Some(*time)),
        other => {
            let reason = format!(":time is {}, not whole nanoseconds", other.kind());
            Err(FormatError::malformed(field.place, reason))
        }
    }
}
