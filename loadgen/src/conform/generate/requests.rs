//! The random requests of one stream.

use prost::bytes::Bytes;
use rusd_proto::etcdserverpb::watch_request::RequestUnion;
use rusd_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
};

use super::super::answer::{Answer, Field, Shown};
use super::draw::Draw;
use super::request::Request;
use super::txn;

/// Long enough that no lease expires while we compare.
const TTL_SECONDS: std::ops::Range<i64> = 600..7200;
/// The first time to live that etcd refuses is the next one.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// Watches of a stream; the ids that clients choose are below.
const WATCHES_MAX: u32 = 8;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Range,
    RangeStream,
    DeleteRange,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseLeases,
    WatchCreate,
    WatchCancel,
    WatchProgress,
    HashKv,
}

/// How often each kind is asked for, over many streams.
const WEIGHTS: [(Kind, u32); 15] = [
    (Kind::Put, 250),
    (Kind::Range, 200),
    (Kind::RangeStream, 10),
    (Kind::DeleteRange, 80),
    (Kind::Txn, 240),
    (Kind::Compact, 35),
    (Kind::LeaseGrant, 55),
    (Kind::LeaseRevoke, 20),
    (Kind::LeaseKeepAlive, 15),
    (Kind::LeaseTimeToLive, 30),
    (Kind::LeaseLeases, 10),
    (Kind::WatchCreate, 35),
    (Kind::WatchCancel, 10),
    (Kind::WatchProgress, 3),
    (Kind::HashKv, 10),
];

/// Each stream has a taste of its own, which changes after so many requests: what is rare in all
/// of them is seldom found.
const REQUESTS_PER_TASTE: u64 = 100;

/// What a request changes in what we know, if it is not refused.
#[derive(Debug, Clone, Copy)]
enum Effect {
    None,
    Granted(i64),
    Revoked(i64),
    Compacted(i64),
}

/// Draws one request after the other.
#[derive(Debug)]
pub struct Requests {
    draw: Draw,
    weights: [(Kind, u32); 15],
    drawn: u64,
    watches: u32,
    effect: Effect,
}

impl Requests {
    /// Those of the stream with this number.
    pub fn new(seed: u64, stream: u64) -> Requests {
        let draw = Draw::new(seed, stream);
        Requests { draw, weights: WEIGHTS, drawn: 0, watches: 0, effect: Effect::None }
    }

