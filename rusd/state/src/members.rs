//! The cluster's members, as the log decided them.
//!
//! Who votes is raft's (the conf state); this is what clients are told: names and URLs. A
//! membership change carries the member as JSON, the way etcd writes it.
//!
//! Invariant: what [`Members::change`] answers depends on the changes before it alone. So the
//! driver, which must know whether a change is one before it tells raft, keeps a copy that has seen
//! the same changes, and refuses what the state machine refuses.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use rusd_proto::membershippb::{Attributes, Member as MemberRecord, RaftAttributes};
use rusd_proto::raftpb::{ConfChange, ConfChangeType, Entry, EntryType};
use serde::{Deserialize, Serialize};

use crate::error::{ApplyError, Fatal};
pub use crate::options::LEARNERS_MAX;

pub use rusd_proto::etcdserverpb::Member;

/// The context of a membership change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberContext {
    /// The member's id.
    pub id: u64,
    /// Where its peers reach it.
    #[serde(
        rename = "peerURLs",
        serialize_with = "empty_as_null",
        deserialize_with = "null_as_empty"
    )]
    pub peer_urls: Vec<String>,
    /// It does not vote.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it has started.
    #[serde(
        rename = "clientURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub client_urls: Vec<String>,
    /// The change makes a voter of a learner.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_promote: bool,
}

fn empty_as_null<S: serde::Serializer>(urls: &[String], json: S) -> Result<S::Ok, S::Error> {
    (!urls.is_empty()).then_some(urls).serialize(json)
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

impl MemberContext {
    /// What the promotion of a learner carries.
    pub fn promotion(id: u64) -> Self {
        MemberContext { id, is_promote: true, ..MemberContext::default() }
    }

    /// As etcd writes it.
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).expect("strings and numbers are JSON").into()
    }
}

/// The members by id.
#[derive(Debug, Clone, PartialEq)]
pub struct Members {
    by_id: BTreeMap<u64, Member>,
    /// Ids that were members: they never come back.
    removed: BTreeSet<u64>,
    learners_max: usize,
}

impl Default for Members {
    fn default() -> Self {
        Members::new(LEARNERS_MAX)
    }
}

impl Members {
    /// No members yet, of whom so many may be learners.
    pub fn new(learners_max: usize) -> Self {
        Members { by_id: BTreeMap::new(), removed: BTreeSet::new(), learners_max }
    }

    /// All members in ascending order of id.
    pub fn list(&self) -> Vec<Member> {
        self.by_id.values().cloned().collect()
    }

