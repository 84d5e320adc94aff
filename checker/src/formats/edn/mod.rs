//! EDN, the notation of Clojure's data, as far as histories use it.
//!
//! [`Reader`] takes one form after another from a stream, with the place of each; [`Edn`] is a form,
//! and its `Display` writes it. The reader is our own because the crates there are read a whole text
//! at once: a history is one vector of a gigabyte, and a reader must neither hold it nor follow it
//! into any depth.
//!
//! Left out: metadata, quotes and the other reader macros of Clojure, which no printed history has.

mod read;
mod value;
mod write;

pub use read::Reader;
pub(crate) use read::{Field, is_token};
pub use value::Edn;
