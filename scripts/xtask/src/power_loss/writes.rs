//! What was written while a member was traced, and what must therefore be on an image of its disk.
//!
//! Every write changes something, so it has a revision of its own, and the writes by revision are
//! all that ever happened to the store. An image must hold the state after some number of them, and
//! all that were acknowledged before the power was lost.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rusd_proto::mvccpb::KeyValue;

use crate::client::{Client, Effect};

/// Reads of the past, of one image.
const PAST_READS: usize = 4;

/// A write, acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// The revision it got.
    pub(super) revision: i64,
    /// When its acknowledgement had come, in microseconds since 1970.
    pub(super) acknowledged: u64,
    /// What it did.
    pub(super) effects: Vec<Effect>,
}

/// Microseconds since 1970, rounded down, by the clock that strace looks at.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(now.as_micros()).expect("a time of this age")
}

/// All writes of a recording.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// By revision, without gaps.
    writes: Vec<Write>,
    /// When a compaction was asked for, and its revision.
    compactions: Vec<(u64, i64)>,
}

/// A key's value and its revision.
type State<'a> = BTreeMap<&'a [u8], (&'a [u8], i64)>;

/// The first revision of a write.
const FIRST_REVISION: i64 = 2;

impl Writes {
    /// Takes what was recorded, in any order.
    pub(super) fn new(mut writes: Vec<Write>, compactions: Vec<(u64, i64)>) -> Result<Self> {
        writes.sort_by_key(|write| write.revision);
        for (expected, write) in (FIRST_REVISION..).zip(&writes) {
            ensure!(write.revision == expected, "no write has revision {expected}");
        }
        Ok(Self { writes, compactions })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.writes.len()
    }

    /// Keys and revisions of which any can be read when all is done, so many at most.
    pub(crate) fn readable_past(&self, reads_max: usize) -> Vec<(Vec<u8>, i64)> {
        let compacted = self.compactions.iter().map(|(_, revision)| *revision).max().unwrap_or(0);
        let readable = self.writes.iter().filter(|write| write.revision >= compacted);
        let keys = readable.flat_map(|write| {
            write.effects.iter().map(|effect| (effect.key.clone(), write.revision))
        });
        let all: Vec<_> = keys.collect();
        let step = all.len().div_ceil(reads_max).max(1);
        all.into_iter().step_by(step).collect()
    }

    /// How many must be on an image of this moment.
    pub(super) fn acknowledged_before(&self, micros: u64) -> usize {
        let acknowledged = |write: &Write| write.acknowledged < micros;
        self.writes.iter().rposition(acknowledged).map_or(0, |last| last + 1)
    }

    fn state_after(&self, count: usize) -> State<'_> {
        let mut state = State::new();
        for write in &self.writes[..count] {
            for effect in &write.effects {
                match &effect.value {
                    Some(value) => state.insert(&effect.key, (value, write.revision)),
                    None => state.remove(&effect.key[..]),
                };
            }
        }
        state
    }

    /// Reads everything of a member on an image of this moment. Returns how many writes are there.
    pub(super) async fn check(&self, client: &mut Client, micros: u64) -> Result<usize> {
        let wanted = self.acknowledged_before(micros);
        let (revision, found) = client.all().await.context("cannot read everything back")?;
        let count = usize::try_from(revision - FIRST_REVISION + 1)?;
        if count < wanted {
            bail!("LOST: {wanted} writes were acknowledged, the store has {count}");
        }
        ensure!(count <= self.writes.len(), "the store is at {revision}, which was never written");
        compare(&self.state_after(count), &found)?;
        self.check_past(client, count, micros).await?;
        Ok(count)
    }

    /// Reads some of the writes again, each at its revision.
    async fn check_past(&self, client: &mut Client, count: usize, micros: u64) -> Result<()> {
        let compacted = self.compactions.iter().filter(|(asked, _)| *asked <= micros);
        let compacted = compacted.map(|(_, revision)| *revision).max().unwrap_or(0);
        let readable = self.writes[..count].iter().filter(|write| write.revision >= compacted);
        let readable: Vec<&Write> = readable.collect();
        let step = readable.len().div_ceil(PAST_READS).max(1);
        for write in readable.iter().step_by(step) {
            for effect in &write.effects {
                let found = client.get_at(effect.key.clone(), write.revision).await;
                let found = found.with_context(|| format!("cannot read at {}", write.revision))?;
                let found = found.map(|kv| kv.value.to_vec());
                if found != effect.value {
                    bail!("LOST: key {} at {}", effect.key.escape_ascii(), write.revision);
                }
            }
        }
        Ok(())
    }
}

fn compare(wanted: &State<'_>, found: &[KeyValue]) -> Result<()> {
    let found: State<'_> =
        found.iter().map(|kv| (&kv.key[..], (&kv.value[..], kv.mod_revision))).collect();
    let keys = wanted.keys().chain(found.keys());
    let Some(key) = keys.into_iter().find(|key| wanted.get(*key) != found.get(*key)) else {
        return Ok(());
    };
    let show = |cell: Option<&(&[u8], i64)>| {
        cell.map_or_else(
            || "nothing".to_owned(),
            |(value, revision)| {
                let head = value.get(..24).unwrap_or(value).escape_ascii();
                format!("{head} ({} bytes) at {revision}", value.len())
            },
        )
    };
    let (wanted, found) = (show(wanted.get(key)), show(found.get(key)));
    bail!("LOST: {}: {wanted} was written, {found} is there", key.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(revision: i64, acknowledged: u64, key: &str, value: Option<&str>) -> Write {
        let value = value.map(|value| value.as_bytes().to_vec());
        let effects = vec![Effect { key: key.as_bytes().to_vec(), value }];
        Write { revision, acknowledged, effects }
    }

    #[test]
    fn what_was_acknowledged_in_time_must_be_there_with_all_before_it() {
        let writes = vec![put(3, 10, "a", Some("2")), put(2, 30, "a", Some("1"))];
        let writes = Writes::new(writes, Vec::new()).unwrap();
        assert_eq!([10, 11, 31].map(|micros| writes.acknowledged_before(micros)), [0, 2, 2]);
        assert!(Writes::new(vec![put(3, 1, "a", None)], Vec::new()).is_err(), "a gap");
    }

    #[test]
    fn the_state_must_be_that_after_the_writes() {
        let writes =
            vec![put(2, 1, "a", Some("1")), put(3, 2, "b", Some("1")), put(4, 3, "a", None)];
        let writes = Writes::new(writes, Vec::new()).unwrap();
        let stored = |key: &str, value: &str, mod_revision| KeyValue {
            key: key.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
            mod_revision,
            ..Default::default()
        };
        let (a, b) = (stored("a", "1", 2), stored("b", "1", 3));
        compare(&writes.state_after(2), &[a.clone(), b.clone()]).unwrap();
        compare(&writes.state_after(3), std::slice::from_ref(&b)).unwrap();
        for found in [vec![a.clone()], vec![a, stored("b", "1", 4)], vec![b, stored("c", "", 2)]] {
            compare(&writes.state_after(2), &found).unwrap_err();
        }
    }
}
