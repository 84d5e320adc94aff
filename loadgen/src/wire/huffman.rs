//! HPACK's code for strings (RFC 7541, appendix B).
//!
//! The code is canonical: among codes of one length, symbols are in order, and shorter codes come
//! first. So the lengths are all there is to know.

/// Bits of the code of each byte; the last one ends a string, and stands in none.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const LENGTH_MAX: usize = 30;

/// The bytes that `coded` stands for; `None` if it is no code.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let table = Table::new();
    let mut text = Vec::with_capacity(coded.len() * 2);
    let (mut code, mut length) = (0_u32, 0);
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            length += 1;
            if length > LENGTH_MAX {
                return None;
            }
            if let Some(symbol) = table.symbol(code, length) {
                text.push(u8::try_from(symbol).ok()?);
                (code, length) = (0, 0);
            }
        }
    }
    // What is left fills the last byte, with ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

/// Codes by their lengths.
struct Table {
    /// First code of each length, how many there are, and how many symbols have shorter ones.
    lengths: [(u32, u32, usize); LENGTH_MAX + 1],
    /// Symbols by their codes.
    symbols: Vec<usize>,
}

impl Table {
    fn new() -> Table {
        let mut symbols: Vec<usize> = (0..LENGTHS.len()).collect();
        symbols.sort_by_key(|&symbol| LENGTHS[symbol]);
        let mut lengths = [(0, 0, 0); LENGTH_MAX + 1];
        let (mut code, mut before) = (0, 0);
        for (length, entry) in lengths.iter_mut().enumerate().skip(1) {
            let count = LENGTHS.iter().filter(|&&bits| usize::from(bits) == length).count();
            *entry = (code, u32::try_from(count).expect("257 at most"), before);
            code = (code + entry.1) << 1;
            before += count;
        }
        Table { lengths, symbols }
    }

    fn symbol(&self, code: u32, length: usize) -> Option<usize> {
        let (first, count, before) = self.lengths[length];
        let place = code.checked_sub(first).filter(|place| *place < count)?;
        Some(self.symbols[before + usize::try_from(place).expect("257 at most")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7541, appendix C.
    #[test]
    fn examples_of_the_standard() {
        for (coded, text) in [
            (
                vec![0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (vec![0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (vec![0x64, 0x02], "302"),
            (vec![0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
        ] {
            assert_eq!(decode(&coded).as_deref(), Some(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        // The end of strings, and padding that is not of ones or too long.
        for coded in [vec![0xff; 4], vec![0xf1, 0xe0], vec![0x64, 0x02, 0xff, 0xff]] {
            assert_eq!(decode(&coded), None, "{coded:?}");
        }
    }
}
