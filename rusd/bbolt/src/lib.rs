//! Files of bbolt, the engine of etcd: written from sorted data, and read without trusting them.
//!
//! ```text
//!   page 0, 1     meta: page size, root bucket, number of pages; the one of the later transaction counts
//!   page 2 ...    leaf and branch pages of B+ trees, each in its page and as many after it as it needs
//! ```
//!
//! A file is a tree of buckets by name; a bucket is a tree of keys and values, or, when it is small,
//! stands inside of the entry that names it.
//!
//! A [`Writer`] takes buckets and keys in ascending order and writes pages in the order of the file, so
//! it holds one page per level of a tree and needs no way back. The first page names the last one:
//! the same rows go through a measuring writer first. [`Database`] reads: whatever the bytes are, it
//! neither panics nor runs forever, and holds no more than one page of each level.
//!
//! Not here: what etcd keeps in which bucket; changing a file; buckets inside of buckets; the list of
//! free pages, which neither a reader nor etcd needs (etcd makes it anew when it opens a file).
//!
//! The format is that of bbolt 1.3 to 1.5 (`internal/common` of go.etcd.io/bbolt), as a little-endian
//! machine writes it.

mod page;
mod read;
mod write;

pub use page::PageSize;
pub use read::{Bucket, BucketNames, Database, Entries, ReadAt, ReadError};
pub use write::{Layout, Writer};
