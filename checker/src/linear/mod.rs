//! Linearizability of the whole store, guided by revisions.
//!
//! Every answer of etcd carries the store's revision, and revisions *are* the serialization order.
//! So nothing need be searched for: put the writes in the order of their revisions, replay them,
//! and compare every answer with what the replay holds at its revision.
//!
//! ```text
//!  revision   1        2        3        4        5
//!             |--slot--W--slot--W--slot--?--slot--W--slot-->
//!                      ^        ^    ^   ^
//!                    write    write  |  gap: made by an operation whose outcome is unknown,
//!                                  reads     or by a lease's end
//! ```
//!
//! 1. `brief` notes of each operation what is asked of all of them, in one pass. `timeline` gives each
//!    operation its place: a write *is* a revision, anything else lies in
//!    the slot after the revision of its answer. From the calls and returns around it follows
//!    when each revision can have been made, and one sweep tells whether real time and revisions
//!    agree.
//! 2. `pins` collects what events and reads tell of the gaps.
//! 3. `replay` walks the revisions. At a gap it asks `gaps` for what can have happened there; if
//!    more than one thing can, it tries them in turn, going back when a later answer disagrees.
//!    Which operation did it matters only in that each can do it once: a bipartite matching.
//! 4. `floating` places what has no revision: refusals, keep-alives, leases that came or went
//!    without touching a key, compactions. `solver` searches for an order of a few of them; of many,
//!    `ladder` finds one if their state only rises.
//! 5. `diagnose` gives the cause a better name where the bare rule would not: lost writes, split
//!    transactions.
//!
//! Why it is sound: a violation is reported only if no order of the operations, with unknown ones
//! executed once or never, explains the answers. Why it is complete: at the end the order is
//! there. Exceptions, both towards `Valid`: a keep-alive may be answered from before its call (etcd's
//! leader answers it from what it has applied); a refused transaction may name any of its leases.
//! A search that grows too long ends as `Unknown`, and so do more than 128 floating operations that
//! several leases, or one that is granted again, tie together.
//!
//! Left out: what other clients do. The history must hold everything that changes the keys.

pub(crate) mod answer;
pub(crate) mod assign;
pub(crate) mod brief;
pub(crate) mod checks;
pub(crate) mod diagnose;
pub(crate) mod floating;
pub(crate) mod gaps;
pub(crate) mod ladder;
pub(crate) mod leases;
pub(crate) mod oracle;
pub(crate) mod parts;
pub(crate) mod pins;
pub(crate) mod replay;
pub(crate) mod revision;
pub(crate) mod runs;
pub(crate) mod solver;
pub(crate) mod timeline;
