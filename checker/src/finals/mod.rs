//! What the final states tell, read when the load had ended and the faults were healed; and, at the end,
//! whether all that was told fits together.
//!
//! That the final states are also what the history leads to is checked by the replay.

pub(crate) mod agreement;
pub(crate) mod late;
pub(crate) mod members;
