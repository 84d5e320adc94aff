//! Which model a history is of, by what its operations are called.

use std::collections::VecDeque;
use std::fmt;

use super::super::edn::Edn;
use super::super::error::{FormatError, Place};
use super::super::jepsen::{Event, Events, Kind};

/// What the operations of a history are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Lists, appended to and read in transactions.
    ListAppend,
    /// Registers, written and read in transactions.
    RwRegister,
    /// A register, or one for each key, with or without compare-and-set.
    CasRegister,
    /// Several registers, read and written at once.
    MultiRegister,
    /// Strings by key.
    StringKv,
    /// A lock.
    Mutex,
    /// A set.
    Set,
    /// A bank.
    Bank,
    /// A counter.
    Counter,
}

impl Model {
    /// Every model.
    pub const ALL: [Model; 9] = [
        Model::ListAppend,
        Model::RwRegister,
        Model::CasRegister,
        Model::MultiRegister,
        Model::StringKv,
        Model::Mutex,
        Model::Set,
        Model::Bank,
        Model::Counter,
    ];

    /// Its name, as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Model::ListAppend => "list-append",
            Model::RwRegister => "rw-register",
            Model::CasRegister => "cas-register",
            Model::MultiRegister => "multi-register",
            Model::StringKv => "string-kv",
            Model::Mutex => "mutex",
            Model::Set => "set",
            Model::Bank => "bank",
            Model::Counter => "counter",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A history of which the first events were looked at, from its start.
#[derive(Debug)]
pub struct Seen<E> {
    first: VecDeque<Event>,
    rest: E,
}

impl<E: Events> Events for Seen<E> {
    fn next_event(&mut self) -> Result<Option<Event>, FormatError> {
        match self.first.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.rest.next_event(),
        }
    }
}

/// What has been seen that several models have, each of which outdoes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    #[default]
    Nothing,
    /// `:read`
    Read,
    /// `:add`
    Add,
    /// Transactions that only read.
    Transaction,
    /// The same, of which one has read a list.
    ListTransaction,
}

/// Tells the model of a history. Events are held until one tells it: as a rule, only the first.
pub fn recognise<E: Events>(mut events: E) -> Result<(Model, Seen<E>), FormatError> {
    let mut first = VecDeque::new();
    let mut hint = Hint::default();
    let mut told = None;
    while told.is_none() {
        let Some(event) = events.next_event()? else { break };
        told = of_event(&event, &mut hint)?;
        first.push_back(event);
    }
    let model = told.or_else(|| hint.model());
    let model = model
        .ok_or_else(|| FormatError::syntax(Place::START, "there is no operation of a client"))?;
    Ok((model, Seen { first, rest: events }))
}

impl Hint {
    fn see(&mut self, hint: Hint) {
        *self = (*self).max(hint);
    }

    fn model(self) -> Option<Model> {
        match self {
            Hint::Nothing => None,
            Hint::Read => Some(Model::CasRegister),
            Hint::Add => Some(Model::Set),
            Hint::Transaction => Some(Model::RwRegister),
            Hint::ListTransaction => Some(Model::ListAppend),
        }
    }
}

fn of_event(event: &Event, hint: &mut Hint) -> Result<Option<Model>, FormatError> {
    let op = &event.op;
    if op.process.client().is_none() {
        return Ok(None);
    }
    let is_answer = op.kind == Kind::Ok;
    Ok(match op.f_name() {
        None | Some("txn") => of_transaction(&op.value, hint),
        Some("write" | "cas") => Some(Model::CasRegister),
        Some("get" | "put" | "append") => Some(Model::StringKv),
        Some("acquire" | "release") => Some(Model::Mutex),
        Some("transfer") => Some(Model::Bank),
        Some("add") => {
            hint.see(Hint::Add);
            None
        }
        Some("read") => {
            hint.see(Hint::Read);
            let adds = *hint == Hint::Add;
            match op.value.untagged() {
                _ if !is_answer => None,
                Edn::Map(_) => Some(Model::Bank),
                Edn::Integer(_) | Edn::Number(_) if adds => Some(Model::Counter),
                Edn::Set(_) | Edn::Vector(_) | Edn::List(_) if adds => Some(Model::Set),
                _ => None,
            }
        }
        Some(other) => {
            let reason = format!(
                "no model has an operation :{other}: say --model, one of {}",
                Model::ALL.map(Model::name).join(", ")
            );
            return Err(FormatError::malformed(event.place, reason));
        }
    })
}

fn of_transaction(value: &Edn, hint: &mut Hint) -> Option<Model> {
    hint.see(Hint::Transaction);
    value.items().unwrap_or_default().iter().find_map(|mop| {
        let parts = mop.items().unwrap_or_default();
        match parts.first().and_then(Edn::name) {
            Some("append") => Some(Model::ListAppend),
            Some("w") => Some(Model::RwRegister),
            Some("read" | "write") => Some(Model::MultiRegister),
            Some("r") => {
                if parts.get(2).and_then(Edn::items).is_some() {
                    hint.see(Hint::ListTransaction);
                }
                None
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::jepsen_edn::Reader;
    use super::*;

    fn model(text: &str) -> Result<Model, String> {
        recognise(Reader::new(text.as_bytes()))
            .map(|(model, _)| model)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn models_are_told_by_their_operations() {
        let adds = "{:process 0 :type :invoke :f :add :value 1}\n";
        let read = "{:process 0 :type :invoke :f :read}\n";
        for (text, expected) in [
            ("{:type :invoke :value [[:r 1 nil] [:append 1 2]]}".into(), Model::ListAppend),
            ("{:type :invoke :f :txn :value [[:w 1 2]]}".into(), Model::RwRegister),
            ("{:type :invoke :f :txn :value [[:r 1 nil]]}".into(), Model::RwRegister),
            ("{:type :ok :f :txn :value [[:r 1 [2]]]}".into(), Model::ListAppend),
            ("{:type :invoke :f :txn :value [[:read :x nil]]}".into(), Model::MultiRegister),
            ("{:type :invoke :process 1 :f :cas :value [1 2]}".into(), Model::CasRegister),
            (read.into(), Model::CasRegister),
            ("{:type :invoke :process 1 :f :get :value [1 nil]}".into(), Model::StringKv),
            ("{:type :invoke :process 1 :f :release}".into(), Model::Mutex),
            (format!("{read}{{:process 0 :type :ok :f :read :value {{0 1}}}}"), Model::Bank),
            (
                format!(
                    "{{:process :nemesis :type :info :f :start}}{adds}{read}{}",
                    "{:process 0 :type :ok :f :read :value 1}"
                ),
                Model::Counter,
            ),
            (format!("{adds}{read}{{:process 0 :type :ok :f :read :value #{{1}}}}"), Model::Set),
            (adds.into(), Model::Set),
        ] {
            assert_eq!(model(&text), Ok(expected), "{text}");
        }
        assert_eq!(model(""), Err("1:1 (byte 0): there is no operation of a client".into()));
        let found = model("{:process 0 :type :invoke :f :dance}").expect_err("no model");
        assert!(found.starts_with("1:1 (byte 0): no model has an operation :dance"), "{found}");
    }

    #[test]
    fn what_was_looked_at_is_still_there() {
        let text =
            "{:process :nemesis :type :info} {:type :invoke :value [[:w 1 2]]} {:type :info}";
        let (_, mut events) = recognise(Reader::new(text.as_bytes())).expect("a model");
        let mut positions = Vec::new();
        while let Some(event) = events.next_event().expect("well-formed") {
            positions.push(event.position);
        }
        assert_eq!(positions, [0, 1, 2]);
    }
}
