//! Responses of a watch, told in short: of each event its revision, and a digest of the rest.
//!
//! A thousand watches that all see the same writes would say the same contents a thousand times.
//! One watch says them in full (in a run of loadgen, one on all keys on each member); the others
//! may say them in short, at about ten bytes an event instead of a few hundred. What happened is known from
//! the replay, so the checker computes the digest that an event must have and compares: order,
//! completeness and content are judged as of events told in full. What a digest cannot tell is
//! *what* a wrong event said, nor can it pin the content of a gap.
//!
//! The digest is a CRC-32C: an event with other content passes for the right one once in 2^32.
//!
//! Invariant of a `Digests` that lint has seen: the columns have the lengths that their docs say.

use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::record::{Event, EventKind, KeyValue};

/// One or more responses, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digests {
    /// Of each event, its mod revision less that of the event before it; less 0 of the first.
    #[serde(rename = "d")]
    steps: Vec<i64>,
    /// Of each event, the digest of all that it says.
    #[serde(rename = "x", serialize_with = "to_text", deserialize_with = "from_text")]
    contents: Vec<u32>,
    /// Of each response, how many events it has; left out if all have one.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<usize>,
    /// Of each response, its header's revision less the mod revision of its last event; left out
    /// if all are 0.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<i64>,
    /// Indexes of the responses after which more of the same revision follows.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    fragments: Vec<usize>,
}

/// One of the responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// `header.revision`.
    pub revision: i64,
    /// Mod revision and digest of each event.
    pub events: Vec<(i64, u32)>,
    /// More of the same revision follows in the next response.
    pub fragment: bool,
}

impl Digests {
    /// Tells responses in short. One without events says nothing and is left out.
    pub fn new<'a>(responses: impl IntoIterator<Item = &'a Brief>) -> Digests {
        let mut short = Digests::default();
        let mut last = 0;
        for response in responses {
            let Some((newest, _)) = response.events.last() else { continue };
            if response.fragment {
                short.fragments.push(short.sizes.len());
            }
            short.sizes.push(response.events.len());
            short.ahead.push(response.revision - newest);
            for (revision, digest) in &response.events {
                short.steps.push(revision - last);
                short.contents.push(*digest);
                last = *revision;
            }
        }
        if short.sizes.iter().all(|size| *size == 1) {
            short.sizes.clear();
        }
        if short.ahead.iter().all(|ahead| *ahead == 0) {
            short.ahead.clear();
        }
        short
    }

    /// How many events there are.
    pub fn count(&self) -> usize {
        self.steps.len()
    }

    /// Mod revision of the first event and of the last; `None` if there is none.
    pub fn revisions(&self) -> Option<(i64, i64)> {
        let sum = |sum: i64, step: &i64| sum.saturating_add(*step);
        Some((*self.steps.first()?, self.steps.iter().fold(0, sum)))
    }

    /// The responses, as they arrived.
    pub fn responses(&self) -> impl Iterator<Item = Brief> {
        let mut events = iter::zip(&self.steps, &self.contents);
        let mut last = 0_i64;
        (0..self.responses_count()).map(move |index| {
            let size = self.sizes.get(index).copied().unwrap_or(1);
            let events: Vec<(i64, u32)> = events
                .by_ref()
                .take(size)
                .map(|(step, digest)| {
                    last = last.saturating_add(*step);
                    (last, *digest)
                })
                .collect();
            let ahead = self.ahead.get(index).copied().unwrap_or(0);
            let fragment = self.fragments.binary_search(&index).is_ok();
            Brief { revision: last.saturating_add(ahead), events, fragment }
        })
    }

    fn responses_count(&self) -> usize {
        if self.sizes.is_empty() { self.steps.len() } else { self.sizes.len() }
    }

    /// Why the columns do not fit together, if they do not.
    pub(super) fn misfit(&self) -> Option<&'static str> {
        let responses = self.responses_count();
        let told = self.sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size));
        if self.contents.len() != self.steps.len() {
            Some("not one digest for each event")
        } else if !self.sizes.is_empty() && told != Some(self.steps.len()) {
            Some("the sizes of the responses do not add up to the events")
        } else if self.sizes.contains(&0) {
            Some("a response without events")
        } else if !self.ahead.is_empty() && self.ahead.len() != responses {
            Some("not one header for each response")
        } else if self.fragments.iter().any(|index| *index >= responses)
            || !self.fragments.is_sorted()
        {
            Some("fragments that are no responses")
        } else {
            None
        }
    }
}

/// A key-value that goes into a digest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    /// The key.
    pub(crate) key: &'a [u8],
    /// The value.
    pub(crate) value: &'a [u8],
    /// Create revision, mod revision, version and lease.
    pub(crate) numbers: [i64; 4],
}

impl<'a> From<&'a KeyValue> for Content<'a> {
    fn from(kv: &'a KeyValue) -> Content<'a> {
        Content {
            key: kv.key.as_bytes(),
            value: kv.value.as_bytes(),
            numbers: [kv.create_revision, kv.mod_revision, kv.version, kv.lease],
        }
    }
}

/// Digest of an event.
pub fn digest(event: &Event) -> u32 {
    let before = event.prev_kv.as_ref().map(Content::from);
    match event.kind {
        EventKind::Put => of_put((&event.kv).into(), before),
        EventKind::Delete => of_delete(event.kv.key.as_bytes(), event.kv.mod_revision, before),
    }
}

