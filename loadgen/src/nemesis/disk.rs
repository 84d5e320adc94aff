//! Disks that are slow, fail, or are full.
//!
//! Slow and failing ones are acted out by the member itself, at places in its code that are set
//! through gofail's protocol ([`failpoints`](crate::cluster::failpoints)). A full one is really full:
//! each member then has a small file system of its own, see [`Cluster::disk`].

use std::time::Duration;

use super::each;
use crate::cluster::failpoints;
use crate::cluster::{Cluster, ClusterError};
use crate::workload::DiskPlace;

/// Where a slow disk makes a member wait: before each sync of the log.
const SLOW: &str = "walBeforeSync";
/// Longest wait for a member to end whose disk fails, after the fault has lasted.
const END_MAX: Duration = Duration::from_secs(10);
/// How long a member that met the full disk may take to end.
const ENDING: Duration = Duration::from_millis(500);
/// What a failing disk says.
const ERROR: &str = "input/output error";

/// Makes each sync of the log take longer.
pub(super) async fn slow(
    cluster: &Cluster,
    members: &[u32],
    by: Duration,
) -> Result<(), ClusterError> {
    set(cluster, members, SLOW, &format!("sleep({})", by.as_millis())).await
}

/// Takes that back.
pub(super) async fn quicken(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    let mut result = Ok(());
    for &member in members {
        let done = failpoints::remove(cluster, member, SLOW).await;
        result = result.and(done);
    }
    result
}

/// Makes the next write, sync or commit fail; the member must then end. Gives how much each had said
/// before.
pub(super) async fn fail(
    cluster: &Cluster,
    members: &[u32],
    place: DiskPlace,
) -> (Vec<u64>, Result<(), ClusterError>) {
    let place = match place {
        DiskPlace::LogWrite => "walWriteError",
        DiskPlace::LogSync => "walSyncError",
        DiskPlace::Store => "engineCommitError",
    };
    let mut said = Vec::new();
    for &member in members {
        cluster.may_end(member);
        said.push(cluster.said(member));
    }
    (said, set(cluster, members, place, &format!("return(\"{ERROR}\")")).await)
}

/// Waits until the members have ended, which must say why, and starts them.
pub(super) async fn ended(
    cluster: &Cluster,
    members: &[u32],
    said: &[u64],
) -> Result<(), ClusterError> {
    let mut result = Ok(());
    for (&member, &from) in members.iter().zip(said) {
        let said = cluster.ends(member, "met a disk error", from, END_MAX).await;
        let named = said.and_then(|said| says_so(member, &said));
        result = result.and(named).and(cluster.launch(member));
    }
    result
}

/// Leaves no free byte on the members' disks. What needs space may end them.
pub(super) async fn fill(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    let mut result = Ok(());
    for &member in members {
        cluster.may_end(member);
        let filled = match cluster.disk(member) {
            Ok(disk) => tokio::task::spawn_blocking(move || disk.fill())
                .await
                .expect("filling a disk does not panic"),
            Err(error) => Err(error),
        };
        result = result.and(filled.map_err(|source| ClusterError::Io {
            what: format!("cannot fill the disk of m{member}"),
            source,
        }));
    }
    result
}

/// Makes room, and starts the members that have ended for want of it.
pub(super) async fn make_room(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    let room = each(members, |member| {
        let made = cluster.disk(member).and_then(|disk| disk.make_room());
        made.map_err(|source| ClusterError::Io {
            what: format!("cannot make room on the disk of m{member}"),
            source,
        })
    });
    // Who has just met the full disk is about to end.
    tokio::time::sleep(ENDING).await;
    room.and(each(members, |member| {
        if cluster.has_ended(member) {
            return cluster.launch(member);
        }
        cluster.must_stay(member);
        Ok(())
    }))
}

fn says_so(member: u32, said: &str) -> Result<(), ClusterError> {
    if said.contains(ERROR) {
        return Ok(());
    }
    let reason = format!("it ended and does not say {ERROR:?}; the end of its log:\n{said}");
    Err(ClusterError::NotDone { member, reason })
}

async fn set(
    cluster: &Cluster,
    members: &[u32],
    place: &str,
    terms: &str,
) -> Result<(), ClusterError> {
    let mut result = Ok(());
    for &member in members {
        let done = failpoints::set(cluster, member, place, terms).await;
        result = result.and(done);
    }
    result
}
