//! What one writer wrote, and what must therefore be in the store.
//!
//! A writer owns its keys and does one operation at a time, so at most one operation is unknown,
//! and for every key the store must hold either what was last acknowledged or, as a whole, what
//! the unknown operation would have made of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};
use rusd_proto::mvccpb::KeyValue;

use crate::client::Effect;

/// Acknowledged puts of the cycle that are remembered to be read at their own revision.
const PAST_MAX: usize = 8;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    value: Vec<u8>,
    mod_revision: i64,
}

/// An acknowledged put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    /// The key.
    pub(super) key: Vec<u8>,
    /// What was put.
    pub(super) value: Vec<u8>,
    /// The revision it got.
    pub(super) revision: i64,
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (String::from_utf8_lossy(&self.key), head(&self.value));
        write!(f, "{key}={value} at revision {}", self.revision)
    }
}

/// The writes of one writer.
#[derive(Debug)]
pub(super) struct Ledger {
    prefix: Vec<u8>,
    keys: BTreeMap<Vec<u8>, Cell>,
    /// Begun and not acknowledged. At most one, and nothing begins after it before `check`.
    unknown: Option<Vec<Effect>>,
    revision: i64,
    acknowledged: u64,
    past: Vec<Past>,
}

impl Ledger {
    /// The ledger of a writer that has written nothing.
    pub(super) fn new(writer: u16) -> Self {
        Self {
            prefix: format!("w{writer:04}/").into_bytes(),
            keys: BTreeMap::new(),
            unknown: None,
            revision: 0,
            acknowledged: 0,
            past: Vec::new(),
        }
    }

    /// One of the writer's keys.
    pub(super) fn key(&self, number: u32) -> Vec<u8> {
        let mut key = self.prefix.clone();
        key.extend_from_slice(format!("{number:04}").as_bytes());
        key
    }

    /// An operation is about to be sent.
    pub(super) fn begin(&mut self, effects: Vec<Effect>) {
        assert!(self.unknown.is_none(), "a writer does one operation at a time");
        assert!(effects.iter().all(|effect| effect.key.starts_with(&self.prefix)), "its own keys");
        self.unknown = Some(effects);
    }

    /// The operation that was begun is acknowledged.
    pub(super) fn acknowledge(&mut self, revision: i64) {
        let effects = self.unknown.take().expect("acknowledged after it was begun");
        self.acknowledged += 1;
        self.revision = self.revision.max(revision);
        for effect in &effects {
            if let (Some(value), true) = (&effect.value, self.past.len() < PAST_MAX) {
                let (key, value) = (effect.key.clone(), value.clone());
                self.past.push(Past { key, value, revision });
            }
        }
        self.settle(effects, revision);
    }

    /// Compares with every key of the store, and decides what became of the unknown operation.
    /// Returns how many keys of this writer there are.
    pub(super) fn check(&mut self, found: &[KeyValue]) -> Result<usize> {
        let found: BTreeMap<Vec<u8>, Cell> = found
            .iter()
            .filter(|kv| kv.key.starts_with(&self.prefix))
            .map(|kv| {
                let cell = Cell { value: kv.value.to_vec(), mod_revision: kv.mod_revision };
                (kv.key.to_vec(), cell)
            })
            .collect();
        if let Some(effects) = self.unknown.take()
            && let Some(revision) = self.applied_at(&effects, &found)
        {
            self.revision = self.revision.max(revision);
            self.settle(effects, revision);
        }
        if let Some(difference) = difference(&self.keys, &found) {
            bail!("LOST: {difference}");
        }
        self.acknowledged = 0;
        Ok(self.keys.len())
    }

    /// Highest revision that was acknowledged.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// Operations acknowledged since the last check.
    pub(super) fn acknowledged_in_cycle(&self) -> u64 {
        self.acknowledged
    }

    /// Whether an operation was cut off.
    pub(super) fn has_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// Some of the puts acknowledged since [`forget_past`](Self::forget_past).
    pub(super) fn past(&self) -> impl Iterator<Item = &Past> {
        self.past.iter()
    }

    /// A new cycle begins.
    pub(super) fn forget_past(&mut self) {
        self.past.clear();
    }

    /// The revision at which the unknown operation was applied, if it was: told by any of its
    /// puts. Deletes alone leave no revision; then the keys being gone tells it.
    fn applied_at(&self, effects: &[Effect], found: &BTreeMap<Vec<u8>, Cell>) -> Option<i64> {
        let mut is_gone = false;
        for effect in effects {
            match (&effect.value, found.get(&effect.key)) {
                (Some(value), Some(cell)) if *value == cell.value => {
                    return Some(cell.mod_revision);
                }
                (None, None) => is_gone |= self.keys.contains_key(&effect.key),
                _ => {}
            }
        }
        is_gone.then_some(self.revision)
    }

