//! Members that are stopped as an operator stops them, by SIGTERM, and started again with the same
//! flags, perhaps from another executable for a while. A leader may hand over first; a member that
//! does not end, or ends badly, is an error.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::each;
use crate::cluster::{Cluster, ClusterError};

/// All at once; one after the other is what the target `each` asks for.
pub(super) async fn begin(cluster: &Arc<Cluster>, members: &[u32]) -> Result<(), ClusterError> {
    let mut stopping = JoinSet::new();
    for &member in members {
        let cluster = Arc::clone(cluster);
        stopping.spawn(async move { cluster.stop_gracefully(member).await });
    }
    let mut result = Ok(());
    while let Some(stopped) = stopping.join_next().await {
        result = result.and(stopped.expect("a stop does not panic"));
    }
    result
}

/// Stops them, and starts them from another executable.
pub(super) async fn swap(
    cluster: &Arc<Cluster>,
    members: &[u32],
    binary: Option<&Path>,
) -> Result<(), ClusterError> {
    let binary = binary.expect("validated: a swap names its binary");
    let stopped = begin(cluster, members).await;
    stopped.and(each(members, |member| cluster.launch_from(binary, member)))
}

/// Stops them, and starts them from their own executable.
pub(super) async fn again(cluster: &Arc<Cluster>, members: &[u32]) -> Result<(), ClusterError> {
    let stopped = begin(cluster, members).await;
    stopped.and(each(members, |member| cluster.launch(member)))
}
