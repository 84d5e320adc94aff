//! A member's state, taken while it goes on and put into another one, is the same there, and both
//! go on alike.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusd_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, InternalRaftRequest, LeaseGrantRequest, PutRequest,
    RequestHeader,
};
use rusd_proto::raftpb::{ConfState, Entry, EntryType};
use rusd_state::storage::incoming::{self, Installation};
use rusd_state::storage::{
    EngineKind, Folder, Generations, HistoryOptions, ImportError, SledOptions, verify,
};
use rusd_state::{HashKv, Options, Progress, StateMachine};

const KEYS: u64 = 50;

struct Member {
    state: StateMachine,
    generations: Arc<Generations>,
}

fn open(folder: &Path, kind: EngineKind) -> Member {
    let generations = Arc::new(Generations::open(folder, kind, true).unwrap());
    let history_options = HistoryOptions { block_bytes: 1000, ..HistoryOptions::default() };
    let state = StateMachine::open(generations.current(), history_options, Options::default());
    Member { state: state.unwrap(), generations }
}

/// Entry `index` of the log: puts over and over, with deletes, leases and compactions in between.
fn entry(index: u64) -> Entry {
    let header = Some(RequestHeader { id: index, ..RequestHeader::default() });
    let mut request = InternalRaftRequest { header, ..InternalRaftRequest::default() };
    let key: Bytes = format!("key {}", index * 7 % KEYS).into();
    match index % 20 {
        3 => {
            let id = i64::try_from(index).unwrap();
            request.lease_grant = Some(LeaseGrantRequest { ttl: 100, id });
        }
        7 => {
            let revision = i64::try_from(index / 2).unwrap();
            request.compaction = Some(CompactionRequest { revision, physical: false });
        }
        5 | 11 => {
            request.delete_range =
                Some(DeleteRangeRequest { key, ..DeleteRangeRequest::default() });
        }
        _ => {
            let value = format!("{index} {}", "x".repeat(100)).into();
            request.put = Some(PutRequest { key, value, ..PutRequest::default() });
        }
    }
    Entry {
        index: Some(index),
        term: Some(1 + index / 1000),
        data: Some(request.encode_to_vec().into()),
        r#type: Some(EntryType::EntryNormal.into()),
    }
}

impl Member {
    fn apply_to(&mut self, index: u64) {
        while self.state.applied().0 < index {
            self.state.apply(&entry(self.state.applied().0 + 1)).unwrap();
        }
    }

    fn hash(&self) -> HashKv {
        self.state.view().hash_kv(0).unwrap()
    }
}

#[test]
fn a_snapshot_taken_on_the_way_is_the_state_at_its_point() {
    let [sled, fjall] = EngineKind::ON_DISK.map(|make| make());
    take_on_the_way(sled, sled);
    take_on_the_way(sled, fjall);
    take_on_the_way(fjall, sled);
}

/// From a member with one engine to one with another.
fn take_on_the_way(from: EngineKind, to: EngineKind) {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut member = open(there.path(), from);
    member.state.set_conf_state(ConfState { voters: vec![1, 2, 3], ..ConfState::default() });
    member.apply_to(2000);
    let history = member.state.history();
    history.flush().unwrap();
    history.fold_step(100).unwrap();
    let mut compactor = member.state.compactor();
    // A removal that is under way.
    for _ in 0..10 {
        compactor.step(2).unwrap();
    }
    let mut export = history.export().unwrap();
    assert_eq!(export.position().applied_index, 2000);
    assert_eq!(export.conf_state().unwrap().voters, [1, 2, 3]);
    let hash = member.hash();

    let receiver = open(here.path(), to);
    let mut installation = Installation::begin(&receiver.generations).unwrap();
    let mut chunks = 0;
    while let Some(chunk) = export.next_chunk(2000).unwrap() {
        chunks += 1;
        // Writes go on, and become durable; nothing is removed under the export's eyes.
        member.apply_to(2000 + 10 * chunks);
        history.flush().unwrap();
        assert_ne!(compactor.step(2).unwrap(), Progress::Done);
        // A row may come in pieces.
        for piece in chunk.chunks(701) {
            installation.add(Bytes::copy_from_slice(piece)).unwrap();
        }
    }
    drop(export);
    assert!(chunks > 10, "{chunks}");
    let incoming = installation.finish().unwrap();
    assert_eq!((incoming.applied_index, incoming.term), (2000, 3));
    drop(receiver);
    incoming::accept(&Folder::open(here.path(), to).unwrap()).unwrap();

    let mut receiver = open(here.path(), to);
    assert_eq!(receiver.state.applied(), (2000, 3));
    assert_eq!(receiver.state.conf_state().voters, [1, 2, 3]);
    assert_eq!(receiver.hash(), hash);
    assert!(verify(&receiver.generations.current()).unwrap().is_sound());
    receiver.apply_to(3000);
    member.apply_to(3000);
    assert_eq!(receiver.hash(), member.hash());
    assert_eq!(receiver.state.view().leases(), member.state.view().leases());
    while compactor.step(10).unwrap() != Progress::Done {
        history.flush().unwrap();
    }
    history.flush().unwrap();
    assert!(verify(&history.backend()).unwrap().is_sound());
}

#[test]
fn no_bit_of_a_snapshot_may_be_another() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let kind = EngineKind::Sled(SledOptions::default());
    let mut member = open(there.path(), kind);
    member.apply_to(30);
    let history = member.state.history();
    history.flush().unwrap();
    let mut export = history.export().unwrap();
    let chunks: Vec<Bytes> =
        std::iter::from_fn(|| export.next_chunk(usize::MAX).unwrap()).collect();
    let receiver = open(here.path(), kind);
    let installed = |chunks: &[Bytes]| {
        let mut installation = Installation::begin(&receiver.generations).unwrap();
        chunks.iter().try_for_each(|chunk| installation.add(chunk.clone()))?;
        installation.finish()
    };
    for (number, chunk) in chunks.iter().enumerate() {
        for bit in (0..chunk.len() * 8).step_by(397) {
            let mut flipped = chunk.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut chunks = chunks.clone();
            chunks[number] = flipped.into();
            let refused = installed(&chunks).unwrap_err();
            assert!(matches!(refused, ImportError::Bad(_)), "bit {bit} of {number}: {refused}");
            receiver.generations.sweep().unwrap();
        }
    }
    installed(&chunks).unwrap();
}