    fn settle(&mut self, effects: Vec<Effect>, revision: i64) {
        for effect in effects {
            match effect.value {
                Some(value) => {
                    self.keys.insert(effect.key, Cell { value, mod_revision: revision });
                }
                None => {
                    self.keys.remove(&effect.key);
                }
            }
        }
    }
}

/// The first key that is not as it must be.
fn difference(wanted: &BTreeMap<Vec<u8>, Cell>, found: &BTreeMap<Vec<u8>, Cell>) -> Option<String> {
    let keys = wanted.keys().chain(found.keys());
    let key = keys.into_iter().find(|key| wanted.get(*key) != found.get(*key))?;
    let show = |cell: Option<&Cell>| {
        cell.map_or_else(
            || "nothing".to_owned(),
            |cell| format!("{} at revision {}", head(&cell.value), cell.mod_revision),
        )
    };
    let (wanted, found) = (show(wanted.get(key)), show(found.get(key)));
    Some(format!("{}: {wanted} was acknowledged, {found} is there", String::from_utf8_lossy(key)))
}

/// The beginning of a value, which is what makes it unique.
fn head(value: &[u8]) -> String {
    String::from_utf8_lossy(value.get(..24).unwrap_or(value)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &str) -> Effect {
        Effect { key: key.to_vec(), value: Some(value.as_bytes().to_vec()) }
    }

    fn delete(key: &[u8]) -> Effect {
        Effect { key: key.to_vec(), value: None }
    }

    fn stored(key: &[u8], value: &str, mod_revision: i64) -> KeyValue {
        KeyValue {
            key: key.to_vec().into(),
            value: value.as_bytes().to_vec().into(),
            mod_revision,
            ..Default::default()
        }
    }

    /// Two keys written and acknowledged: `a` at revision 2, `b` at 3.
    fn ledger() -> (Ledger, Vec<u8>, Vec<u8>) {
        let mut ledger = Ledger::new(1);
        let (a, b) = (ledger.key(1), ledger.key(2));
        ledger.begin(vec![put(&a, "1")]);
        ledger.acknowledge(2);
        ledger.begin(vec![put(&b, "1")]);
        ledger.acknowledge(3);
        (ledger, a, b)
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let (mut ledger, a, b) = ledger();
        assert_eq!(ledger.check(&[stored(&a, "1", 2), stored(&b, "1", 3)]).unwrap(), 2);
        assert!(ledger.check(&[stored(&a, "1", 2)]).is_err(), "b is lost");
        assert!(ledger.check(&[stored(&a, "1", 2), stored(&b, "0", 3)]).is_err(), "b is old");
        assert!(ledger.check(&[stored(&a, "1", 2), stored(&b, "1", 4)]).is_err(), "b has moved");
    }

    #[test]
    fn an_unknown_put_may_be_there_or_not() {
        for after in [stored(b"w0001/0001", "1", 2), stored(b"w0001/0001", "2", 9)] {
            let (mut ledger, a, b) = ledger();
            ledger.begin(vec![put(&a, "2")]);
            ledger.check(&[after.clone(), stored(&b, "1", 3)]).unwrap();
            // From here on it is known.
            ledger.check(&[after, stored(&b, "1", 3)]).unwrap();
        }
    }

    #[test]
    fn an_unknown_txn_is_there_as_a_whole_or_not_at_all() {
        let txn = |a: &[u8], b: &[u8]| vec![put(a, "2"), delete(b)];
        let (mut whole, a, b) = ledger();
        whole.begin(txn(&a, &b));
        whole.check(&[stored(&a, "2", 4)]).unwrap();

        let (mut torn, a, b) = ledger();
        torn.begin(txn(&a, &b));
        assert!(torn.check(&[stored(&a, "2", 4), stored(&b, "1", 3)]).is_err(), "b is left");

        let (mut torn, a, b) = ledger();
        torn.begin(txn(&a, &b));
        assert!(torn.check(&[stored(&a, "1", 2)]).is_err(), "only b is gone");
    }

    #[test]
    fn an_unknown_delete_may_be_done_or_not() {
        let (mut done, a, b) = ledger();
        done.begin(vec![delete(&a)]);
        assert_eq!(done.check(&[stored(&b, "1", 3)]).unwrap(), 1);
        let (mut not_done, a, b) = ledger();
        not_done.begin(vec![delete(&a)]);
        assert_eq!(not_done.check(&[stored(&a, "1", 2), stored(&b, "1", 3)]).unwrap(), 2);
    }
}
