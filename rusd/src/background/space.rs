//! Raises the space alarm of a member.

use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType, InternalRaftRequest};
use rusd_state::View;
use tokio_util::sync::CancellationToken;

use crate::consensus::proposer::{ProposeError, Proposer};
use crate::quota::SpaceWatch;

/// Raises this member's `NOSPACE` alarm through the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SpaceAlarm {
    /// Knows what is raised already.
    pub view: View,
    /// Takes the alarm.
    pub proposer: Proposer,
    /// This member.
    pub member_id: u64,
}

impl SpaceAlarm {
    /// Raises the alarm, unless it is raised already.
    pub async fn raise(&self) -> Result<(), ProposeError> {
        let (member_id, alarm) = (self.member_id, AlarmType::Nospace.into());
        if self.view.alarms().contains(&AlarmMember { member_id, alarm }) {
            return Ok(());
        }
        let action = AlarmAction::Activate.into();
        let alarm = Some(AlarmRequest { action, member_id, alarm });
        let request = InternalRaftRequest { alarm, ..InternalRaftRequest::default() };
        // The state machine refuses no request about alarms.
        self.proposer.propose(request).await.map(|_outcome| ())
    }

    /// Raises it whenever there is no room for what is applied, until `stop`.
    pub async fn run(self, space: SpaceWatch, stop: CancellationToken) {
        while stop.run_until_cancelled(space.exceeded()).await.is_some() {
            tracing::warn!("the space quota is exceeded; raising alarm");
            if let Err(error) = self.raise().await {
                // The next entry that takes space asks for it again.
                tracing::warn!(%error, "the alarm could not be raised");
            }
        }
    }
}
