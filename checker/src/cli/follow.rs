//! `checker check --follow HISTORY`: judges a history while it is being written.
//!
//! A pipe says itself when its writer is gone. Of a file, that is asked of the system once the file
//! has stood still for a while: nobody that we can see has it open for writing.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusd_checker::Report;
use rusd_checker::stream::{StreamOptions, Wait, follow};

use super::input;

/// How often a file is looked at that does not grow.
const PAUSE: Duration = Duration::from_millis(50);
/// After how long a file that does not grow is asked for its writer.
const STILL_MAX: Duration = Duration::from_secs(2);

/// Follows a history to its end, to the first violation, or until its writer is gone.
pub(super) fn judge(path: &Path, options: StreamOptions) -> anyhow::Result<Report> {
    let shown = || path.display().to_string();
    if input::is_standard(path) {
        return follow(io::stdin().lock(), options, &mut || Wait::Gone).with_context(shown);
    }
    let file = File::open(path).with_context(|| format!("{}: cannot be opened", shown()))?;
    let metadata = file.metadata().with_context(shown)?;
    let mut length = 0;
    let mut grew = Instant::now();
    let mut wait = || {
        thread::sleep(PAUSE);
        let now = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if now != length {
            length = now;
            grew = Instant::now();
        }
        if grew.elapsed() > STILL_MAX && !has_writer(&metadata) {
            return Wait::Gone;
        }
        Wait::Again
    };
    follow(file, options, &mut wait).with_context(shown)
}

/// Whether a process that we can see has the file open for writing.
fn has_writer(file: &Metadata) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { return false };
        open.flatten().any(|descriptor| {
            let is_it = fs::metadata(descriptor.path())
                .is_ok_and(|own| (own.dev(), own.ino()) == (file.dev(), file.ino()));
            let said = process.path().join("fdinfo").join(descriptor.file_name());
            is_it && fs::read_to_string(said).is_ok_and(|said| is_for_writing(&said))
        })
    })
}

/// Whether a descriptor was opened for writing, by what the system says of it.
fn is_for_writing(said: &str) -> bool {
    let flags = said.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    // The last two bits: 0 is for reading only.
    flags.is_some_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_writer_as_long_as_somebody_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let writing = File::create(&path).unwrap();
        let reading = File::open(&path).unwrap();
        let metadata = reading.metadata().unwrap();
        assert!(has_writer(&metadata));
        drop(writing);
        assert!(!has_writer(&metadata));
    }
}
