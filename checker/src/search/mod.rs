//! Linearizability of histories without revisions: is there an order of the calls, within real
//! time, in which an object alone would have answered like this?
//!
//! ```text
//!  calls --> partition --> problem --> zones --------------------------> order / conflict
//!            (by key)      |  states and classes        unique values      ^
//!                          |  of calls by number                           |
//!                          '---------> wgl -- candidates, needs, seen -----'
//!                                       anything else
//! ```
//!
//! - `calls` is the input: invocations and returns in one order, no formats, no clocks.
//! - `model` is what is asked of an object: stateright's `SequentialSpec`, the parts it falls
//!   into, and (if it can be told) the state that a call requires and the one that it leaves.
//! - `automaton` gives numbers to states and to classes of calls; `problem` is one part of the
//!   history in these numbers.
//! - `zones` decides registers whose values are written once, by sorting.
//! - `wgl` searches: `events` are the calls left, `window` those that have their place, `seen` the
//!   configurations that lead nowhere, `uses` what was used of unknown
//!   outcomes; `candidates` says what to try first, `needs` and `growth` what not to
//!   try, `furthest` what to tell.
//! - `engine` puts parts on threads and answers together.
//!
//! **Unknown outcomes.** Such a call may take effect at any time after its invocation, or never. It
//! is never waited for, it is used when a call needs the state that it leaves, the earliest of its
//! class first, and a configuration that used fewer stands for one that used more. So the ones
//! that nobody needs cost nothing.
//!
//! **Quiescent points.** When no call is open, which calls have their place is clear, and a
//! configuration is no more than a state (and what was used of unknown outcomes). The search goes
//! on with one such state and comes back for the next only if it must; where a call that was alone
//! tells the state, what lies before is forgotten.
//!
//! Why it is sound: an order is found by taking each step on the model. Why it is complete: every
//! call that may come next is tried, but for those of which the module that leaves them out says
//! why another does as well. A search that is cut short answers [`Verdict::Unknown`].
//!
//! Ideas: J. Wing, C. Gong: Testing and Verifying Concurrent Objects (1993); G. Lowe: Testing for
//! Linearizability (2017); A. Athalye's Porcupine; P. Gibbons, E. Korach: Testing Shared Memories
//! (1997).
//!
//! Left out: revisions, which need no search (see `linear`); histories of which not all calls are
//! known; weaker promises than linearizability.

mod answer;
mod automaton;
mod calls;
mod candidates;
mod consistency_tester;
mod engine;
mod events;
mod file;
mod furthest;
mod growth;
mod limit;
mod model;
mod needs;
mod numbers;
mod problem;
mod seen;
mod uses;
mod wgl;
mod window;
mod zones;

pub use answer::{Answer, Counterexample, Verdict};
pub use calls::{Call, Calls, CallsError, Recorder};
pub use consistency_tester::WglTester;
pub use engine::{Engine, Options, check};
pub use file::{CallsFile, CallsFileError};
pub use limit::Cancel;
pub use model::{Effect, Guard, Model, Shape};
