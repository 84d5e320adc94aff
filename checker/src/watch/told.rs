//! An event as a history tells it: in full, or in short.

use crate::history::WatchLine;
use crate::history::digests::{self, Content};
use crate::history::record::{Event, EventKind};
use crate::model::keyspace::{Change, Stored};
use crate::render;

/// What a history tells of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told<'h> {
    /// All of it.
    Whole(&'h Event),
    /// Its revision, and a digest of all of it.
    Short {
        /// Its mod revision.
        revision: i64,
        /// See [`digests`].
        digest: u32,
    },
}

/// An event, with the line of the response that brought it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'h> {
    pub(crate) line: &'h WatchLine,
    pub(crate) told: Told<'h>,
}

impl Told<'_> {
    /// The event's mod revision.
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Told::Whole(event) => event.kv.mod_revision,
            Told::Short { revision, .. } => *revision,
        }
    }

    /// The digest that the event has, or would have.
    pub(crate) fn digest(&self) -> u32 {
        match self {
            Told::Whole(event) => digests::digest(event),
            Told::Short { digest, .. } => *digest,
        }
    }

    /// Whether both are of one revision and one key. Two events told in short are if they say the
    /// same.
    pub(crate) fn repeats(&self, other: &Told<'_>) -> bool {
        self.revision() == other.revision()
            && match (self, other) {
                (Told::Whole(event), Told::Whole(other)) => event.kv.key == other.kv.key,
                _ => self.digest() == other.digest(),
            }
    }

    /// For people.
    pub(crate) fn show(&self) -> String {
        match self {
            Told::Whole(event) => render::event(event),
            Told::Short { revision, digest } => {
                format!("an event of revision {revision} with digest {digest:08x}")
            }
        }
    }
}

/// The digest that an event of this change has, with the key-value before or without.
pub(crate) fn digest_of(revision: i64, change: &Change, with_before: bool) -> u32 {
    let key = change.key.as_bytes();
    let content = |stored| content(key, stored);
    let before = change.before.as_ref().filter(|_| with_before).map(content);
    match &change.after {
        Some(after) => digests::of_put(content(after), before),
        None => digests::of_delete(key, revision, before),
    }
}

fn content<'a>(key: &'a [u8], stored: &'a Stored) -> Content<'a> {
    Content {
        key,
        value: stored.value.as_bytes(),
        numbers: [stored.create_revision, stored.mod_revision, stored.version, stored.lease],
    }
}

/// Whether an event told in full says what a change was, but for the key-value before.
pub(crate) fn says(event: &Event, change: &Change) -> bool {
    match (&change.after, event.kind) {
        (Some(after), EventKind::Put) => after.is(&event.kv),
        (None, EventKind::Delete) => true,
        (Some(_), EventKind::Delete) | (None, EventKind::Put) => false,
    }
}
