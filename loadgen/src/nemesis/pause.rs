//! Members that stand still: SIGSTOP, then SIGCONT. Their sockets stay open.

use nix::sys::signal::Signal;

use super::each;
use crate::cluster::{Cluster, ClusterError};

pub(super) fn begin(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    each(members, |member| cluster.signal(member, Signal::SIGSTOP))
}

pub(super) fn end(cluster: &Cluster, members: &[u32]) -> Result<(), ClusterError> {
    each(members, |member| cluster.signal(member, Signal::SIGCONT))
}
