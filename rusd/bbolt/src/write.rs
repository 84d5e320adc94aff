//! Writing: buckets and keys in ascending order, pages in the order of the file.
//!
//! Pages get their numbers as they are full, children before their parents, the root last. So what a
//! writer holds is one leaf, and one branch page per level above it.
//!
//! Order of calls: [`Writer::measuring`] with all rows, [`Writer::finish`]; then [`Writer::new`] with
//! the layout that gave, the same rows again, and `finish`.

use std::io::{self, Write};

use crate::page::{
    BUCKET_BYTES, ELEMENT_BYTES, FIRST_PAGE, FLAG_BRANCH, FLAG_BUCKET, FLAG_LEAF, HEADER_BYTES,
    Meta, PageSize, header,
};

/// A smaller bucket stands inside of the entry that names it: bbolt's rule, a quarter of a page.
const INLINE_PART: usize = 4;
/// bbolt's longest key.
const KEY_BYTES_MAX: usize = 32768;
/// bbolt's longest value.
const VALUE_BYTES_MAX: usize = (1 << 31) - 2;
/// The transaction that the first page is of. The one of the second page is older by one, and counts
/// for nothing; even numbers belong to the first page.
const TRANSACTION: u64 = 2;

/// What the first page says of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    page_size: PageSize,
    root: u64,
    pages: u64,
}

impl Layout {
    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.pages * u64::try_from(self.page_size.bytes()).expect("64 KiB fit")
    }
}

/// Writes a file. See the module for the order of calls.
#[derive(Debug)]
pub struct Writer<W> {
    pages: Pages<W>,
    buckets: Tree,
    /// The bucket that is being written.
    bucket: Option<(Vec<u8>, Tree)>,
    /// What the first page was told.
    promised: Option<Layout>,
}

impl Writer<io::Sink> {
    /// Writes nothing: its [`Writer::finish`] tells the layout.
    pub fn measuring(page_size: PageSize) -> Self {
        let pages = Pages { out: io::sink(), page_size, next: FIRST_PAGE };
        Writer { pages, buckets: Tree::default(), bucket: None, promised: None }
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file that will have this layout.
    pub fn new(mut out: W, layout: Layout) -> io::Result<Self> {
        let Layout { page_size, root, pages } = layout;
        for transaction in [TRANSACTION, TRANSACTION - 1] {
            out.write_all(&Meta { page_size, root, pages, transaction }.encode())?;
        }
        let pages = Pages { out, page_size, next: FIRST_PAGE };
        Ok(Writer { pages, buckets: Tree::default(), bucket: None, promised: Some(layout) })
    }

    /// Begins a bucket. Its name follows all names before it.
    pub fn bucket(&mut self, name: &[u8]) -> io::Result<()> {
        self.end_bucket()?;
        self.bucket = Some((name.to_vec(), Tree::default()));
        Ok(())
    }

    /// Adds an entry to the bucket. Its key follows all keys before it.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let (_, tree) = self.bucket.as_mut().expect("a bucket was begun");
        tree.put(&mut self.pages, 0, key, value)
    }

    /// After the last entry.
    ///
    /// # Panics
    /// If the rows are not those that were measured: the file is not to be used.
    pub fn finish(mut self) -> io::Result<Layout> {
        self.end_bucket()?;
        let root = self.buckets.finish(&mut self.pages)?;
        let layout = Layout { page_size: self.pages.page_size, root, pages: self.pages.next };
        assert!(self.promised.is_none_or(|promised| promised == layout), "the rows were others");
        self.pages.out.flush()?;
        Ok(layout)
    }

    fn end_bucket(&mut self) -> io::Result<()> {
        let Some((name, tree)) = self.bucket.take() else { return Ok(()) };
        let inline_max = self.pages.page_size.bytes() / INLINE_PART;
        let (root, inline) = if tree.is_one_leaf_of(inline_max) {
            (0, tree.leaf.encode(0, 0))
        } else {
            (tree.finish(&mut self.pages)?, Vec::new())
        };
        let mut value = Vec::with_capacity(BUCKET_BYTES + inline.len());
        value.extend_from_slice(&root.to_le_bytes());
        value.extend_from_slice(&0_u64.to_le_bytes());
        value.extend_from_slice(&inline);
        self.buckets.put(&mut self.pages, FLAG_BUCKET, &name, &value)
    }
}

/// The pages of a file, in order.
#[derive(Debug)]
struct Pages<W> {
    out: W,
    page_size: PageSize,
    next: u64,
}

impl<W: Write> Pages<W> {
    /// Writes a node into the next page, and those after it if it needs more; gives its number.
    fn write(&mut self, node: &Node) -> io::Result<u64> {
        let (id, page_bytes) = (self.next, self.page_size.bytes());
        let count = node.bytes().div_ceil(page_bytes);
        let overflow = u32::try_from(count - 1).expect("a node has no more than a few values");
        let mut page = node.encode(id, overflow);
        page.resize(count * page_bytes, 0);
        self.out.write_all(&page)?;
        self.next += u64::from(overflow) + 1;
        Ok(id)
    }
}

/// A tree in the making: what is not written yet, from the leaf up.
#[derive(Debug)]
struct Tree {
    leaf: Node,
    branches: Vec<Node>,
    last_key: Option<Vec<u8>>,
}

