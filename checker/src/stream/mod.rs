//! Judges a history while it is still being written, in bounded memory.
//!
//! ```text
//!                base                    done                  newest
//!   forgotten ----|--- log of changes ----|--- held: what waits ---|
//!                        as-of views           for its revision
//! ```
//!
//! Records come in the order of their ends, more or less. A write whose revision is the next one is
//! replayed at once; an answer is compared with the keys at its revision, which the log leads back to;
//! a watch with the changes that were due to it. What is ahead of the replay waits. A revision that
//! nobody claims, but of which a watch on everything tells what happened, is replayed from that after
//! a while; who made it is asked for until the end.
//!
//! - `bounds`: real time. `past`: the keys, and the way back. `makers`: unknown outcomes.
//!   `watches`: events. `left`: why a stream is not called valid. `judge`: all of it together.
//! - `follow` reads a file that grows.
//!
//! Found as in the whole check: revisions taken twice, real-time order (stale reads, lost writes),
//! every answer against the keys at its revision, branches, revisions that nobody can have made (at
//! the end), every rule of watches, and final states.
//!
//! Left to the whole check, so that a history that has any of it is `Unknown` here, not `Valid`:
//! - leases: from grant to end, early and late expiry;
//! - the order of compactions with reads of the past, and refusals, which need a reason;
//! - revisions that nobody claims and that no watch on everything tells of: the replay ends there;
//! - answers and events about a revision that has left the window (`revisions_kept`), operations of
//!   unknown outcome beyond `unknown_max`, and what waits beyond `waiting_max`.
//!
//! Which rule is blamed may differ: the stream ends with the first violation that it sees, the whole
//! check weighs them all.
//!
//! Memory: the live keys; the window; what waits; operations of unknown outcome and the revisions that
//! nobody has claimed; a number for each process and each watch.

mod bounds;
mod follow;
mod judge;
mod left;
mod makers;
mod past;
mod replay;
mod spans;
mod watches;

pub use follow::{Wait, follow};
pub use judge::{Held, Stream, StreamOptions};
