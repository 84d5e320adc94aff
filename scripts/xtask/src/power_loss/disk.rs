//! A disk that remembers what was synced: files and folders as a traced program left them, and what
//! a loss of power may leave of them.
//!
//! What the images assume of a file system, and no more:
//! - A sector of 512 bytes is written whole or not at all; sectors are written in any order, of one
//!   file and across files. A sector that was written several times may be left as any of the writes
//!   left it. Where nothing was written there are zeros.
//! - `fsync` and `fdatasync` make what was written to the file before they began survive, with its
//!   length. Until then the length may be that after any of the writes.
//! - A name that was made, moved or removed survives when its folder was synced. Until then the
//!   changes of one folder happen in their order, up to any of them, whatever happens elsewhere.
//! - Nothing else syncs anything: not `close`, not `sync_file_range`, not the age of the data.
//!
//! What a program does that is not modelled is an error, never passed over.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::Rng;

/// The unit that a disk writes whole or not at all, at the least.
const SECTOR_BYTES: u64 = 512;

/// What a file or a folder is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(usize);

/// A change that was begun, and whether it has ended.
#[derive(Debug)]
struct Pending<T> {
    change: T,
    /// Numbers the change among all of the disk.
    number: u64,
    has_ended: bool,
}

/// A change of a file.
#[derive(Debug)]
enum FileChange {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// A new length, and the one before. What goes beyond is zero when the file grows again.
    Length {
        bytes: u64,
        before: u64,
    },
}

/// A change of a folder.
#[derive(Debug)]
enum FolderChange {
    Add { name: String, inode: Inode },
    Remove { name: String },
    Move { from: String, to: String, inode: Inode },
}

type Names = BTreeMap<String, Inode>;
type Sector = Box<[u8; 512]>;

/// Sectors that are not zero, by number.
type Sectors = BTreeMap<u64, Sector>;

#[derive(Debug, Default)]
struct FileState {
    /// As it is synced.
    sectors: Sectors,
    length: u64,
    pending: Vec<Pending<FileChange>>,
    /// The length as the program sees it.
    length_now: u64,
}

#[derive(Debug, Default)]
struct FolderState {
    /// As it is synced.
    names: Names,
    pending: Vec<Pending<FolderChange>>,
    /// As the program sees it.
    names_now: Names,
}

#[derive(Debug)]
enum Node {
    File(FileState),
    Folder(FolderState),
}

/// A change that has begun; see [`Disk::end`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    inode: Inode,
    number: u64,
}

/// The disk. Its root is a folder that is there, and empty.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    changes: u64,
}

impl Disk {
    /// The root.
    pub(super) const ROOT: Inode = Inode(0);

