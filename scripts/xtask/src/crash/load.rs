//! Writers that load a member until it is killed under them.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::Ledger;
use crate::client::{Client, Effect};

/// Keys of one writer: few, so that they are overwritten and deleted often.
const KEYS: u32 = 64;

/// Revisions that a compaction leaves.
const REVISIONS_KEPT: i64 = 500;

/// How long writers may take to notice that the member is gone.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// Loads the member for a while, calls `kill`, and waits for every writer to have stopped.
pub(super) async fn run(
    ledgers: &mut Vec<Ledger>,
    compacted: &mut i64,
    url: &str,
    seed: u64,
    load: Duration,
    kill: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let newest = ledgers.iter().map(Ledger::revision).max().unwrap_or(0);
    let client = Client::new(url)?;
    let mut writers = JoinSet::new();
    for mut ledger in ledgers.drain(..) {
        ledger.forget_past();
        let rng = ChaCha8Rng::seed_from_u64(rng.random());
        writers.spawn(write(ledger, client.clone(), rng));
    }
    if newest - REVISIONS_KEPT > *compacted && rng.random_ratio(1, 3) {
        *compacted = newest - REVISIONS_KEPT;
        let (mut client, at) = (client.clone(), *compacted);
        let wait = load.mul_f64(rng.random());
        tokio::spawn(async move {
            sleep(wait).await;
            // Whether it is done before the kill does not matter: nothing below it is read.
            client.compact(at).await.ok();
        });
    }
    sleep(load).await;
    kill()?;
    let ended = timeout(END_TIMEOUT, writers.join_all()).await;
    ledgers.extend(ended.context("writers do not notice the kill")?);
    Ok(())
}

/// Writes until the first error, whose operation stays unknown.
async fn write(mut ledger: Ledger, mut client: Client, mut rng: ChaCha8Rng) -> Ledger {
    let run: u64 = rng.random();
    for number in 0_u64.. {
        let count = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
        let mut effects: Vec<Effect> = Vec::new();
        while effects.len() < count {
            let key = ledger.key(rng.random_range(0..KEYS));
            if effects.iter().all(|effect| effect.key != key) {
                let is_put = rng.random_ratio(5, 6);
                let value = is_put.then(|| value(&mut rng, run, number));
                effects.push(Effect { key, value });
            }
        }
        ledger.begin(effects.clone());
        let outcome = match effects.as_slice() {
            [Effect { key, value: Some(value) }] => client.put(key.clone(), value.clone()).await,
            _ => client.apply(effects).await,
        };
        match outcome {
            Ok(revision) => ledger.acknowledge(revision),
            Err(_) => break,
        }
    }
    ledger
}

/// A value that no other write has, of any length up to a few pages.
fn value(rng: &mut ChaCha8Rng, run: u64, number: u64) -> Vec<u8> {
    let mut value = format!("{run:016x}-{number}-").into_bytes();
    let longer = if rng.random_ratio(1, 20) { 20_000 } else { 600 };
    value.resize(value.len() + rng.random_range(0..longer), b'x');
    value
}
