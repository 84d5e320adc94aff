//! Whether members serve, who leads them, and what they are.

use std::time::Duration;

use rusd_checker::history::record::{Range, Request, ResponseBody};
use rusd_checker::history::text::Text;
use rusd_proto::etcdserverpb::StatusResponse;
use tokio::time::Instant;

use super::{Cluster, ClusterError};
use crate::client::describe;
use crate::client::etcd::Client;
use crate::workload::Role;

/// Longest wait for a member to become ready: covers a restart with a log to replay.
const READY_MAX: Duration = Duration::from_mins(1);
/// Longest wait for one answer of a member that may be cut off or stopped.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest wait for there to be a leader.
const LEADER_MAX: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const POLL: Duration = Duration::from_millis(50);

/// Waits until a member answers a linearizable read and knows a leader.
pub async fn ready(cluster: &Cluster, member: u32) -> Result<StatusResponse, ClusterError> {
    until(cluster, member, Role::Voter).await
}

/// Waits until a member says that it is a learner and knows a leader.
pub async fn learns(cluster: &Cluster, member: u32) -> Result<(), ClusterError> {
    until(cluster, member, Role::Learner).await.map(drop)
}

async fn until(cluster: &Cluster, member: u32, role: Role) -> Result<StatusResponse, ClusterError> {
    let endpoint = cluster.direct(member);
    let start = Instant::now();
    let mut last = String::new();
    while start.elapsed() < READY_MAX {
        if let Some(ended) = cluster.ended_by_themselves().into_iter().next() {
            return Err(ended);
        }
        match tokio::time::timeout(ANSWER_MAX, ask(&endpoint, role)).await {
            Ok(Ok(status)) => return Ok(status),
            Ok(Err(error)) => last = error,
            Err(_) => last = format!("no answer in {ANSWER_MAX:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
    Err(ClusterError::NotReady { member, endpoint, waited: start.elapsed(), last })
}

/// Whether a member does what one of its role does.
async fn ask(endpoint: &str, role: Role) -> Result<StatusResponse, String> {
    let client = Client::connect(endpoint).await.map_err(|error| describe(&error))?;
    let status = client.status().await.map_err(|status| status.message().to_owned())?;
    if status.leader == 0 {
        return Err("it knows no leader".to_owned());
    }
    match role {
        Role::Voter => {
            let read = Request::Range(Range { key: Text::from("\0"), ..Range::default() });
            client.execute(&read).await.map_err(|status| status.message().to_owned())?;
        }
        Role::Learner if !status.is_learner => return Err("it is no learner".to_owned()),
        Role::Learner => {}
    }
    Ok(status)
}

/// Waits until the members that answer agree on who leads in the newest term, and says who it is.
pub async fn leader(cluster: &Cluster) -> Option<u32> {
    let start = Instant::now();
    while start.elapsed() < LEADER_MAX {
        if let Some(leader) = leader_now(cluster).await {
            return Some(leader);
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

async fn leader_now(cluster: &Cluster) -> Option<u32> {
    let roster = cluster.roster();
    let asked = roster.seats().iter().map(|seat| {
        let endpoint = cluster.direct(seat.member);
        let answer = tokio::spawn(async move {
            let answer = async {
                let client = Client::connect(&endpoint).await.ok()?;
                client.status().await.ok()
            };
            tokio::time::timeout(ANSWER_MAX / 4, answer).await.ok().flatten()
        });
        (seat.member, answer)
    });
    let mut answers = Vec::new();
    for (member, asked) in asked.collect::<Vec<_>>() {
        if let Ok(Some(status)) = asked.await {
            answers.push((member, status));
        }
    }
    choose(&answers)
}

/// The member that leads in the newest term, if it answered.
fn choose(answers: &[(u32, StatusResponse)]) -> Option<u32> {
    // One that is cut off may be in the newest term too, and know nobody.
    let newest = answers.iter().max_by_key(|(_, status)| (status.raft_term, status.leader != 0))?;
    let leader = newest.1.leader;
    let id = |status: &StatusResponse| status.header.as_ref().map_or(0, |h| h.member_id);
    answers
        .iter()
        .find(|(_, status)| leader != 0 && id(status) == leader)
        .map(|(member, _)| *member)
}

/// Revision and content of the whole store, by a linearizable read.
pub async fn whole_store(
    client: &Client,
) -> Result<(i64, Vec<rusd_checker::history::record::KeyValue>), tonic::Status> {
    let all = Range { key: Text::from("\0"), range_end: Text::from("\0"), ..Range::default() };
    let response = client.execute(&Request::Range(all)).await?;
    match response.body {
        ResponseBody::Range(answer) => Ok((response.revision, answer.kvs)),
        _ => unreachable!("a range is answered by a range"),
    }
}

#[cfg(test)]
mod tests {
    use rusd_proto::etcdserverpb::ResponseHeader;

    use super::*;

    fn status(member: u32, id: u64, leader: u64, raft_term: u64) -> (u32, StatusResponse) {
        let header = Some(ResponseHeader { member_id: id, ..ResponseHeader::default() });
        (member, StatusResponse { header, leader, raft_term, ..StatusResponse::default() })
    }

    #[test]
    fn the_newest_term_decides_who_leads() {
        for (answers, expected) in [
            (vec![], None),
            (vec![status(0, 10, 0, 3)], None),
            (vec![status(0, 10, 11, 2), status(1, 11, 11, 2)], Some(1)),
            // m0 was cut off and still thinks that it leads.
            (vec![status(0, 10, 10, 2), status(1, 11, 12, 3), status(2, 12, 12, 3)], Some(2)),
            // m2 has heard of the newest term, and now hears nobody.
            (vec![status(0, 10, 10, 3), status(1, 11, 10, 3), status(2, 12, 0, 3)], Some(0)),
            // m2 has gone on to a term in which nobody leads.
            (vec![status(0, 10, 10, 3), status(1, 11, 10, 3), status(2, 12, 0, 4)], None),
            // The leader itself did not answer.
            (vec![status(0, 10, 11, 2)], None),
        ] {
            assert_eq!(choose(&answers), expected, "{answers:?}");
        }
    }
}
