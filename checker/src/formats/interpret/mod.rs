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

pub use bank::bank;
pub use cas_register::{FailedCas, cas_register};
pub use counter::counter;
pub use list_append::list_append;
pub use multi_register::{MultiCall, multi_register};
pub use mutex::mutex;
pub use recognise::{Model, Seen, recognise};
pub use rw_register::rw_register;
pub use set::set;
pub use string_kv::string_kv;

use super::calls::{
    AppendMop, BankOp, BankRet, CounterOp, CounterRet, Keyed, MutexOp, Outcome, RegisterMop,
    RegisterOp, RegisterRet, SetOp, SetRet, StringOp, StringRet, Transaction, Value,
};
use super::edn::Edn;
use super::error::FormatError;
use super::jepsen::Events;
use super::pairing::{Paired, Pairs};
use crate::search::Call;

/// A history as what its model has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interpreted {
    /// Transactions on lists.
    ListAppend(Vec<Transaction<AppendMop>>),
    /// Transactions on registers.
    RwRegister(Vec<Transaction<RegisterMop>>),
    /// Calls on registers. Those on one object follow from [`by_key`](super::calls::by_key).
    CasRegister(Vec<Call<Keyed<RegisterOp>, RegisterRet>>),
    /// Calls on several registers at once.
    MultiRegister(Vec<MultiCall>),
    /// Calls on strings. Those on one object follow from [`by_key`](super::calls::by_key).
    StringKv(Vec<Call<Keyed<StringOp>, StringRet>>),
    /// Calls on a lock.
    Mutex(Vec<Call<MutexOp, ()>>),
    /// Calls on a set.
    Set(Vec<Call<SetOp, SetRet>>),
    /// Calls on a bank.
    Bank(Vec<Call<BankOp, BankRet>>),
    /// Calls on a counter.
    Counter(Vec<Call<CounterOp, CounterRet>>),
}

impl Interpreted {
    /// Whose it is.
    pub fn model(&self) -> Model {
        match self {
            Interpreted::ListAppend(_) => Model::ListAppend,
            Interpreted::RwRegister(_) => Model::RwRegister,
            Interpreted::CasRegister(_) => Model::CasRegister,
            Interpreted::MultiRegister(_) => Model::MultiRegister,
            Interpreted::StringKv(_) => Model::StringKv,
            Interpreted::Mutex(_) => Model::Mutex,
            Interpreted::Set(_) => Model::Set,
            Interpreted::Bank(_) => Model::Bank,
            Interpreted::Counter(_) => Model::Counter,
        }
    }
}

/// What a history says to a model. `failed` is what a `:cas` that failed tells.
pub fn interpret(
    model: Model,
    events: impl Events,
    failed: FailedCas,
) -> Result<Interpreted, FormatError> {
    Ok(match model {
        Model::ListAppend => Interpreted::ListAppend(list_append(events)?),
        Model::RwRegister => Interpreted::RwRegister(rw_register(events)?),
        Model::CasRegister => Interpreted::CasRegister(cas_register(events, failed)?),
        Model::MultiRegister => Interpreted::MultiRegister(multi_register(events)?),
        Model::StringKv => Interpreted::StringKv(string_kv(events)?),
        Model::Mutex => Interpreted::Mutex(mutex(events)?),
        Model::Set => Interpreted::Set(set(events)?),
        Model::Bank => Interpreted::Bank(bank(events)?),
        Model::Counter => Interpreted::Counter(counter(events)?),
    })
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
