//! Watches that are told too little, too much, too often, in the wrong order, or something else.
//!
//! Whether a watch may be told that is for `views` to say: the last event may be missing where nothing
//! says that it had come.

use rusd_checker::history::record::{
    Event, EventKind, KeyValue, Record, WatchBody, WatchRequest, WatchResponse,
};
use rusd_checker::history::text::Text;

use super::Mutant;

/// The events of a record, if it is a response with some, told in full.
pub(super) fn events(record: &Record) -> Option<&[Event]> {
    match record {
        Record::Watch(WatchResponse { body: WatchBody::Events { events, .. }, .. })
            if !events.is_empty() =>
        {
            Some(events)
        }
        _ => None,
    }
}

fn events_mut<'m>(mutant: &'m mut Mutant<'_>, place: usize) -> &'m mut Vec<Event> {
    match &mut response_mut(mutant, place).body {
        WatchBody::Events { events, .. } => events,
        other => panic!("no events: {other:?}"),
    }
}

fn response_mut<'m>(mutant: &'m mut Mutant<'_>, place: usize) -> &'m mut WatchResponse {
    match &mut mutant.records[place] {
        Record::Watch(response) => response,
        other => panic!("no response of a watch: {other:?}"),
    }
}

pub(super) fn watch_of(record: &Record) -> Option<u64> {
    match record {
        Record::Watch(response) => Some(response.watch),
        _ => None,
    }
}

/// The next response of the same watch that has events.
fn next_with_events(mutant: &Mutant<'_>, place: usize) -> Option<usize> {
    let watch = watch_of(&mutant.records[place]);
    let later = mutant.records.iter().enumerate().skip(place + 1);
    let mut later = later.filter(|(_, record)| watch_of(record) == watch);
    later.find(|(_, record)| events(record).is_some()).map(|(place, _)| place)
}

fn at_events(
    mutant: &mut Mutant<'_>,
    damage: impl Fn(&mut Mutant<'_>, usize) -> Option<()>,
) -> Option<()> {
    mutant.somewhere(|record| events(record).is_some(), damage)
}

/// One of the events of a response is damaged.
fn at_event(
    mutant: &mut Mutant<'_>,
    wanted: impl Fn(&Event) -> bool,
    damage: impl Fn(&mut Event, i64) -> Option<()>,
) -> Option<()> {
    let has = |record: &Record| events(record).is_some_and(|events| events.iter().any(&wanted));
    mutant.somewhere(has, |mutant, place| {
        let amount = 1 + mutant.below(3);
        let which = usize::try_from(mutant.below(1 << 20)).expect("small");
        let mut all: Vec<&mut Event> =
            events_mut(mutant, place).iter_mut().filter(|event| wanted(event)).collect();
        let which = which % all.len();
        damage(all[which], amount)
    })
}

fn is_put(event: &Event) -> bool {
    event.kind == EventKind::Put
}

/// An event does not come.
pub(crate) fn dropped(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let which = usize::try_from(mutant.below(1 << 20)).expect("small");
        let events = events_mut(mutant, place);
        let which = which % events.len();
        events.remove(which);
        if events.is_empty() {
            mutant.records.remove(place);
        }
        Some(())
    })
}

/// An event of a revision with several does not come.
pub(crate) fn dropped_from_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let events = events_mut(mutant, place);
        let pair = |pair: &[Event]| pair[0].kv.mod_revision == pair[1].kv.mod_revision;
        let first = events.windows(2).position(pair)?;
        let second = usize::try_from(mutant.below(2)).expect("small");
        events_mut(mutant, place).remove(first + second);
        Some(())
    })
}

/// A response comes twice.
pub(crate) fn doubled_response(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let again = mutant.records[place].clone();
        mutant.records.insert(place, again);
        Some(())
    })
}

/// An event comes twice in a response.
pub(crate) fn doubled_event(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let events = events_mut(mutant, place);
        events.push(events.last()?.clone());
        Some(())
    })
}

/// A response comes again after the next one.
pub(crate) fn repeated_later(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let next = next_with_events(mutant, place)?;
        let again = mutant.records[place].clone();
        mutant.records.insert(next + 1, again);
        Some(())
    })
}

