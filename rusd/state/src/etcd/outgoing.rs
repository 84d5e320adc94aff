//! A member's state as the rows of etcd's buckets, while writes go on.
//!
//! Keys are read from an export, block by block, as often as they are asked for: always the same.
//! etcd's file holds nothing that its compaction dropped, but our blocks may, so what is older than
//! the compact revision is looked up in the index. The index answers for the compact revision that the
//! export has, as long as that is the newest one, which is made sure of at the start; a pin keeps it so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use serde::Serialize;

use super::{
    AUTH_REVISION, CLUSTER_VERSION, CONF_STATE, CONSISTENT_INDEX, EtcdBucket, FINISHED_COMPACT,
    SCHEDULED_COMPACT, STORAGE_VERSION, TERM,
};
use crate::alarm::Alarms;
use crate::apply::{ALARMS, COMPACTED_TO_ZERO, MEMBERS_REMOVED};
use crate::error::Fatal;
use crate::hash::{encode_revision, encode_value, is_newest};
use crate::members::{MemberContext, Members};
use crate::mvcc::read::KEYS_VISITED_MAX;
use crate::mvcc::revision::Revision;
use crate::options::LEARNERS_MAX;
use crate::recovery;
use crate::shared::Shared;
use crate::storage::change::{EntryKind, HistoryEntry};
use crate::storage::{Export, Pin, Recovered, StorageError};
use crate::view::View;

/// Bytes of blocks that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// The revision of users and roles in a store that never had any.
const FIRST_AUTH_REVISION: u64 = 1;

/// Takes a row's key and value.
pub type PutRow<'a, E> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), E>;

/// Rows by bucket and key.
type Records = BTreeMap<(EtcdBucket, Vec<u8>), Vec<u8>>;

/// See above.
#[derive(Debug)]
pub struct EtcdRows {
    shared: Arc<Shared>,
    export: Export,
    /// All rows but those of keys.
    records: Records,
    _pin: Pin,
}

impl EtcdRows {
    /// Of what is durable now. `None` if a compaction is not durable yet: ask again after a flush.
    pub fn of(view: &View, storage_version: &str) -> Result<Option<EtcdRows>, Fatal> {
        let shared = Arc::clone(view.shared());
        let (compact, pin) = {
            let state = shared.read();
            let compact = state.store.compact().max(0);
            (compact, shared.history().pin(compact))
        };
        let export = shared.history().export()?;
        if export.position().compact_revision != compact {
            return Ok(None);
        }
        let records = records(&export.recovered()?, storage_version)?;
        Ok(Some(EtcdRows { shared, export, records, _pin: pin }))
    }

    /// The revision that the rows lead to.
    pub fn revision(&self) -> i64 {
        self.export.position().revision
    }

    /// Gives all rows of a bucket in ascending order of their keys.
    pub fn visit<E: From<StorageError>>(
        &mut self,
        bucket: EtcdBucket,
        put: PutRow<'_, E>,
    ) -> Result<(), E> {
        if bucket == EtcdBucket::Key {
            return self.visit_keys(put);
        }
        let rows = self.records.range((bucket, Vec::new())..);
        for ((_, key), value) in rows.take_while(|((of, _), _)| *of == bucket) {
            put(key, value)?;
        }
        Ok(())
    }

    fn visit_keys<E: From<StorageError>>(&mut self, put: PutRow<'_, E>) -> Result<(), E> {
        self.export.rewind();
        loop {
            let entries = self.export.next_entries(READ_BYTES)?;
            if entries.is_empty() {
                return Ok(());
            }
            let deletes = self.last_deletes(&entries);
            for entries in entries.chunks(KEYS_VISITED_MAX) {
                for entry in self.kept(entries, &deletes) {
                    put(&encode_revision(entry.revision, entry.kind), &encode_value(entry))?;
                }
            }
        }
    }

