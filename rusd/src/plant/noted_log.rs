//! A log that notes in `member/wal/SYNCED` how far it is synced, for a harness that acts out a loss
//! of power: it kills the member and cuts its log back to there.
//!
//! Invariant: the note is written before a sync returns, so before anything that depends on it
//! leaves the member. A note that lagged would take from a sound member what it had promised.

use std::fs;
use std::path::PathBuf;

use rusd_proto::raftpb::Entry;
use rusd_raft::log::{LogStore, SnapshotMark, SyncPoint, Wal};
use rusd_raft::{Fatal, HardState, Index, Metadata, Term};

/// A log beside which stands how far it is synced.
#[derive(Debug)]
pub struct NotedLog {
    log: Wal,
    noted: Option<SyncPoint>,
}

impl NotedLog {
    /// Notes how far `log` is synced, from now on.
    pub fn new(log: Wal) -> Self {
        let mut noted = NotedLog { log, noted: None };
        noted.note();
        noted
    }

    /// # Panics
    /// If the note cannot be written: the harness would cut at the wrong place.
    fn note(&mut self) {
        let synced = self.log.synced();
        if self.noted.as_ref() == Some(&synced) {
            return;
        }
        let path = path(&synced);
        let segment = synced.segment.file_name().unwrap_or_default().display();
        let temporary = path.with_extension("new");
        fs::write(&temporary, format!("{segment} {}\n", synced.offset))
            .and_then(|()| fs::rename(&temporary, &path))
            .expect("the folder of the log takes another file");
        self.noted = Some(synced);
    }
}

fn path(synced: &SyncPoint) -> PathBuf {
    synced.segment.with_file_name("SYNCED")
}

impl LogStore for NotedLog {
    fn metadata(&self) -> Metadata {
        self.log.metadata()
    }

    fn hard_state(&self) -> HardState {
        self.log.hard_state()
    }

    fn first_index(&self) -> Index {
        self.log.first_index()
    }

    fn last_index(&self) -> Index {
        self.log.last_index()
    }

    fn term(&self, index: Index) -> Option<Term> {
        self.log.term(index)
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        self.log.entries(low, high, bytes_max)
    }

    /// The next segment begins synced, which is news too.
    fn append(&mut self, entries: &[Entry], hard_state: Option<HardState>) -> Result<(), Fatal> {
        self.log.append(entries, hard_state)?;
        self.note();
        Ok(())
    }

    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        self.log.append_mark(mark)
    }

    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        self.log.cut(base)
    }

    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal> {
        self.log.restart_after(mark, state)
    }

    fn sync(&mut self) -> Result<(), Fatal> {
        self.log.sync()?;
        self.note();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusd_proto::rusdpeerpb::peer_message::Body;
    use rusd_proto::rusdpeerpb::{Append, PeerMessage};
    use rusd_raft::log::WalOptions;
    use rusd_raft::{ConfState, Config, Node, Outbox, Outgoing};

    use super::*;

    const METADATA: Metadata = Metadata { node_id: 2, cluster_id: 7 };

    /// The log as a loss of power would leave it now.
    fn after_power_loss(wal: &Path) -> Wal {
        let note = fs::read_to_string(wal.join("SYNCED")).unwrap();
        let (segment, offset) = note.trim().split_once(' ').unwrap();
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(wal).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_segment = Path::new(&name).extension().is_some_and(|end| end == "wal");
            if is_segment && *name <= *segment {
                let mut bytes = fs::read(wal.join(&name)).unwrap();
                if name == segment {
                    bytes[offset.parse().unwrap()..].fill(0);
                }
                fs::write(folder.path().join(name), bytes).unwrap();
            }
        }
        Wal::open(folder.path(), METADATA, WalOptions::default()).unwrap()
    }

    /// What an append reply promises is in the log, whenever the power is lost.
    struct Promises {
        wal: PathBuf,
        highest: u64,
    }

    impl Outbox for Promises {
        fn send(&mut self, message: Outgoing) {
            let Outgoing::Message(message) = message else { return };
            if let Some(Body::AppendReply(reply)) = message.body {
                assert!(!reply.reject);
                let kept = after_power_loss(&self.wal).last_index().0;
                assert!(kept >= reply.index, "{} promised, {kept} kept", reply.index);
                self.highest = self.highest.max(reply.index);
            }
        }
    }

    /// The note was written after the turn, when the reply had left: all members killed and cut
    /// back then, and what a quorum had promised was gone though no bug was planted.
    #[test]
    fn what_a_follower_promises_is_noted_before_it_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("wal");
        // A segment that is cut again and again, too.
        let options = WalOptions { segment_bytes: 4096, ..WalOptions::default() };
        let log = NotedLog::new(Wal::create(&wal, METADATA, options).unwrap());
        let voters = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
        let mut node = Node::new(Config::new(2), log, Index(0), voters).unwrap();
        let mut promises = Promises { wal, highest: 0 };
        for index in 1..=20 {
            let entry = Entry {
                index: Some(index),
                term: Some(5),
                data: Some(vec![7; 500].into()),
                ..Entry::default()
            };
            let append = Append {
                log_term: if index == 1 { 0 } else { 5 },
                index: index - 1,
                commit: 0,
                entries: vec![entry],
            };
            let body = Some(Body::Append(append));
            node.step(PeerMessage { to: 2, from: 1, term: 5, cluster_id: 7, body }).unwrap();
            assert!(node.poll(&mut promises).unwrap().committed.is_empty());
        }
        assert_eq!(promises.highest, 20);
    }

    #[test]
    fn what_is_not_synced_is_not_noted() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("wal");
        let mut log = NotedLog::new(Wal::create(&wal, METADATA, WalOptions::default()).unwrap());
        let entry = Entry { index: Some(1), term: Some(1), ..Entry::default() };
        log.append(&[entry], None).unwrap();
        assert_eq!(after_power_loss(&wal).last_index(), Index(0));
        log.sync().unwrap();
        assert_eq!(after_power_loss(&wal).last_index(), Index(1));
    }
}
