//! Reading a file that may hold anything.
//!
//! Every number that the file gives is checked before it is used. A walk through a tree takes only
//! keys that ascend, inside of the bounds that the branches above give, and no page without any (but
//! the root of an empty tree); so a page that is named twice is found when its first key comes again,
//! and a walk ends after as many steps as there are entries.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use crate::page::{
    BUCKET_BYTES, ELEMENT_BYTES, FIRST_PAGE, FLAG_BRANCH, FLAG_BUCKET, FLAG_LEAF, HEADER_BYTES,
    META_BYTES, Meta, PageSize, u16_at, u32_at, u64_at,
};

/// Levels of a tree. More would need more keys than any file has.
const DEPTH_MAX: usize = 48;

/// Bytes that can be read at any place.
pub trait ReadAt {
    /// Fills `buffer` from the bytes at `offset` on; an error if there are fewer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = || {
            let from = usize::try_from(offset).ok()?;
            self.get(from..from.checked_add(buffer.len())?)
        };
        buffer.copy_from_slice(read().ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl<S: ReadAt + ?Sized> ReadAt for &S {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_at(buffer, offset)
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes do not come.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no file of bbolt.
    #[error("{0}")]
    NoDatabase(&'static str),
    /// A page is not what it should be.
    #[error("page {page}: {reason}")]
    Page {
        /// Its number.
        page: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A file of bbolt.
#[derive(Debug)]
pub struct Database<S> {
    source: S,
    meta: Meta,
}

impl<S: ReadAt> Database<S> {
    /// Opens what is in the first `file_bytes` of the source.
    pub fn open(source: S, file_bytes: u64) -> Result<Self, ReadError> {
        let meta = find_meta(&source, file_bytes)?;
        let page_bytes = u64::try_from(meta.page_size.bytes()).expect("64 KiB fit");
        // What is after the last page is room to grow into.
        if meta.pages.checked_mul(page_bytes).is_none_or(|bytes| bytes > file_bytes) {
            return Err(ReadError::NoDatabase("the file is shorter than its pages"));
        }
        Ok(Database { source, meta })
    }

    /// Bytes of its pages.
    pub fn bytes(&self) -> u64 {
        self.meta.pages * u64::try_from(self.meta.page_size.bytes()).expect("64 KiB fit")
    }

    /// The names of its buckets, in order.
    pub fn buckets(&self) -> BucketNames<'_, S> {
        BucketNames { walk: self.walk(self.meta.root) }
    }

    /// The bucket of a name.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'_, S>>, ReadError> {
        for bucket in self.buckets() {
            let bucket = bucket?;
            if bucket.name == name {
                return Ok(Some(bucket));
            }
        }
        Ok(None)
    }

    fn walk(&self, root: u64) -> Walk<'_, S> {
        let root = Link { page: root, from: Bytes::new(), to: None };
        Walk { database: self, next: Some(root), open: Vec::new(), last_key: None }
    }

    fn read_page(&self, id: u64) -> Result<Page, ReadError> {
        let bad = |reason| ReadError::Page { page: id, reason };
        if !(FIRST_PAGE..self.meta.pages).contains(&id) {
            return Err(bad("is not one of the file's"));
        }
        let page_bytes = self.meta.page_size.bytes();
        let offset = id * u64::try_from(page_bytes).expect("64 KiB fit");
        let mut bytes = vec![0; page_bytes];
        self.source.read_at(&mut bytes, offset)?;
        if u64_at(&bytes, 0) != Some(id) {
            return Err(bad("says that it is another one"));
        }
        let overflow = u32_at(&bytes, 12).expect("a page has a header");
        if u64::from(overflow) >= self.meta.pages - id {
            return Err(bad("is longer than the file"));
        }
        let more = usize::try_from(overflow).ok().and_then(|pages| pages.checked_mul(page_bytes));
        let more = more.ok_or_else(|| bad("is longer than the memory"))?;
        if more > 0 {
            bytes.resize(page_bytes + more, 0);
            let rest = offset + u64::try_from(page_bytes).expect("64 KiB fit");
            self.source.read_at(&mut bytes[page_bytes..], rest)?;
        }
        Page::open(id, bytes.into())
    }
}

/// The meta page of the latest transaction, of those that are whole.
fn find_meta<S: ReadAt>(source: &S, file_bytes: u64) -> Result<Meta, ReadError> {
    let read = |offset: u64| {
        let mut page = [0; META_BYTES];
        let len = u64::try_from(META_BYTES).expect("a few bytes");
        if offset + len > file_bytes {
            return Ok(Err("file size too small"));
        }
        source.read_at(&mut page, offset)?;
        Ok::<_, io::Error>(Meta::decode(&page))
    };
    let at = |page_size: PageSize| u64::try_from(page_size.bytes()).expect("64 KiB fit");
    let first = read(0)?;
    // If the first one is damaged, nobody knows where the second one is.
    let places: Vec<PageSize> = match first {
        Ok(meta) => vec![meta.page_size],
        Err(_) => PageSize::all().collect(),
    };
    let mut found = first.ok();
    for page_size in places {
        if let Ok(second) = read(at(page_size))?
            && second.page_size == page_size
            && found.is_none_or(|first| first.transaction < second.transaction)
        {
            found = Some(second);
        }
    }
    found.ok_or(ReadError::NoDatabase(first.err().unwrap_or("invalid database")))
}

/// The buckets of a file, in order of their names. Ends after an error.
#[derive(Debug)]
pub struct BucketNames<'a, S> {
    walk: Walk<'a, S>,
}

