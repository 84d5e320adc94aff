//! A watch of the report as one of ours.

use super::changes::Changes;
use super::merge::arrived;
use super::model::{self, DELETE_STEP, PUT_STEP};
use super::values;
use crate::history::record::{Event, EventKind, KeyValue, WatchBody, WatchRequest, WatchResponse};
use crate::history::text::Text;

/// The response that says that a watch exists: the report leaves it out. It lies just before the
/// first response.
pub(super) fn created(
    watch: u64,
    request: &model::WatchRequest,
    first: Option<&model::WatchResponse>,
) -> WatchResponse {
    let (key, range_end) = span(request);
    let asked = WatchRequest {
        key,
        range_end,
        start_revision: request.revision,
        prev_kv: request.with_prev_kv,
        no_put: false,
        no_delete: false,
        resumes: None,
    };
    WatchResponse {
        watch,
        member: 0,
        arrived_ns: first.map_or(0, arrived),
        revision: first.map_or(0, before_first),
        body: WatchBody::Created(asked),
    }
}

/// The last revision before a watch from now on, as etcd's checker takes it: a progress response
/// tells, or the first event.
fn before_first(first: &model::WatchResponse) -> i64 {
    match first.events.iter().flatten().next() {
        Some(event) => event.revision.saturating_sub(1),
        None => first.revision,
    }
}

/// A key, or all keys with a prefix.
fn span(request: &model::WatchRequest) -> (Text, Text) {
    let key = Text::from(&request.key);
    if !request.with_prefix {
        return (key, Text::default());
    }
    if key.is_empty() {
        return (Text::from("\0"), Text::from("\0"));
    }
    let end = prefix_end(key.as_bytes());
    (key, end)
}

/// The end of the range of all keys with a prefix, as etcd's client has it.
pub(super) fn prefix_end(prefix: &[u8]) -> Text {
    let Some(last) = prefix.iter().rposition(|byte| *byte < 0xff) else { return Text::from("\0") };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Text::from(&end)
}

/// What a response says: events, then progress, then the end. `None` if not all metadata of its
/// events are known.
pub(super) fn bodies(
    response: &model::WatchResponse,
    changes: &Changes,
) -> Result<Option<Vec<WatchBody>>, String> {
    let mut bodies = Vec::new();
    let told = response.events.as_deref().unwrap_or_default();
    if !told.is_empty() {
        let mut events = Vec::new();
        for told in told {
            let Some(event) = event(told, changes)? else { return Ok(None) };
            events.push(event);
        }
        bodies.push(WatchBody::Events { events, fragment: false });
    }
    if response.is_progress_notify {
        bodies.push(WatchBody::Progress);
    }
    if !response.error.is_empty() {
        bodies.push(WatchBody::Canceled { reason: response.error.clone(), compact_revision: 0 });
    }
    Ok(Some(bodies))
}

fn event(told: &model::WatchEvent, changes: &Changes) -> Result<Option<Event>, String> {
    let key = Text::from(&told.key);
    let prev_kv = match &told.prev_value {
        None => None,
        Some(before) => {
            let value = values::read(&before.value);
            let Some(found) = changes.complete(&key, &value, before.mod_revision) else {
                return Ok(None);
            };
            Some(KeyValue {
                key: key.clone(),
                value,
                create_revision: found.create_revision,
                mod_revision: before.mod_revision,
                version: before.version,
                lease: found.lease,
            })
        }
    };
    let kind = match told.kind.as_str() {
        PUT_STEP => EventKind::Put,
        DELETE_STEP => EventKind::Delete,
        other => return Err(format!("unknown Type {other:?} of an event")),
    };
    let mod_revision = told.revision;
    let kv = match kind {
        EventKind::Delete => KeyValue { key, mod_revision, ..KeyValue::default() },
        EventKind::Put => {
            let value = values::read(&told.value);
            let Some(found) = changes.complete(&key, &value, mod_revision) else {
                return Ok(None);
            };
            KeyValue {
                key,
                value,
                create_revision: found.create_revision,
                mod_revision,
                version: found.version,
                lease: found.lease,
            }
        }
    };
    Ok(Some(Event { kind, kv, prev_kv }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(prefix_end(b"key"), Text::from("kez"));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), Text::from(&[2]));
        assert_eq!(prefix_end(&[0xff]), Text::from("\0"), "everything from there on");
    }
}
