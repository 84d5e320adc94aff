//! Members that are stopped as an operator stops them, by SIGTERM, and started again with the same
//! flags. A leader may hand over first; a member that does not end, or ends badly, is an error.

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

pub(super) fn end(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    each(members, |member| cluster.launch(member))
}
