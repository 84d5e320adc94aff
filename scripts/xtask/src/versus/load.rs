//! The client side of the comparison: a closed loop of puts or gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::cores;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Puts of every key once.
    Fill,
    /// Puts of random keys.
    Put,
    /// Linearizable gets of random keys.
    Get,
}

/// How much of it, against whom.
pub(super) struct Load {
    /// The member.
    pub(super) url: String,
    /// What is done.
    pub(super) operation: Operation,
    /// How often.
    pub(super) operations: u64,
    /// Distinct keys.
    pub(super) keys: u64,
    /// Size of each value.
    pub(super) value_bytes: usize,
    /// At once.
    pub(super) in_flight: usize,
    /// Shared by those in flight.
    pub(super) connections: usize,
    /// Of keys and values.
    pub(super) seed: u64,
}

/// Runs the load in a thread of its own that is kept on one core. Any failed operation ends it.
pub(super) fn run_on_core(load: &Load, core: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cores::keep_thread_on(core);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(load))
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn run(load: &Load) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let clients: Vec<Client> =
        (0..load.connections).map(|_| Client::new(&load.url)).collect::<Result<_>>()?;
    let mut rng = ChaCha8Rng::seed_from_u64(load.seed);
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(load.in_flight) {
        let worker = Worker {
            client: client.clone(),
            rng: ChaCha8Rng::seed_from_u64(rng.next_u64()),
            next: Arc::clone(&next),
            operation: load.operation,
            operations: load.operations,
            keys: load.keys,
            value_bytes: load.value_bytes,
        };
        tasks.spawn(worker.run());
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a worker panicked")??;
    }
    Ok(())
}

struct Worker {
    client: Client,
    rng: ChaCha8Rng,
    next: Arc<AtomicU64>,
    operation: Operation,
    operations: u64,
    keys: u64,
    value_bytes: usize,
}

impl Worker {
    async fn run(mut self) -> Result<()> {
        let mut value = vec![0; self.value_bytes];
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.operations {
                return Ok(());
            }
            match self.operation {
                Operation::Fill => {
                    self.rng.fill_bytes(&mut value);
                    self.client.put(key(number), value.clone()).await?;
                }
                Operation::Put => {
                    self.rng.fill_bytes(&mut value);
                    let key = key(self.rng.random_range(0..self.keys));
                    self.client.put(key, value.clone()).await?;
                }
                Operation::Get => {
                    let key = key(self.rng.random_range(0..self.keys));
                    let found = self.client.get(key).await?;
                    if found.is_none_or(|kv| kv.value.len() != self.value_bytes) {
                        bail!("a key that was written is not there");
                    }
                }
            }
        }
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("key/{number:012}").into_bytes()
}
