//! What the operations of a Jepsen history mean, model by model.
//!
//! Each model has a file and a function from [`Events`] to calls. An operation that the model does
//! not have is an error at its place. Calls come in the order of their invocations; those that
//! failed took no effect and are left out; those of unknown outcome have no return.
//!
//! [`recognise`] tells which model a history is of, and [`interpret`] gives the calls of any.

mod bank;
mod cas_register;
mod counter;
mod list_append;
mod multi_register;
mod mutex;
mod recognise;
mod rw_register;
mod set;
mod string_kv;

pub use bank::{BankCall, bank};
pub use cas_register::{FailedCas, KeyedCas, cas_register};
pub use counter::counter;
pub use list_append::list_append;
pub use multi_register::{Found, Steps, multi_register};
pub use mutex::mutex;
pub use recognise::{Model, Seen, recognise};
pub use rw_register::rw_register;
pub use set::{SetCall, set};
pub use string_kv::{KeyedAppend, string_kv};

use super::calls::{AppendMop, Outcome, RegisterMop, Transaction, Value};
use super::edn::Edn;
use super::error::FormatError;
use super::jepsen::Events;
use super::pairing::{Paired, Pairs};
use crate::model::append::AppendRet;
use crate::model::cas_register::CasRet;
use crate::model::counter::{CounterOp, CounterRet};
use crate::model::lock::{Anybody, LockOp, LockRet};
use crate::search::Call;

/// A history as what its model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interpreted {
    /// Transactions on lists.
    ListAppend(Vec<Transaction<AppendMop>>),
    /// Transactions on registers.
    RwRegister(Vec<Transaction<RegisterMop>>),
    /// Calls on an object.
    Object(ObjectCalls),
}

/// Calls on an object, or on one of several for each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectCalls {
    /// On registers.
    CasRegister(Vec<Call<KeyedCas, CasRet<Value>>>),
    /// On several registers at once.
    MultiRegister(Vec<Call<Steps, Found>>),
    /// On strings.
    StringKv(Vec<Call<KeyedAppend, AppendRet>>),
    /// On a lock.
    Mutex(Vec<Call<LockOp<Anybody>, LockRet>>),
    /// On a set.
    Set(Vec<SetCall>),
    /// On a bank.
    Bank(Vec<BankCall>),
    /// On a counter.
    Counter(Vec<Call<CounterOp, CounterRet>>),
}

impl ObjectCalls {
    /// What they are on.
    pub fn model(&self) -> Model {
        match self {
            ObjectCalls::CasRegister(_) => Model::CasRegister,
            ObjectCalls::MultiRegister(_) => Model::MultiRegister,
            ObjectCalls::StringKv(_) => Model::StringKv,
            ObjectCalls::Mutex(_) => Model::Mutex,
            ObjectCalls::Set(_) => Model::Set,
            ObjectCalls::Bank(_) => Model::Bank,
            ObjectCalls::Counter(_) => Model::Counter,
        }
    }
}

/// What a history says to a model. `failed` is what a `:cas` that failed tells.
pub fn interpret(
    model: Model,
    events: impl Events,
    failed: FailedCas,
) -> Result<Interpreted, FormatError> {
    Ok(Interpreted::Object(match model {
        Model::ListAppend => return Ok(Interpreted::ListAppend(list_append(events)?)),
        Model::RwRegister => return Ok(Interpreted::RwRegister(rw_register(events)?)),
        Model::CasRegister => ObjectCalls::CasRegister(cas_register(events, failed)?),
        Model::MultiRegister => ObjectCalls::MultiRegister(multi_register(events)?),
        Model::StringKv => ObjectCalls::StringKv(string_kv(events)?),
        Model::Mutex => ObjectCalls::Mutex(mutex(events)?),
        Model::Set => ObjectCalls::Set(set(events)?),
        Model::Bank => ObjectCalls::Bank(bank(events)?),
        Model::Counter => ObjectCalls::Counter(counter(events)?),
    }))
}

