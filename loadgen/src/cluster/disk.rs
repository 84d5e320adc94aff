//! A disk that can be full: a small file system in memory, in a mount namespace of its own.
//!
//! Nobody but the member and its keeper sees it by its path; we reach it through `/proc`. So a run
//! needs no privilege where user namespaces are allowed, and leaves nothing mounted however it ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What fills it.
const FILLER: &str = "filler";
/// Written at a time until there is no space, then halved down to a byte.
const FILL_BYTES: usize = 1 << 20;

/// A small file system. It is gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// As the member sees it.
    mounted: PathBuf,
    keeper: Child,
}

impl SmallDisk {
    /// Makes one of so many bytes at an empty folder that is there.
    pub fn new(folder: &Path, bytes: usize) -> io::Result<SmallDisk> {
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && exec cat"#;
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(folder)
            .arg(bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("unshare: {error}")))?;
        let stdout = keeper.stdout.take().expect("it was asked for");
        let stderr = keeper.stderr.take().expect("it was asked for");
        let disk = SmallDisk { mounted: folder.to_owned(), keeper };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim_end() == "mounted" {
            return Ok(disk);
        }
        let mut said = String::new();
        BufReader::new(stderr).read_line(&mut said)?;
        Err(io::Error::other(format!("no file system can be mounted: {}", said.trim_end())))
    }

    /// Where it is for us.
    pub fn folder(&self) -> PathBuf {
        let inside = self.mounted.strip_prefix("/").unwrap_or(&self.mounted);
        Path::new("/proc").join(self.keeper.id().to_string()).join("root").join(inside)
    }

    /// The words before a program's name with which it is started inside, and ends with us.
    pub(crate) fn enter(&self) -> Vec<OsString> {
        let target = self.keeper.id().to_string();
        let enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target];
        // What the kernel was told before is forgotten on the way in.
        let ends_with_us = ["setpriv", "--pdeathsig", "KILL", "--"];
        enter.into_iter().chain(ends_with_us).map(OsString::from).collect()
    }

    /// Leaves no free byte.
    pub fn fill(&self) -> io::Result<()> {
        let mut file = File::create(self.folder().join(FILLER))?;
        let bytes = vec![0xff; FILL_BYTES];
        let mut part = FILL_BYTES;
        while part > 0 {
            match file.write(&bytes[..part]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => part /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Frees what [`SmallDisk::fill`] took.
    pub fn make_room(&self) -> io::Result<()> {
        match fs::remove_file(self.folder().join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // With its standard input it ends by itself, too, when we are killed.
        if self.keeper.kill().is_ok() {
            drop(self.keeper.wait());
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_fills_up_and_has_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::new(folder.path(), 1 << 20)
            .unwrap_or_else(|error| panic!("{error}; see `loadgen faults doctor`"));
        let file = disk.folder().join("file");
        fs::write(&file, [1; 1000]).unwrap();
        assert!(!folder.path().join("file").exists(), "nobody else sees it");
        disk.fill().unwrap();
        let full = fs::write(disk.folder().join("more"), [1; 10_000]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        disk.make_room().unwrap();
        fs::write(disk.folder().join("more"), [1; 10_000]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), [1; 1000]);
    }
}
