//! Blocks of history: how entries are packed into one value of `kv_rev`, and read back.
//!
//! ```text
//! key    main revision of the first entry, 8 bytes big-endian
//! value  [1: layout version] [entry]* [4: CRC-32C of key and all before]
//! entry  [varint: main revision, less that of the entry before (of the key, for the first)]
//!        [varint: sub-revision * 2, plus 1 for a delete] [varint: length] [KeyValue]
//! ```
//!
//! Invariants: entries ascend; all entries of one main revision are in one block, in operation
//! order; a block is closed once it has reached its size, so only a single large revision makes a
//! block much larger. A block that compaction has rewritten keeps its key, whose revision it may no
//! longer hold.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::encode_varint;
use rusd_proto::mvccpb::KeyValue;

use crate::mvcc::revision::Revision;
use crate::storage::change::{EntryKind, HistoryEntry};
use crate::storage::error::StorageError;
use crate::storage::keycode;
use crate::storage::schema::{self, Tree};
use crate::storage::{Backend, Batch, Visit};

const LAYOUT_VERSION: u8 = 0xb1;

/// More than the numbers before a `KeyValue` usually take.
const ENTRY_HEADER_BYTES: usize = 8;

/// Packs ascending entries into blocks and puts them into a batch.
#[derive(Debug)]
pub(crate) struct BlockWriter<'a> {
    batch: &'a mut Batch,
    block_bytes: usize,
    block: Block,
}

/// A block in the making.
#[derive(Debug)]
struct Block {
    key: [u8; 8],
    value: Vec<u8>,
    main_last: i64,
}

impl Block {
    fn starting_at(main: i64) -> Block {
        Block { key: keycode::main_key(main), value: vec![LAYOUT_VERSION], main_last: main }
    }

    fn is_empty(&self) -> bool {
        self.value.len() == 1
    }

    fn begin_entry(&mut self, revision: Revision, kind: EntryKind) {
        let is_delete = kind == EntryKind::Delete;
        keycode::write_revision(self.main_last, revision, is_delete, &mut self.value);
        self.main_last = revision.main;
    }

    fn push(&mut self, entry: &HistoryEntry) {
        self.begin_entry(entry.revision, entry.kind);
        entry.kv.encode_length_delimited(&mut self.value).expect("a Vec has room");
    }

    fn push_raw(&mut self, entry: &RawEntry) {
        self.begin_entry(entry.revision, entry.kind);
        encode_varint(u64::try_from(entry.kv.len()).expect("a length fits"), &mut self.value);
        self.value.extend_from_slice(&entry.kv);
    }

    /// Gives the bytes that it takes.
    fn put_into(self, batch: &mut Batch) -> i64 {
        batch.put(Tree::KvRev, &self.key, self.value);
        batch.writes.last().expect("it was just put").put_bytes()
    }
}

impl<'a> BlockWriter<'a> {
    /// A writer of blocks of about `block_bytes`.
    pub(crate) fn new(batch: &'a mut Batch, block_bytes: usize) -> Self {
        BlockWriter { batch, block_bytes, block: Block::starting_at(0) }
    }

    /// Adds all entries of one main revision.
    pub(crate) fn push_revision(&mut self, entries: &[HistoryEntry]) {
        let Some(first) = entries.first() else { return };
        let size = |entry: &HistoryEntry| entry.kv.encoded_len() + ENTRY_HEADER_BYTES;
        let size: usize = entries.iter().map(size).sum();
        if self.block.is_empty() {
            self.block = Block::starting_at(first.revision.main);
        } else if self.block.value.len() + size > self.block_bytes {
            self.close();
            self.block = Block::starting_at(first.revision.main);
        }
        for entry in entries {
            self.block.push(entry);
        }
    }

    /// Closes the last block.
    pub(crate) fn finish(mut self) {
        self.close();
    }

    fn close(&mut self) {
        let block = std::mem::replace(&mut self.block, Block::starting_at(0));
        if !block.is_empty() {
            block.put_into(self.batch);
        }
    }
}

/// Puts a block of chosen entries back under the key it had; returns its bytes.
pub(crate) fn rewrite(main: i64, survivors: &[RawEntry], batch: &mut Batch) -> i64 {
    let mut block = Block::starting_at(main);
    for entry in survivors {
        block.push_raw(entry);
    }
    block.put_into(batch)
}

