//! The end of the load: what every member holds, and watches that come up to it.

use std::time::Duration;

use rusd_checker::history::record::{FinalState, Record};
use tokio::time::Instant;

use super::{Run, RunError, Started, folder_error, refused};
use crate::client::etcd::Client;
use crate::cluster::readiness;
use crate::cluster::roster::Seat;
use crate::report::Phase;
use crate::watcher;

/// Longest time in which the watch that is waited for comes no further, on the way to the final
/// revision.
const WATCHES_MAX: Duration = Duration::from_secs(20);
/// Longest wait for watches to close.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the final state of a member.
const FINAL_MAX: Duration = Duration::from_secs(30);
/// Longest wait for all members to be at one revision: leases of the load still run out.
const AGREED_MAX: Duration = Duration::from_secs(30);
/// Pause before the members are read again.
const AGREED_POLL: Duration = Duration::from_millis(200);

impl Run {
    /// Waits for every member, records what it holds, and lets the watches come up to that.
    pub(super) async fn settle(&mut self, started: &mut Started) -> Result<(), RunError> {
        self.phase(Phase::Settling)?;
        for ended in started.cluster.ended_by_themselves() {
            self.report.incident(ended.to_string());
        }
        if !self.report.recorded {
            return Ok(());
        }
        self.live.step("healed; reading what every member holds");
        for seat in started.cluster.roster().voters() {
            readiness::ready(&started.cluster, seat.member).await?;
        }
        let mut final_revision = 0;
        for state in self.final_states(started).await? {
            final_revision = final_revision.max(state.revision);
            started.recorder.record(Record::Final(state)).await;
        }
        started.final_revision = Some(final_revision);
        self.drain(started, final_revision).await;
        Ok(())
    }

    /// What every member holds, read again until all of it is of one revision. If that does not
    /// come about, the checker compares what can be compared.
    async fn final_states(&self, started: &Started) -> Result<Vec<FinalState>, RunError> {
        let deadline = Instant::now() + AGREED_MAX;
        loop {
            let mut states = Vec::new();
            // A learner serves no linearizable read.
            for seat in started.cluster.roster().voters() {
                states.push(self.final_state(seat).await?);
            }
            if are_comparable(&states) || Instant::now() > deadline {
                return Ok(states);
            }
            tokio::time::sleep(AGREED_POLL).await;
        }
    }

    async fn final_state(&self, seat: &Seat) -> Result<FinalState, RunError> {
        let member = seat.member;
        let read = async {
            let client = Client::connect(&seat.endpoint)
                .await
                .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
            let call_ns = self.clock.now_ns();
            let (revision, kvs) = readiness::whole_store(&client).await?;
            let return_ns = self.clock.now_ns();
            // The hash of the newest revision: at one that is just the compact revision, a member
            // that was restarted may rightly have another.
            let newest = client.newest_hash().await?;
            let hash = newest.filter(|(at, _)| *at == revision).map(|(_, hash)| hash);
            Ok(FinalState { member, call_ns, return_ns, revision, kvs, hash })
        };
        let state = tokio::time::timeout(FINAL_MAX, read).await;
        state
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer")))
            .map_err(refused("cannot read the final state of a member"))
    }

    async fn drain(&mut self, started: &mut Started, final_revision: i64) {
        // Nothing more comes on a member that was removed, nor is a learner watched.
        let roster = started.cluster.roster();
        let is_there = |member: u32| roster.voters().any(|seat| seat.member == member);
        let (watches, ended): (Vec<_>, Vec<_>) =
            started.watches.iter_mut().partition(|watch| is_there(watch.member));
        let (count, gone) = (watches.len(), ended.len());
        self.live.step(&format!("waiting for {count} watches to reach revision {final_revision}"));
        started.phase.send_replace(watcher::Phase::Draining);
        let mut deadline = Instant::now() + WATCHES_MAX;
        let mut behind = Vec::new();
        // Of a store that nobody has written to there is nothing to come up to.
        let has_changed = final_revision > started.first_revision;
        for watch in watches {
            while has_changed && *watch.reached.borrow_and_update() < final_revision {
                let further = watch.reached.changed();
                if !matches!(tokio::time::timeout_at(deadline, further).await, Ok(Ok(()))) {
                    behind.push(watch.member);
                    break;
                }
                deadline = Instant::now() + WATCHES_MAX;
            }
        }
        self.report.set_watches(count, final_revision, &behind);
        self.report.watches.gone = gone;
    }

    /// Closes watches and history.
    pub(super) async fn close(&mut self, started: Started) -> Result<(), RunError> {
        let final_revision = started.final_revision;
        started.phase.send_replace(watcher::Phase::Closed { final_revision });
        let deadline = Instant::now() + CLOSE_MAX;
        for watch in started.watches {
            let abort = watch.task.abort_handle();
            if tokio::time::timeout_at(deadline, watch.task).await.is_err() {
                abort.abort();
                self.report.incident(format!("a watch on m{} did not close", watch.member));
            }
        }
        // The history ends with its last recorder.
        drop((started.recorder, started.watching));
        let Some(writing) = started.writing else { return Ok(()) };
        let lines = tokio::task::spawn_blocking(|| writing.finish()).await;
        let lines = lines.expect("the writer does not panic");
        self.report.history_lines = Some(lines.map_err(folder_error(&self.folder))?);
        let Some(early) = started.early else { return Ok(()) };
        let judged = tokio::task::spawn_blocking(|| early.end()).await;
        match judged.expect("the check does not panic") {
            Ok(report) => {
                let violation = report.verdict.violations().first();
                self.report.stopped_by = violation.map(|violation| {
                    let lines = violation.operations.iter().map(|own| own.line.to_string());
                    format!("{}, line {}", violation.rule, lines.collect::<Vec<_>>().join(" and "))
                });
            }
            Err(error) => self.report.incident(format!("the history is malformed: {error}")),
        }
        Ok(())
    }
}

/// Whether the checker can compare these with each other: they are of one revision, and hashed at
/// it, unless the server hashes nothing.
fn are_comparable(states: &[FinalState]) -> bool {
    states.windows(2).all(|pair| {
        pair[0].revision == pair[1].revision && pair[0].hash.is_some() == pair[1].hash.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_compared_at_one_revision() {
        let state = |revision, hash| FinalState {
            member: 0,
            call_ns: 1,
            return_ns: 2,
            revision,
            kvs: Vec::new(),
            hash,
        };
        assert!(are_comparable(&[state(5, Some(1)), state(5, Some(2))]));
        assert!(are_comparable(&[state(5, None), state(5, None)]));
        assert!(!are_comparable(&[state(5, Some(1)), state(6, Some(1))]));
        assert!(!are_comparable(&[state(5, Some(1)), state(5, None)]), "a lease ran out meanwhile");
    }
}
