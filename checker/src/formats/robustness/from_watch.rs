//! One of our watches as one of the report.

use super::model::{self, DELETE_STEP, PUT_STEP, ValueRevision};
use super::to_watch::prefix_end;
use super::values;
use crate::history::record::{Event, EventKind, KeyValue, WatchRequest};
use crate::history::text::Text;

/// What a watch asks for; why the report has no words for it.
pub(super) fn request(asked: &WatchRequest) -> Result<model::WatchRequest, &'static str> {
    if asked.no_put || asked.no_delete {
        return Err("watches with filters");
    }
    let (key, with_prefix) = match (asked.key.as_bytes(), asked.range_end.as_bytes()) {
        (_, []) => (asked.key.clone(), false),
        (b"\0", b"\0") => (Text::default(), true),
        (key, _) if prefix_end(key) == asked.range_end && asked.range_end.as_bytes() != b"\0" => {
            (asked.key.clone(), true)
        }
        _ => return Err("watches of ranges that are no prefix"),
    };
    Ok(model::WatchRequest {
        key: values::key(&key).ok_or("watches of keys that are not UTF-8")?,
        revision: asked.start_revision,
        with_prefix,
        with_progress_notify: true,
        with_prev_kv: asked.prev_kv,
    })
}

/// What an event says; `None` if it shows bytes that are no text.
pub(super) fn event(event: &Event) -> Option<model::WatchEvent> {
    let kv = &event.kv;
    let told = |kv: &KeyValue| values::write(&kv.value);
    let prev_value = match &event.prev_kv {
        None => None,
        Some(before) => Some(ValueRevision {
            value: told(before)?,
            mod_revision: before.mod_revision,
            version: before.version,
        }),
    };
    let is_put = event.kind == EventKind::Put;
    Some(model::WatchEvent {
        kind: if is_put { PUT_STEP } else { DELETE_STEP }.into(),
        key: values::key(&kv.key)?,
        value: if is_put { told(kv)? } else { values::write(&Text::default())? },
        revision: kv.mod_revision,
        is_create: is_put && kv.create_revision == kv.mod_revision,
        prev_value,
    })
}
