//! Our wire messages to the crate's and back, field by field.
//!
//! The crate's own codec (protobuf 2) never sees a byte from the network. Entry data is shared,
//! not copied: both sides hold `Bytes`.
//!
//! A leader of the crate parses the membership changes that are proposed to it, and refuses kinds
//! that it does not know, among them etcd's `AddLearnerNode`. So a proposed change travels in the
//! entry's context, with empty data, which the crate takes for some change; when the entry leaves
//! the crate, to the log or to a peer, etcd's bytes are the data again.

use bytes::Bytes;
use raft::CAMPAIGN_TRANSFER;
use raft::eraftpb::{self, Message, MessageType};
use rusd_proto::raftpb::{Entry, EntryType};
use rusd_proto::rusdpeerpb::peer_message::Body;
use rusd_proto::rusdpeerpb::{
    Append, AppendReply, Heartbeat, HeartbeatReply, PeerMessage, Proposal, ReadIndex,
    ReadIndexReply, TimeoutNow, TransferLeader, VoteReply, VoteRequest,
};

use crate::error::StepError;
use crate::ready::{Outgoing, SnapshotOrder};
use crate::types::{Index, Term};

/// An entry of ours as the crate's.
pub(crate) fn entry_to_crate(entry: &Entry) -> eraftpb::Entry {
    let kind = match entry.r#type() {
        EntryType::EntryNormal => eraftpb::EntryType::EntryNormal,
        EntryType::EntryConfChange => eraftpb::EntryType::EntryConfChange,
        EntryType::EntryConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    eraftpb::Entry {
        entry_type: kind,
        term: entry.term(),
        index: entry.index(),
        data: entry.data.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// An entry of the crate as ours.
pub(crate) fn entry_from_crate(entry: eraftpb::Entry) -> Entry {
    let kind = match entry.entry_type {
        eraftpb::EntryType::EntryNormal => EntryType::EntryNormal,
        eraftpb::EntryType::EntryConfChange => EntryType::EntryConfChange,
        eraftpb::EntryType::EntryConfChangeV2 => EntryType::EntryConfChangeV2,
    };
    let data = if entry.context.is_empty() { entry.data } else { entry.context };
    Entry {
        term: Some(entry.term),
        index: Some(entry.index),
        r#type: Some(kind.into()),
        data: (!data.is_empty()).then_some(data),
    }
}

/// An entry that is proposed, as the crate's.
fn proposed(kind: EntryType, data: Bytes) -> eraftpb::Entry {
    match kind {
        EntryType::EntryNormal => eraftpb::Entry { data, ..Default::default() },
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => eraftpb::Entry {
            entry_type: eraftpb::EntryType::EntryConfChange,
            context: data,
            ..Default::default()
        },
    }
}

fn entries_from_crate(message: &mut Message) -> Vec<Entry> {
    message.take_entries().into_iter().map(entry_from_crate).collect()
}

/// The crate keeps a read's context in the data of a lone entry.
fn context_entry(context: Bytes) -> protobuf::RepeatedField<eraftpb::Entry> {
    vec![eraftpb::Entry { data: context, ..Default::default() }].into()
}

fn take_context_entry(message: &mut Message) -> Bytes {
    message.take_entries().into_iter().next().map(|entry| entry.data).unwrap_or_default()
}

/// A message of the crate as one of ours. `None` for what rusd does not send.
pub(crate) fn outgoing(mut message: Message, cluster_id: u64) -> Option<Outgoing> {
    let body = match message.get_msg_type() {
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
            return Some(Outgoing::Vote(vote_request(&message, cluster_id)));
        }
        MessageType::MsgAppend => Body::Append(Append {
            log_term: message.log_term,
            index: message.index,
            commit: message.commit,
            entries: entries_from_crate(&mut message),
        }),
        MessageType::MsgAppendResponse => Body::AppendReply(AppendReply {
            index: message.index,
            log_term: message.log_term,
            commit: message.commit,
            reject: message.reject,
            reject_hint: message.reject_hint,
            request_snapshot: message.request_snapshot,
        }),
        MessageType::MsgHeartbeat => {
            Body::Heartbeat(Heartbeat { commit: message.commit, context: message.take_context() })
        }
        MessageType::MsgHeartbeatResponse => Body::HeartbeatReply(HeartbeatReply {
            commit: message.commit,
            context: message.take_context(),
        }),
        MessageType::MsgRequestVoteResponse => Body::VoteReply(vote_reply(&message, false)),
        MessageType::MsgRequestPreVoteResponse => Body::VoteReply(vote_reply(&message, true)),
        MessageType::MsgPropose => {
            Body::Proposal(Proposal { entries: entries_from_crate(&mut message) })
        }
        MessageType::MsgReadIndex => {
            Body::ReadIndex(ReadIndex { context: take_context_entry(&mut message) })
        }
        MessageType::MsgReadIndexResp => Body::ReadIndexReply(ReadIndexReply {
            index: message.index,
            context: take_context_entry(&mut message),
        }),
        MessageType::MsgTimeoutNow => Body::TimeoutNow(TimeoutNow {}),
        MessageType::MsgTransferLeader => Body::TransferLeader(TransferLeader {}),
        MessageType::MsgSnapshot => {
            return Some(Outgoing::Snapshot(SnapshotOrder {
                to: message.to,
                from: message.from,
                term: Term(message.term),
                index: Index(message.get_snapshot().get_metadata().index),
            }));
        }
        // Local steps never leave.
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum => return None,
    };
    Some(Outgoing::Message(PeerMessage {
        to: message.to,
        from: message.from,
        term: message.term,
        cluster_id,
        body: Some(body),
    }))
}

fn vote_request(message: &Message, cluster_id: u64) -> VoteRequest {
    VoteRequest {
        to: message.to,
        from: message.from,
        term: message.term,
        cluster_id,
        pre_vote: message.get_msg_type() == MessageType::MsgRequestPreVote,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        transfer: message.context == CAMPAIGN_TRANSFER,
    }
}

fn vote_reply(message: &Message, pre_vote: bool) -> VoteReply {
    VoteReply {
        pre_vote,
        reject: message.reject,
        commit: message.commit,
        commit_term: message.commit_term,
    }
}

/// A vote request of ours as the crate's message.
pub(crate) fn vote_to_crate(request: &VoteRequest) -> Message {
    let mut message = Message::default();
    message.set_msg_type(if request.pre_vote {
        MessageType::MsgRequestPreVote
    } else {
        MessageType::MsgRequestVote
    });
    message.to = request.to;
    message.from = request.from;
    message.term = request.term;
    message.log_term = request.log_term;
    message.index = request.index;
    message.commit = request.commit;
    message.commit_term = request.commit_term;
    if request.transfer {
        message.context = Bytes::from_static(CAMPAIGN_TRANSFER);
    }
    message
}

/// A message of ours as the crate's.
pub(crate) fn message_to_crate(received: PeerMessage) -> Result<Message, StepError> {
    let mut message =
        Message { to: received.to, from: received.from, term: received.term, ..Default::default() };
    let kind = match received.body.ok_or(StepError::Malformed("body"))? {
        Body::Append(append) => {
            message.log_term = append.log_term;
            message.index = append.index;
            message.commit = append.commit;
            let entries: Vec<_> = append.entries.iter().map(entry_to_crate).collect();
            message.set_entries(entries.into());
            MessageType::MsgAppend
        }
        Body::AppendReply(reply) => {
            message.index = reply.index;
            message.log_term = reply.log_term;
            message.commit = reply.commit;
            message.reject = reply.reject;
            message.reject_hint = reply.reject_hint;
            message.request_snapshot = reply.request_snapshot;
            MessageType::MsgAppendResponse
        }
        Body::Heartbeat(heartbeat) => {
            message.commit = heartbeat.commit;
            message.context = heartbeat.context;
            MessageType::MsgHeartbeat
        }
        Body::HeartbeatReply(reply) => {
            message.commit = reply.commit;
            message.context = reply.context;
            MessageType::MsgHeartbeatResponse
        }
        Body::VoteReply(reply) => {
            message.reject = reply.reject;
            message.commit = reply.commit;
            message.commit_term = reply.commit_term;
            if reply.pre_vote {
                MessageType::MsgRequestPreVoteResponse
            } else {
                MessageType::MsgRequestVoteResponse
            }
        }
        Body::Proposal(proposal) => {
            message.set_entries(forwarded(proposal)?.into());
            MessageType::MsgPropose
        }
        Body::ReadIndex(read) => {
            message.set_entries(context_entry(read.context));
            MessageType::MsgReadIndex
        }
        Body::ReadIndexReply(reply) => {
            message.index = reply.index;
            message.set_entries(context_entry(reply.context));
            MessageType::MsgReadIndexResp
        }
        Body::TimeoutNow(TimeoutNow {}) => MessageType::MsgTimeoutNow,
        Body::TransferLeader(TransferLeader {}) => MessageType::MsgTransferLeader,
        Body::LeaseForward(_) | Body::LeaseForwardReply(_) => return Err(StepError::NotConsensus),
    };
    message.set_msg_type(kind);
    Ok(message)
}

/// Entries that a follower could not append itself. rusd makes no joint membership changes.
fn forwarded(proposal: Proposal) -> Result<Vec<eraftpb::Entry>, StepError> {
    let entry = |entry: Entry| match entry.r#type() {
        EntryType::EntryConfChangeV2 => Err(StepError::Malformed("entries")),
        kind => Ok(proposed(kind, entry.data.unwrap_or_default())),
    };
    proposal.entries.into_iter().map(entry).collect()
}

/// A proposal of this node as the crate's message.
pub(crate) fn proposal(
    from: u64,
    kind: EntryType,
    data: impl IntoIterator<Item = Bytes>,
) -> Message {
    let entries: Vec<_> = data.into_iter().map(|data| proposed(kind, data)).collect();
    let mut message = Message { from, ..Default::default() };
    message.set_msg_type(MessageType::MsgPropose);
    message.set_entries(entries.into());
    message
}

/// A read request of this node as the crate's message.
pub(crate) fn read_request(context: Bytes) -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgReadIndex);
    message.set_entries(context_entry(context));
    message
}