    /// An empty disk.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Folder(FolderState::default())], changes: 0 }
    }

    /// What stands under a path from the root.
    pub(super) fn find(&self, path: &Path) -> Option<Inode> {
        path.iter().try_fold(Self::ROOT, |folder, name| match &self.nodes[folder.0] {
            Node::Folder(folder) => folder.names_now.get(name.to_str()?).copied(),
            Node::File(_) => None,
        })
    }

    /// Makes a file or a folder under a name that is free.
    pub(super) fn make(&mut self, path: &Path, is_folder: bool) -> Result<Inode> {
        let inode = Inode(self.nodes.len());
        self.nodes.push(if is_folder {
            Node::Folder(FolderState::default())
        } else {
            Node::File(FileState::default())
        });
        let (folder, name) = self.place(path)?;
        self.change_folder(folder, FolderChange::Add { name, inode })?;
        Ok(inode)
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, path: &Path) -> Result<()> {
        let (folder, name) = self.place(path)?;
        self.change_folder(folder, FolderChange::Remove { name })
    }

    /// Moves a name within its folder, over whatever has the other name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let inode = self.find(from).context("what is moved is not there")?;
        let (folder, from) = self.place(from)?;
        let (other, to) = self.place(to)?;
        ensure!(folder == other, "a name is moved to another folder, which is not modelled");
        self.change_folder(folder, FolderChange::Move { from, to, inode })
    }

    /// Bytes of a file as the program sees it.
    pub(super) fn length(&self, inode: Inode) -> u64 {
        match &self.nodes[inode.0] {
            Node::File(file) => file.length_now,
            Node::Folder(_) => 0,
        }
    }

    /// A write begins. Until [`Disk::end`] nothing makes it survive.
    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: Vec<u8>) -> Result<Begun> {
        let end = offset + u64::try_from(bytes.len())?;
        self.change_file(inode, FileChange::Write { offset, bytes }, |length| length.max(end))
    }

    /// The length of a file is set.
    pub(super) fn set_length(&mut self, inode: Inode, bytes: u64) -> Result<Begun> {
        let before = self.length(inode);
        self.change_file(inode, FileChange::Length { bytes, before }, |_| bytes)
    }

    /// A change has ended.
    pub(super) fn end(&mut self, begun: Begun) {
        if let Node::File(file) = &mut self.nodes[begun.inode.0]
            && let Some(change) = file.pending.iter_mut().find(|it| it.number == begun.number)
        {
            change.has_ended = true;
        }
    }

    /// A sync begins; what has ended by now is what it is about.
    pub(super) fn begin_sync(&self, inode: Inode) -> Begun {
        // Of those that have a lower number, some may not have ended; they are left out.
        let unended = match &self.nodes[inode.0] {
            Node::File(file) => file.pending.iter().find(|change| !change.has_ended),
            Node::Folder(_) => None,
        };
        Begun { inode, number: unended.map_or(self.changes, |change| change.number) }
    }

    /// The sync has ended: what is before it survives.
    pub(super) fn end_sync(&mut self, begun: Begun) {
        match &mut self.nodes[begun.inode.0] {
            Node::File(file) => {
                let count = file.pending.partition_point(|it| it.number < begun.number);
                for done in file.pending.drain(..count) {
                    file.length = done.change.length_after(file.length);
                    for number in done.change.sectors() {
                        let sector = file.sectors.remove(&number);
                        let sector = done.change.laid_over(number, sector);
                        sector.map(|sector| file.sectors.insert(number, sector));
                    }
                }
            }
            Node::Folder(folder) => {
                let count = folder.pending.partition_point(|it| it.number < begun.number);
                for done in folder.pending.drain(..count) {
                    done.change.apply(&mut folder.names);
                }
            }
        }
    }

    fn place(&self, path: &Path) -> Result<(Inode, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).context("a name of UTF-8")?;
        let folder = path.parent().and_then(|parent| self.find(parent));
        let folder = folder.with_context(|| format!("no folder for {}", path.display()))?;
        Ok((folder, name.to_owned()))
    }

    fn change_folder(&mut self, inode: Inode, change: FolderChange) -> Result<()> {
        self.changes += 1;
        let Node::Folder(folder) = &mut self.nodes[inode.0] else {
            anyhow::bail!("a name in what is no folder")
        };
        change.apply(&mut folder.names_now);
        folder.pending.push(Pending { change, number: self.changes - 1, has_ended: true });
        Ok(())
    }

    fn change_file(
        &mut self,
        inode: Inode,
        change: FileChange,
        length: impl FnOnce(u64) -> u64,
    ) -> Result<Begun> {
        let number = self.changes;
        self.changes += 1;
        let Node::File(file) = &mut self.nodes[inode.0] else {
            anyhow::bail!("a write to what is no file")
        };
        file.length_now = length(file.length_now);
        file.pending.push(Pending { change, number, has_ended: false });
        Ok(Begun { inode, number })
    }
}

/// How much of what was not synced an image keeps.
pub(super) trait Chance {
    /// How many of so many changes, in their order.
    fn kept(&mut self, changes: usize) -> usize;
    /// Another file or folder follows.
    fn next_node(&mut self);
}

/// All of it: what a kill of the process leaves.
pub(super) struct Everything;

impl Chance for Everything {
    fn kept(&mut self, changes: usize) -> usize {
        changes
    }

    fn next_node(&mut self) {}
}

/// What a loss of power leaves: of each file and folder nothing, little, half, nearly all or all.
pub(super) struct Random<R> {
    rng: R,
    kept_percent: u32,
}

impl<R: Rng> Random<R> {
    pub(super) fn new(rng: R) -> Self {
        Self { rng, kept_percent: 50 }
    }
}

impl<R: Rng> Chance for Random<R> {
    fn kept(&mut self, changes: usize) -> usize {
        if changes > 1 && self.rng.random_ratio(1, 2) && !matches!(self.kept_percent, 0 | 100) {
            return self.rng.random_range(0..=changes);
        }
        if self.rng.random_ratio(self.kept_percent, 100) { changes } else { 0 }
    }

    fn next_node(&mut self) {
        self.kept_percent = [0, 3, 50, 97, 100][self.rng.random_range(0..5)];
    }
}

impl Disk {
    /// Writes into an empty folder what the disk may hold if the power is lost now.
    pub(super) fn image(&self, to: &Path, chance: &mut dyn Chance) -> Result<()> {
        self.image_of(Self::ROOT, to, chance)
    }

