//! One logical client: asks, waits, records, again.
//!
//! Order within an operation: due (pacing) -> connected -> called -> sent -> ended -> recorded ->
//! learned. An operation in flight when the load ends is waited for, up to its timeout, so that
//! its outcome is known if it can be.

use std::sync::Arc;
use std::time::Duration;

use rusd_checker::history::record::{Failure, Operation, Outcome, Record, Request};
use tokio_util::sync::CancellationToken;

use crate::client::failure;
use crate::client::link::{Connected, Link};
use crate::clock::Clock;
use crate::generator::{Generator, OpKind};
use crate::pacing::{self, Pacer};
use crate::recorder::Recorder;
use crate::stats::{Ended, Sample, Stats};

/// How often a key is put before a store counts as impossible to fill.
const PRELOAD_ATTEMPTS_MAX: usize = 20;
/// Pause between two attempts, in a run.
pub const PRELOAD_RETRY: Duration = Duration::from_millis(200);
/// Longest wait for a connection meanwhile.
const PRELOAD_CONNECT_MAX: Duration = Duration::from_secs(30);

/// A key that could not be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {index} could not be put: {last}")]
pub struct PreloadError {
    /// Index of the key.
    pub index: usize,
    /// What came of the last attempt.
    pub last: String,
}

/// What every client of a run shares.
#[derive(Debug)]
pub struct Shared {
    /// The run's clock.
    pub clock: Clock,
    /// Where histories go.
    pub recorder: Recorder,
    /// Where latencies go.
    pub stats: Stats,
    /// When operations are due.
    pub pacer: Pacer,
    /// When a client gives up.
    pub request_timeout: Duration,
    /// Set when the load has ended.
    pub stop: CancellationToken,
}

/// One logical client.
#[derive(Debug)]
pub struct Worker {
    /// Its place among the clients.
    pub index: usize,
    /// What it asks.
    pub generator: Generator,
    /// How it asks.
    pub link: Arc<Link>,
    /// What it shares.
    pub shared: Arc<Shared>,
}

impl Worker {
    /// Offers load until the run's stop.
    pub async fn run(mut self) {
        let stop = self.shared.stop.clone();
        while !stop.is_cancelled() {
            let free_ns = self.shared.clock.now_ns();
            let due_ns = self.shared.pacer.due_ns(free_ns);
            let ready = async {
                tokio::time::sleep_until(self.shared.clock.instant(due_ns)).await;
                (self.shared.clock.now_ns(), self.link.connected().await)
            };
            // Cancel-safe: nothing was asked yet.
            let (woke_ns, connected) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ready = ready => ready,
            };
            let from_ns = pacing::counts_from_ns(due_ns, free_ns, woke_ns);
            let (kind, request) = self.generator.next_request();
            // Why it was not answered is in the history.
            drop(self.ask(kind, request, from_ns, &connected).await);
        }
    }

    /// Puts the keys of these indexes once, each with several attempts that are `retry` apart. Ends
    /// early, without error, when the run is stopped.
    pub async fn preload(
        &mut self,
        indexes: impl Iterator<Item = usize>,
        retry: Duration,
    ) -> Result<(), PreloadError> {
        for index in indexes {
            self.preload_one(index, retry).await?;
            if self.shared.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn preload_one(&mut self, index: usize, retry: Duration) -> Result<(), PreloadError> {
        let stop = self.shared.stop.clone();
        let mut last = String::new();
        for _ in 0..PRELOAD_ATTEMPTS_MAX {
            // Cancel-safe: nothing was asked yet. What was asked is waited for and recorded.
            let connected = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                connected = tokio::time::timeout(PRELOAD_CONNECT_MAX, self.link.connected()) =>
                    connected,
            };
            let Ok(connected) = connected else {
                let last = format!("no member lets us connect in {PRELOAD_CONNECT_MAX:?}");
                return Err(PreloadError { index, last });
            };
            let (kind, request) = self.generator.preload(index);
            let now_ns = self.shared.clock.now_ns();
            match self.ask(kind, request, now_ns, &connected).await {
                Ok(()) => return Ok(()),
                Err(failure) => last = format!("{}: {}", failure.code, failure.message),
            }
            tokio::time::sleep(retry).await;
        }
        Err(PreloadError { index, last })
    }

    /// One operation, measured and recorded; the error says why it was not answered.
    async fn ask(
        &mut self,
        kind: OpKind,
        request: Request,
        from_ns: u64,
        connected: &Connected,
    ) -> Result<(), Failure> {
        let process = self.generator.process();
        let call_ns = self.shared.clock.now_ns();
        let answer =
            tokio::time::timeout(self.shared.request_timeout, connected.client.execute(&request));
        let (outcome, broken) = match answer.await {
            Ok(Ok(response)) => (Outcome::Ok(response), false),
            Ok(Err(status)) => {
                let broken = !failure::is_refusal(&status);
                (failure::outcome(&request, &status), broken)
            }
            Err(_) => (failure::timed_out(&request), true),
        };
        let ended_ns = self.shared.clock.now_ns();
        let (ended, answered) = match &outcome {
            Outcome::Ok(_) => (Ended::Ok, Ok(())),
            Outcome::Fail(failure) => (Ended::Fail, Err(failure.clone())),
            Outcome::Unknown(failure) => (Ended::Unknown, Err(failure.clone())),
        };
        let sample = Sample { kind, ended, from_ns, sent_ns: call_ns, ended_ns };
        self.shared.stats.record(self.index, sample);
        self.generator.observe(kind, &request, &outcome);
        if broken {
            self.link.failed(connected).await;
        }
        if self.shared.recorder.is_on() {
            let return_ns = (ended != Ended::Unknown).then_some(ended_ns);
            let member = connected.member;
            let operation = Operation { process, member, call_ns, return_ns, request, outcome };
            self.shared.recorder.record(Record::Op(operation)).await;
        }
        answered
    }
}

#[cfg(test)]
mod tests;
