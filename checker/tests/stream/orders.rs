//! Other orders in which the same records can be written: each process and each watch keeps its own.

use std::collections::BTreeMap;

use rusd_checker::history::record::{Record, WatchBody};
use rusd_checker::synthetic::Dice;

/// Who must keep the order of their records.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    Process(u64),
    Watch(u64),
    Ends,
}

/// Lets records wait for up to so many others.
pub(crate) fn delayed(records: Vec<Record>, longest: u64, dice: &mut Dice) -> Vec<Record> {
    let mut latest: BTreeMap<Writer, u64> = BTreeMap::new();
    let mut keyed = Vec::with_capacity(records.len());
    for (place, record) in (0..).zip(records) {
        let writer = match &record {
            Record::Op(operation) => Writer::Process(operation.process),
            Record::Watch(response) => Writer::Watch(response.watch),
            Record::Header(_) | Record::Nemesis(_) | Record::Final(_) | Record::End(_) => {
                Writer::Ends
            }
        };
        let is_header = matches!(record, Record::Header(_));
        let is_closing = match &record {
            Record::Final(_) => true,
            Record::Watch(response) => {
                matches!(response.body, WatchBody::Closed { by_client: true })
            }
            _ => false,
        };
        // Seldom one waits much longer than the others.
        let wait = if dice.per_mille(20) { 5 * longest } else { longest };
        let key = match (is_header, is_closing) {
            (true, _) => 0,
            // They wait for each other, at the end of a run.
            (_, true) => 1 + place + 5 * longest,
            (false, false) => 1 + place + dice.below(wait + 1),
        };
        let own = latest.entry(writer).or_default();
        *own = (*own).max(key);
        keyed.push((*own, record));
    }
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, record)| record).collect()
}
