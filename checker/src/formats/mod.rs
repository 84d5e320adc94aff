//! Reading and writing everybody's histories.
//!
//! ```text
//!  history.edn      --jepsen_edn----.                     .--> interpret --> Call, Transaction
//!  history.json     --jepsen_json---+--> Event (JepsenOp) +--> pairing
//!  jepsen.log       --jepsen_log----+                     '--> jepsen_edn, jepsen_json, porcupine_kv
//!  key-value text   --porcupine_kv--'                            ^
//!                                                                | native_to_jepsen
//!  history.jsonl[.zst] --native----.                             |
//!                                  +--> Record ------------------+--> native, robustness
//!  report folder   --robustness----'
//! ```
//!
//! Every reader streams: memory holds one operation at a time, whose text and nesting are limited, so
//! that no input takes more than that (a report is gone through once before, and its changes are
//! kept: see [`robustness`]). Every error says line, column and byte. Input never panics.
//!
//! Not here: any judgement. [`interpret`] says what the operations of a Jepsen history are to a model:
//! calls in the words of [`model`](crate::model), or transactions ([`calls`]).

pub mod calls;
pub mod interpret;

pub mod edn;
pub mod jepsen;
pub mod jepsen_edn;
pub mod jepsen_json;
pub mod jepsen_log;
pub mod porcupine_kv;

pub mod native;
pub mod robustness;

pub mod compressed;
pub mod detect;

mod convert;
mod error;
mod json;
mod left_out;
mod native_to_jepsen;
mod pairing;
mod scanner;

pub use convert::{Converted, Source, Target, convert, events};
pub use detect::{Format, detect};
pub use error::{FormatError, Place};
pub use left_out::LeftOut;
pub use pairing::{Linted, Paired, Pairs, Remark, Remarks};
