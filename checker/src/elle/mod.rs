//! Transactions in Elle's manner: anomalies that tell which isolation level a store does not keep.
//!
//! Where linearizability of single operations asks for an order, isolation asks which orders are
//! impossible. From what transactions read, it follows who must come before whom; where that goes in a
//! circle, there is no order, and what the circle is made of tells what was broken.
//!
//! ```text
//!  transactions --list_append | rw_register--> dependencies      anomalies that need no cycle
//!                                                   |                        |
//!                    order (process, real time) --> graph                    |
//!                                                   |                        |
//!                                  scc, component, cycle                     |
//!                                                   |                        v
//!                                                 cycles ------------> report: valid?, not, also-not
//! ```
//!
//! - `transaction`: what a client saw; `names`: what keys and elements are called.
//! - `anomaly`, `models`, `consistency`: names, what follows from what, and which model forbids what.
//! - `writes`: who wrote what. [`list_append`] and [`rw_register`]: the two kinds of histories.
//! - `graph`, `order`, `scc`: the graph and its components.
//! - `automaton`, `walk`, `reach`, `cycle`: the cycles of one component.
//! - `report`, [`explain`], [`draw`]: the answer, for programs and for people.
//!
//! The method, the names and the models are those of Elle (Kingsbury and Alvaro, "Elle: Inferring
//! Isolation Anomalies from Experimental Observations", VLDB 2020; github.com/jepsen-io/elle). Where it
//! differs:
//!
//! - No search ends with a time-out: whether a kind of cycle is there is known before one is looked
//!   for, so there are no `*-cycle-exists` and no `cycle-search-timeout`. What may stay undecided is
//!   said in [`Report::undecided`], and why in `cycle`.
//! - The cycle given is the shortest of its kind in its component, or is said not to be known to be.
//! - A step of a cycle counts by its strongest reason, a write over a write before a read of one. Elle
//!   names the first that it finds, which for registers is the read. The order of a process counts
//!   beside reads and anti-dependencies: Elle drops a cycle that it takes for a step with both.
//! - Each anomaly has a count, and lists its first cases only.
//! - What transactions of unknown outcome read does not count, and what they wrote to registers does.
//! - An element that nobody appended is `garbage-read`, and a register can have a `future-read`.
//! - Registers take their order from the store's revisions, if it tells them.
//! - A source that contradicts the order of versions of one key is still heard for others.
//!
//! Left out: predicates, and whatever anomalies need them; generators of transactions.
//!
//! ```
//! use rusd_checker::elle::list_append::{Mop, check};
//! use rusd_checker::elle::{Model, Names, Options, Outcome, Transaction, Validity, explain};
//!
//! let mut names = Names::new();
//! let (x, y) = (names.key("x"), names.key("y"));
//! let one = names.element("1");
//! let transaction = |process, invoked, mops| Transaction {
//!     process,
//!     invoked,
//!     returned: Some(invoked + 2),
//!     outcome: Outcome::Ok,
//!     mops,
//! };
//! // Each appends to what the other has read empty.
//! let history = [
//!     transaction(0, 0, vec![
//!         Mop::Read { key: x, list: Some(vec![]) },
//!         Mop::Append { key: y, element: one },
//!     ]),
//!     transaction(1, 1, vec![
//!         Mop::Read { key: y, list: Some(vec![]) },
//!         Mop::Append { key: x, element: one },
//!     ]),
//! ];
//! let report = check(&history, &Options::default());
//! assert_eq!(report.valid, Validity::Invalid);
//! assert!(report.has("G2-item".parse()?));
//! assert_eq!(report.not, [Model::RepeatableRead]);
//! assert!(explain::report(&report, &history, &names).contains(
//!     "T1 comes before T2: T1 read x before anything was in it, and T2 appended 1 to it."
//! ));
//! # Ok::<(), rusd_checker::elle::UnknownName>(())
//! ```

pub mod draw;
pub mod explain;
pub mod list_append;
pub mod rw_register;

pub(crate) mod anomaly;
pub(crate) mod consistency;
pub(crate) mod models;
pub(crate) mod names;
pub(crate) mod numbering;
pub(crate) mod options;
pub(crate) mod report;
pub(crate) mod transaction;

pub(crate) mod analysis;
pub(crate) mod automaton;
pub(crate) mod component;
pub(crate) mod cycle;
pub(crate) mod graph;
pub(crate) mod order;
pub(crate) mod reach;
pub(crate) mod scc;
pub(crate) mod walk;
pub(crate) mod writes;

pub use anomaly::{Anomaly, CycleClass, CycleKind, Scope, UnknownName};
pub use consistency::{Boundary, boundary, forbidden, implying, ruled_out};
pub use models::Model;
pub use names::Names;
pub use options::{KeyOrder, Options};
pub use report::{Case, Dependency, Found, Report, Source, Step, Validity};
pub use transaction::{Element, Key, MicroOp, Outcome, Transaction, TransactionId};
