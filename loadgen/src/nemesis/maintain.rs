//! Work that a member is told to do while it serves: to drop history, to rewrite its store.

use std::time::Duration;

use rusd_checker::history::record::{Compact, Operation, Outcome, Request};

use crate::client::etcd::Client;
use crate::client::{describe, failure};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};

/// Longest wait for an answer: a large store is rewritten in seconds.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Drops all but the newest revisions. The operation is for the history: who reads the past must
/// know of it.
pub(super) async fn compact(
    cluster: &Cluster,
    clock: &Clock,
    member: u32,
    keep: u32,
    process: u64,
) -> Result<Operation, ClusterError> {
    let client = connect(cluster, member).await?;
    let newest = match tokio::time::timeout(ANSWER_MAX, client.status()).await {
        Ok(Ok(status)) => status.header.map_or(0, |header| header.revision),
        Ok(Err(status)) => return Err(not_done(member, status.message())),
        Err(_) => return Err(not_done(member, "no answer to a status")),
    };
    // Of a store that is hardly written to, the first revision.
    let revision = (newest - i64::from(keep)).max(1);
    let request = Request::Compact(Compact { revision });
    let call_ns = clock.now_ns();
    let answer = tokio::time::timeout(ANSWER_MAX, client.execute(&request)).await;
    let (outcome, is_known) = match answer {
        Ok(Ok(response)) => (Outcome::Ok(response), true),
        Ok(Err(status)) => {
            let outcome = failure::outcome(&request, &status);
            let is_known = !matches!(outcome, Outcome::Unknown(_));
            (outcome, is_known)
        }
        Err(_) => (failure::timed_out(&request), false),
    };
    let return_ns = is_known.then(|| clock.now_ns());
    Ok(Operation { process, member, call_ns, return_ns, request, outcome })
}

/// Whether it was done. That the history was dropped before, by a client, is as good.
pub(super) fn done(operation: &Operation) -> Result<(), ClusterError> {
    match &operation.outcome {
        Outcome::Ok(_) => Ok(()),
        Outcome::Fail(failure) if failure.message.contains("has been compacted") => Ok(()),
        Outcome::Fail(failure) | Outcome::Unknown(failure) => {
            Err(not_done(operation.member, &failure.message))
        }
    }
}

/// Has the members rewrite their stores, one after the other.
pub(super) async fn defragment(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    for &member in members {
        let client = connect(cluster, member).await?;
        match tokio::time::timeout(ANSWER_MAX, client.defragment()).await {
            Ok(Ok(())) => {}
            Ok(Err(status)) => return Err(not_done(member, status.message())),
            Err(_) => return Err(not_done(member, "no answer to a defragment")),
        }
    }
    Ok(())
}

async fn connect(cluster: &Cluster, member: u32) -> Result<Client, ClusterError> {
    let client = Client::connect(&cluster.direct(member)).await;
    client.map_err(|error| not_done(member, &describe(&error)))
}

fn not_done(member: u32, reason: &str) -> ClusterError {
    ClusterError::NotDone { member, reason: reason.to_owned() }
}
