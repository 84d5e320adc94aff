//! Reads a history on several threads: blocks of whole lines are parsed side by side, and handed
//! on in the order of the file.
//!
//! Memory holds one block for each thread besides the records.

use std::io::Read;

use super::error::{InputError, Position};
use super::jsonl::parse_line;
use super::record::Record;

/// Bytes for each thread and round.
const BLOCK_BYTES: usize = 4 << 20;
/// More threads than this wait for memory.
const THREADS_MAX: usize = 8;

/// What a block of lines holds, or the first thing that is wrong with it.
struct Parsed {
    /// With the line in the block, from 1.
    records: Vec<(u64, Record)>,
    lines: u64,
    error: Option<InputError>,
}

/// Hands every record of `input` to `take`, with its line. `progress` is told the bytes read.
pub(super) fn read(
    mut input: impl Read,
    progress: &mut dyn FnMut(u64),
    take: &mut impl FnMut(u64, Record) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let mut buffer = Vec::new();
    let mut bytes_read = 0_u64;
    let mut lines_before = 0_u64;
    loop {
        let kept = buffer.len();
        let wanted = u64::try_from(threads * BLOCK_BYTES).expect("usize fits u64");
        let read = input.by_ref().take(wanted).read_to_end(&mut buffer);
        let read = read.map_err(|source| InputError::Read {
            position: Position::line(lines_before + 1),
            source,
        })?;
        bytes_read += u64::try_from(read).expect("usize fits u64");
        let at_end = read == 0;
        let end = match buffer.iter().rposition(|byte| *byte == b'\n') {
            _ if at_end => buffer.len(),
            Some(newline) => newline + 1,
            // A line longer than all blocks: read on.
            None => continue,
        };
        debug_assert!(end >= kept || kept < BLOCK_BYTES, "only a part of a line is kept");
        for parsed in parse_side_by_side(&buffer[..end], threads) {
            for (line, record) in parsed.records {
                take(lines_before + line, record)?;
            }
            if let Some(error) = parsed.error {
                return Err(error.moved_down(lines_before));
            }
            lines_before += parsed.lines;
        }
        buffer.drain(..end);
        progress(bytes_read);
        if at_end {
            return Ok(());
        }
    }
}

fn parse_side_by_side(text: &[u8], threads: usize) -> Vec<Parsed> {
    let blocks = divide(text, threads);
    if let [block] = blocks.as_slice() {
        return vec![parse(block)];
    }
    std::thread::scope(|scope| {
        let parsing: Vec<_> =
            blocks.into_iter().map(|block| scope.spawn(move || parse(block))).collect();
        parsing.into_iter().map(|thread| thread.join().expect("parsing does not panic")).collect()
    })
}

/// Divides text into at most `parts` blocks that end with a line.
fn divide(text: &[u8], parts: usize) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    let mut rest = text;
    for left in (1..=parts).rev() {
        let about = rest.len() / left;
        let newline = rest[about..].iter().position(|byte| *byte == b'\n');
        let end = newline.map_or(rest.len(), |newline| about + newline + 1);
        let (block, after) = rest.split_at(if left == 1 { rest.len() } else { end });
        if !block.is_empty() {
            blocks.push(block);
        }
        rest = after;
    }
    blocks
}

fn parse(block: &[u8]) -> Parsed {
    let mut parsed = Parsed { records: Vec::new(), lines: 0, error: None };
    for text in block.split_inclusive(|byte| *byte == b'\n') {
        parsed.lines += 1;
        let ended = text.last() == Some(&b'\n');
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match parse_line(parsed.lines, text, ended) {
            Ok(record) => parsed.records.push((parsed.lines, record)),
            Err(error) => {
                parsed.error = Some(error);
                break;
            }
        }
    }
    parsed
}
