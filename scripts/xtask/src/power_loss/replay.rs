//! Does to a [`Disk`] what a trace says was done to a folder.
//!
//! It knows the open files of the process, which all its threads share. A call on our folder that it
//! does not know is an error: an image without it would show a loss that there was not, or hide one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::disk::{Begun, Disk, Inode};
use super::trace::{Argument, Call, Event, Step};

/// An open file: where it stands is shared by its descriptors.
#[derive(Debug)]
struct Open {
    inode: Inode,
    path: PathBuf,
    offset: u64,
    is_append: bool,
}

/// What a thread has begun and will have done when it ends.
#[derive(Debug)]
enum Doing {
    /// Nothing of ours.
    Nothing,
    /// Its result may be a descriptor, or its effect a name.
    Call(Call),
    Write {
        begun: Begun,
        bytes: u64,
        moves: Option<usize>,
    },
    Length(Begun),
    Sync(Begun),
}

/// A trace on its way over a disk.
#[derive(Debug)]
pub(super) struct Replay {
    /// As the trace left it.
    pub(super) disk: Disk,
    root: PathBuf,
    opens: Vec<Open>,
    /// Descriptors, by number.
    descriptors: BTreeMap<i64, usize>,
    doing: BTreeMap<u32, Doing>,
}

impl Replay {
    /// The root stands for a folder that was empty.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            disk: Disk::new(),
            root: root.to_path_buf(),
            opens: Vec::new(),
            descriptors: BTreeMap::new(),
            doing: BTreeMap::new(),
        }
    }

    /// Takes the next step. True if it is one of those after which a loss of power is different.
    pub(super) fn step(&mut self, event: Event) -> Result<bool> {
        match event.step {
            Step::Begin(call) => {
                let name = call.name.clone();
                let doing = self.begin(call).with_context(|| format!("at the begin of {name}"))?;
                let is_ours = matches!(doing, Doing::Write { .. } | Doing::Length(_));
                self.doing.insert(event.thread, doing);
                Ok(is_ours)
            }
            Step::End(result) => {
                let doing = self.doing.remove(&event.thread).context("nothing was begun")?;
                let is_ours = !matches!(doing, Doing::Nothing);
                let ended = format!("at the end of {doing:.200?}");
                Ok(self.end(doing, result).with_context(|| ended)? && is_ours)
            }
        }
    }

    fn begin(&mut self, call: Call) -> Result<Doing> {
        let open = self.descriptor(&call, 0);
        Ok(match (call.name.as_str(), open) {
            ("io_uring_setup", _) => bail!("it is not seen what is done by io_uring"),
            (
                "open" | "openat" | "creat" | "mkdir" | "mkdirat" | "rmdir" | "unlink" | "unlinkat"
                | "rename" | "renameat" | "renameat2",
                _,
            ) => Doing::Call(call),
            ("link" | "linkat" | "symlink" | "symlinkat" | "truncate", _) => {
                let is_ours = (0..call.arguments.len())
                    .any(|at| self.path(&call, at).is_ok_and(|path| path.is_some()));
                ensure!(!is_ours, "this is not modelled");
                Doing::Nothing
            }
            ("mmap", _) => {
                let is_shared = call.word(3)?.contains("MAP_SHARED");
                let is_ours = self.descriptor(&call, 4).is_some();
                ensure!(!(is_shared && is_ours), "a file is mapped to be shared");
                Doing::Nothing
            }
            ("sync" | "syncfs", _) => bail!("everything is synced, which is not modelled"),
            (_, None) => Doing::Nothing,
            ("close" | "dup" | "dup2" | "dup3" | "fcntl" | "lseek", Some(_)) => {
                if call.name == "close" {
                    self.descriptors.remove(&call.number(0)?);
                }
                Doing::Call(call)
            }
            ("write" | "writev" | "pwrite64" | "pwritev", Some(open)) => self.write(call, open)?,
            ("ftruncate", Some(open)) => {
                let bytes = u64::try_from(call.number(1)?)?;
                Doing::Length(self.disk.set_length(self.opens[open].inode, bytes)?)
            }
            ("fallocate", Some(open)) => {
                ensure!(call.word(1)? == "0", "this kind of fallocate is not modelled");
                let inode = self.opens[open].inode;
                let end = u64::try_from(call.number(2)? + call.number(3)?)?;
                Doing::Length(self.disk.set_length(inode, end.max(self.disk.length(inode)))?)
            }
            ("fsync" | "fdatasync", Some(open)) => {
                Doing::Sync(self.disk.begin_sync(self.opens[open].inode))
            }
            (_, Some(_)) => bail!("this is not modelled"),
        })
    }

    fn write(&mut self, mut call: Call, open: usize) -> Result<Doing> {
        let is_placed = call.name.starts_with('p');
        let offset = if is_placed { Some(u64::try_from(call.number(3)?)?) } else { None };
        let Argument::Bytes(bytes) = call.arguments.swap_remove(1) else { bail!("no bytes") };
        let open_file = &self.opens[open];
        let (inode, place) = (open_file.inode, open_file.offset);
        let end = if open_file.is_append { self.disk.length(inode) } else { place };
        let moves = (!is_placed).then_some(open);
        let length = u64::try_from(bytes.len())?;
        if let Some(open) = moves {
            self.opens[open].offset = end;
        }
        let begun = self.disk.write(inode, offset.unwrap_or(end), bytes)?;
        Ok(Doing::Write { begun, bytes: length, moves })
    }

    /// False if it failed, and so did nothing.
    fn end(&mut self, doing: Doing, result: Option<i64>) -> Result<bool> {
        let result = match (&doing, result) {
            (Doing::Write { .. } | Doing::Length(_) | Doing::Sync(_), None) => {
                bail!("the disk refused, which is not modelled")
            }
            (_, None) => return Ok(false),
            (_, Some(result)) => result,
        };
        match doing {
            Doing::Nothing => return Ok(false),
            Doing::Call(call) => return self.end_call(&call, result),
            Doing::Write { begun, bytes, moves } => {
                ensure!(u64::try_from(result)? == bytes, "{result} of {bytes} bytes were written");
                if let Some(open) = moves {
                    self.opens[open].offset += bytes;
                }
                self.disk.end(begun);
            }
            Doing::Length(begun) => self.disk.end(begun),
            Doing::Sync(begun) => self.disk.end_sync(begun),
        }
        Ok(true)
    }

    fn end_call(&mut self, call: &Call, result: i64) -> Result<bool> {
        let at_folder = usize::from(call.name.ends_with("at") || call.name == "renameat2");
        let path = |replay: &Self| replay.path(call, at_folder);
        match call.name.as_str() {
            "open" | "openat" | "creat" => {
                let flags = if call.name == "creat" {
                    "O_CREAT|O_TRUNC"
                } else {
                    call.word(at_folder + 1)?
                };
                let Some(path) = path(self)? else { return Ok(false) };
                return self.opened(path, flags, result);
            }
            "mkdir" | "mkdirat" => match path(self)? {
                Some(path) => drop(self.disk.make(&path, true)?),
                None => return Ok(false),
            },
            "rmdir" | "unlink" | "unlinkat" => match path(self)? {
                Some(path) => self.disk.remove(&path)?,
                None => return Ok(false),
            },
            "rename" | "renameat" | "renameat2" => {
                let to = self.path(call, 1 + 2 * at_folder)?;
                match (path(self)?, to) {
                    (Some(from), Some(to)) => self.disk.rename(&from, &to)?,
                    (None, None) => return Ok(false),
                    _ => bail!("a name is moved into or out of the folder"),
                }
            }
            "dup" | "dup2" | "dup3" => self.doubled(call, result)?,
            "fcntl" if call.word(1)?.starts_with("F_DUPFD") => self.doubled(call, result)?,
            "lseek" => {
                let open = self.descriptor(call, 0).context("a file that is not open")?;
                self.opens[open].offset = u64::try_from(result)?;
            }
            _ => {}
        }
        let is_change = matches!(
            call.name.as_str(),
            "mkdir"
                | "mkdirat"
                | "rmdir"
                | "unlink"
                | "unlinkat"
                | "rename"
                | "renameat"
                | "renameat2"
        );
        Ok(is_change)
    }

    /// True if a file was made or emptied.
    fn opened(&mut self, path: PathBuf, flags: &str, descriptor: i64) -> Result<bool> {
        let has = |flag: &str| flags.split('|').any(|it| it == flag);
        ensure!(!has("O_SYNC") && !has("O_DSYNC"), "a file is opened with {flags}");
        let found = self.disk.find(&path);
        let mut is_change = false;
        let inode = if let Some(inode) = found {
            inode
        } else {
            ensure!(has("O_CREAT"), "{} is opened and was not made", path.display());
            is_change = true;
            self.disk.make(&path, false)?
        };
        if has("O_TRUNC") && self.disk.length(inode) > 0 {
            is_change = true;
            let begun = self.disk.set_length(inode, 0)?;
            self.disk.end(begun);
        }
        self.opens.push(Open { inode, path, offset: 0, is_append: has("O_APPEND") });
        self.descriptors.insert(descriptor, self.opens.len() - 1);
        Ok(is_change)
    }

    fn doubled(&mut self, call: &Call, descriptor: i64) -> Result<()> {
        let open = self.descriptor(call, 0).context("a file that is not open")?;
        self.descriptors.insert(descriptor, open);
        Ok(())
    }

    fn descriptor(&self, call: &Call, at: usize) -> Option<usize> {
        self.descriptors.get(&call.number(at).ok()?).copied()
    }

    /// A path argument, from our root; `None` if it is elsewhere. The argument before it may be an
    /// open folder.
    fn path(&self, call: &Call, at: usize) -> Result<Option<PathBuf>> {
        let Some(Argument::Bytes(bytes)) = call.arguments.get(at) else { bail!("no path") };
        let mut path = PathBuf::from(std::str::from_utf8(bytes)?);
        if path.is_relative() {
            let folder = at.checked_sub(1).and_then(|at| self.descriptor(call, at));
            let Some(folder) = folder else { return Ok(None) };
            path = self.root.join(&self.opens[folder].path).join(path);
        }
        let inside = path.strip_prefix(&self.root).ok();
        Ok(inside.map(Path::to_path_buf))
    }
}

