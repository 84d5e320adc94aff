//! What happened in a schedule, as one number: two runs of a seed must come to the same.

use std::hash::{DefaultHasher, Hasher};

/// A running hash of everything that was done, in order.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    hasher: DefaultHasher,
    steps: u64,
    log: Option<Vec<String>>,
}

impl Trace {
    /// One that also keeps what it is told in words, for a replay.
    pub fn in_words() -> Trace {
        Trace { log: Some(Vec::new()), ..Trace::default() }
    }

    /// Something happened.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.steps += 1;
        self.hasher.write_usize(bytes.len());
        self.hasher.write(bytes);
    }

    /// The same, in words.
    pub fn words(&mut self, words: impl FnOnce() -> String) {
        let words = words();
        self.bytes(words.as_bytes());
        if let Some(log) = &mut self.log {
            log.push(words);
        }
    }

    /// Words for what was told as bytes already; only kept.
    pub fn aside(&mut self, words: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(words());
        }
    }

    /// The hash of all of it.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// How much happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What was told in words, if that is kept.
    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }
}
