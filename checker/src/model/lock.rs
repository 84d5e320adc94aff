//! A lock that one owner can hold. With one owner for all it is Knossos' mutex, which anybody may
//! release.

use std::fmt::{self, Debug};
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// Who holds it; nobody at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lock<O = u64> {
    /// Its owner.
    pub owner: Option<O>,
}

/// The owner of a lock that anybody may release.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Anybody;

impl Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anybody")
    }
}

/// What can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockOp<O = u64> {
    /// Be held by this owner.
    Acquire(O),
    /// Be held by this owner no more.
    Release(O),
}

/// What it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockRet {
    /// It is held, or was let go.
    Done,
    /// Somebody holds it, maybe the one who asks.
    Held,
    /// The one who would release it does not hold it.
    NotHeld,
}

impl<O> Lock<O> {
    const FREE: Lock<O> = Lock { owner: None };
}

impl<O> Default for Lock<O> {
    fn default() -> Lock<O> {
        Lock::FREE
    }
}

impl<O: Copy + PartialEq> SequentialSpec for Lock<O> {
    type Op = LockOp<O>;
    type Ret = LockRet;

    fn invoke(&mut self, op: &LockOp<O>) -> LockRet {
        match op {
            LockOp::Acquire(_) if self.owner.is_some() => LockRet::Held,
            LockOp::Release(owner) if self.owner != Some(*owner) => LockRet::NotHeld,
            LockOp::Acquire(owner) => {
                self.owner = Some(*owner);
                LockRet::Done
            }
            LockOp::Release(_) => {
                self.owner = None;
                LockRet::Done
            }
        }
    }
}

impl<O: Copy + PartialEq + Hash + Debug> Model for Lock<O> {
    type Key = ();

    fn partition(_: &LockOp<O>) {}

    fn is_read_only(_: &LockOp<O>, ret: Option<&LockRet>) -> bool {
        matches!(ret, Some(LockRet::Held | LockRet::NotHeld))
    }

    fn shape(&self, op: &LockOp<O>, ret: Option<&LockRet>) -> Shape<Lock<O>> {
        let free = Lock::FREE;
        let held = |owner: &O| Lock { owner: Some(*owner) };
        match (op, ret) {
            (LockOp::Acquire(owner), None | Some(LockRet::Done)) => Shape::turns(free, held(owner)),
            (LockOp::Release(owner), None | Some(LockRet::Done)) => Shape::turns(held(owner), free),
            (LockOp::Acquire(_), Some(LockRet::Held)) => Shape::refused_by(free),
            (LockOp::Release(owner), Some(LockRet::NotHeld)) => Shape::refused_by(held(owner)),
            (LockOp::Acquire(_), Some(LockRet::NotHeld))
            | (LockOp::Release(_), Some(LockRet::Held)) => Shape::opaque(true),
        }
    }

    fn describe(op: &LockOp<O>, ret: Option<&LockRet>) -> String {
        let asked = match op {
            LockOp::Acquire(owner) => format!("acquire for {owner:?}"),
            LockOp::Release(owner) => format!("release for {owner:?}"),
        };
        match ret {
            None | Some(LockRet::Done) => asked,
            Some(LockRet::Held) => format!("{asked} -> held"),
            Some(LockRet::NotHeld) => format!("{asked} -> not held"),
        }
    }

    fn describe_state(&self) -> String {
        self.owner.map_or("free".into(), |owner| format!("held by {owner:?}"))
    }
}