/// Two responses change places.
pub(crate) fn reordered_responses(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let next = next_with_events(mutant, place)?;
        mutant.records.swap(place, next);
        Some(())
    })
}

/// Two events of one response change places.
pub(crate) fn reordered_events(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let events = events_mut(mutant, place);
        let last = events.len().checked_sub(1).filter(|last| *last > 0)?;
        events.swap(0, last);
        Some(())
    })
}

/// The events of a revision come in two responses.
pub(crate) fn split(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let events = events_mut(mutant, place);
        let within = |pair: &[Event]| pair[0].kv.mod_revision == pair[1].kv.mod_revision;
        let at = events.windows(2).position(within)? + 1;
        let rest = events.split_off(at);
        let mut second = response_mut(mutant, place).clone();
        second.body = WatchBody::Events { events: rest, fragment: false };
        mutant.records.insert(place + 1, Record::Watch(second));
        Some(())
    })
}

/// More of a revision is announced and does not come.
pub(crate) fn fragment_without_rest(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let all = events_mut(mutant, place);
        let [.., before, last] = all.as_slice() else { return None };
        if before.kv.mod_revision != last.kv.mod_revision {
            return None;
        }
        all.pop();
        let events = all.clone();
        response_mut(mutant, place).body = WatchBody::Events { events, fragment: true };
        Some(())
    })
}

/// A put shows another value.
pub(crate) fn wrong_value(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, is_put, |event, _| {
        event.kv.value = Text::from("nobody wrote this");
        Some(())
    })
}

/// A put shows another version.
pub(crate) fn wrong_version(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, is_put, |event, amount| {
        event.kv.version += amount;
        Some(())
    })
}

/// A put shows another create revision: one that is new is told as one that is not, or the other way
/// round.
pub(crate) fn wrong_create_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, is_put, |event, amount| {
        let kv = &mut event.kv;
        kv.create_revision = if kv.create_revision == kv.mod_revision {
            (kv.mod_revision - amount).max(1)
        } else {
            kv.mod_revision
        };
        Some(())
    })
}

/// A put shows another lease.
pub(crate) fn wrong_lease(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, is_put, |event, amount| {
        event.kv.lease = if event.kv.lease == 0 { amount } else { 0 };
        Some(())
    })
}

/// An event is of another revision.
pub(crate) fn wrong_revision(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(
        mutant,
        |_| true,
        |event, _| {
            event.kv.mod_revision -= 1;
            Some(())
        },
    )
}

/// An event is of another key.
pub(crate) fn wrong_key(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(
        mutant,
        |_| true,
        |event, _| {
            let mut key = event.kv.key.as_bytes().to_vec();
            *key.last_mut()? ^= 1;
            event.kv.key = Text::from(&key);
            Some(())
        },
    )
}

/// A put is told as a delete, or a delete as a put.
pub(crate) fn wrong_kind(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(
        mutant,
        |_| true,
        |event, _| {
            let (key, mod_revision) = (event.kv.key.clone(), event.kv.mod_revision);
            let bare = KeyValue { key, mod_revision, ..KeyValue::default() };
            (event.kind, event.kv) = match event.kind {
                EventKind::Put => (EventKind::Delete, bare),
                EventKind::Delete => {
                    let put = KeyValue { create_revision: mod_revision, version: 1, ..bare };
                    (EventKind::Put, put)
                }
            };
            Some(())
        },
    )
}

/// An event of nothing that happened comes beside another.
pub(crate) fn invented(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let events = events_mut(mutant, place);
        let mut event = events.last()?.clone();
        event.kv.key = Text::from("key/invented");
        event.prev_kv = None;
        events.push(event);
        Some(())
    })
}

/// The key-value before is left out.
pub(crate) fn no_prev_kv(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, |event| event.prev_kv.is_some(), |event, _| event.prev_kv.take().map(drop))
}

/// The key-value before is another one.
pub(crate) fn wrong_prev_kv(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(
        mutant,
        |event| event.prev_kv.is_some(),
        |event, amount| {
            let prev = event.prev_kv.as_mut()?;
            match amount {
                1 => prev.version += 1,
                2 => prev.value = Text::from("nobody wrote this"),
                _ => prev.lease += 1,
            }
            Some(())
        },
    )
}

