//! What an engine says of a history.
//!
//! Three answers, as everywhere in this crate: giving up is never [`Verdict::Linearizable`].

use super::calls::Calls;
use super::model::Model;

/// The answer, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub verdict: Verdict,
    /// Independent parts of the history.
    pub partitions: usize,
    /// Parts that the zones decided.
    pub by_zones: usize,
    /// Parts that a search decided.
    pub by_search: usize,
    /// Steps that the searches made.
    pub steps: u64,
}

impl Answer {
    /// Why there is no order, of an illegal history.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        match &self.verdict {
            Verdict::Illegal(counterexample) => Some(counterexample),
            Verdict::Linearizable | Verdict::Unknown { .. } => None,
        }
    }
}

/// Whether there is an order of all calls that explains every answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is.
    Linearizable,
    /// There is none.
    Illegal(Counterexample),
    /// The search was cut short; neither is proven.
    Unknown {
        /// What cut it short.
        reason: String,
    },
}

impl Verdict {
    /// "linearizable", "illegal" or "unknown".
    pub fn name(&self) -> &'static str {
        match self {
            Verdict::Linearizable => "linearizable",
            Verdict::Illegal(_) => "illegal",
            Verdict::Unknown { .. } => "unknown",
        }
    }
}

/// Why there is no order. Calls are named by their places in [`Calls::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The part of the object, as the model names it.
    pub partition: String,
    /// Calls in an order that explains their answers, up to where no more can be added: of all
    /// ways to begin the one whose missing call returned last.
    pub prefix: Vec<usize>,
    /// The calls that cannot be placed: the one that is missing then, and those that exclude each
    /// other.
    pub unplaced: Vec<usize>,
    /// The states that the object can have been in when the missing call returned; a handful, that
    /// of `prefix` first.
    pub states: Vec<String>,
}

impl Counterexample {
    /// A few lines for people.
    pub fn render<M: Model>(&self, calls: &Calls<M::Op, M::Ret>) -> String {
        let line = |place: &usize| {
            let call = &calls.list()[*place];
            let when = match call.outcome() {
                Some((returned, _)) => format!("[{}, {returned}]", call.invoked),
                None => format!("[{}, ?]", call.invoked),
            };
            let what = M::describe(&call.op, call.outcome().map(|(_, ret)| ret));
            format!("  {when} process {}: {what}\n", call.process)
        };
        let mut text = format!("no order of the calls on {}\n", self.partition);
        let shown = self.prefix.len().saturating_sub(PREFIX_SHOWN);
        if !self.prefix.is_empty() {
            let which = if shown > 0 { ", the last of them" } else { "" };
            text.extend([format!("{} calls have an order{which}\n", self.prefix.len())]);
            text.extend(self.prefix[shown..].iter().map(line));
        }
        if !self.states.is_empty() {
            text.extend([format!("after which the state is {}\n", self.states.join(" or "))]);
        }
        text.push_str("there is no place for\n");
        text.extend(self.unplaced.iter().map(line));
        text
    }
}

/// Calls of the prefix that are shown to people.
const PREFIX_SHOWN: usize = 8;
