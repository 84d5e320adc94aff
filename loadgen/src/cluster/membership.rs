//! Members that come, are promoted, and go, while the cluster serves.
//!
//! A change is asked for until the member list shows it: a cluster that has just lost or gained a
//! member refuses the next change for a while, as it should, and an answer may be lost. So each
//! attempt begins with a linearizable look at the list, and what was done twice is done once.

use std::time::Duration;

use rusd_proto::etcdserverpb::{self as pb, MemberListResponse};
use tokio::time::Instant;

use super::roster::Seat;
use super::{Cluster, ClusterError, readiness};
use crate::client::describe;
use crate::client::etcd::Client;
use crate::workload::Role;

/// Longest time until a change is in the member list: covers a cluster that refuses while members
/// that were just started are not reached, and a learner that has everything to catch up.
const CHANGE_MAX: Duration = Duration::from_secs(40);
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Pause between two attempts.
const POLL: Duration = Duration::from_millis(100);
/// Longest time in which a member that was removed learns it and ends.
const LEAVE_MAX: Duration = Duration::from_secs(30);

/// What the member list is to show of the member with a peer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    There(Role),
    Promoted,
    Gone,
}

/// What is still to be asked for.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Add(Role),
    Promote(u64),
    Remove(u64),
}

impl Wanted {
    fn missing(self, list: &[pb::Member], peer_url: &str) -> Result<Missing, String> {
        let found = list.iter().find(|member| member.peer_ur_ls.iter().any(|url| url == peer_url));
        match (self, found) {
            (Wanted::There(role), None) => Ok(Missing::Add(role)),
            (Wanted::Promoted, Some(member)) if member.is_learner => {
                Ok(Missing::Promote(member.id))
            }
            (Wanted::Promoted, None) => Err("it is not in the member list".to_owned()),
            (Wanted::Gone, Some(member)) => Ok(Missing::Remove(member.id)),
            (Wanted::There(_) | Wanted::Promoted, Some(_)) | (Wanted::Gone, None) => {
                Ok(Missing::Nothing)
            }
        }
    }
}

/// Adds a member, starts it with an empty folder, and waits until it serves; or, if it is a
/// learner, until it says that it is one. It gets the index [`Cluster::next`].
pub async fn add(cluster: &Cluster, role: Role) -> Result<u32, ClusterError> {
    let member = cluster.prepare().await?;
    bring_about(cluster, member, Wanted::There(role)).await?;
    cluster.launch(member)?;
    let endpoint = cluster.endpoint(member);
    match role {
        Role::Voter => drop(readiness::ready(cluster, member).await?),
        Role::Learner => readiness::learns(cluster, member).await?,
    }
    cluster.change_roster(|roster| roster.put(Seat { member, endpoint, role }));
    Ok(member)
}

/// Promotes a learner, as soon as the cluster lets us, and waits until it serves.
pub async fn promote(cluster: &Cluster, member: u32) -> Result<(), ClusterError> {
    bring_about(cluster, member, Wanted::Promoted).await?;
    readiness::ready(cluster, member).await?;
    let endpoint = cluster.endpoint(member);
    cluster.change_roster(|roster| roster.put(Seat { member, endpoint, role: Role::Voter }));
    Ok(())
}

/// Removes a member for good. If it runs, it must learn that it was removed, and end.
///
/// Clients ask it until it has ended: what it still answers is judged like every other answer.
pub async fn remove(cluster: &Cluster, member: u32) -> Result<(), ClusterError> {
    cluster.may_end(member);
    let gone = bring_about(cluster, member, Wanted::Gone).await;
    let ended = match gone {
        Ok(()) => cluster.leave(member, LEAVE_MAX).await,
        Err(error) => Err(error),
    };
    cluster.change_roster(|roster| roster.leave(member));
    ended
}

/// Asks one voter after the other until the member list is as wanted.
async fn bring_about(cluster: &Cluster, member: u32, wanted: Wanted) -> Result<(), ClusterError> {
    let peer_url = cluster.peer_url(member);
    let start = Instant::now();
    let mut last = "there is no other voter to ask".to_owned();
    for attempt in 0.. {
        let roster = cluster.roster();
        let others: Vec<&Seat> = roster.voters().filter(|seat| seat.member != member).collect();
        if start.elapsed() > CHANGE_MAX || others.is_empty() {
            break;
        }
        let asked = cluster.direct(others[attempt % others.len()].member);
        match tokio::time::timeout(ANSWER_MAX, ask(&asked, &peer_url, wanted)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => last = reason,
            Err(_) => last = format!("no answer in {ANSWER_MAX:?}"),
        }
        tokio::time::sleep(POLL).await;
    }
    let (change, waited) = (wanted.change(), start.elapsed());
    Err(ClusterError::NotChanged { member, change, waited, last })
}

async fn ask(endpoint: &str, peer_url: &str, wanted: Wanted) -> Result<(), String> {
    let client = Client::connect(endpoint).await.map_err(|error| describe(&error))?;
    let said = |status: tonic::Status| status.message().to_owned();
    let MemberListResponse { members, .. } = client.member_list().await.map_err(said)?;
    match wanted.missing(&members, peer_url)? {
        Missing::Nothing => Ok(()),
        Missing::Add(role) => client.member_add(peer_url, role == Role::Learner).await,
        Missing::Promote(id) => client.member_promote(id).await,
        Missing::Remove(id) => client.member_remove(id).await,
    }
    .map_err(said)
}

impl Wanted {
    fn change(self) -> &'static str {
        match self {
            Wanted::There(_) => "added",
            Wanted::Promoted => "promoted",
            Wanted::Gone => "removed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that was lost must not lead to a second change, nor to one of somebody else.
    #[test]
    fn what_the_list_shows_is_not_asked_for_again() {
        let member = |id, url: &str, is_learner| pb::Member {
            id,
            peer_ur_ls: vec![url.to_owned()],
            is_learner,
            ..pb::Member::default()
        };
        let list = [member(1, "http://a", false), member(2, "http://b", true)];
        for (wanted, url, expected) in [
            (Wanted::There(Role::Voter), "http://a", Ok(Missing::Nothing)),
            (Wanted::There(Role::Learner), "http://c", Ok(Missing::Add(Role::Learner))),
            (Wanted::Promoted, "http://a", Ok(Missing::Nothing)),
            (Wanted::Promoted, "http://b", Ok(Missing::Promote(2))),
            (Wanted::Promoted, "http://c", Err("it is not in the member list".to_owned())),
            (Wanted::Gone, "http://b", Ok(Missing::Remove(2))),
            (Wanted::Gone, "http://c", Ok(Missing::Nothing)),
        ] {
            assert_eq!(wanted.missing(&list, url), expected, "{wanted:?} {url}");
        }
    }
}
