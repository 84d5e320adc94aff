//! What an engine must know of an object: stateright's [`SequentialSpec`], and a little more.
//!
//! [`SequentialSpec`] says what an operation does and answers. [`Model`] adds what makes a search
//! fast (which calls are independent, which change nothing, which fit one state only) and what
//! makes its answer readable. All of it but [`Model::shape`] and [`Model::may_grow_into`] has one
//! right answer; these may always be [`Shape::opaque`] and `true`, and a search is then slower and
//! not less exact.
//!
//! Every claim made here is about calls *with their answers*: `ret` is `None` if the outcome is
//! not known, and the claim must then hold for the call taking effect.

use std::fmt;
use std::hash::Hash;

use stateright::semantics::SequentialSpec;
use stateright::semantics::register::{Register, RegisterOp, RegisterRet};

/// A sequential object whose histories can be searched.
///
/// A value of the type is a state. States, operations and answers must compare as `Eq` does (each
/// equals itself), which is not asked for only because stateright's own types do not say so.
///
/// ```
/// use rusd_checker::search::{Model, Options, Recorder, Shape, Verdict, check};
/// use stateright::semantics::SequentialSpec;
///
/// /// Lamps that are on or off.
/// #[derive(Clone, PartialEq, Hash)]
/// struct Lamps(Vec<bool>);
///
/// #[derive(PartialEq, Hash)]
/// enum Op {
///     Switch(usize),
///     IsOn(usize),
/// }
///
/// impl SequentialSpec for Lamps {
///     type Op = Op;
///     /// Whether the lamp is on then.
///     type Ret = bool;
///
///     fn invoke(&mut self, op: &Op) -> bool {
///         match op {
///             Op::Switch(lamp) => {
///                 self.0[*lamp] = !self.0[*lamp];
///                 self.0[*lamp]
///             }
///             Op::IsOn(lamp) => self.0[*lamp],
///         }
///     }
/// }
///
/// impl Model for Lamps {
///     type Key = usize;
///
///     fn partition(op: &Op) -> usize {
///         match op {
///             Op::Switch(lamp) | Op::IsOn(lamp) => *lamp,
///         }
///     }
///
///     fn is_read_only(op: &Op, _: Option<&bool>) -> bool {
///         matches!(op, Op::IsOn(_))
///     }
///
///     // Optional: which lamp is on before and after is known without trying.
///     fn shape(&self, op: &Op, ret: Option<&bool>) -> Shape<Lamps> {
///         let with = |lamp: &usize, is_on| {
///             let mut lamps = self.0.clone();
///             lamps[*lamp] = is_on;
///             Lamps(lamps)
///         };
///         match (op, ret) {
///             (Op::Switch(lamp), Some(is_on)) => Shape::turns(with(lamp, !is_on), with(lamp, *is_on)),
///             (Op::IsOn(lamp), Some(is_on)) => Shape::reads(with(lamp, *is_on)),
///             _ => Shape::opaque(Self::is_read_only(op, ret)),
///         }
///     }
///
///     fn describe(op: &Op, ret: Option<&bool>) -> String {
///         let (verb, lamp) = match op {
///             Op::Switch(lamp) => ("switch", lamp),
///             Op::IsOn(lamp) => ("look at", lamp),
///         };
///         format!("{verb} {lamp} -> {ret:?}")
///     }
///
///     fn describe_state(&self) -> String {
///         format!("{:?}", self.0)
///     }
/// }
///
/// let mut recorder = Recorder::new();
/// let first = recorder.invoke(1, Op::Switch(0));
/// let second = recorder.invoke(2, Op::Switch(0));
/// recorder.returns(first, false);
/// recorder.returns(second, true);
/// recorder.invoke(1, Op::Switch(1));
/// let look = recorder.invoke(2, Op::IsOn(1));
/// recorder.returns(look, true);
/// let answer = check(&Lamps(vec![false; 2]), &recorder.finish(), &Options::default());
/// assert_eq!(answer.verdict, Verdict::Linearizable);
/// assert_eq!(answer.partitions, 2);
/// ```
pub trait Model:
    SequentialSpec<Op: PartialEq + Hash, Ret: PartialEq + Hash> + Clone + PartialEq + Hash
{
    /// Names independent parts of the object.
    type Key: Eq + Hash + fmt::Debug;

    /// The part that an operation touches. What happens to one part changes nothing in another, so
    /// that each can be judged alone.
    fn partition(op: &Self::Op) -> Self::Key;

    /// A part, for people.
    fn describe_part(key: &Self::Key) -> String {
        // A type without size has one value, so there is one part.
        if size_of::<Self::Key>() == 0 { "the object".into() } else { format!("{key:?}") }
    }

    /// Whether the call leaves every state as it was.
    fn is_read_only(op: &Self::Op, ret: Option<&Self::Ret>) -> bool;

    /// Which states the call fits, and which it leaves; `self` is the state in which the history
    /// begins, and only operations of one [partition](Model::partition) are applied to it.
    fn shape(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Shape<Self> {
        let _ = self;
        Shape::opaque(Self::is_read_only(op, ret))
    }

    /// Whether calls of which the [effect](Shape::effect) is not told can lead from this state to
    /// `later`, one after the other. Of use where states grow and are read as a whole.
    fn may_grow_into(&self, later: &Self) -> bool {
        let _ = later;
        true
    }

    /// The call, for people.
    fn describe(op: &Self::Op, ret: Option<&Self::Ret>) -> String;

    /// The state, for people.
    fn describe_state(&self) -> String;
}

/// What is known of a call without a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<S> {
    /// The states in which it can give its answer. Of a call of unknown outcome: in which it
    /// changes anything.
    pub guard: Guard<S>,
    /// The state that it leaves.
    pub effect: Effect<S>,
}