pub(crate) fn of_put(kv: Content<'_>, before: Option<Content<'_>>) -> u32 {
    with_before(key_value(crc32c::crc32c(b"put"), kv), before)
}

/// Of a delete only the key and its mod revision count, as in an event told in full.
pub(crate) fn of_delete(key: &[u8], mod_revision: i64, before: Option<Content<'_>>) -> u32 {
    let numbers = [0, mod_revision, 0, 0];
    let kv = Content { key, value: &[], numbers };
    with_before(key_value(crc32c::crc32c(b"delete"), kv), before)
}

fn with_before(crc: u32, before: Option<Content<'_>>) -> u32 {
    before.map_or(crc, |kv| key_value(crc, kv))
}

/// Lengths go in too, so that no two contents are the same bytes.
fn key_value(crc: u32, kv: Content<'_>) -> u32 {
    let [key, value] = [kv.key, kv.value].map(|part| {
        let length = u64::try_from(part.len()).expect("usize fits u64");
        (length.to_be_bytes(), part)
    });
    let crc = [key, value].iter().fold(crc, |crc, (length, part)| {
        crc32c::crc32c_append(crc32c::crc32c_append(crc, length), part)
    });
    kv.numbers.iter().fold(crc, |crc, number| crc32c::crc32c_append(crc, &number.to_be_bytes()))
}

/// Four bytes each, the highest first, in base64.
fn to_text<S: Serializer>(digests: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.to_be_bytes()).collect();
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text).map_err(de::Error::custom)?;
    let (digests, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(de::Error::custom("digests have four bytes each"));
    }
    Ok(digests.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(revision: i64, events: &[(i64, u32)], fragment: bool) -> Brief {
        Brief { revision, events: events.to_vec(), fragment }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for responses in [
            vec![],
            vec![brief(5, &[(5, 1)], false), brief(7, &[(7, u32::MAX)], false)],
            vec![brief(9, &[(5, 1)], false), brief(9, &[(6, 2), (6, 3), (9, 4)], false)],
            vec![brief(5, &[(5, 1)], true), brief(5, &[(5, 2)], true), brief(5, &[(5, 3)], false)],
            // What no server should do can be told all the same.
            vec![brief(3, &[(5, 1), (4, 1)], false)],
        ] {
            let short = Digests::new(&responses);
            assert_eq!(short.misfit(), None);
            let text = serde_json::to_string(&short).unwrap();
            let read: Digests = serde_json::from_str(&text).unwrap();
            assert_eq!(read, short, "{text}");
            assert_eq!(read.responses().collect::<Vec<_>>(), responses, "{text}");
        }
    }

    #[test]
    fn an_event_takes_about_ten_bytes() {
        let responses: Vec<Brief> =
            (1..=1000).map(|n| brief(200_000 + 90 * n, &[(200_000 + 90 * n, 7)], false)).collect();
        let text = serde_json::to_string(&Digests::new(&responses)).unwrap();
        assert!(text.len() < 10_000, "{}", text.len());
    }

    #[test]
    fn columns_that_do_not_fit_are_refused() {
        for text in [
            r#"{"d":[5,1],"x":"AAAAAQ=="}"#,
            r#"{"d":[5],"x":"AAAAAQ==","n":[2]}"#,
            r#"{"d":[5],"x":"AAAAAQ==","n":[1,0]}"#,
            r#"{"d":[5],"x":"AAAAAQ==","a":[0,0]}"#,
            r#"{"d":[5],"x":"AAAAAQ==","f":[1]}"#,
            r#"{"d":[5,5],"x":"AAAAAQAAAAE=","f":[1,0]}"#,
        ] {
            let short: Digests = serde_json::from_str(text).unwrap();
            assert!(short.misfit().is_some(), "{text}");
        }
        assert!(serde_json::from_str::<Digests>(r#"{"d":[5],"x":"AAAA"}"#).is_err());
    }

    /// Whatever an event says, saying something else changes its digest.
    #[test]
    fn everything_counts() {
        let kv = KeyValue {
            key: "k".into(),
            value: "v".into(),
            create_revision: 1,
            mod_revision: 2,
            version: 3,
            lease: 4,
        };
        let put = Event { kind: EventKind::Put, kv: kv.clone(), prev_kv: None };
        let with = |change: fn(&mut Event)| {
            let mut other = put.clone();
            change(&mut other);
            digest(&other)
        };
        let others = [
            with(|event| event.kind = EventKind::Delete),
            with(|event| event.kv.key = "l".into()),
            with(|event| event.kv.value = "w".into()),
            with(|event| (event.kv.key, event.kv.value) = ("kv".into(), "".into())),
            with(|event| event.kv.create_revision = 2),
            with(|event| event.kv.mod_revision = 3),
            with(|event| event.kv.version = 4),
            with(|event| event.kv.lease = 5),
            with(|event| event.prev_kv = Some(event.kv.clone())),
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(*other, digest(&put), "{index}");
        }
        let delete = Event { kind: EventKind::Delete, ..put };
        let bare = Event {
            kv: KeyValue { key: kv.key, mod_revision: 2, ..KeyValue::default() },
            ..delete.clone()
        };
        assert_eq!(digest(&delete), digest(&bare), "of a delete, key and revision count");
    }
}
