//! A history as one page for a browser: who did what when, under which faults, in which order it took
//! effect, and where it is wrong.
//!
//! ```text
//!  Checked (a store, by revisions)      --store---.
//!                                                 +--> Timeline --page--> one HTML file
//!  Recording (Jepsen's events) + report --events--'
//! ```
//!
//! A page holds a history of a million operations, so what is drawn goes into it as columns of
//! numbers (`columns`), and what is only read, one operation at a time, as compressed blocks of words
//! that the page opens when somebody asks. It draws what is in view, and of that at most a mark for
//! each column of pixels (`picture.js`).
//!
//! Not here: any judgement. What a page says of a history was found out before.
//!
//! Invariant of a [`Timeline`]: marks are in the order of their lanes, and those of one lane ascend and
//! do not overlap, but for their last points in time.

mod columns;
mod events;
mod lanes;
mod page;
mod store;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use events::{Kept, Recording, of_calls, of_transactions};
pub use store::of_store;

/// Everything that a page shows.
pub struct Timeline<'a> {
    title: String,
    verdict: &'static str,
    headline: String,
    facts: Vec<String>,
    clock: Clock,
    kinds: Vec<Kind>,
    lanes: Vec<Lane>,
    marks: Vec<Mark>,
    bands: Vec<Band>,
    order: Order,
    violations: Vec<Violation>,
    states: States,
    words: Box<dyn Words + 'a>,
}

/// What the times of a history are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Nanoseconds since the run began.
    Nanoseconds,
    /// Positions among the events of the history.
    Events,
}

/// A kind of marks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    name: String,
    /// Its colour in the style.
    colour: &'static str,
}

impl Kind {
    fn new(name: &str, colour: &'static str) -> Kind {
        Kind { name: name.to_owned(), colour }
    }
}

/// A row of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lane {
    name: String,
    /// For where there is little room.
    short: String,
    is_watch: bool,
    /// How many marks it has.
    marks: usize,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It was answered.
    Ok,
    /// It provably did nothing.
    Failed,
    /// It may have been done, or may be done later, or never.
    Unknown,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    start: u64,
    /// `None` if nobody knows.
    end: Option<u64>,
    kind: u32,
    ended: Ended,
    /// It made its revision.
    wrote: bool,
    /// Line in the file.
    line: u64,
    /// The revision of the answer; 0 if there is none.
    revision: i64,
    /// The revision of the state that it tells of; 0 if there is none.
    looked_at: i64,
    /// What its words are asked by.
    source: usize,
}

/// A fault, from its begin to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Band {
    name: String,
    /// Its class in the style.
    class: String,
    start: u64,
    /// `None` if it goes on to the end of the history.
    end: Option<u64>,
}

/// The order in which marks took effect, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    /// What its numbers are: "revisions".
    name: &'static str,
    /// What stands before its numbers.
    sign: &'static str,
    /// Marks, with their numbers in the order, ascending.
    marks: Vec<(usize, i64)>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Violation {
    name: String,
    /// What is wrong, in paragraphs.
    words: Vec<String>,
    lines: Vec<Named>,
    /// From one line to another, by their places in `lines`, with what an arrow says.
    arrows: Vec<(usize, usize, &'static str)>,
}

/// A line of the history that a violation names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    name: String,
    text: String,
    mark: Option<usize>,
}

/// What was in each key, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct States {
    /// In the order of their bytes.
    keys: Vec<String>,
    /// Revision and key of each change, in order; the first are what was there before.
    changes: Vec<(i64, u32)>,
    /// Up to this revision all of it is certain.
    certain: i64,
    /// Up to this one it is one of the ways in which it can have been.
    done: i64,
}

/// What can be read of a mark or a change. Asked for one after the other, so that nobody has to hold
/// the words of a million operations.
trait Words: Sync {
    /// Who did it, what was asked, and what was answered.
    fn of_mark(&self, source: usize) -> [String; 3];

    /// The keys that it is on, as ranges of [`States::keys`].
    fn keys(&self, source: usize) -> Vec<Range<u32>>;

    /// What a change left, by its place in [`States::changes`].
    fn of_change(&self, place: usize) -> String;
}

/// The name of a file without its folders.
fn title(path: &str) -> String {
    let name = std::path::Path::new(path).file_name();
    name.map_or(path.to_owned(), |name| name.to_string_lossy().into_owned())
}