    /// Deletes at the compact revision, of keys that were not put again in the same write.
    fn last_deletes(&self, entries: &[HistoryEntry]) -> BTreeSet<Revision> {
        let compact = self.export.position().compact_revision;
        let mut last = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.revision.main == compact) {
            last.insert(&entry.kv.key, entry);
        }
        let deletes = last.into_values().filter(|entry| entry.kind == EntryKind::Delete);
        deletes.map(|entry| entry.revision).collect()
    }

    /// Those of the entries that etcd's compaction would have left. It keeps a delete at the compact
    /// revision for the watches that begin there.
    fn kept<'e>(
        &self,
        entries: &'e [HistoryEntry],
        deletes: &BTreeSet<Revision>,
    ) -> Vec<&'e HistoryEntry> {
        let compact = self.export.position().compact_revision;
        let state = self.shared.read();
        let is_kept = |entry: &&HistoryEntry| {
            entry.revision.main > compact
                || deletes.contains(&entry.revision)
                || is_newest(&state.store, entry, compact)
        };
        entries.iter().filter(is_kept).collect()
    }
}

/// The voters and learners as etcd's JSON.
#[derive(Debug, Serialize)]
struct ConfStateJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    auto_leave: bool,
}

fn records(recovered: &Recovered, storage_version: &str) -> Result<Records, Fatal> {
    let mut rows = BTreeMap::new();
    let mut put = |bucket, key: &[u8], value: &[u8]| {
        rows.insert((bucket, key.to_vec()), value.to_vec());
    };
    let meta = EtcdBucket::Meta;
    put(meta, CONSISTENT_INDEX.as_bytes(), &recovered.applied_index.to_be_bytes());
    put(meta, TERM.as_bytes(), &recovered.term.to_be_bytes());
    put(meta, STORAGE_VERSION.as_bytes(), storage_version.as_bytes());
    let conf_state = recovery::conf_state(recovered)?;
    let conf_state = ConfStateJson {
        voters: conf_state.voters,
        learners: conf_state.learners,
        auto_leave: conf_state.auto_leave.unwrap_or(false),
    };
    let json = serde_json::to_vec(&conf_state).expect("numbers are JSON");
    put(meta, CONF_STATE.as_bytes(), &json);
    if recovered.compact_revision > 0 || recovered.named.contains_key(COMPACTED_TO_ZERO) {
        let revision = Revision::first_of(recovered.compact_revision);
        let revision = encode_revision(revision, EntryKind::Put);
        put(meta, SCHEDULED_COMPACT.as_bytes(), &revision);
        put(meta, FINISHED_COMPACT.as_bytes(), &revision);
    }
    put(EtcdBucket::Auth, AUTH_REVISION.as_bytes(), &FIRST_AUTH_REVISION.to_be_bytes());
    if let Some(version) = recovered.cluster_version.as_ref().filter(|version| !version.is_empty())
    {
        put(EtcdBucket::Cluster, CLUSTER_VERSION.as_bytes(), version.as_bytes());
    }
    for lease in &recovered.leases {
        put(EtcdBucket::Lease, &lease.id.to_be_bytes(), &lease.encode_to_vec());
    }
    for alarm in Alarms::load(recovered.named.get(ALARMS))?.list(None) {
        put(EtcdBucket::Alarm, &alarm.encode_to_vec(), &[]);
    }
    let members = members(recovered)?;
    for member in members.list() {
        let id = member.id;
        let context = MemberContext {
            id,
            peer_urls: member.peer_ur_ls,
            is_learner: member.is_learner,
            name: member.name,
            client_urls: member.client_ur_ls,
            is_promote: false,
        };
        put(EtcdBucket::Members, &hexadecimal(id), &context.to_json());
    }
    for id in members.removed() {
        put(EtcdBucket::MembersRemoved, &hexadecimal(id), b"removed");
    }
    Ok(rows)
}

fn hexadecimal(id: u64) -> Vec<u8> {
    format!("{id:x}").into_bytes()
}

fn members(recovered: &Recovered) -> Result<Members, Fatal> {
    let mut members = Members::new(LEARNERS_MAX);
    if let Some(removed) = recovered.named.get(MEMBERS_REMOVED) {
        members.load_removed(removed);
    }
    for record in recovered.members.values() {
        members.load(Bytes::clone(record))?;
    }
    Ok(members)
}