impl<'a, S: ReadAt> Iterator for BucketNames<'a, S> {
    type Item = Result<Bucket<'a, S>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (page, element) = match self.walk.step()? {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let database = self.walk.database;
        let bucket = Bucket::of(database, element)
            .map_err(|reason| ReadError::Page { page, reason })
            .inspect_err(|_| self.walk.end());
        Some(bucket)
    }
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket<'a, S> {
    database: &'a Database<S>,
    name: Bytes,
    root: u64,
    /// The page, if it stands in the entry.
    inline: Option<Page>,
}

impl<'a, S: ReadAt> Bucket<'a, S> {
    fn of(database: &'a Database<S>, element: LeafElement) -> Result<Self, &'static str> {
        let LeafElement { flags, key, value } = element;
        if flags & FLAG_BUCKET == 0 {
            return Err("an entry outside of all buckets");
        }
        let root = u64_at(&value, 0).ok_or("a bucket without a root")?;
        if value.len() < BUCKET_BYTES {
            return Err("a bucket without a root");
        }
        let inline = (root == 0).then(|| Page::decode(value.slice(BUCKET_BYTES..))).transpose()?;
        if inline.as_ref().is_some_and(|page| page.flags != FLAG_LEAF) {
            return Err("a bucket inside of its entry that is no leaf");
        }
        Ok(Bucket { database, name: key, root, inline })
    }

    /// Its name.
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// Its entries, in order of their keys.
    pub fn entries(&self) -> Entries<'a, S> {
        let mut walk = self.database.walk(self.root);
        if let Some(page) = &self.inline {
            walk.next = None;
            walk.open.push(Open { page: page.clone(), id: self.root, at: 0, to: None });
        }
        Entries { walk }
    }
}

/// The entries of a bucket, in order of their keys. Ends after an error.
#[derive(Debug)]
pub struct Entries<'a, S> {
    walk: Walk<'a, S>,
}

impl<S: ReadAt> Iterator for Entries<'_, S> {
    type Item = Result<(Bytes, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.walk.step()? {
            Ok((page, element)) if element.flags & FLAG_BUCKET != 0 => {
                self.walk.end();
                Err(ReadError::Page { page, reason: "a bucket inside of a bucket" })
            }
            Ok((_, element)) => Ok((element.key, element.value)),
            Err(error) => Err(error),
        })
    }
}

/// A walk through the leaves of a tree.
#[derive(Debug)]
struct Walk<'a, S> {
    database: &'a Database<S>,
    /// Where to go down next.
    next: Option<Link>,
    /// The pages from the root to where the walk is.
    open: Vec<Open>,
    last_key: Option<Bytes>,
}

/// A way down.
#[derive(Debug)]
struct Link {
    page: u64,
    /// Its keys are not below this,
    from: Bytes,
    /// and below this.
    to: Option<Bytes>,
}

/// A page that the walk is in.
#[derive(Debug)]
struct Open {
    page: Page,
    id: u64,
    /// The next element.
    at: usize,
    to: Option<Bytes>,
}

