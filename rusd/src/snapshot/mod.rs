//! Snapshots for people: files in etcd's format, made of a running member and turned into a new one.
//!
//! ```text
//! member --save--> bbolt file + SHA-256 --status--> what is in it
//!                                       --restore-> the data directory of a new cluster's member
//! ```
//!
//! Files of etcd and of rusd are the same to whoever reads them. Not here: how members send each
//! other their state, which is faster and needs no file (`consensus::snapshot_io`).

mod file;
mod restore;
mod save;
mod status;

pub use file::FileError;
pub use restore::{RestoreError, RestoreOptions, restore};
pub use save::{Measured, SaveError};
pub use status::{Status, StatusError, StatusFormat, status};
