//! A leader that hands over because it is told to: `MoveLeader`. The cluster is whole all the time.
//!
//! That the leader said yes is not enough: the fault was done when the member says that it leads.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use crate::client::etcd::Client;
use crate::cluster::{Cluster, ClusterError, readiness};

/// Longest wait for the leader's answer, which it gives when it has handed over; etcd gives up
/// after an election timeout.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the member to say that it leads, once the leader has answered.
const LEADS_MAX: Duration = Duration::from_secs(2);
/// Pause between two questions.
const POLL: Duration = Duration::from_millis(10);

pub(super) async fn begin(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    for &member in members {
        let moved = tokio::time::timeout(ANSWER_MAX, hand_over(cluster, member)).await;
        let moved = moved.unwrap_or_else(|_elapsed| Err(format!("no answer in {ANSWER_MAX:?}")));
        moved.map_err(|reason| ClusterError::NotMoved { member, reason })?;
    }
    Ok(())
}

async fn hand_over(cluster: &Cluster, member: u32) -> Result<(), String> {
    let leader = readiness::leader(cluster).await.ok_or("no member leads")?;
    let (leader, target) = (connect(cluster, leader).await?, connect(cluster, member).await?);
    let id = id(&target).await?;
    leader.move_leader(id).await.map_err(said)?;
    // It may learn that it leads a moment after the one that handed over.
    let start = Instant::now();
    loop {
        let leads = target.status().await.map_err(said)?.leader;
        if leads == id {
            return Ok(());
        }
        if start.elapsed() > LEADS_MAX {
            return Err(format!("it says that {leads:x} leads"));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn connect(cluster: &Cluster, member: u32) -> Result<Client, String> {
    Client::connect(&cluster.direct(member)).await.map_err(|error| format!("m{member}: {error}"))
}

async fn id(client: &Client) -> Result<u64, String> {
    let header = client.status().await.map_err(said)?.header;
    header.map(|header| header.member_id).ok_or_else(|| "an answer without a header".to_owned())
}

fn said(status: Status) -> String {
    status.message().to_owned()
}
