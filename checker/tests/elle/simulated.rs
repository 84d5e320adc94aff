//! A simulated store that isolates transactions well or badly, and the histories that its clients see.
//!
//! Clients run their transactions step by step, in an order that the seed decides. The store keeps
//! lists; a register is the last element of one.

use std::collections::BTreeMap;

use rusd_checker::elle::{Element, Key, Outcome, Transaction, list_append, rw_register};
use rusd_checker::synthetic::Dice;

/// How well transactions are isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Writes are seen at once, and taken back if their transaction aborts. Written keys are locked.
    ReadUncommitted,
    /// Writes are seen when they commit. Written keys are locked.
    ReadCommitted,
    /// Reads see what had committed when the transaction began; of two that write to one key at the same
    /// time, the second aborts.
    Snapshot,
    /// Everything happens at once, between call and return.
    Serializable,
}

/// What a run is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) isolation: Isolation,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    pub(crate) transactions: u64,
    pub(crate) mops_max: u64,
    pub(crate) unknown_per_mille: u64,
}

/// What a client does.
#[derive(Debug, Clone)]
enum Act {
    Append(Key, Element),
    Read(Key, Vec<Element>),
}

/// An element, and the revision at which it was committed.
type Stored = (Element, Option<u64>);

#[derive(Debug)]
struct Running {
    /// Its place in the history.
    own: usize,
    acts: Vec<Act>,
    /// Acts done so far.
    done: usize,
    /// For each key, how long its list was when the transaction began.
    snapshot: Option<BTreeMap<Key, usize>>,
    /// Its client has given up on it.
    is_abandoned: bool,
}

/// The store, and what its clients saw.
#[derive(Debug)]
pub(crate) struct Store {
    shape: Shape,
    dice: Dice,
    lists: BTreeMap<Key, Vec<Stored>>,
    locks: BTreeMap<Key, usize>,
    revision: u64,
    events: u64,
    processes: u64,
    elements: u32,
    running: Vec<(u64, Option<Running>)>,
    history: Vec<Transaction<Act>>,
}

impl Store {
    /// What the clients saw, on lists.
    pub(crate) fn lists(&self) -> Vec<Transaction<list_append::Mop>> {
        self.told(|own, act| match act {
            Act::Append(key, element) => list_append::Mop::Append { key: *key, element: *element },
            Act::Read(key, list) => {
                let list = (own.outcome == Outcome::Ok).then(|| list.clone());
                list_append::Mop::Read { key: *key, list }
            }
        })
    }

    /// What the clients saw, on registers; with revisions, if the store tells them. Of what is written
    /// over within its own transaction it tells none.
    pub(crate) fn registers(&self, with_revisions: bool) -> Vec<Transaction<rw_register::Mop>> {
        let committed = self.lists.values().flatten();
        let mut revisions: BTreeMap<Element, u64> = committed
            .filter(|_| with_revisions)
            .filter_map(|(element, revision)| revision.map(|revision| (*element, revision)))
            .collect();
        for own in &self.history {
            for (place, act) in own.mops.iter().enumerate() {
                if let Act::Append(key, element) = act
                    && own_appends(&own.mops[place + 1..], *key).next().is_some()
                {
                    revisions.remove(element);
                }
            }
        }
        self.told(|own, act| match act {
            Act::Append(key, value) => {
                let told = revisions.get(value).filter(|_| own.outcome == Outcome::Ok);
                rw_register::Mop::Write { key: *key, value: *value, mod_revision: told.copied() }
            }
            Act::Read(key, list) => {
                let value = list.last().copied();
                let told = value.and_then(|value| revisions.get(&value)).copied();
                rw_register::Mop::Read { key: *key, value, mod_revision: told }
            }
        })
    }

    fn told<M>(&self, mop: impl Fn(&Transaction<Act>, &Act) -> M) -> Vec<Transaction<M>> {
        let told = |own: &Transaction<Act>| Transaction {
            process: own.process,
            invoked: own.invoked,
            returned: own.returned,
            outcome: own.outcome,
            mops: own.mops.iter().map(|act| mop(own, act)).collect(),
        };
        self.history.iter().map(told).collect()
    }

    /// Runs all transactions to their end.
    pub(crate) fn run(seed: u64, shape: Shape) -> Store {
        let clients = (0..shape.clients).map(|process| (process, None)).collect();
        let mut store = Store {
            shape,
            dice: Dice::new(seed),
            lists: BTreeMap::new(),
            locks: BTreeMap::new(),
            revision: 1,
            events: 0,
            processes: shape.clients,
            elements: 0,
            running: clients,
            history: Vec::new(),
        };
        loop {
            let client = store.pick(store.running.len());
            let (process, running) = &mut store.running[client];
            let process = *process;
            match running.take() {
                Some(running) => store.step(client, running),
                None if store.history.len() < below(shape.transactions) => {
                    let running = store.invoke(process);
                    store.running[client].1 = Some(running);
                }
                None if store.running.iter().all(|(_, running)| running.is_none()) => return store,
                None => {}
            }
        }
    }

    fn pick(&mut self, length: usize) -> usize {
        below(self.dice.below(u64::try_from(length).expect("usize fits u64")))
    }

    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    fn invoke(&mut self, process: u64) -> Running {
        let count = 1 + self.dice.below(self.shape.mops_max);
        let mut acts = Vec::new();
        for _ in 0..count {
            let key = Key(u32::try_from(self.dice.below(self.shape.keys)).expect("few keys"));
            if self.dice.per_mille(500) {
                acts.push(Act::Append(key, Element(self.elements)));
                self.elements += 1;
            } else {
                acts.push(Act::Read(key, Vec::new()));
            }
        }
        let invoked = self.event();
        let own = self.history.len();
        let outcome = Outcome::Unknown;
        let mops = acts.clone();
        self.history.push(Transaction { process, invoked, returned: None, outcome, mops });
        Running { own, acts, done: 0, snapshot: None, is_abandoned: false }
    }