/// Visits the blocks that may hold revisions from the main revision `from` on.
pub(crate) fn scan_from(
    backend: &dyn Backend,
    from: i64,
    visit: Visit<'_>,
) -> Result<(), StorageError> {
    let from = keycode::main_key(from);
    let start = backend.at_or_before(Tree::KvRev, &from)?;
    backend.scan(Tree::KvRev, start.as_ref().map_or(&from[..], |(key, _)| key), visit)
}

/// An entry whose `KeyValue` is still encoded; it shares the memory of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) revision: Revision,
    pub(crate) kind: EntryKind,
    pub(crate) kv: Bytes,
}

/// A block that was read: its main revision, and its entries on demand.
#[derive(Debug, Clone)]
pub(crate) struct ReadBlock {
    /// The revision in its key.
    pub(crate) main: i64,
    body: Bytes,
}

impl ReadBlock {
    /// Checks a value of `kv_rev`. After this, what it holds is what was written.
    pub(crate) fn open(key: &[u8], value: &Bytes) -> Result<ReadBlock, StorageError> {
        let corrupt = |reason| StorageError::corrupt(Tree::KvRev, key, reason);
        let main = keycode::read_main(key).ok_or_else(|| corrupt("the key is no revision"))?;
        let mut body = schema::unseal(Tree::KvRev, key, value)?;
        match body.first() {
            Some(&LAYOUT_VERSION) => body.advance(1),
            _ => return Err(corrupt("unknown block layout")),
        }
        Ok(ReadBlock { main, body })
    }

    /// The block that would hold `main`, if there is one.
    pub(crate) fn find(
        backend: &dyn Backend,
        main: i64,
    ) -> Result<Option<ReadBlock>, StorageError> {
        let found = backend.at_or_before(Tree::KvRev, &keycode::main_key(main))?;
        found.map(|(key, value)| ReadBlock::open(&key, &value)).transpose()
    }

    /// All entries, in order.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries { block: self, rest: &self.body, main_last: self.main, last: None }
    }

    /// The entry of one revision, in memory of its own.
    pub(crate) fn entry(&self, revision: Revision) -> Result<Option<RawEntry>, StorageError> {
        let mut entries = self.entries();
        while let Some(entry) = entries.step() {
            let (found, kind, kv) = entry?;
            if found >= revision {
                let kv = Bytes::copy_from_slice(kv);
                return Ok((found == revision).then_some(RawEntry { revision, kind, kv }));
            }
        }
        Ok(None)
    }
}

/// Iterator over the entries of a block.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    block: &'a ReadBlock,
    rest: &'a [u8],
    main_last: i64,
    last: Option<Revision>,
}

type Step<'a> = (Revision, EntryKind, &'a [u8]);

impl<'a> Entries<'a> {
    fn step(&mut self) -> Option<Result<Step<'a>, StorageError>> {
        if self.rest.is_empty() {
            return None;
        }
        let before = self.last;
        let ascends = |step: &Step<'_>| before.is_none_or(|last| last < step.0);
        if let Some(step) = self.take().filter(ascends) {
            self.last = Some(step.0);
            return Some(Ok(step));
        }
        self.rest = &[];
        let key = keycode::main_key(self.block.main);
        let reason = "a block with a good checksum does not decode";
        Some(Err(StorageError::corrupt(Tree::KvRev, &key, reason)))
    }

    fn take(&mut self) -> Option<Step<'a>> {
        let (revision, is_delete) = keycode::take_revision(self.main_last, &mut self.rest)?;
        let len = keycode::take_len(&mut self.rest)?;
        let (kv, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.main_last = revision.main;
        Some((revision, if is_delete { EntryKind::Delete } else { EntryKind::Put }, kv))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<RawEntry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step()?;
        Some(step.map(|(revision, kind, kv)| RawEntry {
            revision,
            kind,
            kv: self.block.body.slice_ref(kv),
        }))
    }
}

impl RawEntry {
    /// The same entry in memory of its own, so that keeping it does not keep its block.
    pub(crate) fn detached(&self) -> RawEntry {
        RawEntry { kv: Bytes::copy_from_slice(&self.kv), ..*self }
    }

