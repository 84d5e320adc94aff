//! Snapshots for people: saved from a member, looked into, and turned into another one.
//!
//! That etcd's tools take them too is shown by `cargo xtask door`.

use std::path::Path;
use std::process::{Command, Output};

use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rusd_proto::etcdserverpb::{
    CompactionRequest, HashKvRequest, HashKvResponse, LeaseGrantRequest, LeaseTimeToLiveRequest,
    PutRequest, SnapshotRequest, SnapshotResponse,
};
use sha2::{Digest as _, Sha256};
use tonic::transport::Channel;

use crate::process::{Member, Scheme, delete, put};
use crate::site::Site;

const PIECE_BYTES: usize = 32 * 1024;
const HASH_BYTES: usize = 32;

async fn saved(channel: &Channel) -> Vec<SnapshotResponse> {
    let mut client = MaintenanceClient::new(channel.clone());
    let mut stream = client.snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let mut pieces = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        pieces.push(piece);
    }
    pieces
}

async fn hash(channel: &Channel) -> HashKvResponse {
    let mut client = MaintenanceClient::new(channel.clone());
    let mut hash = client.hash_kv(HashKvRequest { revision: 0 }).await.unwrap().into_inner();
    // Another member's.
    hash.header = None;
    hash
}

fn snapshot(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rusd"));
    command.arg("snapshot").args(arguments).output().unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = snapshot(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap().trim().to_owned()
}

/// A member with some history, and what was saved of it.
async fn written() -> (Member, Vec<SnapshotResponse>) {
    let member = Member::start(&[]);
    let mut kv = member.kv().await;
    for number in 0..100 {
        put(&mut kv, &format!("key {}", number % 40), &"x".repeat(number * 20)).await;
    }
    delete(&mut kv, "key 3").await;
    kv.compact(CompactionRequest { revision: 90, physical: false }).await.unwrap();
    let mut leases = LeaseClient::new(member.channel().await);
    leases.lease_grant(LeaseGrantRequest { ttl: 1000, id: 77 }).await.unwrap();
    let leased = PutRequest { key: "leased".into(), lease: 77, ..PutRequest::default() };
    kv.put(leased).await.unwrap();
    let pieces = saved(&member.channel().await).await;
    (member, pieces)
}

fn file_of(pieces: &[SnapshotResponse]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.blob.to_vec()).collect()
}

/// As etcd's: pieces of 32 KiB that tell what is left, and the hash at the end.
#[tokio::test]
async fn a_snapshot_comes_in_pieces_with_a_hash_at_the_end() {
    let (_member, pieces) = written().await;
    let (hash, file) = pieces.split_last().unwrap();
    assert!(file.len() > 2, "{}", file.len());
    let bytes = file_of(file);
    let mut left = bytes.len();
    for (number, piece) in file.iter().enumerate() {
        let is_last = number + 1 == file.len();
        assert!(piece.blob.len() == PIECE_BYTES || is_last, "{}", piece.blob.len());
        left -= piece.blob.len();
        assert_eq!(piece.remaining_bytes, u64::try_from(left).unwrap());
        assert_eq!((piece.version.as_str(), &piece.header), ("3.7.0", &None));
    }
    assert_eq!((left, hash.remaining_bytes, hash.version.as_str()), (0, 0, "3.7.0"));
    assert_eq!(&hash.blob[..], &Sha256::digest(&bytes)[..]);
}

#[tokio::test]
async fn what_is_saved_is_restored() {
    let (member, pieces) = written().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("file"), file_of(&pieces)).unwrap();
    let status = snapshot(&["status", &path("file")]).stdout;
    let status = String::from_utf8(status).unwrap();
    assert!(status.contains(", 103, 40, "), "{status}");
    for backend in ["sled", "fjall"] {
        let data_dir = path(backend);
        let restored =
            snapshot(&["restore", &path("file"), "--data-dir", &data_dir, "--backend", backend]);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        assert!(!Path::new(&path(&format!("{backend}.restoring"))).exists());
        let flags = ["--data-dir", &data_dir, "--backend", backend];
        let other = Member::start_at(env!("CARGO_BIN_EXE_rusd"), Scheme::Http, &flags);
        let channel = other.channel().await;
        assert_eq!(hash(&channel).await, hash(&member.channel().await).await);
        let mut leases = LeaseClient::new(channel.clone());
        let asked = LeaseTimeToLiveRequest { id: 77, keys: true };
        let lease = leases.lease_time_to_live(asked).await.unwrap().into_inner();
        assert_eq!((lease.granted_ttl, &lease.keys[..]), (1000, &["leased".into()][..]));
        // It goes on, and is saved again.
        put(&mut other.kv().await, "more", "1").await;
        assert_eq!(file_of(&saved(&channel).await).len() % 512, HASH_BYTES);
    }
}