/// The key-value after is told as the one before.
pub(crate) fn prev_kv_is_after(mutant: &mut Mutant<'_>) -> Option<()> {
    at_event(mutant, is_put, |event, _| {
        event.prev_kv = Some(event.kv.clone());
        Some(())
    })
}

/// An event is newer than its response says the store is.
pub(crate) fn future(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let newest = events_mut(mutant, place).last()?.kv.mod_revision;
        response_mut(mutant, place).revision = newest - 1;
        Some(())
    })
}

/// Everything is said to have come up to a revision whose events come after that.
pub(crate) fn early_progress(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let revision = events_mut(mutant, place).last()?.kv.mod_revision;
        let mut progress = response_mut(mutant, place).clone();
        progress.body = WatchBody::Progress;
        progress.revision = revision + mutant.below(3);
        mutant.records.insert(place, Record::Watch(progress));
        Some(())
    })
}

/// Puts or deletes come though they were to be left out.
pub(crate) fn filtered_kind(mutant: &mut Mutant<'_>) -> Option<()> {
    let one = mutant.below(2) == 0;
    at_request(mutant, |request, _| {
        if one {
            request.no_put = true;
        } else {
            request.no_delete = true;
        }
        Some(())
    })
}

/// Keys come that were not asked for.
pub(crate) fn other_keys(mutant: &mut Mutant<'_>) -> Option<()> {
    at_request(mutant, |request, first| {
        request.key = first.kv.key.clone();
        request.range_end = Text::default();
        Some(())
    })
}

/// Events come from before the start.
pub(crate) fn before_start(mutant: &mut Mutant<'_>) -> Option<()> {
    at_request(mutant, |request, first| {
        request.start_revision = first.kv.mod_revision + 1;
        Some(())
    })
}

/// The request of a watch is damaged, given the first event that comes.
fn at_request(
    mutant: &mut Mutant<'_>,
    damage: impl Fn(&mut WatchRequest, &Event) -> Option<()>,
) -> Option<()> {
    let is_created = |record: &Record| {
        matches!(record, Record::Watch(WatchResponse { body: WatchBody::Created(_), .. }))
    };
    mutant.somewhere(is_created, |mutant, place| {
        let next = next_with_events(mutant, place)?;
        let first = events_mut(mutant, next).first()?.clone();
        let WatchBody::Created(request) = &mut response_mut(mutant, place).body else {
            return None;
        };
        damage(request, &first)
    })
}

/// Events come on a watch that was never said to be there.
pub(crate) fn never_created(mutant: &mut Mutant<'_>) -> Option<()> {
    let is_created = |record: &Record| {
        matches!(record, Record::Watch(WatchResponse { body: WatchBody::Created(_), .. }))
    };
    mutant.somewhere(is_created, |mutant, place| {
        let watch = watch_of(&mutant.records[place]);
        let resumes = |record: &Record| {
            matches!(record, Record::Watch(WatchResponse { body: WatchBody::Created(request), .. })
                if request.resumes == watch)
        };
        if next_with_events(mutant, place).is_none() || mutant.records.iter().any(resumes) {
            return None;
        }
        mutant.records.remove(place);
        Some(())
    })
}

/// Events come on a watch that has ended.
pub(crate) fn after_the_end(mutant: &mut Mutant<'_>) -> Option<()> {
    at_events(mutant, |mutant, place| {
        let mut end = response_mut(mutant, place).clone();
        end.body = WatchBody::Closed { by_client: false };
        mutant.records.insert(place, Record::Watch(end));
        Some(())
    })
}

/// A watch is ended because of a compaction that nobody asked for, or that leaves what is due next.
pub(crate) fn wrongly_compacted(mutant: &mut Mutant<'_>) -> Option<()> {
    let invented = mutant.below(2) == 0;
    let to = if invented { mutant.truth.newest + 1_000 } else { mutant.truth.first + 1 };
    at_events(mutant, |mutant, place| {
        let mut end = response_mut(mutant, place).clone();
        let watch = end.watch;
        end.body = WatchBody::Canceled { reason: "compacted".into(), compact_revision: to };
        let mut index = 0;
        mutant.records.retain(|record| {
            index += 1;
            index <= place + 1 || watch_of(record) != Some(watch)
        });
        mutant.records.insert(place + 1, Record::Watch(end));
        Some(())
    })
}