/// The states in which a call can give its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard<S> {
    /// All of them.
    Any,
    /// This one.
    Only(S),
    /// All but this one.
    Except(S),
    /// It must be tried.
    Opaque,
}

/// The state that a call leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect<S> {
    /// The one it finds.
    None,
    /// This one, whatever it finds.
    Always(S),
    /// It must be tried.
    Opaque,
}

impl<S> Shape<S> {
    /// Nothing is known but whether it only reads.
    pub fn opaque(is_read_only: bool) -> Shape<S> {
        let effect = if is_read_only { Effect::None } else { Effect::Opaque };
        Shape { guard: Guard::Opaque, effect }
    }

    /// It reads a whole state.
    pub fn reads(state: S) -> Shape<S> {
        Shape { guard: Guard::Only(state), effect: Effect::None }
    }

    /// It finds any state but this, and leaves it.
    pub fn refused_by(state: S) -> Shape<S> {
        Shape { guard: Guard::Except(state), effect: Effect::None }
    }

    /// It writes over whatever there is.
    pub fn writes(state: S) -> Shape<S> {
        Shape { guard: Guard::Any, effect: Effect::Always(state) }
    }

    /// It turns one state into another.
    pub fn turns(from: S, to: S) -> Shape<S> {
        Shape { guard: Guard::Only(from), effect: Effect::Always(to) }
    }

    /// The same of states that hold this one.
    pub fn map<T>(self, outer: impl Fn(S) -> T) -> Shape<T> {
        Shape {
            guard: match self.guard {
                Guard::Any => Guard::Any,
                Guard::Only(state) => Guard::Only(outer(state)),
                Guard::Except(state) => Guard::Except(outer(state)),
                Guard::Opaque => Guard::Opaque,
            },
            effect: match self.effect {
                Effect::None => Effect::None,
                Effect::Always(state) => Effect::Always(outer(state)),
                Effect::Opaque => Effect::Opaque,
            },
        }
    }
}

/// stateright's own register, so that its actor models can be checked by our engines.
impl<T: Clone + PartialEq + Hash + fmt::Debug> Model for Register<T> {
    type Key = ();

    fn partition(_: &RegisterOp<T>) {}

    fn is_read_only(op: &RegisterOp<T>, _: Option<&RegisterRet<T>>) -> bool {
        matches!(op, RegisterOp::Read)
    }

    fn shape(&self, op: &RegisterOp<T>, ret: Option<&RegisterRet<T>>) -> Shape<Register<T>> {
        match (op, ret) {
            (RegisterOp::Write(value), None | Some(RegisterRet::WriteOk)) => {
                Shape::writes(Register(value.clone()))
            }
            (RegisterOp::Read, Some(RegisterRet::ReadOk(value))) => {
                Shape::reads(Register(value.clone()))
            }
            (RegisterOp::Read, _) | (RegisterOp::Write(_), Some(_)) => {
                Shape::opaque(Self::is_read_only(op, ret))
            }
        }
    }

    fn describe(op: &RegisterOp<T>, ret: Option<&RegisterRet<T>>) -> String {
        match (op, ret) {
            (RegisterOp::Read, Some(RegisterRet::ReadOk(value))) => format!("read -> {value:?}"),
            (RegisterOp::Read, _) => "read".into(),
            (RegisterOp::Write(value), _) => format!("write {value:?}"),
        }
    }

    fn describe_state(&self) -> String {
        format!("{:?}", self.0)
    }
}
