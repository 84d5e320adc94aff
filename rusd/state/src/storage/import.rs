//! The other end of an [`Export`](crate::storage::Export): its chunks make a fresh generation.
//!
//! Together the chunks are a list of rows as the engine has them, each under its seal. A row may go on
//! in the next chunk: the deletes of a million keys in one revision are one row.
//!
//! ```text
//! row    [1: tree] [varint: length] [key] [varint: length] [value]
//! end    [1: 255] [varint: rows]
//! ```
//!
//! Blocks of history come first, in ascending order, then the small records, then the end, which says
//! how many rows there were. The records of how much history there is, and up to which entry of the
//! log, are written last: an engine that has them has all.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{decode_varint, encode_varint};

use crate::storage::blocks::ReadBlock;
use crate::storage::error::StorageError;
use crate::storage::export::{Row, put_rows};
use crate::storage::history::Durable;
use crate::storage::recovery;
use crate::storage::schema::{self, Tree};
use crate::storage::tally::{Tally, entry_bytes};
use crate::storage::{Backend, Batch};

/// Bytes of blocks between two syncs, so that none takes long: others use the disk too, and what is
/// queued before their write is what they wait for. Of 4 MiB, with a member on the same disk, writes
/// of that one waited for up to 60 ms.
const SYNC_BYTES: usize = 512 << 10;

/// In the place of a row's tree.
const END: u8 = 255;

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What came is not what an export gives. Nothing has happened.
    #[error("a bad snapshot: {0}")]
    Bad(String),
    /// The engine or the disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An engine in the making. It is nothing before [`Import::finish`].
#[derive(Debug)]
pub struct Import {
    backend: Arc<dyn Backend>,
    records: Vec<Row>,
    history: Tally,
    rows: usize,
    /// How many rows there should be, once that was said.
    rows_said: Option<usize>,
    main_last: Option<i64>,
    unsynced_bytes: usize,
    /// The beginning of a row.
    begun: BytesMut,
}

/// A part of an import.
enum Part {
    Row(Row),
    End { rows: usize },
}

impl Import {
    /// Into an empty engine.
    pub fn into(backend: Arc<dyn Backend>) -> Import {
        Import {
            backend,
            records: Vec::new(),
            history: Tally::default(),
            rows: 0,
            rows_said: None,
            main_last: None,
            unsynced_bytes: 0,
            begun: BytesMut::new(),
        }
    }

    /// Takes the next chunk.
    pub fn add(&mut self, chunk: Bytes) -> Result<(), ImportError> {
        self.unsynced_bytes += chunk.len();
        let mut blocks = Vec::new();
        for row in self.decode(&chunk)? {
            check(&row)?;
            self.rows += 1;
            if row.tree == Tree::KvRev {
                self.count(&row)?;
                blocks.push(row);
            } else {
                self.records.push(row);
            }
        }
        let mut batch = Batch::default();
        put_rows(&blocks, &mut batch);
        step()?;
        self.backend.commit(&batch)?;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.backend.sync()?;
            self.unsynced_bytes = 0;
        }
        Ok(())
    }

    /// After the last chunk: what came is whole, and durable.
    pub fn finish(self) -> Result<Durable, ImportError> {
        if !self.begun.is_empty() {
            return Err(ImportError::Bad("its last row is cut".to_owned()));
        }
        if self.rows_said != Some(self.rows) {
            let (said, came) = (self.rows_said, self.rows);
            return Err(ImportError::Bad(format!("it should have {said:?} rows, but {came} came")));
        }
        let (meta, others): (Vec<Row>, Vec<Row>) =
            self.records.into_iter().partition(|row| row.tree == Tree::Meta);
        let backend = self.backend;
        step()?;
        for row in others {
            backend.put_row(row.tree, &row.key, &row.value)?;
        }
        step()?;
        backend.sync()?;
        let mut batch = Batch::default();
        put_rows(&meta, &mut batch);
        step()?;
        backend.commit(&batch)?;
        let recovered = recovery::read(&backend).map_err(bad)?;
        if recovered.history != self.history || recovered.applied_index == 0 {
            let (said, came) = (recovered.history, self.history);
            return Err(ImportError::Bad(format!("it should hold {said:?}, but {came:?} came")));
        }
        step()?;
        backend.sync()?;
        Ok(recovered.position())
    }

    fn decode(&mut self, chunk: &[u8]) -> Result<Vec<Row>, ImportError> {
        self.begun.extend_from_slice(chunk);
        let mut rows = Vec::new();
        while let Some(part) = take_part(&mut self.begun)? {
            if self.rows_said.is_some() {
                return Err(ImportError::Bad("it goes on after its end".to_owned()));
            }
            match part {
                Part::Row(row) => rows.push(row),
                Part::End { rows } => self.rows_said = Some(rows),
            }
        }
        Ok(rows)
    }

    fn count(&mut self, row: &Row) -> Result<(), ImportError> {
        let block = ReadBlock::open(&row.key, &row.value).map_err(bad)?;
        if self.main_last.is_some_and(|last| block.main <= last) {
            return Err(ImportError::Bad(format!("block {} comes too late", block.main)));
        }
        self.main_last = Some(block.main);
        let mut count = 0;
        for entry in block.entries() {
            entry.map_err(bad)?;
            count += 1;
        }
        self.history += Tally { count, bytes: entry_bytes(&row.key, row.value.len()) };
        Ok(())
    }
}

