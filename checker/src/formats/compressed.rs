//! Inputs that may be compressed with zstd: told by their first bytes, not by their names.

use std::io::{self, BufRead, BufReader, Cursor, Read};

/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame that needs a larger window is refused: the window is what decompressing holds in memory.
const WINDOW_LOG_MAX: u32 = 27;

/// The input as it is, or decompressed.
pub fn plain<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut first = Vec::new();
    input.by_ref().take(4).read_to_end(&mut first)?;
    let is_compressed = first == ZSTD_MAGIC;
    let whole = Cursor::new(first).chain(input);
    if !is_compressed {
        return Ok(Box::new(BufReader::new(whole)));
    }
    let mut decoder = zstd::Decoder::new(whole)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(Box::new(BufReader::new(decoder)))
}
