//! A member's state made of the rows of etcd's buckets, for a new cluster.
//!
//! Who the members were is forgotten, as by `etcdutl snapshot restore`: the new cluster's are put in
//! their place, and the log begins with them. Everything that users wrote stays.
//!
//! The rows may hold anything. What would be lost or make no sense is refused, and named.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusd_proto::etcdserverpb::{AlarmMember, AlarmResponse};
use rusd_proto::leasepb::Lease;
use rusd_proto::mvccpb::KeyValue;
use rusd_proto::raftpb::{ConfState, Entry};

use super::{
    AUTH_ENABLED, CLUSTER_VERSION, EtcdBucket, FINISHED_COMPACT, RevisionKey, SCHEDULED_COMPACT,
};
use crate::apply::{ALARMS, COMPACTED_TO_ZERO};
use crate::error::Fatal;
use crate::members::Members;
use crate::mvcc::revision::Revision;
use crate::options::LEARNERS_MAX;
use crate::storage::change::{Changes, EntryKind, HistoryEntry, LeaseChange, MetaChange};
use crate::storage::{Backend, Durable, Fill, StorageError};

/// Why a state cannot be made of the rows.
#[derive(Debug, thiserror::Error)]
pub enum FromEtcdError {
    /// A row does not hold what it should.
    #[error("bucket {bucket}, key \"{key}\": {reason}")]
    Row {
        /// The bucket's name.
        bucket: &'static str,
        /// The row's key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// There is a bucket that this program does not know.
    #[error("bucket \"{0}\" is not one of etcd's")]
    UnknownBucket(String),
    /// Users and roles would be lost.
    #[error("the snapshot has users, roles or authentication, which rusd does not keep yet")]
    Auth,
    /// The engine cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The first members make no cluster.
    #[error(transparent)]
    Members(#[from] Fatal),
}

/// How the new cluster begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Founding {
    /// The first entries of its log: one per member, each adding it. All are committed.
    pub entries: Vec<Entry>,
    /// The members, as voters.
    pub conf_state: ConfState,
    /// By how much the revision is raised above the newest one, which is marked as compacted with
    /// all before it. `None`: it stays.
    pub bump_revision: Option<i64>,
}

/// See above. Takes the rows of each bucket in order, the buckets in any order.
#[derive(Debug)]
pub struct FromEtcd {
    fill: Fill,
    /// The changes of the revision that is coming in.
    pending: Vec<HistoryEntry>,
    last: Revision,
    /// The greater one of those that were begun and finished.
    compact: Option<i64>,
    alarms: Vec<AlarmMember>,
    leases: Vec<LeaseChange>,
    meta: Vec<MetaChange>,
    has_empty_record: bool,
}

impl FromEtcd {
    /// Into an empty engine.
    pub fn into(backend: Arc<dyn Backend>) -> FromEtcd {
        FromEtcd {
            fill: Fill::into(backend),
            pending: Vec::new(),
            last: Revision::default(),
            compact: None,
            alarms: Vec::new(),
            leases: Vec::new(),
            meta: Vec::new(),
            has_empty_record: false,
        }
    }

    /// Among the rows was the empty record that a raised revision leaves, whose key is empty.
    pub fn has_empty_record(&self) -> bool {
        self.has_empty_record
    }

    /// Takes the next row of a bucket.
    pub fn add(
        &mut self,
        bucket: EtcdBucket,
        key: &[u8],
        value: Bytes,
    ) -> Result<(), FromEtcdError> {
        let bad = |reason| FromEtcdError::Row {
            bucket: bucket.name(),
            key: key.escape_ascii().to_string(),
            reason,
        };
        match bucket {
            EtcdBucket::Key => {
                let entry = read_entry(key, value).map_err(bad)?;
                if entry.revision <= self.last {
                    return Err(bad("it does not follow the revision before it".to_owned()));
                }
                return self.add_entry(entry);
            }
            EtcdBucket::Lease => self.leases.push(read_lease(key, value).map_err(bad)?),
            EtcdBucket::Alarm => {
                let alarm = AlarmMember::decode(key);
                self.alarms.push(alarm.map_err(|error| bad(error.to_string()))?);
            }
            EtcdBucket::Cluster if key == CLUSTER_VERSION.as_bytes() => {
                let version = String::from_utf8(value.to_vec());
                let version = version.map_err(|error| bad(error.to_string()))?;
                self.meta.push(MetaChange::ClusterVersion(version));
            }
            EtcdBucket::Meta
                if [SCHEDULED_COMPACT, FINISHED_COMPACT].map(str::as_bytes).contains(&key) =>
            {
                let read = RevisionKey::decode(&value).map(|read| read.revision.main);
                let revision = read.ok_or_else(|| bad("not a revision".to_owned()))?;
                self.compact = self.compact.max(Some(revision));
            }
            EtcdBucket::Auth if key == AUTH_ENABLED.as_bytes() && value == [0][..] => {}
            EtcdBucket::Auth if key == AUTH_ENABLED.as_bytes() => return Err(FromEtcdError::Auth),
            EtcdBucket::AuthRoles | EtcdBucket::AuthUsers => return Err(FromEtcdError::Auth),
            // Who the members were, how far the log was, and which etcd wrote it.
            EtcdBucket::Auth
            | EtcdBucket::Cluster
            | EtcdBucket::Members
            | EtcdBucket::MembersRemoved
            | EtcdBucket::Meta => {}
        }
        Ok(())
    }