impl Call {
    fn word(&self, at: usize) -> Result<&str> {
        match self.arguments.get(at) {
            Some(Argument::Word(word)) => Ok(word),
            other => bail!("{} has {other:?} as argument {at}", self.name),
        }
    }

    fn number(&self, at: usize) -> Result<i64> {
        Ok(self.word(at)?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::power_loss::disk::Everything;
    use crate::power_loss::trace::Trace;
    use crate::server::Scratch;

    /// The disk after a trace of operations in `/data`.
    fn replayed(text: &str) -> Result<Replay> {
        let folder = Scratch::new("replay-test")?;
        let path = folder.path().join("trace");
        fs::write(&path, text)?;
        let mut trace = Trace::open(&path)?;
        let mut replay = Replay::new(Path::new("/data"));
        while let Some(event) = trace.next()? {
            replay.step(event)?;
        }
        Ok(replay)
    }

    fn read(replay: &Replay, path: &str) -> String {
        let folder = Scratch::new("replay-test").unwrap();
        replay.disk.image(folder.path(), &mut Everything).unwrap();
        fs::read_to_string(folder.path().join(path)).unwrap()
    }

    #[test]
    fn open_files_stand_where_their_writes_left_them() {
        let text = "1 1.0 openat(AT_FDCWD, \"/data\", O_RDONLY|O_DIRECTORY) = 3\n\
                    1 1.0 mkdirat(3, \"sub\", 0777) = 0\n\
                    1 1.0 openat(AT_FDCWD, \"/data/sub/a\", O_RDWR|O_CREAT, 0666) = 4\n\
                    1 1.0 write(4, \"abcd\", 4) = 4\n\
                    1 1.0 fcntl(4, F_DUPFD_CLOEXEC, 0) = 5\n\
                    1 1.0 lseek(5, 1, SEEK_SET) = 1\n\
                    1 1.0 write(4, \"X\", 1) = 1\n\
                    1 1.0 close(4) = 0\n\
                    1 1.0 write(4, \"of a socket\", 11) = 11\n\
                    1 1.0 pwrite64(5, \"YZ\", 2, 4) = 2\n\
                    1 1.0 renameat2(AT_FDCWD, \"/data/sub/a\", AT_FDCWD, \"/data/sub/b\", 0) = 0\n";
        assert_eq!(read(&replayed(text).unwrap(), "sub/b"), "aXcdYZ");
    }

    #[test]
    fn what_is_not_modelled_is_an_error() {
        let open = "1 1.0 openat(AT_FDCWD, \"/data/a\", O_RDWR|O_CREAT, 0666) = 4\n";
        assert!(replayed(open).is_ok());
        for line in [
            "fallocate(4, FALLOC_FL_PUNCH_HOLE, 0, 1) = 0",
            "mmap(NULL, 5, PROT_WRITE, MAP_SHARED, 4, 0) = 0x7f0000000000",
            "linkat(AT_FDCWD, \"/data/a\", AT_FDCWD, \"/data/b\", 0) = 0",
            "write(4, \"ab\", 2) = 1",
            "fsync(4) = -1 EIO (Input/output error)",
            "sync() = 0",
        ] {
            assert!(replayed(&format!("{open}1 1.0 {line}\n")).is_err(), "{line}");
        }
        let elsewhere = "1 1.0 linkat(AT_FDCWD, \"/tmp/a\", AT_FDCWD, \"/tmp/b\", 0) = 0\n";
        assert!(replayed(elsewhere).is_ok());
    }
}
