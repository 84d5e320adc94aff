//! Members that end at once: SIGKILL, then a restart with the same flags.
//!
//! A killed process loses nothing that it wrote, since the kernel keeps it. To see what a power
//! cut would do, `lose_unsynced` takes back what the member wrote but did not sync: a rusd built
//! for such trials notes in `member/wal/SYNCED` how far its log is synced.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::each;
use crate::cluster::{Cluster, ClusterError};

/// Where a member notes how far its log is synced: "segment offset".
const SYNCED: &str = "SYNCED";
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

pub(super) async fn begin(
    cluster: &Cluster,
    members: &[u32],
    lose_unsynced: bool,
) -> Result<(), ClusterError> {
    // Everyone first, then the logs: what one lost must not come back from another.
    let mut killed = Ok(());
    for &member in members {
        killed = killed.and(cluster.kill(member).await);
    }
    let lost = if lose_unsynced { each(members, |member| lose(cluster, member)) } else { Ok(()) };
    killed.and(lost)
}

fn lose(cluster: &Cluster, member: u32) -> Result<(), ClusterError> {
    let wal = cluster.data(member).join("member").join("wal");
    cut_to_synced(&wal).map_err(|source| ClusterError::Io {
        what: format!("cannot cut the log of m{member} back"),
        source,
    })
}

/// Zeroes the segment that `SYNCED` names from its offset on, and removes later segments.
fn cut_to_synced(wal: &Path) -> io::Result<()> {
    let note = fs::read_to_string(wal.join(SYNCED))?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("{SYNCED}: {note:?}"));
    let (segment, offset) = note.trim().split_once(' ').ok_or_else(malformed)?;
    let offset: u64 = offset.parse().map_err(io::Error::other)?;
    for entry in fs::read_dir(wal)? {
        let name = entry?.file_name();
        let is_segment = Path::new(&name).extension().is_some_and(|e| e == "wal");
        if is_segment && name.to_str().is_some_and(|name| name > segment) {
            fs::remove_file(wal.join(name))?;
        }
    }
    let mut file = File::options().write(true).open(wal.join(segment))?;
    let mut missing = file.metadata()?.len().saturating_sub(offset);
    file.seek(SeekFrom::Start(offset))?;
    while missing > 0 {
        let part = usize::try_from(missing).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        file.write_all(&ZEROS[..part])?;
        missing -= u64::try_from(part).expect("a part is small");
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["0000-a.wal", "0001-b.wal", "0002-c.wal"] {
            fs::write(path(name), vec![7; 100_000]).unwrap();
        }
        fs::write(path("other.tmp"), "x").unwrap();
        fs::write(path(SYNCED), "0001-b.wal 10\n").unwrap();
        cut_to_synced(folder.path()).unwrap();
        assert_eq!(fs::read(path("0000-a.wal")).unwrap(), vec![7; 100_000]);
        assert!(!path("0002-c.wal").exists());
        assert!(path("other.tmp").exists());
        let cut = fs::read(path("0001-b.wal")).unwrap();
        assert_eq!(cut.len(), 100_000);
        assert_eq!(cut[..10], [7; 10]);
        assert!(cut[10..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_missing_or_malformed_note_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(cut_to_synced(folder.path()).is_err());
        fs::write(folder.path().join(SYNCED), "nonsense").unwrap();
        assert!(cut_to_synced(folder.path()).is_err());
    }
}