impl Default for Tree {
    fn default() -> Self {
        Tree { leaf: Node::new(FLAG_LEAF), branches: Vec::new(), last_key: None }
    }
}

impl Tree {
    fn is_one_leaf_of(&self, bytes_max: usize) -> bool {
        self.branches.is_empty() && self.leaf.bytes() <= bytes_max
    }

    fn put<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        flags: u32,
        key: &[u8],
        value: &[u8],
    ) -> io::Result<()> {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "a key of {} bytes", key.len());
        assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
        let ascends = self.last_key.as_deref().is_none_or(|last| last < key);
        assert!(ascends, "keys come in ascending order");
        let last_key = self.last_key.get_or_insert_default();
        last_key.clear();
        last_key.extend_from_slice(key);
        let element = Element { flags, child: 0, key_len: key.len(), value_len: value.len() };
        if self.leaf.count() > 0 && !self.leaf.has_room(&element, pages.page_size) {
            self.end_leaf(pages)?;
        }
        self.leaf.push(element, key, value);
        Ok(())
    }

    fn end_leaf<W: Write>(&mut self, pages: &mut Pages<W>) -> io::Result<()> {
        let leaf = std::mem::replace(&mut self.leaf, Node::new(FLAG_LEAF));
        let child = pages.write(&leaf)?;
        self.add_child(pages, 0, leaf.first_key(), child)
    }

    /// Notes a page that was written, `level` levels above the leaves' parents.
    fn add_child<W: Write>(
        &mut self,
        pages: &mut Pages<W>,
        level: usize,
        key: &[u8],
        child: u64,
    ) -> io::Result<()> {
        if self.branches.len() == level {
            self.branches.push(Node::new(FLAG_BRANCH));
        }
        let element = Element { flags: 0, child, key_len: key.len(), value_len: 0 };
        let branch = &mut self.branches[level];
        // With fewer than two children a level would not be shorter than the one below.
        if branch.count() >= 2 && !branch.has_room(&element, pages.page_size) {
            let full = std::mem::replace(branch, Node::new(FLAG_BRANCH));
            let parent = pages.write(&full)?;
            self.add_child(pages, level + 1, full.first_key(), parent)?;
        }
        self.branches[level].push(element, key, &[]);
        Ok(())
    }

    /// Writes what is left; gives the number of the root.
    fn finish<W: Write>(mut self, pages: &mut Pages<W>) -> io::Result<u64> {
        if self.branches.is_empty() {
            return pages.write(&self.leaf);
        }
        self.end_leaf(pages)?;
        let mut level = 0;
        loop {
            let branch = std::mem::replace(&mut self.branches[level], Node::new(FLAG_BRANCH));
            let page = pages.write(&branch)?;
            level += 1;
            if level == self.branches.len() {
                return Ok(page);
            }
            self.add_child(pages, level, branch.first_key(), page)?;
        }
    }
}

/// A page in the making.
#[derive(Debug)]
struct Node {
    flags: u16,
    elements: Vec<Element>,
    /// Keys and values, one after the other.
    data: Vec<u8>,
}

/// Of a leaf or of a branch.
#[derive(Debug)]
struct Element {
    /// Of a leaf.
    flags: u32,
    /// Of a branch.
    child: u64,
    key_len: usize,
    /// Of a leaf.
    value_len: usize,
}

impl Node {
    fn new(flags: u16) -> Self {
        Node { flags, elements: Vec::new(), data: Vec::new() }
    }

    fn count(&self) -> usize {
        self.elements.len()
    }

    fn bytes(&self) -> usize {
        HEADER_BYTES + self.elements.len() * ELEMENT_BYTES + self.data.len()
    }

    fn has_room(&self, element: &Element, page_size: PageSize) -> bool {
        let more = ELEMENT_BYTES + element.key_len + element.value_len;
        self.bytes() + more <= page_size.bytes()
    }

    fn push(&mut self, element: Element, key: &[u8], value: &[u8]) {
        self.elements.push(element);
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    fn first_key(&self) -> &[u8] {
        let len = self.elements.first().map_or(0, |element| element.key_len);
        &self.data[..len]
    }

    fn encode(&self, id: u64, overflow: u32) -> Vec<u8> {
        let count = u16::try_from(self.count()).expect("elements of 16 bytes in 64 KiB");
        let mut page = Vec::with_capacity(self.bytes());
        page.extend_from_slice(&header(id, self.flags, count, overflow));
        // A position counts from the start of its element.
        let mut position = self.count() * ELEMENT_BYTES;
        let length =
            |len: usize| u32::try_from(len).expect("bounded when it was put").to_le_bytes();
        for Element { flags, child, key_len, value_len } in &self.elements {
            if self.flags == FLAG_LEAF {
                page.extend_from_slice(&flags.to_le_bytes());
                page.extend_from_slice(&length(position));
                page.extend_from_slice(&length(*key_len));
                page.extend_from_slice(&length(*value_len));
            } else {
                page.extend_from_slice(&length(position));
                page.extend_from_slice(&length(*key_len));
                page.extend_from_slice(&child.to_le_bytes());
            }
            position = position + key_len + value_len - ELEMENT_BYTES;
        }
        page.extend_from_slice(&self.data);
        page
    }
}
