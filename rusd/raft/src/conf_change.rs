//! Membership changes: etcd's entries on the log, the crate's changes in memory.
//!
//! etcd and the `raft` crate number the kinds differently: etcd's 2 is `UpdateNode` and 3 is
//! `AddLearnerNode`, the crate's 2 is `AddLearnerNode`. The log holds etcd's numbers; they are
//! translated here, at apply, and nowhere else. `UpdateNode` changes a member's addresses only, so
//! it never reaches the crate.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;
use rusd_proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType};

use crate::types::HardState;

/// A member of a cluster that starts for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapMember {
    /// Its id.
    pub id: u64,
    /// etcd's JSON of the member; travels in the entry's context.
    pub context: Bytes,
}

/// The log of a new cluster: one membership entry per initial member, ascending by id, all
/// committed in term 1. Every initial member writes the same.
pub fn bootstrap(members: &[BootstrapMember]) -> (Vec<Entry>, HardState) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|member| member.id);
    let entries: Vec<_> =
        (1..).zip(members).map(|(index, member)| first_entry(index, member)).collect();
    let commit = entries.last().map_or(0, Entry::index);
    (entries, HardState { term: 1, vote: 0, commit })
}

fn first_entry(index: u64, member: &BootstrapMember) -> Entry {
    let change = ConfChange {
        r#type: Some(ConfChangeType::ConfChangeAddNode.into()),
        node_id: Some(member.id),
        context: Some(member.context.clone()),
        id: None,
    };
    Entry {
        term: Some(1),
        index: Some(index),
        r#type: Some(EntryType::EntryConfChange.into()),
        data: Some(change.encode_to_vec().into()),
    }
}

/// The crate's change for etcd's, or none when consensus is not concerned.
pub(crate) fn to_crate(change: &ConfChange) -> Option<eraftpb::ConfChange> {
    let kind = match change.r#type() {
        ConfChangeType::ConfChangeAddNode => eraftpb::ConfChangeType::AddNode,
        ConfChangeType::ConfChangeRemoveNode => eraftpb::ConfChangeType::RemoveNode,
        ConfChangeType::ConfChangeAddLearnerNode => eraftpb::ConfChangeType::AddLearnerNode,
        ConfChangeType::ConfChangeUpdateNode => return None,
    };
    // etcd marks a change that its members refused at apply by taking the node out of it.
    if change.node_id() == raft::INVALID_ID {
        return None;
    }
    let mut translated = eraftpb::ConfChange::default();
    translated.set_change_type(kind);
    translated.node_id = change.node_id();
    Some(translated)
}

/// The crate's membership in the form that the engine stores.
pub(crate) fn state_from_crate(state: &eraftpb::ConfState) -> ConfState {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    ConfState {
        voters: sorted(&state.voters),
        learners: sorted(&state.learners),
        voters_outgoing: sorted(&state.voters_outgoing),
        learners_next: sorted(&state.learners_next),
        auto_leave: Some(state.auto_leave),
    }
}

/// The stored membership in the form that the crate starts from.
pub(crate) fn state_to_crate(state: &ConfState) -> eraftpb::ConfState {
    let mut translated = eraftpb::ConfState::default();
    translated.voters.clone_from(&state.voters);
    translated.learners.clone_from(&state.learners);
    translated.voters_outgoing.clone_from(&state.voters_outgoing);
    translated.learners_next.clone_from(&state.learners_next);
    translated.auto_leave = state.auto_leave();
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ConfChangeType, node_id: u64) -> ConfChange {
        ConfChange { r#type: Some(kind.into()), node_id: Some(node_id), ..Default::default() }
    }

    #[test]
    fn kinds_are_translated_not_copied() {
        let kind = |change| to_crate(&change).map(|translated| translated.get_change_type());
        assert_eq!(
            kind(change(ConfChangeType::ConfChangeAddLearnerNode, 4)),
            Some(eraftpb::ConfChangeType::AddLearnerNode)
        );
        assert_eq!(
            kind(change(ConfChangeType::ConfChangeRemoveNode, 4)),
            Some(eraftpb::ConfChangeType::RemoveNode)
        );
        assert_eq!(kind(change(ConfChangeType::ConfChangeUpdateNode, 4)), None);
        assert_eq!(kind(change(ConfChangeType::ConfChangeAddNode, 0)), None);
    }

    #[test]
    fn bootstrap_is_the_same_whatever_the_order() {
        let member = |id: u64| BootstrapMember { id, context: Bytes::from(format!("m{id}")) };
        let (entries, state) = bootstrap(&[member(3), member(1), member(2)]);
        assert_eq!(bootstrap(&[member(1), member(2), member(3)]).0, entries);
        assert_eq!(state, HardState { term: 1, vote: 0, commit: 3 });
        let ids: Vec<_> = entries
            .iter()
            .map(|entry| ConfChange::decode(entry.data()).unwrap().node_id())
            .collect();
        assert_eq!(ids, [1, 2, 3]);
    }
}