    /// The next request.
    pub fn next_request(&mut self) -> Request {
        self.effect = Effect::None;
        let draw = &mut self.draw;
        if self.drawn.is_multiple_of(REQUESTS_PER_TASTE) {
            self.weights = WEIGHTS.map(|(kind, weight)| {
                let factors: &[u32] = if kind == Kind::Put { &[2, 3, 6] } else { &[0, 1, 3, 3, 8] };
                (kind, weight * draw.one_of(factors))
            });
        }
        self.drawn += 1;
        let mut kind = draw.weighted(&self.weights);
        let is_of_lease = matches!(kind, Kind::LeaseRevoke | Kind::LeaseKeepAlive);
        if is_of_lease && draw.leases.is_empty() && !draw.in_thousand(150) {
            kind = Kind::LeaseGrant;
        }
        match kind {
            Kind::Range => Request::new("Range", &range(draw)),
            Kind::RangeStream => Request::new("RangeStream", &range_stream(draw)),
            Kind::DeleteRange => Request::new("DeleteRange", &delete_range(draw)),
            Kind::Txn => Request::new("Txn", &txn::txn(draw)),
            Kind::Compact => self.compact(),
            Kind::LeaseGrant => self.grant(),
            Kind::LeaseRevoke => {
                let id = draw.lease();
                self.effect = Effect::Revoked(id);
                Request::new("LeaseRevoke", &LeaseRevokeRequest { id })
            }
            Kind::LeaseKeepAlive => {
                Request::new("LeaseKeepAlive", &LeaseKeepAliveRequest { id: draw.lease() })
            }
            Kind::LeaseTimeToLive => {
                let keys = draw.in_thousand(800);
                Request::new("LeaseTimeToLive", &LeaseTimeToLiveRequest { id: draw.lease(), keys })
            }
            Kind::LeaseLeases => Request::new("LeaseLeases", &LeaseLeasesRequest {}),
            Kind::WatchCreate if self.watches < WATCHES_MAX => {
                self.watches += 1;
                watch(RequestUnion::CreateRequest(watch_create(draw)))
            }
            Kind::WatchCancel if self.watches > 0 => {
                self.watches -= 1;
                let watch_id = draw.number(0..i64::from(WATCHES_MAX));
                watch(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            }
            Kind::WatchProgress if self.watches > 0 => {
                watch(RequestUnion::ProgressRequest(WatchProgressRequest {}))
            }
            Kind::HashKv => {
                let revision = if draw.in_thousand(600) { 0 } else { draw.revision() };
                Request::new("HashKV", &HashKvRequest { revision })
            }
            Kind::Put | Kind::WatchCreate | Kind::WatchCancel | Kind::WatchProgress => {
                Request::new("Put", &put(draw))
            }
        }
    }

    /// Learns from what was answered to the last request.
    pub fn observe(&mut self, answer: &Answer) {
        let Answer::Message(fields) = answer else { return };
        let draw = &mut self.draw;
        if let Some(revision) = header_revision(fields) {
            draw.revision = revision;
        }
        match std::mem::replace(&mut self.effect, Effect::None) {
            Effect::Granted(id) => draw.leases.push(id),
            Effect::Revoked(id) => draw.leases.retain(|lease| *lease != id),
            Effect::Compacted(revision) => draw.compacted = revision,
            Effect::None => {}
        }
    }

    fn compact(&mut self) -> Request {
        let revision = self.draw.revision();
        self.effect = Effect::Compacted(revision);
        let physical = self.draw.in_thousand(500);
        Request::new("Compact", &CompactionRequest { revision, physical })
    }

    fn grant(&mut self) -> Request {
        let id = self.draw.new_lease();
        let is_too_long = self.draw.in_thousand(40);
        let ttl = if is_too_long { TTL_SECONDS_MAX + 1 } else { self.draw.number(TTL_SECONDS) };
        if id != 0 {
            self.effect = Effect::Granted(id);
        }
        Request::new("LeaseGrant", &LeaseGrantRequest { id, ttl })
    }
}

/// A put with every option.
pub(super) fn put(draw: &mut Draw) -> PutRequest {
    let ignore_value = draw.in_thousand(45);
    let ignore_lease = draw.in_thousand(45);
    // Seldom with what it says to ignore.
    let is_mean = draw.in_thousand(50);
    let has_lease = draw.in_thousand(if draw.leases.is_empty() { 50 } else { 450 });
    let lease = if has_lease { draw.lease() } else { 0 };
    PutRequest {
        key: draw.key(),
        value: if ignore_value && !is_mean { Bytes::new() } else { draw.value() },
        lease: if ignore_lease && !is_mean { 0 } else { lease },
        prev_kv: draw.in_thousand(400),
        ignore_value,
        ignore_lease,
    }
}

/// A range with every option.
pub(super) fn range(draw: &mut Draw) -> RangeRequest {
    let keys = draw.keys();
    let filter = |draw: &mut Draw| if draw.in_thousand(900) { 0 } else { draw.revision() };
    RangeRequest {
        key: keys.key,
        range_end: keys.end,
        limit: if draw.in_thousand(650) { 0 } else { draw.one_of(&[1, 1, 2, 2, 3, 5, -1]) },
        revision: if draw.in_thousand(650) { 0 } else { draw.revision() },
        // Seldom one that does not exist.
        sort_order: draw.weighted(&[(0, 60), (1, 20), (2, 20), (3, 1)]),
        sort_target: draw.weighted(&[(0, 50), (1, 12), (2, 12), (3, 12), (4, 12), (5, 1)]),
        serializable: draw.in_thousand(200),
        keys_only: draw.in_thousand(120),
        count_only: draw.in_thousand(120),
        min_mod_revision: filter(draw),
        max_mod_revision: filter(draw),
        min_create_revision: filter(draw),
        max_create_revision: filter(draw),
    }
}

/// A range to be streamed, which mostly must be in the order of keys and whole.
fn range_stream(draw: &mut Draw) -> RangeRequest {
    let range = range(draw);
    if draw.in_thousand(200) {
        return range;
    }
    RangeRequest {
        sort_order: 0,
        sort_target: 0,
        min_mod_revision: 0,
        max_mod_revision: 0,
        min_create_revision: 0,
        max_create_revision: 0,
        ..range
    }
}

/// A deletion with every option.
pub(super) fn delete_range(draw: &mut Draw) -> DeleteRangeRequest {
    let keys = draw.keys();
    // Keys shall live for a while.
    let range_end = if draw.in_thousand(500) { Bytes::new() } else { keys.end };
    DeleteRangeRequest { key: keys.key, range_end, prev_kv: draw.in_thousand(500) }
}

fn watch_create(draw: &mut Draw) -> WatchCreateRequest {
    let keys = draw.keys();
    let filters: &[&[i32]] = &[&[], &[], &[], &[0], &[1], &[0, 1]];
    WatchCreateRequest {
        key: keys.key,
        range_end: keys.end,
        start_revision: if draw.in_thousand(500) { 0 } else { draw.revision() },
        progress_notify: draw.in_thousand(100),
        filters: draw.one_of(filters).to_vec(),
        prev_kv: draw.in_thousand(500),
        watch_id: if draw.in_thousand(650) { 0 } else { draw.number(0..5) },
        fragment: draw.in_thousand(100),
    }
}

fn watch(union: RequestUnion) -> Request {
    Request::new("Watch", &WatchRequest { request_union: Some(union) })
}

fn header_revision(fields: &[Field]) -> Option<i64> {
    let of = |fields: &[Field], name: &str| {
        fields.iter().find(|field| field.name == name).map(|field| field.value.clone())
    };
    let Shown::Message(header) = of(fields, "header")? else { return None };
    let Shown::Scalar(revision) = of(&header, "revision")? else { return None };
    revision.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn drawn(seed: u64, stream: u64) -> Vec<String> {
        let mut requests = Requests::new(seed, stream);
        (0..50)
            .map(|_| requests.next_request())
            .map(|r| format!("{} {}", r.rpc(), r.text()))
            .collect()
    }

    #[test]
    fn a_stream_is_a_function_of_its_seed() {
        assert_eq!(drawn(1, 2), drawn(1, 2));
        assert_ne!(drawn(1, 2), drawn(1, 3));
        assert_ne!(drawn(1, 2), drawn(2, 2));
    }

    #[test]
    fn every_kind_and_every_field_is_asked_for() {
        let texts: Vec<String> = (0..400).flat_map(|stream| drawn(1, stream)).collect();
        let words: BTreeSet<&str> = texts.iter().flat_map(|text| text.split(' ')).collect();
        for word in [
            "Put",
            "Range",
            "RangeStream",
            "DeleteRange",
            "Txn",
            "Compact",
            "LeaseGrant",
            "LeaseRevoke",
            "LeaseKeepAlive",
            "LeaseTimeToLive",
            "LeaseLeases",
            "Watch",
            "HashKV",
            "key:",
            "range_end:",
            "value:",
            "lease:",
            "prev_kv:",
            "ignore_value:",
            "ignore_lease:",
            "limit:",
            "revision:",
            "sort_order:",
            "sort_target:",
            "serializable:",
            "keys_only:",
            "count_only:",
            "min_mod_revision:",
            "max_mod_revision:",
            "min_create_revision:",
            "max_create_revision:",
            "compare",
            "success",
            "failure",
            "request_range",
            "request_put",
            "request_delete_range",
            "request_txn",
            "version:",
            "create_revision:",
            "mod_revision:",
            "result:",
            "target:",
            "physical:",
            "TTL:",
            "ID:",
            "keys:",
            "create_request",
            "cancel_request",
            "progress_request",
            "start_revision:",
            "progress_notify:",
            "filters:",
            "watch_id:",
            "fragment:",
        ] {
            assert!(words.contains(word), "{word}");
        }
    }

    #[test]
    fn what_is_answered_is_learnt() {
        let field = |name: &str, value| Field { name: name.to_owned(), value };
        let revision = field("revision", Shown::Scalar("7".to_owned()));
        let answer = Answer::Message(vec![field("header", Shown::Message(vec![revision]))]);
        let mut requests = Requests::new(1, 1);
        requests.observe(&answer);
        assert_eq!(requests.draw.revision, 7);
        requests.effect = Effect::Granted(3);
        requests.observe(&Answer::End);
        assert!(requests.draw.leases.is_empty());
        requests.observe(&answer);
        assert_eq!(requests.draw.leases, [3]);
    }
}
