//! How answers stand in golden files.

use rusd_proto::etcdserverpb as pb;
use rusd_proto::etcdserverpb::response_op::Response;
use rusd_proto::mvccpb::{Event, KeyValue, event::EventType};

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn revision(header: Option<&pb::ResponseHeader>) -> String {
    header.map_or_else(|| "rev=none".to_owned(), |header| format!("rev={}", header.revision))
}

/// `a=1 create=2 mod=3 ver=2`, and the lease if there is one.
pub(crate) fn kv(kv: &KeyValue) -> String {
    let KeyValue { key, value, create_revision, mod_revision, version, lease } = kv;
    let lease = if *lease == 0 { String::new() } else { format!(" lease={lease}") };
    format!(
        "{}={} create={create_revision} mod={mod_revision} ver={version}{lease}",
        text(key),
        text(value)
    )
}

/// An answer to a put.
pub(crate) fn put(response: &pb::PutResponse) -> Vec<String> {
    let mut lines = vec![format!("put {}", revision(response.header.as_ref()))];
    lines.extend(response.prev_kv.iter().map(|prev| format!("  prev {}", kv(prev))));
    lines
}

/// An answer to a delete.
pub(crate) fn delete_range(response: &pb::DeleteRangeResponse) -> Vec<String> {
    let revision = revision(response.header.as_ref());
    let mut lines = vec![format!("del {revision} deleted={}", response.deleted)];
    lines.extend(response.prev_kvs.iter().map(|prev| format!("  prev {}", kv(prev))));
    lines
}

/// An answer to a range.
pub(crate) fn range(response: &pb::RangeResponse) -> Vec<String> {
    let more = if response.more { " more" } else { "" };
    let revision = revision(response.header.as_ref());
    let mut lines = vec![format!("range {revision} count={}{more}", response.count)];
    lines.extend(response.kvs.iter().map(|found| format!("  {}", kv(found))));
    lines
}

/// An answer to a transaction.
pub(crate) fn txn(response: &pb::TxnResponse) -> Vec<String> {
    let branch = if response.succeeded { "then" } else { "else" };
    let mut lines = vec![format!("txn {} {branch}", revision(response.header.as_ref()))];
    for op in &response.responses {
        let nested = match &op.response {
            Some(Response::ResponsePut(response)) => put(response),
            Some(Response::ResponseRange(response)) => range(response),
            Some(Response::ResponseDeleteRange(response)) => delete_range(response),
            Some(Response::ResponseTxn(response)) => txn(response),
            None => vec!["nothing".to_owned()],
        };
        lines.extend(nested.into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// An event of a watch.
pub(crate) fn event(event: &Event) -> Vec<String> {
    let KeyValue { key, mod_revision, .. } = event.kv.clone().unwrap_or_default();
    let mut lines = vec![match event.r#type() {
        EventType::Put => format!("  put {}", kv(event.kv.as_ref().expect("a put has a kv"))),
        EventType::Delete => format!("  delete {} mod={mod_revision}", text(&key)),
    }];
    lines.extend(event.prev_kv.iter().map(|prev| format!("    prev {}", kv(prev))));
    lines
}

/// An answer that says nothing but the revision.
pub(crate) fn plain(name: &str, header: Option<&pb::ResponseHeader>) -> Vec<String> {
    vec![format!("{name} {}", revision(header))]
}

/// An answer to a grant.
pub(crate) fn grant(response: &pb::LeaseGrantResponse) -> Vec<String> {
    let revision = revision(response.header.as_ref());
    vec![format!("grant {revision} id={} ttl={}", response.id, response.ttl)]
}

/// A lease, or that there is none.
pub(crate) fn lease(id: i64, granted_ttl: i64, keys: &[impl AsRef<[u8]>]) -> Vec<String> {
    let keys: Vec<String> = keys.iter().map(|key| text(key.as_ref())).collect();
    vec![format!("lease {id} granted={granted_ttl} keys=[{}]", keys.join(" "))]
}

/// All lease ids.
pub(crate) fn leases(ids: &[i64]) -> Vec<String> {
    vec![format!("leases {ids:?}")]
}

/// A hash.
pub(crate) fn hash(hash: u32, compact_revision: i64, revision: i64) -> Vec<String> {
    vec![format!("hash {hash:08x} compact={compact_revision} rev={revision}")]
}

/// An answer to a request about alarms.
pub(crate) fn alarms(response: &pb::AlarmResponse) -> Vec<String> {
    let name = |alarm: &pb::AlarmMember| {
        let kind = pb::AlarmType::try_from(alarm.alarm);
        let kind =
            kind.map_or_else(|_| alarm.alarm.to_string(), |kind| kind.as_str_name().to_owned());
        format!(" {kind} of {}", alarm.member_id)
    };
    let alarms: Vec<String> = response.alarms.iter().map(name).collect();
    vec![format!("alarms {}{}", revision(response.header.as_ref()), alarms.join(","))]
}
