//! A lock that one owner can hold. With one owner for all it is Knossos' mutex, which anybody may
//! release.

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// Who holds it; nobody at the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Lock {
    /// Its owner.
    pub owner: Option<u64>,
}

/// What can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockOp {
    /// Be held by this owner.
    Acquire(u64),
    /// Be held by this owner no more.
    Release(u64),
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

const FREE: Lock = Lock { owner: None };

impl SequentialSpec for Lock {
    type Op = LockOp;
    type Ret = LockRet;

    fn invoke(&mut self, op: &LockOp) -> LockRet {
        match op {
            LockOp::Acquire(_) if *self != FREE => LockRet::Held,
            LockOp::Release(owner) if self.owner != Some(*owner) => LockRet::NotHeld,
            LockOp::Acquire(owner) => {
                self.owner = Some(*owner);
                LockRet::Done
            }
            LockOp::Release(_) => {
                *self = FREE;
                LockRet::Done
            }
        }
    }
}

impl Model for Lock {
    type Key = ();

    fn partition(_: &LockOp) {}

    fn is_read_only(_: &LockOp, ret: Option<&LockRet>) -> bool {
        matches!(ret, Some(LockRet::Held | LockRet::NotHeld))
    }

    fn shape(&self, op: &LockOp, ret: Option<&LockRet>) -> Shape<Lock> {
        let held = |owner: &u64| Lock { owner: Some(*owner) };
        match (op, ret) {
            (LockOp::Acquire(owner), None | Some(LockRet::Done)) => Shape::turns(FREE, held(owner)),
            (LockOp::Release(owner), None | Some(LockRet::Done)) => Shape::turns(held(owner), FREE),
            (LockOp::Acquire(_), Some(LockRet::Held)) => Shape::refused_by(FREE),
            (LockOp::Release(owner), Some(LockRet::NotHeld)) => Shape::refused_by(held(owner)),
            (LockOp::Acquire(_), Some(LockRet::NotHeld))
            | (LockOp::Release(_), Some(LockRet::Held)) => Shape::opaque(true),
        }
    }

    fn describe(op: &LockOp, ret: Option<&LockRet>) -> String {
        let asked = match op {
            LockOp::Acquire(owner) => format!("acquire for {owner}"),
            LockOp::Release(owner) => format!("release for {owner}"),
        };
        match ret {
            None | Some(LockRet::Done) => asked,
            Some(LockRet::Held) => format!("{asked} -> held"),
            Some(LockRet::NotHeld) => format!("{asked} -> not held"),
        }
    }

    fn describe_state(&self) -> String {
        self.owner.map_or("free".into(), |owner| format!("held by {owner}"))
    }
}
