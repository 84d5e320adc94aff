//! The cluster's members, as the log decided them.
//!
//! Who votes is raft's (the conf state); this is what clients are told: names and URLs. A
//! membership change carries the member as JSON, the way etcd writes it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use rusd_proto::membershippb::{Attributes, Member as MemberRecord, RaftAttributes};
use rusd_proto::raftpb::{ConfChange, ConfChangeType};
use serde::{Deserialize, Serialize};

use crate::error::{ApplyError, Fatal};

pub use rusd_proto::etcdserverpb::Member;

/// Learners that etcd allows at a time, by default.
const LEARNERS_MAX: usize = 1;

/// The context of a membership change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberContext {
    /// The member's id.
    pub id: u64,
    /// Where its peers reach it.
    #[serde(rename = "peerURLs", deserialize_with = "null_as_empty")]
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
    pub is_promote: bool,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

/// The members by id.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Members {
    members: BTreeMap<u64, Member>,
}

impl Members {
    /// All members in ascending order of id.
    pub(crate) fn list(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    /// A member as it is stored.
    pub(crate) fn record(&self, id: u64) -> Option<Bytes> {
        self.members.get(&id).map(|member| {
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
        self.members.insert(member.id, member);
        Ok(())
    }

    /// Sets what a member told of itself. An unknown member is ignored, as in etcd: it may have
    /// been removed meanwhile.
    pub(crate) fn set_attributes(&mut self, id: u64, attributes: &Attributes) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        member.name.clone_from(&attributes.name);
        member.client_ur_ls.clone_from(&attributes.client_urls);
        true
    }

    /// Does a membership change of the log, or refuses it. Gives the id it was about.
    pub(crate) fn change(
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

    fn change_to(
        &mut self,
        kind: ConfChangeType,
        id: u64,
        context: MemberContext,
    ) -> Result<u64, ApplyError> {
        match kind {
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                if context.is_promote {
                    self.promote(id)
                } else {
                    self.add(id, context)
                }
            }
            ConfChangeType::ConfChangeRemoveNode => {
                self.members.remove(&id).map(|_| id).ok_or(ApplyError::MemberNotFound)
            }
            ConfChangeType::ConfChangeUpdateNode => self.update(id, context),
        }
    }

    fn add(&mut self, id: u64, context: MemberContext) -> Result<u64, ApplyError> {
        if self.members.contains_key(&id) {
            return Err(ApplyError::MemberExists);
        }
        self.check_urls(id, &context.peer_urls)?;
        let learners = self.members.values().filter(|member| member.is_learner).count();
        if context.is_learner && learners >= LEARNERS_MAX {
            return Err(ApplyError::TooManyLearners);
        }
        let member = Member {
            id,
            name: context.name,
            peer_ur_ls: context.peer_urls,
            client_ur_ls: context.client_urls,
            is_learner: context.is_learner,
        };
        self.members.insert(id, member);
        Ok(id)
    }

    fn promote(&mut self, id: u64) -> Result<u64, ApplyError> {
        let member = self.members.get_mut(&id).ok_or(ApplyError::MemberNotFound)?;
        if !member.is_learner {
            return Err(ApplyError::MemberNotLearner);
        }
        member.is_learner = false;
        Ok(id)
    }

    fn update(&mut self, id: u64, context: MemberContext) -> Result<u64, ApplyError> {
        if !self.members.contains_key(&id) {
            return Err(ApplyError::MemberNotFound);
        }
        self.check_urls(id, &context.peer_urls)?;
        let member = self.members.get_mut(&id).expect("found above");
        member.peer_ur_ls = context.peer_urls;
        Ok(id)
    }

    fn check_urls(&self, id: u64, urls: &[String]) -> Result<(), ApplyError> {
        let taken = self.members.values().filter(|member| member.id != id);
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
        ];
        for (step, expected) in steps {
            assert_eq!(members.change(&step, 1).unwrap(), expected, "{step:?}");
        }
    }
}
