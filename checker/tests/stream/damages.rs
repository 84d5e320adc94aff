//! Random damage to random records. What comes out may still be valid.

use rusd_checker::history::record::{
    Event, EventKind, Outcome, Record, Response, ResponseBody, TxnOpResponse, WatchBody,
};
use rusd_checker::history::text::Text;
use rusd_checker::synthetic::Dice;

/// Damages a record of the second half, or leaves one out, or tells one twice.
pub(crate) fn damage(records: &mut Vec<Record>, dice: &mut Dice) {
    let half = records.len() / 2;
    for _ in 0..200 {
        let more = dice.below(u64::try_from(records.len() - half).expect("not so many"));
        let place = half + usize::try_from(more).expect("small");
        let kind = dice.below(10);
        if kind == 0 {
            records.remove(place);
            return;
        }
        if kind == 1 && matches!(records[place], Record::Watch(_)) {
            let again = records[place].clone();
            records.insert(place + 1, again);
            return;
        }
        let damaged = match &mut records[place] {
            Record::Op(operation) if kind == 2 => {
                // The clock of one operation, far enough to matter now and then.
                let by = dice.below(20_000_000);
                operation.process += 1_000_000;
                operation.call_ns += by;
                operation.return_ns = operation.return_ns.map(|ns| ns + by);
                true
            }
            Record::Op(operation) => match &mut operation.outcome {
                Outcome::Ok(response) => damage_answer(response, dice),
                Outcome::Fail(_) | Outcome::Unknown(_) => false,
            },
            Record::Watch(response) => match &mut response.body {
                WatchBody::Events { events, .. } => damage_events(events, dice),
                WatchBody::Progress => {
                    response.revision += 1;
                    true
                }
                _ => false,
            },
            Record::Final(state) => match state.kvs.first_mut() {
                Some(kv) => {
                    kv.version += 1;
                    true
                }
                None => false,
            },
            Record::Header(_) | Record::Nemesis(_) | Record::End(_) => false,
        };
        if damaged {
            return;
        }
    }
}

fn damage_answer(response: &mut Response, dice: &mut Dice) -> bool {
    if dice.per_mille(300) {
        let step = i64::try_from(1 + dice.below(3)).expect("small");
        response.revision += if dice.per_mille(500) { step } else { -step };
        response.revision = response.revision.max(1);
        return true;
    }
    match &mut response.body {
        ResponseBody::Put(put) => put.prev_kv.take().is_some(),
        ResponseBody::Range(range) => {
            if let Some(kv) = range.kvs.first_mut() {
                match dice.below(3) {
                    0 => kv.value = Text::from("nobody wrote this"),
                    1 => kv.version += 1,
                    _ => kv.create_revision -= 1,
                }
            } else {
                range.count += 1;
            }
            true
        }
        ResponseBody::DeleteRange(delete) => {
            delete.deleted += 1;
            true
        }
        ResponseBody::Txn(txn) => match txn.responses.first_mut() {
            Some(TxnOpResponse::Range(range)) if !range.kvs.is_empty() => {
                range.kvs.pop();
                true
            }
            Some(TxnOpResponse::Put(_)) => {
                txn.succeeded = !txn.succeeded;
                true
            }
            _ => false,
        },
        ResponseBody::LeaseGrant { .. }
        | ResponseBody::LeaseRevoke
        | ResponseBody::LeaseKeepAlive { .. }
        | ResponseBody::Compact => false,
    }
}

fn damage_events(events: &mut Vec<Event>, dice: &mut Dice) -> bool {
    let Some(event) = events.first_mut() else { return false };
    match dice.below(5) {
        0 => {
            events.pop();
        }
        1 => event.kv.version += 1,
        2 => event.kv.value = Text::from("nobody wrote this"),
        3 => match event.prev_kv.take() {
            Some(_) => {}
            None => event.prev_kv = Some(event.kv.clone()),
        },
        _ => {
            event.kind = match event.kind {
                EventKind::Put => EventKind::Delete,
                EventKind::Delete => EventKind::Put,
            }
        }
    }
    true
}
