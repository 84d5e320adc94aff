//! Judges the history of a key-value store: did it keep its promises?
//!
//! [`check_file`] reads a history (see [`history::record`] for the format) and says whether the
//! store was linearizable, its watches complete, its leases kept. It knows nothing of servers: a
//! history is all it sees, and its model of the store is its own.
//!
//! [`elle`] says of transactions on lists and registers which isolation level they do not keep.
//!
//! [`timeline_page`] makes a page of a history, for a browser: who did what when, and what is wrong.
//!
//! [`formats`] reads and writes the histories of others: Jepsen's, Porcupine's, those of etcd's
//! robustness tests.

pub mod elle;
pub mod formats;
pub mod history;
pub mod model;
pub mod report;
pub mod search;
pub mod stream;
pub mod synthetic;
pub mod synthetic_calls;
pub mod timeline_page;
pub mod verdict;

mod check;
mod finals;
mod findings;
mod hashing;
mod linear;
mod render;
mod shrink;
mod threads;
mod watch;

pub use check::calls::{CallCounts, CallsOptions, CallsReport, NoOrder, ShownCall, check_calls};
pub use check::transactions::{
    Explanation, TransactionCounts, TransactionsReport, check_list_append, check_rw_register,
};
pub use check::{Checked, Options, check, check_file, check_records};
pub use history::error::InputError;
pub use shrink::{Shrunk, shrink};
pub use verdict::{Engine, Report, Rule, Verdict, Violation};
