//! The header of every answer: who answered, and how far it was.

use rusd_proto::etcdserverpb::ResponseHeader;

use crate::member::Member;

/// A header at this member's newest revision.
pub(super) fn current(member: &Member) -> ResponseHeader {
    at(member, member.view.revision())
}

/// A header at `revision`.
pub(super) fn at(member: &Member, revision: i64) -> ResponseHeader {
    ResponseHeader {
        cluster_id: member.identity.cluster_id,
        member_id: member.identity.member_id,
        revision,
        raft_term: member.progress.term(),
    }
}

/// Completes a header that has at most its revision.
pub(super) fn fill(member: &Member, header: &mut Option<ResponseHeader>) {
    let revision = header.as_ref().map_or(0, |header| header.revision);
    let header_now = if revision == 0 { current(member) } else { at(member, revision) };
    *header = Some(header_now);
}
