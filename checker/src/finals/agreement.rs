//! All that tells of one key at one mod revision must tell the same: answers, events, final states, and
//! the puts whose answers name that revision.
//!
//! Where the replay knows what happened it says so of each answer by itself. This asks nobody what
//! happened, so it also tells where what happened is not certain; it is asked where something is wrong
//! or undecided.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::findings::{Broken, Findings};
use crate::history::record::{EventKind, KeyValue, Outcome, Put, Request, WatchBody};
use crate::history::text::Text;
use crate::history::{FinalLine, History, OperationLine, WatchLine};
use crate::linear::pins::each_key_value_of;
use crate::render;
use crate::verdict::{Named, Rule};

/// Looks for what is told in two ways.
pub(crate) fn check(history: &History, findings: &mut Findings) {
    if !findings.any() && !findings.is_undecided() {
        return;
    }
    let mut told = All { by_place: HashMap::new(), findings };
    for line in &history.operations {
        let teller = Teller::Operation(line);
        each_key_value_of(line, &mut |kv, whole| told.see_key_value(teller, kv, whole));
        if let (Request::Put(put), Outcome::Ok(response)) =
            (&line.operation.request, &line.operation.outcome)
        {
            told.see(teller, (&put.key, response.revision), Told::of_put(put));
        }
    }
    for line in &history.finals {
        let teller = Teller::Final(line);
        line.state.kvs.iter().for_each(|kv| told.see_key_value(teller, kv, true));
    }
    for line in &history.watches {
        let WatchBody::Events { events, .. } = &line.response.body else { continue };
        let teller = Teller::Watch(line);
        for event in events {
            match event.kind {
                EventKind::Put => told.see_key_value(teller, &event.kv, true),
                EventKind::Delete => {
                    told.see(teller, (&event.kv.key, event.kv.mod_revision), Told::DELETED);
                }
            }
            event.prev_kv.iter().for_each(|kv| told.see_key_value(teller, kv, true));
        }
    }
}

/// Who tells.
#[derive(Debug, Clone, Copy)]
enum Teller<'h> {
    Operation(&'h OperationLine),
    Watch(&'h WatchLine),
    Final(&'h FinalLine),
}

impl Teller<'_> {
    fn named(self) -> Named {
        match self {
            Teller::Operation(line) => render::operation(line),
            Teller::Watch(line) => render::watch(line),
            Teller::Final(line) => render::final_state(line),
        }
    }
}

/// What is told of a key at a revision; `None` is not told.
#[derive(Debug, Clone, Copy)]
struct Told<'h> {
    is_deleted: bool,
    value: Option<&'h Text>,
    lease: Option<i64>,
    /// Create revision and version.
    numbers: Option<(i64, i64)>,
}

impl<'h> Told<'h> {
    const DELETED: Told<'static> =
        Told { is_deleted: true, value: None, lease: None, numbers: None };

    fn of(kv: &'h KeyValue, whole: bool) -> Told<'h> {
        Told {
            is_deleted: false,
            value: whole.then_some(&kv.value),
            lease: whole.then_some(kv.lease),
            numbers: Some((kv.create_revision, kv.version)),
        }
    }

    fn of_put(put: &'h Put) -> Told<'h> {
        Told {
            is_deleted: false,
            value: (!put.ignore_value).then_some(&put.value),
            lease: (!put.ignore_lease).then_some(put.lease),
            numbers: None,
        }
    }

    fn agrees(&self, other: &Told<'_>) -> bool {
        fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        self.is_deleted == other.is_deleted
            && same(self.value, other.value)
            && same(self.lease, other.lease)
            && same(self.numbers, other.numbers)
    }

    fn show(&self) -> String {
        if self.is_deleted {
            return "deleted".into();
        }
        let value = self.value.map(|value| format!("value {}", render::short(value)));
        let lease = self.lease.map(|lease| format!("lease {lease}"));
        let numbers = self
            .numbers
            .map(|(created, version)| format!("create revision {created}, version {version}"));
        [value, lease, numbers].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// All that is told, by key and mod revision, with who told it first.
struct All<'h, 'f> {
    by_place: HashMap<(&'h Text, i64), (Teller<'h>, Told<'h>)>,
    findings: &'f mut Findings,
}

impl<'h> All<'h, '_> {
    fn see_key_value(&mut self, teller: Teller<'h>, kv: &'h KeyValue, whole: bool) {
        self.see(teller, (&kv.key, kv.mod_revision), Told::of(kv, whole));
    }

    fn see(&mut self, teller: Teller<'h>, place: (&'h Text, i64), told: Told<'h>) {
        let (first, known) = match self.by_place.entry(place) {
            Entry::Vacant(entry) => {
                entry.insert((teller, told));
                return;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        if known.agrees(&told) {
            known.value = known.value.or(told.value);
            known.lease = known.lease.or(told.lease);
            known.numbers = known.numbers.or(told.numbers);
            return;
        }
        let (first, known) = (*first, *known);
        self.findings.add(Rule::ContentAgreement, || Broken {
            operations: vec![first.named(), teller.named()],
            expected: format!(
                "{} at mod revision {}: {}, as told before",
                render::short(place.0),
                place.1,
                known.show()
            ),
            got: told.show(),
        });
    }
}
