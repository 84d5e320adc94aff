//! Header blocks that servers send, as far as a call needs them (RFC 7541).
//!
//! We announce a table of size 0, so a block means the same wherever it stands, and blocks that were
//! read before need not be read again: on a connection that goes well there are two.

use tonic::Code;

use super::huffman;

/// What a header block says of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads {
    /// `:status`.
    pub(super) http_status: Option<u16>,
    /// `grpc-status`.
    pub(super) code: Option<Code>,
    /// `grpc-message`.
    pub(super) message: String,
}

enum Name {
    HttpStatus,
    GrpcStatus,
    GrpcMessage,
    Other,
}

/// What the static table says of an index from 8 to 14.
const HTTP_STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
const FIRST_HTTP_STATUS: usize = 8;
/// Entries of the static table; there are no others.
const STATIC_ENTRIES: usize = 61;

/// Reads a block; `None` if it is malformed, or uses a table that it may not use.
pub(super) fn read(block: &[u8]) -> Option<Heads> {
    let mut reader = Reader { rest: block };
    let mut heads = Heads::default();
    while let Some(&first) = reader.rest.first() {
        if first & 0x80 != 0 {
            let index = reader.integer(0x7f)?;
            if let Name::HttpStatus = name_of(index)? {
                heads.http_status = Some(HTTP_STATUSES[index - FIRST_HTTP_STATUS]);
            }
        } else if first & 0xe0 == 0x20 {
            // The table's size changes; whatever it was, it is empty.
            reader.integer(0x1f)?;
        } else {
            let index = reader.integer(if first & 0xc0 == 0x40 { 0x3f } else { 0x0f })?;
            let name = if index == 0 { named(&reader.string()?) } else { name_of(index)? };
            let value = reader.string()?;
            heads.take(&name, &value)?;
        }
    }
    Some(heads)
}

fn name_of(index: usize) -> Option<Name> {
    match index {
        0 => None,
        8..=14 => Some(Name::HttpStatus),
        _ => (index <= STATIC_ENTRIES).then_some(Name::Other),
    }
}

fn named(name: &[u8]) -> Name {
    match name {
        b":status" => Name::HttpStatus,
        b"grpc-status" => Name::GrpcStatus,
        b"grpc-message" => Name::GrpcMessage,
        _ => Name::Other,
    }
}

impl Heads {
    fn take(&mut self, name: &Name, value: &[u8]) -> Option<()> {
        match name {
            Name::HttpStatus => {
                self.http_status = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
            }
            Name::GrpcStatus => self.code = Some(Code::from_bytes(value)),
            Name::GrpcMessage => self.message = percent_decoded(value),
            Name::Other => {}
        }
        Some(())
    }
}

/// A status message as it is meant: `%` and two digits stand for a byte.
fn percent_decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let is_hex = |hex: &&[u8]| byte == b'%' && hex.iter().all(u8::is_ascii_hexdigit);
        let hex = after.get(..2).filter(is_hex);
        let decoded =
            hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match decoded {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// An integer whose first byte has the bits of `mask` (section 5.1).
    fn integer(&mut self, mask: u8) -> Option<usize> {
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A string, coded or plain (section 5.2).
    fn string(&mut self) -> Option<Vec<u8>> {
        let is_coded = self.rest.first()? & 0x80 != 0;
        let length = self.integer(0x7f)?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        if is_coded { huffman::decode(text) } else { Some(text.to_vec()) }
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_however_it_is_written() {
        let mut refused = vec![0x20, 0x88, 0x5f, 0x03, b'a', b'/', b'b'];
        refused.extend_from_slice(b"\x00\x0bgrpc-status\x015\x40\x0cgrpc-message\x08no%20%e2");
        let heads = read(&refused).unwrap();
        assert_eq!(heads.http_status, Some(200));
        assert_eq!((heads.code, heads.message.as_str()), (Some(Code::NotFound), "no \u{fffd}"));
        // ":status" by a name of the table and a value of its own, which is coded.
        assert_eq!(read(&[0x08, 0x82, 0x64, 0x02]).unwrap().http_status, Some(302));
    }

    #[test]
    fn what_is_cut_off_or_names_a_table_that_is_not_there_is_refused() {
        let whole = b"\x00\x0bgrpc-status\x010";
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        for block in [&[0x80][..], &[0xbe], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(read(block), None, "{block:?}");
        }
    }

    #[test]
    fn percent_signs_that_stand_for_nothing_stay() {
        assert_eq!(percent_decoded(b"100%, a%2Fb %zz %+1 %2"), "100%, a/b %zz %+1 %2");
    }
}
