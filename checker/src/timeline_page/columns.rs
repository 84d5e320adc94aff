//! What a page holds, as text that a browser reads quickly: zlib in base64.
//!
//! A [`Column`] is a list of numbers in LEB128, of which a history of a million operations has some
//! ten. [`blocks`] are words: JSON arrays of a thousand entries each, a line for each array.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Entries of a block of words: what is opened to read one.
pub(super) const BLOCK: usize = 4096;

/// Blocks that are compressed at once.
const BLOCKS_AT_ONCE: usize = 16;

/// Numbers, one after the other.
#[derive(Debug)]
pub(super) struct Column {
    bytes: Vec<u8>,
    last: i64,
}

impl Column {
    /// No numbers.
    pub(super) const fn new() -> Column {
        Column { bytes: Vec::new(), last: 0 }
    }

    /// Adds a number.
    pub(super) fn push(&mut self, mut number: u64) {
        loop {
            let low = u8::try_from(number & 0x7f).expect("seven bits");
            number >>= 7;
            if number == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Adds a number as what it is more than the one before, of either sign.
    pub(super) fn push_step(&mut self, number: i64) {
        let step = number.wrapping_sub(self.last);
        self.last = number;
        // Small steps of either sign become small numbers.
        self.push(((step << 1) ^ (step >> 63)).cast_unsigned());
    }

    /// As it stands in the page.
    pub(super) fn to_text(&self) -> String {
        compressed(&self.bytes)
    }
}

fn compressed(bytes: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    STANDARD.encode(written.expect("memory takes everything"))
}

/// Writes `count` entries in blocks; `say` gives each as it is to be in the JSON.
pub(super) fn blocks<T: serde::Serialize>(
    out: &mut dyn Write,
    count: usize,
    say: impl Fn(usize) -> T + Sync,
) -> io::Result<()> {
    let block = |number: usize| {
        let entries = number * BLOCK..((number + 1) * BLOCK).min(count);
        let entries: Vec<T> = entries.map(&say).collect();
        compressed(&serde_json::to_vec(&entries).expect("words are plain data"))
    };
    let numbers: Vec<usize> = (0..count.div_ceil(BLOCK)).collect();
    for some in numbers.chunks(BLOCKS_AT_ONCE) {
        for line in side_by_side(some, &block) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn side_by_side(numbers: &[usize], block: &(impl Fn(usize) -> String + Sync)) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let parts = numbers.chunks(numbers.len().div_ceil(threads).max(1));
        let parts: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || -> Vec<String> {
                    part.iter().map(|number| block(*number)).collect()
                })
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("compressing does not panic"))
            .collect()
    })
}
