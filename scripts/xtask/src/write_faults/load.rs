//! Writers that go on whatever happens to members, and know what was acknowledged to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::client::Client;

/// Writers that run at once.
const WRITERS: usize = 8;
/// How long one operation may take until its writer asks another member.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long some hundred writes may take, with an election before them.
const PROGRESS_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause of a writer between two writes: members are to meet faults, not their limits.
const THINKING: Duration = Duration::from_millis(5);
/// Pause after an error, and between the turns of housekeeping.
const PAUSE: Duration = Duration::from_millis(100);
/// Revisions that a compaction leaves.
const REVISIONS_KEPT: i64 = 20;
/// Turns of housekeeping between two copies of an engine, and two changes of the membership.
const TURNS_BETWEEN: usize = 5;
/// Where no member is: of a learner that comes and goes.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A write that was acknowledged. No other write has its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// The key.
    pub(super) key: Vec<u8>,
    /// The value.
    pub(super) value: Vec<u8>,
    /// The revision of the acknowledgement.
    pub(super) revision: i64,
}

/// What writers share.
#[derive(Default)]
struct Shared {
    acknowledged: AtomicUsize,
    is_paused: AtomicBool,
    is_over: AtomicBool,
}

/// Writers, compactions and copies of engines, on all members.
pub(super) struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    writers: JoinSet<Vec<Write>>,
    housekeeping: JoinSet<()>,
}

impl Load {
    /// Begins.
    pub(super) fn start(
        urls: &[String],
        value_bytes: usize,
        changes_members: bool,
    ) -> Result<Self> {
        let runtime = Runtime::new()?;
        let shared = Arc::new(Shared::default());
        let (mut writers, mut housekeeping) = (JoinSet::new(), JoinSet::new());
        // Clients take the runtime that they are made in.
        let entered = runtime.enter();
        let clients = |timeout| {
            urls.iter().map(|url| Client::with_timeout(url, timeout)).collect::<Result<Vec<_>>>()
        };
        for number in 0..WRITERS {
            let clients = clients(OPERATION_TIMEOUT)?;
            writers.spawn(write(number, clients, Arc::clone(&shared), value_bytes));
        }
        let keeper = keep_house(clients(PROGRESS_TIMEOUT)?, Arc::clone(&shared), changes_members);
        housekeeping.spawn(keeper);
        drop(entered);
        Ok(Self { runtime, shared, writers, housekeeping })
    }

    /// Waits for so many further acknowledgements.
    pub(super) fn wait_for(&self, further: usize) -> Result<()> {
        let count = || self.shared.acknowledged.load(Ordering::Relaxed);
        let wanted = count() + further;
        let deadline = Instant::now() + PROGRESS_TIMEOUT;
        while count() < wanted {
            let missing = wanted - count();
            ensure!(
                Instant::now() < deadline,
                "{missing} of {further} writes are not acknowledged"
            );
            thread::sleep(PAUSE / 10);
        }
        Ok(())
    }

    /// Nothing more is begun, or it goes on.
    pub(super) fn pause(&self, is_paused: bool) {
        self.shared.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Ends it; what was acknowledged.
    pub(super) fn finish(mut self) -> Result<Vec<Write>> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            let mut writes = Vec::new();
            while let Some(ended) = self.writers.join_next().await {
                writes.extend(ended?);
            }
            while let Some(ended) = self.housekeeping.join_next().await {
                ended?;
            }
            Ok(writes)
        })
    }
}

async fn write(
    number: usize,
    mut clients: Vec<Client>,
    shared: Arc<Shared>,
    value_bytes: usize,
) -> Vec<Write> {
    let (mut writes, mut turn, mut asked) = (Vec::new(), 0_u64, number);
    let members = clients.len();
    while !shared.is_over.load(Ordering::Relaxed) {
        if shared.is_paused.load(Ordering::Relaxed) {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let key = format!("w{number}/{turn:08}").into_bytes();
        let mut value = format!("{number}-{turn}-").into_bytes();
        value.resize(value_bytes, b'x');
        turn += 1;
        match clients[asked % members].put(key.clone(), value.clone()).await {
            Ok(revision) => {
                writes.push(Write { key, value, revision });
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(THINKING).await;
            }
            // It may have been done or not, and is never looked at.
            Err(_unknown) => {
                asked += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    writes
}

/// Compacts, lets members copy their engines, and lets a learner come and go. Members end meanwhile,
/// so nothing of it need succeed.
async fn keep_house(mut clients: Vec<Client>, shared: Arc<Shared>, changes_members: bool) {
    for turn in 0_usize.. {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
        if shared.is_paused.load(Ordering::Relaxed) {
            continue;
        }
        let members = clients.len();
        let client = &mut clients[turn % members];
        if let Ok(revision) = client.put(b"house".to_vec(), Vec::new()).await {
            client.compact(revision - REVISIONS_KEPT).await.ok();
        }
        if !turn.is_multiple_of(TURNS_BETWEEN) {
            continue;
        }
        if changes_members {
            if let Ok(learner) = client.add_learner(NOWHERE).await {
                client.remove_member(learner).await.ok();
            }
        } else {
            client.defragment().await.ok();
        }
    }
}
