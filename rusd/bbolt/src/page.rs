//! How pages look: the constants and the meta page. No tree knows another layout than this one.
//!
//! ```text
//! page    [8: id] [2: flags] [2: count] [4: pages after the first] then elements, then their data
//! branch  [4: position] [4: key length] [8: page]                    position: from the element's start
//! leaf    [4: flags] [4: position] [4: key length] [4: value length]
//! meta    [4: magic] [4: version] [4: page size] [4: flags] [8: root page] [8: sequence]
//!         [8: free list] [8: number of pages] [8: transaction] [8: FNV-1a of all before]
//! bucket  [8: root page, 0 when it stands right here] [8: sequence], then, right here, a page
//! ```

/// Bytes before the elements of a page.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of one element.
pub(crate) const ELEMENT_BYTES: usize = 16;
/// Bytes of the entry that names a bucket.
pub(crate) const BUCKET_BYTES: usize = 16;
/// Bytes of a meta page that mean something.
pub(crate) const META_BYTES: usize = HEADER_BYTES + 64;

pub(crate) const FLAG_BRANCH: u16 = 0x01;
pub(crate) const FLAG_LEAF: u16 = 0x02;
pub(crate) const FLAG_META: u16 = 0x04;
/// Of a leaf element: it names a bucket.
pub(crate) const FLAG_BUCKET: u32 = 0x01;

/// The first page that is not a meta page.
pub(crate) const FIRST_PAGE: u64 = 2;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// In place of the page of the free list: there is none.
const NO_FREE_LIST: u64 = u64::MAX;

/// The size of all pages of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    /// The usual one.
    pub const DEFAULT: PageSize = PageSize(4096);

    /// A power of two from 1 KiB to 64 KiB; bbolt takes that of the operating system.
    pub fn new(bytes: u32) -> Option<PageSize> {
        let is_one = bytes.is_power_of_two() && (1 << 10..=1 << 16).contains(&bytes);
        is_one.then_some(PageSize(bytes))
    }

    /// All of them, ascending.
    pub(crate) fn all() -> impl Iterator<Item = PageSize> {
        (10..=16).map(|shift| PageSize(1 << shift))
    }

    /// In bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).expect("64 KiB fit")
    }
}

/// What a meta page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: PageSize,
    /// Page of the tree of buckets.
    pub(crate) root: u64,
    /// Pages of the file, these included.
    pub(crate) pages: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    /// The whole page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = header(self.transaction % 2, FLAG_META, 0, 0).to_vec();
        page.extend_from_slice(&MAGIC.to_le_bytes());
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&self.page_size.0.to_le_bytes());
        page.extend_from_slice(&0_u32.to_le_bytes());
        for number in [self.root, 0, NO_FREE_LIST, self.pages, self.transaction] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = fnv_1a(&page[HEADER_BYTES..]);
        page.extend_from_slice(&checksum.to_le_bytes());
        page.resize(self.page_size.bytes(), 0);
        page
    }

    /// Reads the first [`META_BYTES`] of a page. `Err` says why they are no meta page.
    pub(crate) fn decode(page: &[u8; META_BYTES]) -> Result<Meta, &'static str> {
        let body = &page[HEADER_BYTES..];
        if u32_at(body, 0) != Some(MAGIC) {
            return Err("invalid database");
        }
        if u32_at(body, 4) != Some(VERSION) {
            return Err("version mismatch");
        }
        if u64_at(body, 56) != Some(fnv_1a(&body[..56])) {
            return Err("checksum error");
        }
        let read = || {
            Some(Meta {
                page_size: PageSize::new(u32_at(body, 8)?)?,
                root: u64_at(body, 16)?,
                pages: u64_at(body, 40)?,
                transaction: u64_at(body, 48)?,
            })
        };
        read().ok_or("a page size that is none")
    }
}

/// The bytes before a page's elements.
pub(crate) fn header(id: u64, flags: u16, count: u16, overflow: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&id.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    header[10..12].copy_from_slice(&count.to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

/// A number of two bytes, if they are there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// A number of four bytes, if they are there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// A number of eight bytes, if they are there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// FNV-1a of 64 bits.
fn fnv_1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of the FNV specification.
    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_flipped_bit_of_a_meta_page_is_found() {
        let meta = Meta { page_size: PageSize::DEFAULT, root: 9, pages: 10, transaction: 2 };
        let page: [u8; META_BYTES] = *meta.encode().first_chunk().unwrap();
        assert_eq!(Meta::decode(&page), Ok(meta));
        for bit in HEADER_BYTES * 8..META_BYTES * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            Meta::decode(&flipped).unwrap_err();
        }
    }
}
