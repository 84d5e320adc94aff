//! Loading: from what history recovered to the state in memory.
//!
//! Keys come from the images as of the fold and from history after it. Which lease a key has stands
//! in its value, so the leases' keys are gathered at the end. The index is compacted while it is
//! loaded: no reader is there yet who could mind.

use bytes::Bytes;
use prost::Message;
use rusd_proto::raftpb::ConfState;

use crate::alarm::Alarms;
use crate::apply::{ALARMS, COMPACTED_TO_ZERO, MEMBERS_REMOVED};
use crate::error::Fatal;
use crate::hash::CompactionHashes;
use crate::lease::lessor::Lessor;
use crate::members::Members;
use crate::mvcc::key_range::KeyRange;
use crate::mvcc::read;
use crate::mvcc::revision::Revision;
use crate::mvcc::store::{NEVER_COMPACTED, Store};
use crate::options::Options;
use crate::shared::State;
use crate::storage::change::EntryKind;
use crate::storage::{History, Recovered, RecoveredKey, Replayed, StorageError};

/// Rebuilds the state as it was when it was last made durable.
pub(crate) fn load(
    history: &History,
    recovered: &Recovered,
    options: &Options,
) -> Result<State, Fatal> {
    let mut store = Store::new(options.resident_bytes_max);
    let compact = match recovered.compact_revision {
        0 if !recovered.named.contains_key(COMPACTED_TO_ZERO) => NEVER_COMPACTED,
        compact => compact,
    };
    let mut without_value = Vec::new();
    recovered.replay(&mut |replayed| match replayed {
        Replayed::Key(key) => without_value.extend(load_image(&mut store, key)),
        Replayed::Entry(entry) => {
            let is_put = entry.kind == EntryKind::Put;
            let key = entry.kv.key.clone();
            store.replay(&key, entry.revision, is_put.then_some(entry.kv));
        }
    })?;
    store.load_revisions(recovered.revision, compact);
    store.compact_keys(compact, None, usize::MAX);
    fill(&mut store, history, without_value)?;
    let mut lessor = Lessor::default();
    for lease in &recovered.leases {
        lessor.load(lease, options.lease_ttl_seconds_min);
    }
    attach(&store, &mut lessor);
    let mut members = Members::new(options.learners_max);
    if let Some(removed) = recovered.named.get(MEMBERS_REMOVED) {
        members.load_removed(removed);
    }
    for record in recovered.members.values() {
        members.load(record.clone())?;
    }
    let cluster_version = recovered.cluster_version.clone().unwrap_or_default();
    let alarms = Alarms::load(recovered.named.get(ALARMS))?;
    Ok(State {
        store,
        lessor,
        members,
        alarms,
        compaction_hashes: CompactionHashes::default(),
        cluster_version,
    })
}

/// Voters and learners as they were stored.
pub(crate) fn conf_state(recovered: &Recovered) -> Result<ConfState, Fatal> {
    let stored = recovered.conf_state.clone().unwrap_or_default();
    ConfState::decode(stored)
        .map_err(|source| Fatal::MalformedRecord { what: "conf state", source })
}

/// Loads one key; gives it back if its value must be read from history.
fn load_image(store: &mut Store, image: RecoveredKey) -> Option<(Bytes, Revision)> {
    let revisions: Vec<(Revision, bool)> = image
        .revisions
        .iter()
        .map(|(revision, kind)| (*revision, *kind == EntryKind::Delete))
        .collect();
    let (newest, deleted) = *revisions.last()?;
    let is_missing = !deleted && image.latest.is_none();
    store.load_image(&image.key, &revisions, image.latest);
    is_missing.then_some((image.key, newest))
}

/// Reads the values that the image lacked and that nothing has replaced since.
fn fill(
    store: &mut Store,
    history: &History,
    without_value: Vec<(Bytes, Revision)>,
) -> Result<(), StorageError> {
    for (key, revision) in without_value {
        let is_newest = store.entry(&key).is_some_and(|entry| entry.newest().revision == revision);
        if is_newest {
            let kv = read::stored(history, revision, &key)?;
            store.load_value(&key, &kv);
        }
    }
    Ok(())
}

fn attach(store: &Store, lessor: &mut Lessor) {
    for (key, entry) in store.entries(&KeyRange::From(b""), None) {
        let lease = entry.newest().lease;
        // A key whose lease is unknown stays: nothing but a revoke removes keys, and that removes
        // both in one write.
        if lease != 0 {
            lessor.load_key(lease, key);
        }
    }
}
