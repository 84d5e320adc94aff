//! Calls on objects without revisions, judged by zones or by search.
//!
//! What a history has is for [`interpret`](crate::formats::interpret) to say, and which engine judges
//! which part of it for [`search`]. Here is what is between: the state in which
//! an object begins, which no history tells, and the answer for people and programs.

mod initial;
mod render;

use std::time::Instant;

use serde::Serialize;

use crate::formats::FormatError;
use crate::formats::edn::Edn;
use crate::formats::interpret::ObjectCalls;
use crate::model::append::AppendString;
use crate::model::bank::{Bank, UnknownBank};
use crate::model::cas_register::CasRegister;
use crate::model::counter::Counter;
use crate::model::keyed::Keyed;
use crate::model::lock::Lock;
use crate::model::multi_register::MultiRegister;
use crate::model::set::GrowSet;
use crate::search::{self, Call, Calls, Counterexample, Engine, Model, Verdict};

/// How to judge calls.
#[derive(Debug, Clone, Default)]
pub struct CallsOptions {
    /// Engine, budget and threads.
    pub search: search::Options,
    /// What the object begins with; without it registers are nil, and of a bank the first read tells.
    pub initial: Option<Edn>,
    /// Whether accounts of a bank may be overdrawn.
    pub may_be_negative: bool,
}

/// The answer to a history of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallsReport {
    /// "valid", "invalid" or "unknown".
    pub verdict: &'static str,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the calls are on: "cas-register".
    pub model: &'static str,
    /// What has decided: "zones", "wgl", or both of them.
    pub engine: &'static str,
    /// What was checked.
    pub counts: CallCounts,
    /// Why there is no order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<NoOrder>,
    /// Time that the check took.
    pub check_nanoseconds: u64,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CallCounts {
    /// Calls that may have taken effect.
    pub calls: u64,
    /// Those of unknown outcome.
    pub unknown: u64,
    /// Independent objects.
    pub objects: u64,
    /// Objects that the zones decided.
    pub by_zones: u64,
    /// Objects that a search decided.
    pub by_search: u64,
    /// Steps that the searches made.
    pub steps: u64,
}

/// Why calls have no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoOrder {
    /// The object.
    pub object: String,
    /// Calls in an order that explains their answers, to which no more can be added.
    pub ordered: Vec<ShownCall>,
    /// The states in which the object can be then.
    pub states: Vec<String>,
    /// The calls that have no place.
    pub unplaced: Vec<ShownCall>,
    /// The same in a few lines.
    #[serde(skip)]
    pub text: String,
}

/// A call, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownCall {
    /// Who called.
    pub process: u64,
    /// Which event of the history it is, from 0.
    pub invoked: u64,
    /// Which event its return is.
    pub returned: Option<u64>,
    /// What was asked and answered.
    pub call: String,
}

impl CallsReport {
    /// 0 valid, 1 invalid, 2 unknown.
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            "valid" => 0,
            "invalid" => 1,
            _ => 2,
        }
    }
}

/// Judges calls. It is an error to say what an object begins with if that makes no sense.
pub fn check_calls(calls: ObjectCalls, options: &CallsOptions) -> Result<CallsReport, FormatError> {
    let model = calls.model();
    let initial = options.initial.as_ref();
    let name = model.name();
    Ok(match calls {
        ObjectCalls::CasRegister(calls) => {
            let register = CasRegister::new(Some(initial::value(initial)));
            judge(name, &Keyed::new(register), calls, options)
        }
        ObjectCalls::MultiRegister(calls) => {
            let registers = MultiRegister { values: initial::registers(initial)? };
            judge(name, &registers, calls, options)
        }
        ObjectCalls::StringKv(calls) => {
            initial::none(model, initial)?;
            judge(name, &Keyed::new(AppendString::default()), calls, options)
        }
        ObjectCalls::Mutex(calls) => {
            initial::none(model, initial)?;
            judge(name, &Lock::default(), calls, options)
        }
        ObjectCalls::Set(calls) => {
            initial::none(model, initial)?;
            judge(name, &GrowSet::default(), calls, options)
        }
        ObjectCalls::Bank(calls) => match initial::balances(initial)? {
            Some(known) => judge(name, &Bank::new(known, options.may_be_negative), calls, options),
            None => judge(name, &UnknownBank::new(options.may_be_negative), calls, options),
        },
        ObjectCalls::Counter(calls) => {
            judge(name, &Counter { sum: initial::sum(initial)? }, calls, options)
        }
    })
}

fn judge<M>(
    model: &'static str,
    initial: &M,
    calls: Vec<Call<M::Op, M::Ret>>,
    options: &CallsOptions,
) -> CallsReport
where
    M: Model + Sync,
    M::Op: Sync,
    M::Ret: Sync,
{
    let start = Instant::now();
    let calls = Calls::new(calls).expect("readers give each event a position of its own");
    let answer = search::check(initial, &calls, &options.search);
    let check_nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let (verdict, reason) = match &answer.verdict {
        Verdict::Linearizable => ("valid", None),
        Verdict::Illegal(_) => ("invalid", None),
        Verdict::Unknown { reason } => ("unknown", Some(reason.clone())),
    };
    let unknown = calls.list().iter().filter(|call| call.outcome().is_none());
    CallsReport {
        verdict,
        reason,
        model,
        engine: match (options.search.engine, answer.by_zones, answer.by_search) {
            (Engine::Zones, _, _) | (Engine::Auto, 1.., 0) => "zones",
            (Engine::Wgl, _, _) | (Engine::Auto, 0, _) => "wgl",
            (Engine::Auto, 1.., 1..) => "zones and wgl",
        },
        counts: CallCounts {
            calls: wide(calls.len()),
            unknown: wide(unknown.count()),
            objects: wide(answer.partitions),
            by_zones: wide(answer.by_zones),
            by_search: wide(answer.by_search),
            steps: answer.steps,
        },
        counterexample: answer.counterexample().map(|found| no_order::<M>(found, &calls)),
        check_nanoseconds,
    }
}

fn no_order<M: Model>(found: &Counterexample, calls: &Calls<M::Op, M::Ret>) -> NoOrder {
    let show = |place: &usize| {
        let call = &calls.list()[*place];
        ShownCall {
            process: call.process,
            invoked: call.invoked,
            returned: call.returned,
            call: M::describe(&call.op, call.outcome().map(|(_, ret)| ret)),
        }
    };
    NoOrder {
        object: found.partition.clone(),
        ordered: found.prefix.iter().map(show).collect(),
        states: found.states.clone(),
        unplaced: found.unplaced.iter().map(show).collect(),
        text: found.render::<M>(calls),
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).expect("usize fits u64")
}