    /// Decodes the `KeyValue`; key and value share the memory of this entry.
    pub(crate) fn decode(&self) -> Result<KeyValue, StorageError> {
        KeyValue::decode(self.kv.clone()).map_err(|error| {
            let key = keycode::main_key(self.revision.main);
            StorageError::corrupt(Tree::KvRev, &key, format!("not a KeyValue: {error}"))
        })
    }

    /// The whole entry, decoded.
    pub(crate) fn to_history(&self) -> Result<HistoryEntry, StorageError> {
        let kv = Arc::new(self.decode()?);
        Ok(HistoryEntry { revision: self.revision, kind: self.kind, kv })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryBackend;

    fn put(main: i64, sub: i64, value_len: usize) -> HistoryEntry {
        let kv = KeyValue {
            key: Bytes::from(format!("key {main}.{sub}")),
            value: Bytes::from(vec![1; value_len]),
            mod_revision: main,
            ..KeyValue::default()
        };
        let kind = if sub % 2 == 1 { EntryKind::Delete } else { EntryKind::Put };
        HistoryEntry { revision: Revision { main, sub }, kind, kv: Arc::new(kv) }
    }

    fn packed(revisions: &[Vec<HistoryEntry>], block_bytes: usize) -> Vec<ReadBlock> {
        let mut batch = Batch::default();
        let mut writer = BlockWriter::new(&mut batch, block_bytes);
        for revision in revisions {
            writer.push_revision(revision);
        }
        writer.finish();
        let open = |(key, value): (Vec<u8>, Vec<u8>)| ReadBlock::open(&key, &value.into()).unwrap();
        let writes = batch.writes.into_iter().map(|write| (write.key, write.value.unwrap()));
        writes.map(open).collect()
    }

    #[test]
    fn entries_come_back_in_order_and_a_revision_is_never_split() {
        let revisions: Vec<Vec<HistoryEntry>> =
            (2..50).map(|main| (0..=main % 5).map(|sub| put(main, sub, 40)).collect()).collect();
        let blocks = packed(&revisions, 500);
        assert!(blocks.len() > 5, "{}", blocks.len());
        let read = |block: &ReadBlock| {
            block.entries().map(|entry| entry.unwrap().to_history().unwrap()).collect::<Vec<_>>()
        };
        let all: Vec<HistoryEntry> = blocks.iter().flat_map(read).collect();
        assert_eq!(all, revisions.concat());
        for block in &blocks {
            let entries = read(block);
            assert_eq!(entries[0].revision, Revision::first_of(block.main));
            assert!(block.body.len() <= 500);
        }
    }

    #[test]
    fn a_revision_larger_than_a_block_gets_one_alone() {
        let revisions = vec![vec![put(2, 0, 10)], vec![put(3, 0, 900)], vec![put(4, 0, 10)]];
        let mains: Vec<i64> = packed(&revisions, 200).iter().map(|block| block.main).collect();
        assert_eq!(mains, [2, 3, 4]);
    }

    #[test]
    fn a_block_of_survivors_is_found_under_its_old_key() {
        let revisions: Vec<_> = (2..10).map(|main| vec![put(main, 0, 10)]).collect();
        let [block] = &packed(&revisions, 10_000)[..] else { panic!("one block") };
        let survivors = [block.entry(Revision::first_of(7)).unwrap().unwrap()];
        let mut batch = Batch::default();
        rewrite(2, &survivors, &mut batch);
        let backend = MemoryBackend::new();
        backend.commit(&batch).unwrap();
        let block = ReadBlock::find(&backend, 8).unwrap().unwrap();
        assert_eq!(block.main, 2);
        assert_eq!(block.entries().map(Result::unwrap).collect::<Vec<_>>(), survivors);
        assert_eq!(block.entry(Revision::first_of(8)).unwrap(), None);
        assert!(ReadBlock::find(&backend, 1).unwrap().is_none());
    }

    #[test]
    fn nonsense_under_a_good_checksum_is_an_error_not_a_panic() {
        let key = keycode::main_key(2);
        for body in [&[][..], &[0xb2], &[LAYOUT_VERSION, 1], &[LAYOUT_VERSION, 0, 0, 9, 1]] {
            let value = Bytes::from(schema::seal(&key, body.to_vec()));
            let read = ReadBlock::open(&key, &value)
                .and_then(|block| block.entries().collect::<Result<Vec<_>, _>>());
            read.unwrap_err();
        }
        ReadBlock::open(b"short", &Bytes::new()).unwrap_err();
    }
}
