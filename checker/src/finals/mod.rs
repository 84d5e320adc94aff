//! What the final states tell, read when the load had ended and the faults were healed.
//!
//! That they are also what the history leads to is checked by the replay.

pub(crate) mod late;
pub(crate) mod members;