    /// One act of a transaction, its beginning or its end.
    fn step(&mut self, client: usize, mut running: Running) {
        if running.snapshot.is_none() {
            let lengths = self.lists.iter().map(|(key, list)| (*key, list.len()));
            running.snapshot = Some(lengths.collect());
        } else if running.done < running.acts.len() {
            if self.act(&mut running) {
                running.done += 1;
            } else {
                self.end(client, &running, false);
                return;
            }
        } else if running.is_abandoned {
            let commits = self.dice.per_mille(600);
            self.end(client, &running, commits);
            return;
        } else if self.dice.per_mille(self.shape.unknown_per_mille) {
            // The client goes on under another name, and leaves the transaction to its fate.
            running.is_abandoned = true;
            self.processes += 1;
            self.running.push((self.processes, None));
        } else {
            let commits = !self.dice.per_mille(60);
            self.end(client, &running, commits);
            return;
        }
        self.running[client].1 = Some(running);
    }

    /// Does the next act; false if the transaction must abort.
    fn act(&mut self, running: &mut Running) -> bool {
        match self.shape.isolation {
            Isolation::Serializable | Isolation::Snapshot => return true,
            Isolation::ReadUncommitted | Isolation::ReadCommitted => {}
        }
        let is_dirty = self.shape.isolation == Isolation::ReadUncommitted;
        let (before, rest) = running.acts.split_at_mut(running.done);
        match &mut rest[0] {
            Act::Append(key, element) => {
                if *self.locks.entry(*key).or_insert(running.own) != running.own {
                    return false;
                }
                if is_dirty {
                    self.lists.entry(*key).or_default().push((*element, None));
                }
            }
            Act::Read(key, list) => {
                let stored = self.lists.get(key).into_iter().flatten();
                list.extend(stored.map(|(element, _)| *element));
                if !is_dirty {
                    list.extend(own_appends(before, *key));
                }
            }
        }
        true
    }

    /// The end of a transaction. It may not commit though it should.
    fn end(&mut self, client: usize, running: &Running, commits: bool) {
        let mut acts = running.acts.clone();
        let commits = commits && self.commit(running, &mut acts);
        if !commits && self.shape.isolation == Isolation::ReadUncommitted {
            self.take_back(&running.acts[..running.done]);
        }
        self.locks.retain(|_, owner| *owner != running.own);
        if running.is_abandoned {
            // Nobody is at this place any more: others have taken over.
            self.running.swap_remove(client);
            return;
        }
        let returned = self.event();
        let own = &mut self.history[running.own];
        own.returned = Some(returned);
        own.outcome = if commits { Outcome::Ok } else { Outcome::Fail };
        if commits {
            own.mops = acts;
        }
    }

    fn commit(&mut self, running: &Running, acts: &mut [Act]) -> bool {
        let begin = running.snapshot.clone().unwrap_or_default();
        let length = |key: &Key| begin.get(key).copied().unwrap_or(0);
        let is_taken = |(key, list): (&Key, &Vec<Stored>)| {
            list.len() != length(key) && own_appends(acts, *key).next().is_some()
        };
        if self.shape.isolation == Isolation::Snapshot && self.lists.iter().any(is_taken) {
            return false;
        }
        self.revision += 1;
        for place in 0..acts.len() {
            let (before, rest) = acts.split_at_mut(place);
            match (&mut rest[0], self.shape.isolation) {
                (Act::Append(key, element), Isolation::ReadUncommitted) => {
                    let list = self.lists.entry(*key).or_default();
                    for stored in list.iter_mut().filter(|stored| stored.0 == *element) {
                        stored.1 = Some(self.revision);
                    }
                }
                (Act::Append(..), Isolation::Snapshot)
                | (Act::Read(..), Isolation::ReadUncommitted | Isolation::ReadCommitted) => {}
                (Act::Append(key, element), _) => {
                    let stored = (*element, Some(self.revision));
                    self.lists.entry(*key).or_default().push(stored);
                }
                (Act::Read(key, list), Isolation::Serializable) => {
                    let stored = self.lists.get(key).into_iter().flatten();
                    list.extend(stored.map(|(element, _)| *element));
                }
                (Act::Read(key, list), Isolation::Snapshot) => {
                    let stored = self.lists.get(key).into_iter().flatten().take(length(key));
                    list.extend(stored.map(|(element, _)| *element));
                    list.extend(own_appends(before, *key));
                }
            }
        }
        if self.shape.isolation == Isolation::Snapshot {
            for act in acts {
                if let Act::Append(key, element) = act {
                    let stored = (*element, Some(self.revision));
                    self.lists.entry(*key).or_default().push(stored);
                }
            }
        }
        true
    }

    fn take_back(&mut self, acts: &[Act]) {
        for act in acts {
            if let Act::Append(key, element) = act {
                self.lists.entry(*key).or_default().retain(|stored| stored.0 != *element);
            }
        }
    }
}

fn own_appends(acts: &[Act], key: Key) -> impl Iterator<Item = Element> + '_ {
    acts.iter().filter_map(move |act| match act {
        Act::Append(own, element) if *own == key => Some(*element),
        Act::Append(..) | Act::Read(..) => None,
    })
}

fn below(number: u64) -> usize {
    usize::try_from(number).expect("small")
}
