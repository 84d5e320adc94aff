//! Offline check of everything that an engine holds.
//!
//! 1. Every record opens: checksum, layout, type.
//! 2. History ascends, is whole from the compact revision on, and each change follows from the one
//!    before it of its key (version, create revision, no delete of what is not there).
//! 3. The images say what history says as of the fold, as far as compaction lets one tell.
//! 4. Every lease that a live key names is there.
//!
//! It changes nothing and goes on after a finding, so one run tells all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;
use crate::storage::Backend;
use crate::storage::blocks::{RawEntry, ReadBlock};
use crate::storage::change::EntryKind;
use crate::storage::error::StorageError;
use crate::storage::fold::{self, IndexEntry};
use crate::storage::keycode;
use crate::storage::recovery::{self, Recovered, Rows};
use crate::storage::schema::{self, MetaKey, Tree};
use crate::storage::sequence::Sequence;
use crate::storage::tally::entry_bytes;

/// Findings that a report keeps; more are only counted.
const FINDINGS_KEPT_MAX: usize = 100;

/// What was checked, and what was found.
#[must_use = "what is wrong stands in `findings`"]
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Applied index of the log.
    pub applied_index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Main revision of the store.
    pub revision: i64,
    /// Compact revision.
    pub compact_revision: i64,
    /// Revision as of which the images are complete; 0 if there are none.
    pub fold_revision: i64,
    /// Blocks of history.
    pub blocks: u64,
    /// Entries in them.
    pub entries: u64,
    /// Keys that are there, by history.
    pub live_keys: u64,
    /// Rows of the `index` image.
    pub index_rows: u64,
    /// Rows of the `kv` image.
    pub kv_rows: u64,
    /// Leases.
    pub leases: u64,
    /// What is wrong, up to a hundred findings.
    pub findings: Vec<StorageError>,
    /// How many findings there were in all.
    pub findings_total: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings_total == 0
    }

    fn find(&mut self, finding: StorageError) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_KEPT_MAX {
            self.findings.push(finding);
        }
    }
}

/// Checks everything that an engine holds. `Err` if the small records do not even say what to
/// check, or the engine fails.
pub fn verify(backend: &Arc<dyn Backend>) -> Result<VerifyReport, StorageError> {
    let recovered = recovery::read(backend)?;
    let report = VerifyReport {
        applied_index: recovered.applied_index,
        term: recovered.term,
        revision: recovered.revision,
        compact_revision: recovered.compact_revision,
        fold_revision: recovered.fold_revision,
        leases: count(recovered.leases.len()),
        ..VerifyReport::default()
    };
    let mut verifier = Verifier { backend: &**backend, recovered, report, keys: BTreeMap::new() };
    verifier.check_history()?;
    verifier.check_images()?;
    verifier.check_leases();
    Ok(verifier.report)
}

fn count(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits")
}

struct Verifier<'a> {
    backend: &'a dyn Backend,
    recovered: Recovered,
    report: VerifyReport,
    keys: BTreeMap<Bytes, KeyFacts>,
}

/// What history says of a key.
#[derive(Debug, Default)]
struct KeyFacts {
    /// Its changes, with a checksum of the encoded `KeyValue`.
    changes: Vec<(IndexEntry, u32)>,
    /// The last of them.
    latest: KeyValue,
}

impl KeyFacts {
    fn is_alive(&self) -> bool {
        self.changes.last().is_some_and(|((_, kind), _)| *kind == EntryKind::Put)
    }

    fn has(&self, entry: &IndexEntry) -> bool {
        let found = self.changes.binary_search_by_key(&entry.0, |(change, _)| change.0);
        found.is_ok_and(|position| self.changes[position].0 == *entry)
    }

    /// Why a change cannot follow what came before it.
    fn refuses(&self, kind: EntryKind, kv: &KeyValue) -> Option<String> {
        let expected = match (self.is_alive(), kind) {
            (false, EntryKind::Delete) => return Some("deletes a key that is not there".into()),
            (true, EntryKind::Delete) => return None,
            (false, EntryKind::Put) => (kv.mod_revision, 1),
            (true, EntryKind::Put) => (self.latest.create_revision, self.latest.version + 1),
        };
        let found = (kv.create_revision, kv.version);
        (found != expected).then(|| {
            format!("create revision and version are {found:?}, history makes them {expected:?}")
        })
    }
}

/// Where the check of history stands.
struct Cursor {
    sequence: Sequence,
    /// A block could not be read, so the next gap is no finding of its own.
    is_torn: bool,
}