/// What comes now may fail.
fn step() -> Result<(), StorageError> {
    rusd_failpoint::io("importStep").map_err(StorageError::of_engine)
}

fn bad(error: StorageError) -> ImportError {
    match error {
        error @ StorageError::Corrupt { .. } => ImportError::Bad(error.to_string()),
        error => ImportError::Storage(error),
    }
}

fn check(row: &Row) -> Result<(), ImportError> {
    if matches!(row.tree, Tree::Kv | Tree::Index) {
        return Err(ImportError::Bad(format!("it has a row of {}", row.tree)));
    }
    schema::unseal(row.tree, &row.key, &row.value).map(|_| ()).map_err(bad)
}

/// Encodes rows as a chunk.
pub(crate) fn encode(rows: &[Row]) -> Bytes {
    let mut chunk = BytesMut::new();
    for row in rows {
        chunk.put_u8(u8::try_from(row.tree.position()).expect("there are few trees"));
        for part in [&row.key, &row.value] {
            encode_varint(u64::try_from(part.len()).expect("a length fits"), &mut chunk);
            chunk.extend_from_slice(part);
        }
    }
    chunk.freeze()
}

/// The last chunk.
pub(crate) fn encode_end(rows: usize) -> Bytes {
    let mut chunk = BytesMut::new();
    chunk.put_u8(END);
    encode_varint(u64::try_from(rows).expect("a length fits"), &mut chunk);
    chunk.freeze()
}

/// Takes a part off the front, if all of it is there.
fn take_part(bytes: &mut BytesMut) -> Result<Option<Part>, ImportError> {
    let mut ahead = &bytes[..];
    let Some((&tree, _)) = ahead.split_first() else { return Ok(None) };
    ahead.advance(1);
    let Some(first_len) = read_len(&mut ahead)? else { return Ok(None) };
    if tree == END {
        bytes.advance(bytes.len() - ahead.len());
        return Ok(Some(Part::End { rows: first_len }));
    }
    let tree = Tree::ALL.get(usize::from(tree)).copied();
    let tree = tree.ok_or_else(|| ImportError::Bad("a row of an unknown tree".to_owned()))?;
    let key_at = bytes.len() - ahead.len();
    if ahead.len() < first_len {
        return Ok(None);
    }
    ahead.advance(first_len);
    let Some(value_len) = read_len(&mut ahead)? else { return Ok(None) };
    if ahead.len() < value_len {
        return Ok(None);
    }
    let value_at = bytes.len() - ahead.len();
    let row = bytes.split_to(value_at + value_len).freeze();
    let (key, value) = (row.slice(key_at..key_at + first_len), row.slice(value_at..));
    Ok(Some(Part::Row(Row { tree, key, value })))
}

/// Reads a length; `None` if it is not all there.
fn read_len(bytes: &mut &[u8]) -> Result<Option<usize>, ImportError> {
    const VARINT_BYTES_MAX: usize = 10;
    let is_whole = bytes.iter().take(VARINT_BYTES_MAX).any(|byte| *byte < 0x80);
    if !is_whole && bytes.len() < VARINT_BYTES_MAX {
        return Ok(None);
    }
    let len = decode_varint(bytes).ok().and_then(|len| usize::try_from(len).ok());
    len.map(Some).ok_or_else(|| ImportError::Bad("a length makes no sense".to_owned()))
}