/// What a pair means: an operation, and its return if that is known. `None` leaves it out.
type Meaning<O, R> = Result<Option<(O, Option<R>)>, FormatError>;

/// Every call of a history.
fn calls<O, R>(
    events: impl Events,
    meaning: impl Fn(&Paired) -> Meaning<O, R>,
) -> Result<Vec<Call<O, R>>, FormatError> {
    let mut pairs = Pairs::new(events);
    let mut calls = Vec::new();
    while let Some(pair) = pairs.next_pair()? {
        let Some((op, ret)) = meaning(&pair)? else { continue };
        let Paired { process, invoked, returned, .. } = pair;
        calls.push(Call { process, invoked, returned, op, ret });
    }
    calls.sort_unstable_by_key(|call| call.invoked);
    Ok(calls)
}

/// Every transaction of a history: `:f :txn`, or no `:f` at all.
fn transactions<M>(
    events: impl Events,
    mop: impl Fn(&Paired, &Mop<'_>) -> Result<M, FormatError>,
) -> Result<Vec<Transaction<M>>, FormatError> {
    let mut pairs = Pairs::new(events);
    let mut transactions = Vec::new();
    while let Some(pair) = pairs.next_pair()? {
        if pair.f.is_some() && pair.f_name() != Some("txn") {
            return Err(pair.unexpected("a transaction, :txn"));
        }
        let is_ok = pair.outcome == Outcome::Ok;
        let value = if is_ok { &pair.answered } else { &pair.called };
        let mops = each_mop(&pair, value)?.into_iter().map(|parts| mop(&pair, &parts));
        let mops: Vec<M> = mops.collect::<Result<_, _>>()?;
        let Paired { process, invoked, returned, outcome, .. } = pair;
        transactions.push(Transaction { process, invoked, returned, outcome, mops });
    }
    transactions.sort_unstable_by_key(|transaction| transaction.invoked);
    Ok(transactions)
}

/// A micro-operation: `[:append key value]`.
struct Mop<'a> {
    f: &'a str,
    key: Value,
    value: &'a Edn,
}

fn each_mop<'a>(pair: &Paired, value: &'a Edn) -> Result<Vec<Mop<'a>>, FormatError> {
    let expected = "a vector of [function key value]";
    let items = value.items().ok_or_else(|| pair.wrong_value(value, expected))?;
    let mops = items.iter().map(|item| match item.items() {
        Some([f, key, value]) => f.name().map(|f| Mop { f, key: key.into(), value }),
        _ => None,
    });
    mops.collect::<Option<_>>().ok_or_else(|| pair.wrong_value(value, expected))
}

/// A whole number that the model needs here.
fn whole(pair: &Paired, form: &Edn) -> Result<i64, FormatError> {
    match form.untagged() {
        Edn::Integer(number) => Ok(*number),
        _ => Err(pair.wrong_value(form, "a whole number")),
    }
}

impl Paired {
    /// The name of what was called.
    fn f_name(&self) -> Option<&str> {
        self.f.as_ref().and_then(Edn::name)
    }

    fn unexpected(&self, expected: &str) -> FormatError {
        let found = self.f.as_ref().map_or("nothing".into(), ToString::to_string);
        FormatError::malformed(self.place, format!("the model has {expected}, but not {found}"))
    }

    fn wrong_value(&self, value: &Edn, expected: &str) -> FormatError {
        const SHOWN_CHARS_MAX: usize = 60;
        let mut shown = value.to_string();
        if let Some((end, _)) = shown.char_indices().nth(SHOWN_CHARS_MAX) {
            shown.truncate(end);
            shown.push_str("...");
        }
        let f = self.f.as_ref().map_or(String::new(), |f| format!(" of {f}"));
        let reason = format!("the value{f} is {shown}, not {expected}");
        FormatError::malformed(self.place, reason)
    }
}

#[cfg(test)]
mod tests;
