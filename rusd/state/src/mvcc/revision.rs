//! Revisions: when something happened in the store.
//!
//! A write takes one main revision; each of its operations that change a key takes the next sub
//! revision, from 0, in operation order (etcd's `mvcc` has the same two numbers).

/// When a key was changed: which write, and which operation of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision {
    /// The write. The store starts at 1; the first write takes 2.
    pub main: i64,
    /// The operation inside the write, from 0.
    pub sub: i64,
}

impl Revision {
    /// The first operation of the write `main`.
    pub const fn first_of(main: i64) -> Self {
        Revision { main, sub: 0 }
    }
}
