//! The batches of a journal, as fjall 3 writes them.

use std::io::{self, Read};

use xxhash_rust::xxh3::Xxh3;

/// What begins each part of a batch.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// What ends a batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// The kind of an item that puts a value; the others remove a key.
const PUT: u8 = 0;
const CHUNK_BYTES: usize = 8 << 10;

/// What fjall writes, and reads again, whole or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) sequence: u64,
    pub(super) parts: Vec<Part>,
}

/// One part of a batch.
#[derive(Debug)]
pub(super) enum Part {
    /// A row is put, or is removed.
    Row {
        keyspace: u64,
        key: Vec<u8>,
        /// XXH3 of what is put.
        value: Option<u64>,
    },
    /// A tree is emptied.
    Clear { keyspace: u64 },
}

/// Reads batches: a start with the number of its parts and its sequence number, the parts, and an end
/// with their XXH3. Numbers are little-endian.
pub(super) struct BatchReader<R> {
    reader: R,
    position: u64,
    hash: Xxh3,
    sequence: Option<u64>,
}

impl<R: Read> BatchReader<R> {
    pub(super) fn new(reader: R) -> BatchReader<R> {
        BatchReader { reader, position: 0, hash: Xxh3::new(), sequence: None }
    }

    /// Bytes that were read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The sequence number of the batch that was begun last.
    pub(super) fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// The next batch. `InvalidData` and `UnexpectedEof` mean that it is not whole.
    pub(super) fn batch(&mut self) -> io::Result<Batch> {
        self.expect(START)?;
        let mut left = u32::from_le_bytes(self.bytes()?);
        let sequence = u64::from_le_bytes(self.bytes()?);
        self.sequence = Some(sequence);
        self.hash.reset();
        let mut parts = Vec::new();
        loop {
            let hash = self.hash.digest();
            match (self.bytes()?, left) {
                ([ITEM], 1..) => parts.push(self.item()?),
                ([CLEAR], 1..) => {
                    parts.push(Part::Clear { keyspace: u64::from_le_bytes(self.bytes()?) });
                }
                ([END], 0) => {
                    let is_whole = u64::from_le_bytes(self.bytes()?) == hash;
                    return if is_whole && self.bytes()? == TRAILER {
                        Ok(Batch { sequence, parts })
                    } else {
                        Err(io::ErrorKind::InvalidData.into())
                    };
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
            left -= 1;
        }
    }

    /// What follows the tag: kind of value, compression (we use none), keyspace, lengths of the key, of
    /// the value and of the value as it stands here, key, value.
    fn item(&mut self) -> io::Result<Part> {
        let [kind, _compression] = self.bytes()?;
        let keyspace = u64::from_le_bytes(self.bytes()?);
        let mut key = vec![0; usize::from(u16::from_le_bytes(self.bytes()?))];
        self.bytes::<4>()?;
        let value_bytes = u32::from_le_bytes(self.bytes()?);
        self.fill(&mut key)?;
        let value = self.value(usize::try_from(value_bytes).expect("a length fits"))?;
        Ok(Part::Row { keyspace, key, value: (kind == PUT).then_some(value) })
    }

    fn expect(&mut self, tag: u8) -> io::Result<()> {
        if self.bytes()? == [tag] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The hash of a value. It is not kept: its length may be damaged.
    fn value(&mut self, mut bytes: usize) -> io::Result<u64> {
        let mut hash = Xxh3::new();
        let mut chunk = [0; CHUNK_BYTES];
        while bytes > 0 {
            let next = bytes.min(CHUNK_BYTES);
            self.fill(&mut chunk[..next])?;
            hash.update(&chunk[..next]);
            bytes -= next;
        }
        Ok(hash.digest())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(bytes)?;
        self.hash.update(bytes);
        self.position += u64::try_from(bytes.len()).expect("a length fits");
        Ok(())
    }
}
