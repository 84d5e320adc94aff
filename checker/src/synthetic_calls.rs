//! Histories without revisions, made up: clients call one object, for testing and measuring.
//!
//! Valid by construction: a call is invoked, takes effect on the object, and returns, with other
//! calls in between; or its client gives up, and it takes effect late or never. A seed gives the
//! same history everywhere.

use crate::model::append::{AppendOp, AppendRet, AppendString};
use crate::model::cas_register::{CasOp, CasRegister, CasRet};
use crate::model::keyed::{Keyed, KeyedOp};
use crate::model::register::{Register, RegisterOp, RegisterRet};
use crate::search::{Call, Calls, Model, Recorder};
use crate::synthetic::Dice;

/// How an object is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Clients, each of which has one call open at a time.
    pub clients: u64,
    /// Calls of all of them.
    pub calls: u64,
    /// Calls in a thousand whose outcome stays unknown.
    pub unknown_per_mille: u64,
}

/// Where a client is.
enum Client<O, R> {
    Idle,
    Called(usize, O),
    Answered(usize, R),
}

/// What clients do to `object`; `next_op` says what is called next, given what the object is.
pub fn simulate<M: Model>(
    load: Load,
    mut object: M,
    dice: &mut Dice,
    mut next_op: impl FnMut(&mut Dice, &M) -> M::Op,
) -> Calls<M::Op, M::Ret>
where
    M::Op: Clone,
{
    let mut recorder = Recorder::new();
    let mut clients: Vec<Client<M::Op, M::Ret>> = (0..load.clients).map(|_| Client::Idle).collect();
    let mut processes: Vec<u64> = (0..load.clients).collect();
    let mut next_process = load.clients;
    // Calls that nobody waits for, and that may still take effect.
    let mut abandoned: Vec<M::Op> = Vec::new();
    let (mut called, mut open) = (0, 0);
    while called < load.calls || open > 0 {
        if !abandoned.is_empty() && dice.below(4 * load.clients) == 0 {
            let op = abandoned.swap_remove(pick(dice, abandoned.len()));
            object.invoke(&op);
        }
        let client = pick(dice, clients.len());
        let now = std::mem::replace(&mut clients[client], Client::Idle);
        clients[client] = match now {
            Client::Idle if called == load.calls => Client::Idle,
            Client::Idle => {
                let op = next_op(dice, &object);
                let call = recorder.invoke(processes[client], op.clone());
                called += 1;
                if dice.per_mille(load.unknown_per_mille) {
                    processes[client] = next_process;
                    next_process += 1;
                    if dice.per_mille(500) {
                        abandoned.push(op);
                    }
                    Client::Idle
                } else {
                    open += 1;
                    Client::Called(call, op)
                }
            }
            Client::Called(call, op) => Client::Answered(call, object.invoke(&op)),
            Client::Answered(call, ret) => {
                recorder.returns(call, ret);
                open -= 1;
                Client::Idle
            }
        };
    }
    recorder.finish()
}

/// Values that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// None is written twice.
    Unique,
    /// One of so many.
    Few(u64),
}

impl Values {
    fn next(self, dice: &mut Dice, written: &mut u64) -> u64 {
        *written += 1;
        match self {
            Values::Unique => *written,
            Values::Few(values) => dice.below(values),
        }
    }
}

/// A register, half of whose calls are reads.
pub fn register(load: Load, values: Values, seed: u64) -> Calls<RegisterOp<u64>, RegisterRet<u64>> {
    let mut written = 0;
    simulate(load, Register::default(), &mut Dice::new(seed), |dice, _| match dice.below(2) {
        0 => RegisterOp::Read,
        _ => RegisterOp::Write(values.next(dice, &mut written)),
    })
}

/// A register that is read, written, and compared and set, equally often. Half of the time what is
/// compared is what the register then holds, so that some succeed among many clients too.
pub fn cas_register(load: Load, values: Values, seed: u64) -> Calls<CasOp<u64>, CasRet<u64>> {
    let mut written = 0;
    let object = CasRegister::default();
    simulate(load, object, &mut Dice::new(seed), |dice, object| match dice.below(3) {
        0 => CasOp::Read,
        1 => CasOp::Write(values.next(dice, &mut written)),
        _ => {
            let old = dice.below(written.max(1));
            let guess = match values {
                Values::Unique => old,
                Values::Few(values) => dice.below(values),
            };
            let from = object.value.filter(|_| dice.per_mille(500)).unwrap_or(guess);
            CasOp::Cas(from, values.next(dice, &mut written))
        }
    })
}

/// The key-value store of Porcupine's tests.
pub type KvStore = Keyed<String, AppendString>;

/// Strings by key, of which half of the calls are reads, the others mostly append.
pub fn kv(load: Load, keys: u64, seed: u64) -> Calls<KeyedOp<String, AppendOp>, AppendRet> {
    let mut written = 0;
    simulate(load, KvStore::new(AppendString::default()), &mut Dice::new(seed), |dice, _| {
        written += 1;
        let op = match dice.below(20) {
            0..10 => AppendOp::Get,
            10 => AppendOp::Put(format!("x {written} y")),
            _ => AppendOp::Append(format!("x {written} y")),
        };
        KeyedOp { key: dice.below(keys).to_string(), op }
    })
}

/// One of the later reads is answered as one of the earlier was: mostly, but not always, that
/// cannot be.
pub fn with_an_old_read<O: Clone, R: Clone>(
    calls: &Calls<O, R>,
    is_read: impl Fn(&O) -> bool,
    dice: &mut Dice,
) -> Calls<O, R> {
    let mut list: Vec<Call<O, R>> = calls.list().to_vec();
    let reads: Vec<usize> = (0..list.len())
        .filter(|place| is_read(&list[*place].op) && list[*place].outcome().is_some())
        .collect();
    let half = reads.len() / 2;
    if half > 0 {
        let old = list[reads[pick(dice, half)]].ret.clone();
        list[reads[half + pick(dice, reads.len() - half)]].ret = old;
    }
    Calls::new(list).expect("no position was changed")
}

fn pick(dice: &mut Dice, count: usize) -> usize {
    let count = u64::try_from(count).expect("usize fits u64");
    usize::try_from(dice.below(count)).expect("below a usize")
}
