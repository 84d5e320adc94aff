//! What there is to tell of a load that goes on.

use std::sync::Arc;

use super::Started;
use super::metering::Meters;
use crate::cluster::Cluster;
use crate::driver::Shared;
use crate::recorder::Recorder;
use crate::report::live::{Frame, MemberNow};

/// Where it is seen how a load goes on.
pub(super) struct Progress<'a> {
    shared: &'a Shared,
    meters: Meters,
    recorder: Recorder,
    cluster: Arc<Cluster>,
    load_start_ns: u64,
}

impl<'a> Progress<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        meters: Meters,
        started: &Started,
        load_start_ns: u64,
    ) -> Progress<'a> {
        let (recorder, cluster) = (started.recorder.clone(), Arc::clone(&started.cluster));
        Progress { shared, meters, recorder, cluster, load_start_ns }
    }

    /// How it stands.
    pub(super) fn frame(&self, now_ns: u64) -> Frame {
        let is_ours = self.cluster.program().is_some();
        let members = self.meters.latest().into_iter().map(|(member, latest)| MemberNow {
            member,
            is_down: is_ours && self.cluster.usage(member).pid.is_none(),
            latest,
        });
        Frame {
            now_ns,
            load_start_ns: self.load_start_ns,
            glance: self.shared.stats.glance(now_ns),
            members: members.collect(),
            faults: self.recorder.faults(),
        }
    }
}
