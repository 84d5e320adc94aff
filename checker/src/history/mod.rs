//! What was asked of a store, what it answered, and when.
//!
//! ```text
//!  file --jsonl--> Record --History::push--> History --lint--> engines
//! ```
//!
//! Not here: any judgement of the store. A history that breaks the format's own rules is bad
//! input ([`error::InputError`]), never an invalid store.

pub mod digests;
pub mod record;
pub mod text;

pub mod error;
pub mod jsonl;
mod line;

mod blocks;
mod collected;
pub(crate) mod ending;
pub(crate) mod lint;

pub use collected::{FinalLine, History, NemesisLine, OperationLine, WatchLine};