    fn image_of(&self, inode: Inode, to: &Path, chance: &mut dyn Chance) -> Result<()> {
        chance.next_node();
        match &self.nodes[inode.0] {
            Node::File(file) => file.image(to, chance),
            Node::Folder(folder) => {
                let mut names = folder.names.clone();
                for done in &folder.pending[..chance.kept(folder.pending.len())] {
                    done.change.apply(&mut names);
                }
                for (name, inode) in names {
                    let path = to.join(name);
                    if matches!(self.nodes[inode.0], Node::Folder(_)) {
                        fs::create_dir(&path)?;
                    }
                    self.image_of(inode, &path, chance)?;
                }
                Ok(())
            }
        }
    }
}

impl FolderChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Move { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl FileChange {
    fn length_after(&self, before: u64) -> u64 {
        match self {
            Self::Write { .. } => before.max(self.range().end),
            Self::Length { bytes, .. } => *bytes,
        }
    }

    /// The bytes that it changes.
    fn range(&self) -> std::ops::Range<u64> {
        match self {
            Self::Write { offset, bytes } => {
                *offset..*offset + u64::try_from(bytes.len()).expect("a length fits")
            }
            Self::Length { bytes, before } => *bytes..(*before).max(*bytes),
        }
    }

    fn sectors(&self) -> std::ops::Range<u64> {
        let range = self.range();
        range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)
    }

    /// The sector with this change; `None` is one of zeros.
    fn laid_over(&self, number: u64, sector: Option<Sector>) -> Option<Sector> {
        let range = self.range();
        let start = number * SECTOR_BYTES;
        let from = range.start.max(start);
        let to = range.end.min(start + SECTOR_BYTES);
        if from >= to {
            return sector;
        }
        let at = |place: u64, base: u64| usize::try_from(place - base).expect("within a write");
        let mut sector = sector.unwrap_or_else(|| Box::new([0; 512]));
        let place = at(from, start)..at(to, start);
        match self {
            Self::Write { offset, bytes } => {
                sector[place].copy_from_slice(&bytes[at(from, *offset)..at(to, *offset)]);
            }
            Self::Length { .. } => sector[place].fill(0),
        }
        sector.iter().any(|byte| *byte != 0).then_some(sector)
    }
}

impl FileState {
    fn image(&self, to: &Path, chance: &mut dyn Chance) -> Result<()> {
        // What may have happened to each sector, in order.
        let mut changed: BTreeMap<u64, Vec<&FileChange>> = BTreeMap::new();
        for pending in &self.pending {
            for number in pending.change.sectors() {
                changed.entry(number).or_default().push(&pending.change);
            }
        }
        let of_length: Vec<&FileChange> = {
            let mut length = self.length;
            let changes = self.pending.iter().map(|pending| &pending.change);
            let is_other_length = |change: &&FileChange| {
                let before = length;
                length = change.length_after(before);
                length != before
            };
            changes.filter(is_other_length).collect()
        };
        let kept = chance.kept(of_length.len());
        let length =
            of_length[..kept].iter().fold(self.length, |it, change| change.length_after(it));
        let mut out = Runs { file: File::create(to)?, length, start: 0, bytes: Vec::new() };
        out.file.set_len(length)?;
        let mut untouched = self.sectors.iter().peekable();
        for (number, changes) in changed {
            while let Some((other, sector)) = untouched.next_if(|(other, _)| **other < number) {
                out.put(*other, &sector[..])?;
            }
            let synced = untouched.next_if(|(other, _)| **other == number);
            let kept = &changes[..chance.kept(changes.len())];
            let sector =
                kept.iter().fold(synced.map(|(_, sector)| sector.clone()), |it, change| {
                    change.laid_over(number, it)
                });
            if let Some(sector) = sector {
                out.put(number, &sector[..])?;
            }
        }
        for (number, sector) in untouched {
            out.put(*number, &sector[..])?;
        }
        out.flush()
    }
}

/// Writes neighbouring sectors in one go.
struct Runs {
    file: File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Runs {
    fn put(&mut self, number: u64, sector: &[u8]) -> Result<()> {
        let at = number * SECTOR_BYTES;
        if at != self.start + u64::try_from(self.bytes.len())? {
            self.flush()?;
            self.start = at;
        }
        let held = usize::try_from(self.length.saturating_sub(at).min(SECTOR_BYTES))?;
        self.bytes.extend_from_slice(&sector[..held]);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.bytes, self.start)?;
        self.bytes.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
