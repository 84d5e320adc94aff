//! Alarms: what an operator must look at, and what is refused until then.
//!
//! Raised and disarmed through the log, so every member refuses the same requests from the same
//! entry on. As in etcd, an alarm is of a kind and of a member, and neither has to be known.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use rusd_proto::etcdserverpb::alarm_request::AlarmAction;
use rusd_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmResponse, AlarmType};

use crate::command::Body;
use crate::error::{ApplyError, Fatal};
use crate::quota;

/// The raised alarms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Alarms {
    /// Kind, then member.
    raised: BTreeSet<(i32, u64)>,
}

impl Alarms {
    /// Does what a request asks for: lists alarms, raises one or disarms one. Tells with the answer
    /// whether anything changed.
    pub(crate) fn apply(&mut self, request: &AlarmRequest) -> (AlarmResponse, bool) {
        let alarm = (request.alarm, request.member_id);
        let is_named = request.alarm != i32::from(AlarmType::None);
        let (alarms, changed) = match AlarmAction::try_from(request.action) {
            // The member that a question names does not matter to etcd.
            Ok(AlarmAction::Get) => (self.list(is_named.then_some(request.alarm)), false),
            Ok(AlarmAction::Activate) if is_named => {
                (vec![member(alarm)], self.raised.insert(alarm))
            }
            Ok(AlarmAction::Deactivate) if self.raised.remove(&alarm) => {
                (vec![member(alarm)], true)
            }
            // etcd crashes on an action that it does not know.
            Ok(AlarmAction::Activate | AlarmAction::Deactivate) | Err(_) => (Vec::new(), false),
        };
        (AlarmResponse { header: None, alarms }, changed)
    }

    /// All alarms, or those of a kind, by kind and member.
    pub(crate) fn list(&self, kind: Option<i32>) -> Vec<AlarmMember> {
        let wanted =
            self.raised.iter().filter(|(raised, _)| kind.is_none_or(|kind| kind == *raised));
        wanted.map(|alarm| member(*alarm)).collect()
    }

    /// Why a request is refused while these alarms are raised, if it is.
    pub(crate) fn refusal(&self, body: &Body) -> Option<ApplyError> {
        if self.raised.is_empty() {
            return None;
        }
        let is_touched_by_corruption = matches!(
            body,
            Body::Put(_)
                | Body::DeleteRange(_)
                | Body::Txn(_)
                | Body::Compaction(_)
                | Body::LeaseGrant(_)
                | Body::LeaseRevoke(_)
        );
        if is_touched_by_corruption && self.is_raised(AlarmType::Corrupt) {
            return Some(ApplyError::Corrupt);
        }
        let takes_space = match body {
            Body::Put(_) | Body::LeaseGrant(_) => true,
            Body::Txn(request) => quota::cost_of_txn(request) > 0,
            _ => false,
        };
        (takes_space && self.is_raised(AlarmType::Nospace)).then_some(ApplyError::NoSpace)
    }

    fn is_raised(&self, kind: AlarmType) -> bool {
        let kind = i32::from(kind);
        self.raised.range((kind, 0)..=(kind, u64::MAX)).next().is_some()
    }

    /// All alarms as they are stored; `None` if there are none.
    pub(crate) fn record(&self) -> Option<Bytes> {
        let alarms = AlarmResponse { header: None, alarms: self.list(None) };
        (!self.raised.is_empty()).then(|| alarms.encode_to_vec().into())
    }

    /// What [`Alarms::record`] gave.
    pub(crate) fn load(record: Option<&Bytes>) -> Result<Alarms, Fatal> {
        let stored = record.cloned().unwrap_or_default();
        let stored = AlarmResponse::decode(stored)
            .map_err(|source| Fatal::MalformedRecord { what: "alarms", source })?;
        let raised = stored.alarms.iter().map(|alarm| (alarm.alarm, alarm.member_id));
        Ok(Alarms { raised: raised.collect() })
    }
}

fn member((alarm, member_id): (i32, u64)) -> AlarmMember {
    AlarmMember { member_id, alarm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_survive_a_round_trip() {
        let mut alarms = Alarms::default();
        assert_eq!(alarms.record(), None);
        for (alarm, member_id) in [(2, 7), (1, 9), (99, 0), (1, 8)] {
            let action = AlarmAction::Activate.into();
            let (_, changed) = alarms.apply(&AlarmRequest { action, member_id, alarm });
            assert!(changed);
        }
        let loaded = Alarms::load(alarms.record().as_ref()).unwrap();
        assert_eq!(loaded, alarms);
        let listed = loaded
            .list(None)
            .iter()
            .map(|member| (member.alarm, member.member_id))
            .collect::<Vec<_>>();
        assert_eq!(listed, [(1, 8), (1, 9), (2, 7), (99, 0)]);
        Alarms::load(Some(&Bytes::from_static(b"\xff"))).unwrap_err();
    }
}
