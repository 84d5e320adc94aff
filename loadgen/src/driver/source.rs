//! What a thread's clients do, and when.

use super::preload::Preload;
use crate::pacing::{Due, Timetable};

/// What a thread's clients do, and when.
#[derive(Debug)]
pub enum Source {
    /// What their generators choose, by a timetable.
    Load(Timetable),
    /// Put keys once.
    Preload(Preload),
}

impl Source {
    /// When the next operation is due.
    pub(super) fn next(&self) -> Due {
        match self {
            Source::Load(timetable) => timetable.next(),
            Source::Preload(preload) => preload.next(),
        }
    }

    /// Whether clients ask again when they were answered.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Source::Load(timetable) => timetable.is_closed(),
            Source::Preload(_) => true,
        }
    }
}