/// A restored state is nowhere else: no log makes its lost end again.
#[tokio::test]
async fn a_restored_state_that_has_lost_its_end_is_refused() {
    let (member, pieces) = written().await;
    let mut site = Site::new(1);
    let data_dir = site.data_dir(0);
    let file = data_dir.with_extension("db");
    std::fs::write(&file, file_of(&pieces)).unwrap();
    let (file, into) = (file.to_str().unwrap(), data_dir.to_str().unwrap());
    let restored = snapshot(&["restore", file, "--data-dir", into, "--backend", "fjall"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let journal = data_dir.join("member/engine/1/0.jnl");
    let whole = std::fs::read(&journal).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in [end / 4, end / 2, end] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&journal, &flipped).unwrap();
        let (code, said) = site.start_in_vain(0, &[0], &["--backend=fjall"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("0.jnl: damaged at byte"), "{said}");
        let verified = Command::new(env!("CARGO_BIN_EXE_rusd")).args(["verify", into]).output();
        let said = String::from_utf8(verified.unwrap().stderr).unwrap();
        assert!(said.contains("0.jnl: damaged at byte"), "{said}");
        assert!(std::fs::read(&journal).unwrap() == flipped, "it is left as it was");
    }
    std::fs::write(&journal, &whole).unwrap();
    site.start(0, &[0], &["--backend=fjall"]);
    assert_eq!(hash(&site.channel(0).await).await, hash(&member.channel().await).await);
}

/// Their logs begin after the state, and have nothing for a member that comes later: it is sent all.
#[tokio::test]
async fn a_restored_cluster_goes_on_and_grows() {
    let (member, pieces) = written().await;
    let before = hash(&member.channel().await).await;
    let (mut site, founders) = (Site::new(4), [0, 1, 2]);
    let file = site.data_dir(0).with_extension("db");
    std::fs::write(&file, file_of(&pieces)).unwrap();
    for at in founders {
        let (node, cluster) = (&site.nodes[at], site.cluster_of(&founders));
        let (data_dir, url) = (site.data_dir(at), node.peer.clone());
        let (file, into) = (file.to_str().unwrap(), data_dir.to_str().unwrap());
        let from = ["restore", file, "--data-dir", into, "--name", &node.name];
        let founding = ["--initial-cluster", &cluster, "--initial-advertise-peer-urls", &url];
        let restored = snapshot(&[&from[..], &founding].concat());
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    }
    site.start_founders(&founders, &[]);
    for at in founders {
        assert_eq!(hash(&site.channel(at).await).await, before);
    }
    let mut first = site.operator(0).await;
    let url = site.nodes[3].peer.clone();
    first.add_when_healthy(&url, false).await;
    site.start(3, &[0, 1, 2, 3], &["--initial-cluster-state=existing"]);
    first.put_in_time("more").await;
    let count = first.count(false).await.unwrap();
    site.operator(3).await.until_count(count).await;
    let after = hash(&site.channel(3).await).await;
    assert_eq!((after.hash_revision, after.compact_revision), (before.hash_revision + 1, 90));
    assert_eq!(hash(&site.channel(1).await).await, after);
}

/// In etcdutl's words.
#[tokio::test]
async fn what_cannot_be_restored_is_refused_and_leaves_nothing() {
    let (_member, pieces) = written().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, bad, bare, full) = (path("file"), path("bad"), path("bare"), path("full"));
    let data_dir = path("data");
    let bytes = file_of(&pieces);
    std::fs::write(&file, &bytes).unwrap();
    std::fs::write(&bare, &bytes[..bytes.len() - HASH_BYTES]).unwrap();
    std::fs::create_dir_all(format!("{full}/member")).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 20) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        std::fs::write(&bad, &flipped).unwrap();
        let restore = refused(&["restore", &bad, "--data-dir", &data_dir]);
        assert!(restore.starts_with("rusd: expected sha256 ["), "{restore}");
        let status = refused(&["status", &bad]);
        assert!(status.starts_with("rusd: expected sha256 ["), "{status}");
    }
    let into =
        |more: &[&str]| refused(&[&["restore", &file, "--data-dir", &data_dir], more].concat());
    let words = [
        (
            refused(&["restore", &bare, "--data-dir", &data_dir]),
            "snapshot missing hash but --skip-hash-check=false".to_owned(),
        ),
        (
            refused(&["restore", &file, "--data-dir", &full]),
            format!("data-dir {full:?} not empty or could not be read"),
        ),
        (
            into(&["--name", "other"]),
            "couldn't find local name \"other\" in the initial cluster configuration".to_owned(),
        ),
        (
            into(&["--mark-compacted"]),
            "--mark-compacted required if --revision-bump > 0".to_owned(),
        ),
        (
            into(&["--wal-dir", "elsewhere"]),
            "--wal-dir \"elsewhere\": a member looks for its log in its data directory".to_owned(),
        ),
        (
            into(&["--bump-revision", "9", "--mark-compacted", "--backend", "fjall"]),
            "a raised revision leaves an empty key, which fjall cannot hold; use --backend sled"
                .to_owned(),
        ),
    ];
    for (refused, expected) in words {
        assert_eq!(refused, format!("rusd: {expected}"));
    }
    let missing = refused(&["restore", &path("missing"), "--data-dir", &data_dir]);
    assert!(missing.contains("missing: No such file"), "{missing}");
    assert!(!Path::new(&data_dir).exists());
    let unasked = snapshot(&["restore", &bare, "--data-dir", &data_dir, "--skip-hash-check"]);
    assert!(unasked.status.success(), "{}", String::from_utf8_lossy(&unasked.stderr));
}
