//! The shortest counterexample: an invalid history, cut down as long as the same rule is blamed.
//!
//! ```text
//!  cut below and above the revisions that the violation names
//!     --> leave out keys --> leave out what does not write --> leave out writes --> again
//! ```
//!
//! Leaving out a write alone would only show a revision that nobody made. So the revisions after it
//! are counted anew, in every answer and event, and so are versions and creations of its keys
//! (`rewrite`). What that makes of a broken history need not be what the store would have said; so
//! every step is judged, and taken back unless the same rule is blamed and no other is broken that
//! was not before.
//!
//! Delta debugging (`reduce`) finds what can be left out: large parts first, then smaller ones.

mod cut;
mod driver;
mod reduce;
mod rewrite;

pub use driver::{Shrunk, shrink};