    fn add_entry(&mut self, entry: HistoryEntry) -> Result<(), FromEtcdError> {
        self.has_empty_record |= entry.kv.key.is_empty();
        let is_next = entry.revision.main != self.last.main;
        self.last = entry.revision;
        let whole = if is_next { std::mem::take(&mut self.pending) } else { Vec::new() };
        self.pending.push(entry);
        self.add_revision(whole)
    }

    fn add_revision(&mut self, history: Vec<HistoryEntry>) -> Result<(), FromEtcdError> {
        Ok(self.fill.push(Changes { history, ..Changes::default() })?)
    }

    /// After the last row: the state is whole, and durable.
    pub fn finish(mut self, founding: Founding) -> Result<Durable, FromEtcdError> {
        let last = std::mem::take(&mut self.pending);
        self.add_revision(last)?;
        let mut revision = self.last.main.max(self.compact.unwrap_or(0));
        if let Some(bump) = founding.bump_revision {
            // As etcdutl does: an empty record at the new revision.
            let main = self.last.main.checked_add(bump).ok_or_else(too_far)?;
            let revision_new = Revision::first_of(main);
            let kv = Arc::new(empty_record(revision_new));
            let entry = HistoryEntry { revision: revision_new, kind: EntryKind::Put, kv };
            self.add_revision(vec![entry])?;
            self.compact = self.compact.max(Some(main));
            revision = revision.max(main);
        }
        let mut members = Members::new(LEARNERS_MAX);
        for entry in &founding.entries {
            let refused = |error| FromEtcdError::Row {
                bucket: EtcdBucket::Members.name(),
                key: String::new(),
                reason: format!("{error:?}"),
            };
            members.change_by(entry)?.map_err(refused)?;
        }
        let mut meta = self.meta;
        for member in members.list() {
            meta.push(MetaChange::Member(member.id, members.record(member.id)));
        }
        meta.push(MetaChange::ConfState(founding.conf_state.encode_to_vec().into()));
        if let Some(compact) = self.compact {
            meta.push(MetaChange::CompactRevision(compact));
            if compact == 0 {
                meta.push(MetaChange::Named(COMPACTED_TO_ZERO.to_owned(), Some(Bytes::new())));
            }
        }
        if !self.alarms.is_empty() {
            let record = AlarmResponse { header: None, alarms: self.alarms }.encode_to_vec();
            meta.push(MetaChange::Named(ALARMS.to_owned(), Some(record.into())));
        }
        let (index, term) =
            founding.entries.last().map_or((0, 0), |entry| (entry.index(), entry.term()));
        self.fill.push(Changes { index, term, leases: self.leases, meta, history: Vec::new() })?;
        Ok(self.fill.finish(revision.max(1))?)
    }
}

fn too_far() -> FromEtcdError {
    FromEtcdError::Row {
        bucket: EtcdBucket::Key.name(),
        key: String::new(),
        reason: "the revision would be raised beyond all numbers".to_owned(),
    }
}

/// The empty record, as we keep it: like any other it says of which revision it is.
fn empty_record(revision: Revision) -> KeyValue {
    KeyValue { mod_revision: revision.main, ..KeyValue::default() }
}

fn read_entry(key: &[u8], value: Bytes) -> Result<HistoryEntry, String> {
    let RevisionKey { revision, kind } = RevisionKey::decode(key).ok_or("not a revision")?;
    let mut kv = KeyValue::decode(value).map_err(|error| error.to_string())?;
    // What etcdutl leaves where it raised the revision.
    if kind == EntryKind::Put && kv == KeyValue::default() {
        let kv = Arc::new(empty_record(revision));
        return Ok(HistoryEntry { revision, kind, kv });
    }
    if kv.key.is_empty() {
        return Err("it has no key".to_owned());
    }
    match kind {
        EntryKind::Delete => {
            kv = KeyValue { key: kv.key, mod_revision: revision.main, ..KeyValue::default() };
        }
        EntryKind::Put if kv.mod_revision != revision.main || kv.version < 1 => {
            let KeyValue { mod_revision, version, .. } = kv;
            return Err(format!("holds version {version} of revision {mod_revision}"));
        }
        EntryKind::Put => {}
    }
    Ok(HistoryEntry { revision, kind, kv: Arc::new(kv) })
}

fn read_lease(key: &[u8], value: Bytes) -> Result<LeaseChange, String> {
    let lease = Lease::decode(value).map_err(|error| error.to_string())?;
    if key != lease.id.to_be_bytes() {
        return Err(format!("holds lease {:x}", lease.id));
    }
    Ok(LeaseChange::Put(lease))
}