impl<S: ReadAt> Walk<'_, S> {
    fn end(&mut self) {
        self.next = None;
        self.open.clear();
    }

    /// The next entry, and the page that it is in. Nothing comes after an error.
    fn step(&mut self) -> Option<Result<(u64, LeafElement), ReadError>> {
        let step = self.try_step();
        if step.is_err() {
            self.end();
        }
        step.transpose()
    }

    fn try_step(&mut self) -> Result<Option<(u64, LeafElement)>, ReadError> {
        loop {
            if let Some(link) = self.next.take() {
                self.go_down(link)?;
            }
            let Some(open) = self.open.last_mut() else { return Ok(None) };
            if open.at == open.page.count {
                self.open.pop();
                continue;
            }
            let (at, id) = (open.at, open.id);
            open.at += 1;
            let bad = |reason| ReadError::Page { page: id, reason };
            if open.page.flags == FLAG_BRANCH {
                let (page, from) = open.page.branch(at).map_err(bad)?;
                let to = if at + 1 < open.page.count {
                    Some(open.page.branch(at + 1).map_err(bad)?.1)
                } else {
                    open.to.clone()
                };
                self.next = Some(Link { page, from, to });
                continue;
            }
            let element = open.page.leaf(at).map_err(bad)?;
            let is_below_end = open.to.as_ref().is_none_or(|to| element.key < *to);
            if !is_below_end || self.last_key.as_ref().is_some_and(|last| *last >= element.key) {
                return Err(bad("a key that is out of order"));
            }
            self.last_key = Some(element.key.clone());
            return Ok(Some((id, element)));
        }
    }

    fn go_down(&mut self, link: Link) -> Result<(), ReadError> {
        let Link { page: id, from, to } = link;
        let bad = |reason| ReadError::Page { page: id, reason };
        if self.open.len() == DEPTH_MAX {
            return Err(bad("a tree that is too deep"));
        }
        let page = self.database.read_page(id)?;
        let is_root = self.open.is_empty();
        if page.count == 0 && !(is_root && page.flags == FLAG_LEAF) {
            return Err(bad("a page without entries"));
        }
        if page.count > 0 && !is_root {
            let first = match page.flags {
                FLAG_BRANCH => page.branch(0).map_err(bad)?.1,
                _ => page.leaf(0).map_err(bad)?.key,
            };
            if first < from {
                return Err(bad("a key that is out of order"));
            }
        }
        self.open.push(Open { page, id, at: 0, to });
        Ok(())
    }
}

/// A branch or leaf page. Its elements are checked as they are read.
#[derive(Debug, Clone)]
struct Page {
    flags: u16,
    count: usize,
    bytes: Bytes,
}

/// An entry of a leaf; shares the memory of its page.
#[derive(Debug)]
struct LeafElement {
    flags: u32,
    key: Bytes,
    value: Bytes,
}

impl Page {
    fn open(id: u64, bytes: Bytes) -> Result<Page, ReadError> {
        Page::decode(bytes).map_err(|reason| ReadError::Page { page: id, reason })
    }

    fn decode(bytes: Bytes) -> Result<Page, &'static str> {
        let read = || Some((u16_at(&bytes, 8)?, u16_at(&bytes, 10)?));
        let (flags, count) = read().ok_or("a page without a header")?;
        if !matches!(flags, FLAG_BRANCH | FLAG_LEAF) {
            return Err("is neither branch nor leaf");
        }
        let count = usize::from(count);
        if HEADER_BYTES + count * ELEMENT_BYTES > bytes.len() {
            return Err("has more elements than room");
        }
        Ok(Page { flags, count, bytes })
    }

    /// Part of the data of the element that begins at `element`.
    fn part(&self, element: usize, position: u32, skip: u32, len: u32) -> Option<Bytes> {
        let from = element.checked_add(usize::try_from(position).ok()?)?;
        let from = from.checked_add(usize::try_from(skip).ok()?)?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        let is_data = from >= HEADER_BYTES + self.count * ELEMENT_BYTES && to <= self.bytes.len();
        is_data.then(|| self.bytes.slice(from..to))
    }

    fn leaf(&self, at: usize) -> Result<LeafElement, &'static str> {
        let element = HEADER_BYTES + at * ELEMENT_BYTES;
        let read = || {
            let flags = u32_at(&self.bytes, element)?;
            let position = u32_at(&self.bytes, element + 4)?;
            let key_len = u32_at(&self.bytes, element + 8)?;
            let value_len = u32_at(&self.bytes, element + 12)?;
            Some(LeafElement {
                flags,
                key: self.part(element, position, 0, key_len)?,
                value: self.part(element, position, key_len, value_len)?,
            })
        };
        read().ok_or("an entry outside of its page")
    }

    /// A child's page and first key.
    fn branch(&self, at: usize) -> Result<(u64, Bytes), &'static str> {
        let element = HEADER_BYTES + at * ELEMENT_BYTES;
        let read = || {
            let position = u32_at(&self.bytes, element)?;
            let key_len = u32_at(&self.bytes, element + 4)?;
            let child = u64_at(&self.bytes, element + 8)?;
            Some((child, self.part(element, position, 0, key_len)?))
        };
        read().ok_or("an entry outside of its page")
    }
}