impl Verifier<'_> {
    fn check_history(&mut self) -> Result<(), StorageError> {
        let backend = self.backend;
        let sequence = Sequence::of(self.recovered.position(), 0);
        let mut cursor = Cursor { sequence, is_torn: false };
        let mut bytes = 0;
        backend.scan(Tree::KvRev, &[], &mut |key, value| {
            self.report.blocks += 1;
            bytes += entry_bytes(key, value.len());
            if let Err(finding) = self.check_block(key, &value, &mut cursor) {
                self.report.find(finding);
                cursor.is_torn = true;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let entries = i64::try_from(self.report.entries).expect("a count fits");
        let said = self.recovered.history;
        if self.report.findings_total == 0 {
            self.check_tally(MetaKey::HistoryEntries, said.count, entries);
            self.check_tally(MetaKey::HistoryBytes, said.bytes, bytes);
        }
        if !cursor.is_torn
            && let Err(finding) = cursor.sequence.end()
        {
            self.report.find(finding);
        }
        self.report.live_keys = count(self.keys.values().filter(|key| key.is_alive()).count());
        Ok(())
    }

    fn check_tally(&mut self, key: MetaKey, said: i64, found: i64) {
        if said != found {
            let reason = format!("says {said}, but there are {found}");
            self.report.find(StorageError::corrupt(Tree::Meta, &key.encode(), reason));
        }
    }

    fn check_block(
        &mut self,
        key: &[u8],
        value: &Bytes,
        cursor: &mut Cursor,
    ) -> Result<(), StorageError> {
        let block = ReadBlock::open(key, value)?;
        let corrupt = |reason: String| StorageError::corrupt(Tree::KvRev, key, reason);
        if let Some(last) = cursor.sequence.last().filter(|last| block.main <= last.main) {
            return Err(corrupt(format!("the block before it reaches to {}", last.main)));
        }
        let mut entries = 0;
        for entry in block.entries() {
            let entry = entry?;
            entries += 1;
            if std::mem::take(&mut cursor.is_torn) {
                cursor.sequence.skip_to(entry.revision);
            } else if let Err(finding) = cursor.sequence.take(entry.revision) {
                self.report.find(finding);
            }
            self.check_entry(&entry)?;
        }
        self.report.entries += entries;
        if entries == 0 { Err(corrupt("an empty block".into())) } else { Ok(()) }
    }

    fn check_entry(&mut self, entry: &RawEntry) -> Result<(), StorageError> {
        let kv = entry.decode()?;
        let main = entry.revision.main;
        let facts = self.keys.entry(kv.key.clone()).or_default();
        let mut reason = None;
        if kv.mod_revision != main {
            reason = Some(format!("holds mod revision {}", kv.mod_revision));
        } else if main > self.recovered.compact_revision {
            reason = facts.refuses(entry.kind, &kv);
        }
        facts.changes.push(((entry.revision, entry.kind), crc32c::crc32c(&entry.kv)));
        if let Some(reason) = reason {
            let reason = format!("key \"{}\": {reason}", kv.key.escape_ascii());
            let key = keycode::main_key(main);
            self.report.find(StorageError::corrupt(Tree::KvRev, &key, reason));
        }
        // In memory of its own: the block goes.
        let key = Bytes::copy_from_slice(&kv.key);
        facts.latest = KeyValue { key, value: Bytes::new(), ..kv };
        Ok(())
    }

    fn check_images(&mut self) -> Result<(), StorageError> {
        // A lost image is made again from history; it is no damage.
        if self.recovered.fold_revision == 0 || !self.recovered.has_images()? {
            self.report.fold_revision = 0;
            return Ok(());
        }
        let mut index = Rows::of(self.backend, Tree::Index);
        let mut values = Rows::of(self.backend, Tree::Kv);
        let keys = std::mem::take(&mut self.keys);
        let mut history = keys.iter().peekable();
        let mut index_row = index.next()?;
        let mut value_row = values.next()?;
        let nothing = KeyFacts::default();
        loop {
            let candidates = [
                history.peek().map(|(key, _)| (*key).clone()),
                index_row.as_ref().map(|(key, _)| key.clone()),
                value_row.as_ref().map(|(key, _)| key.clone()),
            ];
            let Some(key) = candidates.into_iter().flatten().min() else { break };
            let facts = history.next_if(|(other, _)| **other == key).map_or(&nothing, |row| row.1);
            let index_here = take_row(&mut index_row, &mut index, &key)?;
            let value_here = take_row(&mut value_row, &mut values, &key)?;
            self.report.index_rows += u64::from(index_here.is_some());
            self.report.kv_rows += u64::from(value_here.is_some());
            let findings =
                [self.check_index(&key, facts, index_here), self.check_kv(&key, facts, value_here)];
            findings.into_iter().filter_map(Result::err).for_each(|error| self.report.find(error));
        }
        self.keys = keys;
        Ok(())
    }

    /// The row has every revision up to the fold that a read can see, and none that history lacks.
    /// A fold that was cut short may have made it newer.
    fn check_index(
        &self,
        key: &[u8],
        facts: &KeyFacts,
        row: Option<Bytes>,
    ) -> Result<(), StorageError> {
        let in_row = row.map(|row| fold::decode_index(key, &row)).transpose()?.unwrap_or_default();
        let reached = in_row.last().map_or(0, |(last, _)| last.main);
        let reached = reached.max(self.recovered.fold_revision);
        let in_history = facts.changes.iter().map(|(change, _)| *change);
        let mut visible: Vec<IndexEntry> = in_history.chain(in_row.iter().copied()).collect();
        visible.sort_by_key(|(revision, _)| *revision);
        visible.dedup();
        fold::trim(&mut visible, self.recovered.compact_revision);
        for entry in visible.iter().filter(|(revision, _)| revision.main <= reached) {
            let is_in_row = in_row.binary_search_by_key(&entry.0, |other| other.0);
            let is_in_row = is_in_row.is_ok_and(|position| in_row[position] == *entry);
            let is_in_history = facts.has(entry);
            let (Revision { main, sub }, kind) = entry;
            let reason = match (is_in_row, is_in_history) {
                (true, true) => continue,
                (true, false) => format!("{kind:?} at {main}.{sub} is not in the history"),
                (false, _) => format!("{kind:?} at {main}.{sub} is missing; history has it"),
            };
            return Err(StorageError::corrupt(Tree::Index, key, reason));
        }
        Ok(())
    }

    /// The row is the key's value as of the fold, or a newer one after a fold that was cut short.
    fn check_kv(
        &self,
        key: &[u8],
        facts: &KeyFacts,
        row: Option<Bytes>,
    ) -> Result<(), StorageError> {
        let corrupt = |reason: String| Err(StorageError::corrupt(Tree::Kv, key, reason));
        let fold_revision = self.recovered.fold_revision;
        let at_fold =
            facts.changes.partition_point(|((revision, _), _)| revision.main <= fold_revision);
        let (folded, later) = facts.changes.split_at(at_fold);
        let expected = folded.last().filter(|((_, kind), _)| *kind == EntryKind::Put);
        let Some(row) = row else {
            let is_deleted_later = later.iter().any(|((_, kind), _)| *kind == EntryKind::Delete);
            return match expected {
                Some(((revision, _), _)) if !is_deleted_later => {
                    corrupt(format!("is missing, which history has at revision {}", revision.main))
                }
                _ => Ok(()),
            };
        };
        let kv = recovery::decode_kv(key, &row)?;
        let body = schema::unseal(Tree::Kv, key, &row)?;
        let same = |((revision, kind), checksum): &&(IndexEntry, u32)| {
            revision.main == kv.mod_revision
                && *kind == EntryKind::Put
                && *checksum == crc32c::crc32c(&body)
        };
        let is_current = expected.is_some_and(|change| same(&change))
            || later.iter().any(|change| same(&change));
        // Compaction may have taken the value that the fold saw, if a later change replaced it.
        let compact = self.recovered.compact_revision;
        let is_newest = |main| expected.is_none_or(|((revision, _), _)| revision.main < main);
        let is_replaced = is_newest(kv.mod_revision)
            && later
                .iter()
                .any(|((revision, _), _)| (kv.mod_revision + 1..=compact).contains(&revision.main));
        if is_current || is_replaced {
            return Ok(());
        }
        match expected {
            Some(((revision, _), _)) => corrupt(format!(
                "holds revision {}; history has another value, of revision {}",
                kv.mod_revision, revision.main
            )),
            None => corrupt(format!(
                "holds revision {}, but by history the key is not there",
                kv.mod_revision
            )),
        }
    }

    fn check_leases(&mut self) {
        let leases: BTreeSet<i64> = self.recovered.leases.iter().map(|lease| lease.id).collect();
        for (key, facts) in &self.keys {
            let lease = facts.latest.lease;
            if facts.is_alive() && lease != 0 && !leases.contains(&lease) {
                let reason = format!("key \"{}\" has it, but it is not there", key.escape_ascii());
                let finding =
                    StorageError::corrupt(Tree::Lease, &keycode::lease_key(lease), reason);
                self.report.find(finding);
            }
        }
    }
}

/// The row of `key`, if that is the row at hand; then the next row is at hand.
fn take_row(
    at_hand: &mut Option<(Bytes, Bytes)>,
    rows: &mut Rows<'_>,
    key: &[u8],
) -> Result<Option<Bytes>, StorageError> {
    if at_hand.as_ref().is_none_or(|(other, _)| other != key) {
        return Ok(None);
    }
    let next = rows.next()?;
    Ok(std::mem::replace(at_hand, next).map(|(_, value)| value))
}