    /// The member with this id.
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.by_id.get(&id)
    }

    /// This was a member and is none any more.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Ids of former members, ascending.
    pub fn removed(&self) -> impl Iterator<Item = u64> + '_ {
        self.removed.iter().copied()
    }

    /// The ids of former members as they are stored: 8 bytes each, big-endian.
    pub(crate) fn removed_record(&self) -> Bytes {
        self.removed.iter().flat_map(|id| id.to_be_bytes()).collect()
    }

    /// Takes the ids of former members as they were stored.
    pub(crate) fn load_removed(&mut self, record: &[u8]) {
        self.removed.extend(record.as_chunks().0.iter().map(|id| u64::from_be_bytes(*id)));
    }

    /// A member as it is stored.
    pub(crate) fn record(&self, id: u64) -> Option<Bytes> {
        self.by_id.get(&id).map(|member| {
            let record = MemberRecord {
                id,
                raft_attributes: Some(RaftAttributes {
                    peer_urls: member.peer_ur_ls.clone(),
                    is_learner: member.is_learner,
                }),
                member_attributes: Some(Attributes {
                    name: member.name.clone(),
                    client_urls: member.client_ur_ls.clone(),
                }),
            };
            record.encode_to_vec().into()
        })
    }

    /// Adds a member as it was stored.
    pub(crate) fn load(&mut self, record: Bytes) -> Result<(), Fatal> {
        let record = MemberRecord::decode(record)
            .map_err(|source| Fatal::MalformedRecord { what: "member", source })?;
        let raft = record.raft_attributes.unwrap_or_default();
        let attributes = record.member_attributes.unwrap_or_default();
        let member = Member {
            id: record.id,
            name: attributes.name,
            peer_ur_ls: raft.peer_urls,
            client_ur_ls: attributes.client_urls,
            is_learner: raft.is_learner,
        };
        self.by_id.insert(member.id, member);
        Ok(())
    }

    /// Sets what a member told of itself. An unknown member is ignored, as in etcd: it may have
    /// been removed meanwhile.
    pub(crate) fn set_attributes(&mut self, id: u64, attributes: &Attributes) -> bool {
        let Some(member) = self.by_id.get_mut(&id) else { return false };
        member.name.clone_from(&attributes.name);
        member.client_ur_ls.clone_from(&attributes.client_urls);
        true
    }

    /// Does a membership change of the log, or refuses it. Gives the id it was about.
    pub fn change(
        &mut self,
        change: &ConfChange,
        index: u64,
    ) -> Result<Result<u64, ApplyError>, Fatal> {
        let context: MemberContext = match &change.context {
            Some(json) if !json.is_empty() => serde_json::from_slice(json)
                .map_err(|source| Fatal::MalformedMember { index, source })?,
            _ => MemberContext::default(),
        };
        Ok(self.change_to(change.r#type(), change.node_id(), context))
    }

    /// Does the membership change that an entry of the log holds, if it holds one.
    pub fn change_by(&mut self, entry: &Entry) -> Result<Result<(), ApplyError>, Fatal> {
        if entry.r#type() != EntryType::EntryConfChange {
            return Ok(Ok(()));
        }
        let index = entry.index();
        let change = ConfChange::decode(entry.data.clone().unwrap_or_default())
            .map_err(|source| Fatal::MalformedEntry { index, source })?;
        Ok(self.change(&change, index)?.map(|_| ()))
    }

    /// The changes after which `id` is the only member: itself first, since there must always be a
    /// voter.
    pub fn changes_to_alone(&self, id: u64) -> Vec<ConfChange> {
        let change = |kind: ConfChangeType, node_id: u64, context: Option<MemberContext>| {
            let context = context.map(|context| context.to_json());
            ConfChange { r#type: Some(kind.into()), node_id: Some(node_id), context, id: None }
        };
        let own = match self.by_id.get(&id) {
            None => Some(MemberContext {
                id,
                // As etcd does; the operator updates it.
                peer_urls: vec!["http://localhost:2380".to_owned()],
                ..MemberContext::default()
            }),
            Some(own) if own.is_learner => Some(MemberContext::promotion(id)),
            Some(_) => None,
        };
        let own = own.map(|own| change(ConfChangeType::ConfChangeAddNode, id, Some(own)));
        let others = self.by_id.keys().filter(|other| **other != id);
        let others = others.map(|other| change(ConfChangeType::ConfChangeRemoveNode, *other, None));
        own.into_iter().chain(others).collect()
    }

    fn change_to(
        &mut self,
        kind: ConfChangeType,
        id: u64,
        context: MemberContext,
    ) -> Result<u64, ApplyError> {
        if self.removed.contains(&id) {
            return Err(ApplyError::MemberRemoved);
        }
        match kind {
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                if context.is_promote {
                    self.promote(id)
                } else {
                    self.add(id, context)
                }
            }
            ConfChangeType::ConfChangeRemoveNode => self.remove(id),
            ConfChangeType::ConfChangeUpdateNode => self.update(id, context),
        }
    }

    fn add(&mut self, id: u64, context: MemberContext) -> Result<u64, ApplyError> {
        if self.by_id.contains_key(&id) {
            return Err(ApplyError::MemberExists);
        }
        self.check_urls(id, &context.peer_urls)?;
        if context.is_learner && self.learners() >= self.learners_max {
            return Err(ApplyError::TooManyLearners);
        }
        let member = Member {
            id,
            name: context.name,
            peer_ur_ls: context.peer_urls,
            client_ur_ls: context.client_urls,
            is_learner: context.is_learner,
        };
        self.by_id.insert(id, member);
        Ok(id)
    }

    /// How many do not vote.
    pub fn learners(&self) -> usize {
        self.by_id.values().filter(|member| member.is_learner).count()
    }

    /// Raft cannot be without a voter. etcd proposes no such change unless it is told to check
    /// nothing, and then it crashes at it.
    fn remove(&mut self, id: u64) -> Result<u64, ApplyError> {
        let member = self.by_id.get(&id).ok_or(ApplyError::MemberNotFound)?;
        let voters = self.by_id.len() - self.learners();
        if !member.is_learner && voters == 1 {
            return Err(ApplyError::NotEnoughStartedMembers);
        }
        self.by_id.remove(&id);
        self.removed.insert(id);
        Ok(id)
    }

    fn promote(&mut self, id: u64) -> Result<u64, ApplyError> {
        let member = self.by_id.get_mut(&id).ok_or(ApplyError::MemberNotFound)?;
        if !member.is_learner {
            return Err(ApplyError::MemberNotLearner);
        }
        member.is_learner = false;
        Ok(id)
    }

    fn update(&mut self, id: u64, context: MemberContext) -> Result<u64, ApplyError> {
        if !self.by_id.contains_key(&id) {
            return Err(ApplyError::MemberNotFound);
        }
        self.check_urls(id, &context.peer_urls)?;
        let member = self.by_id.get_mut(&id).expect("found above");
        member.peer_ur_ls = context.peer_urls;
        Ok(id)
    }

    fn check_urls(&self, id: u64, urls: &[String]) -> Result<(), ApplyError> {
        let taken = self.by_id.values().filter(|member| member.id != id);
        let is_taken = taken.flat_map(|member| &member.peer_ur_ls).any(|url| urls.contains(url));
        if is_taken { Err(ApplyError::PeerUrlExists) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ConfChangeType, id: u64, json: &str) -> ConfChange {
        ConfChange {
            r#type: Some(kind.into()),
            node_id: Some(id),
            context: Some(Bytes::copy_from_slice(json.as_bytes())),
            id: Some(1),
        }
    }

    #[test]
    fn etcds_bootstrap_entry_is_read() {
        let mut members = Members::default();
        let json = r#"{"id":9372538179322589801,"peerURLs":["http://10.0.0.1:2380"],"name":"m1"}"#;
        let add = change(ConfChangeType::ConfChangeAddNode, 9_372_538_179_322_589_801, json);
        assert_eq!(members.change(&add, 1).unwrap(), Ok(9_372_538_179_322_589_801));
        let member = &members.list()[0];
        assert_eq!(
            (member.name.as_str(), &member.peer_ur_ls[..]),
            ("m1", &["http://10.0.0.1:2380".to_owned()][..])
        );
        assert_eq!(members.change(&add, 2).unwrap(), Err(ApplyError::MemberExists));
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let mut members = Members::default();
        let json =
            r#"{"id":7,"peerURLs":["a"],"isLearner":true,"clientURLs":null,"isPromote":false}"#;
        members
            .change(&change(ConfChangeType::ConfChangeAddLearnerNode, 7, json), 1)
            .unwrap()
            .unwrap();
        let attributes = Attributes { name: "n".into(), client_urls: vec!["c".into()] };
        assert!(members.set_attributes(7, &attributes));
        let mut loaded = Members::default();
        loaded.load(members.record(7).unwrap()).unwrap();
        assert_eq!(loaded, members);
    }

    #[test]
    fn changes_that_make_no_sense_are_refused() {
        let mut members = Members::default();
        let add = |id: u64, url: &str, learner: bool| {
            let context = MemberContext {
                id,
                peer_urls: vec![url.into()],
                is_learner: learner,
                ..MemberContext::default()
            };
            let json = serde_json::to_string(&context).unwrap();
            let kind = if learner {
                ConfChangeType::ConfChangeAddLearnerNode
            } else {
                ConfChangeType::ConfChangeAddNode
            };
            change(kind, id, &json)
        };
        let promote = |id| {
            change(
                ConfChangeType::ConfChangeAddNode,
                id,
                r#"{"id":2,"peerURLs":null,"isPromote":true}"#,
            )
        };
        let steps = [
            (add(1, "a", false), Ok(1)),
            (add(2, "a", false), Err(ApplyError::PeerUrlExists)),
            (add(2, "b", true), Ok(2)),
            (add(3, "c", true), Err(ApplyError::TooManyLearners)),
            (promote(1), Err(ApplyError::MemberNotLearner)),
            (promote(2), Ok(2)),
            (
                change(ConfChangeType::ConfChangeUpdateNode, 1, r#"{"peerURLs":["b"]}"#),
                Err(ApplyError::PeerUrlExists),
            ),
            (change(ConfChangeType::ConfChangeUpdateNode, 1, r#"{"peerURLs":["z"]}"#), Ok(1)),
            (change(ConfChangeType::ConfChangeRemoveNode, 4, ""), Err(ApplyError::MemberNotFound)),
            (change(ConfChangeType::ConfChangeRemoveNode, 2, ""), Ok(2)),
            (add(2, "c", false), Err(ApplyError::MemberRemoved)),
            (promote(2), Err(ApplyError::MemberRemoved)),
            (
                change(ConfChangeType::ConfChangeRemoveNode, 1, ""),
                Err(ApplyError::NotEnoughStartedMembers),
            ),
            (add(4, "d", true), Ok(4)),
            (change(ConfChangeType::ConfChangeRemoveNode, 4, ""), Ok(4)),
        ];
        for (step, expected) in steps {
            assert_eq!(members.change(&step, 1).unwrap(), expected, "{step:?}");
        }
        assert_eq!(members.removed().collect::<Vec<_>>(), [2, 4]);
        let mut loaded = Members::default();
        loaded.load_removed(&members.removed_record());
        assert!(loaded.is_removed(2) && loaded.is_removed(4) && !loaded.is_removed(1));
    }

    #[test]
    fn a_member_is_left_alone() {
        let mut members = Members::default();
        for (id, learner) in [(1, false), (2, false), (3, true)] {
            let context = MemberContext {
                id,
                peer_urls: vec![format!("u{id}")],
                is_learner: learner,
                ..MemberContext::default()
            };
            members.add(id, context).unwrap();
        }
        for alone in [1, 3, 9] {
            let mut left = members.clone();
            for change in left.changes_to_alone(alone) {
                left.change(&change, 1).unwrap().unwrap();
            }
            let list = left.list();
            assert_eq!((list.len(), list[0].id, list[0].is_learner), (1, alone, false));
            assert_eq!(left.changes_to_alone(alone), []);
        }
    }

    /// Written by etcd 3.7.3 for `member add --learner` and `member promote`.
    #[test]
    fn contexts_are_etcds_json() {
        let learner = MemberContext {
            id: 7,
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            is_learner: true,
            ..MemberContext::default()
        };
        let json = r#"{"id":7,"peerURLs":["http://127.0.0.1:2380"],"isLearner":true}"#;
        assert_eq!(learner.to_json(), json);
        let json = r#"{"id":7,"peerURLs":null,"isPromote":true}"#;
        assert_eq!(MemberContext::promotion(7).to_json(), json);
    }
}
