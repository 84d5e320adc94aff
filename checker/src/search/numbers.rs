//! Numbers for things: equal things have one number, given in the order of first sight.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::DefaultHashBuilder;
use hashbrown::hash_table::{Entry, HashTable};

/// The things that have a number.
#[derive(Debug, Clone)]
pub(crate) struct Numbers<T> {
    things: Vec<T>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T: Hash + PartialEq> Numbers<T> {
    /// None yet.
    pub(crate) fn new() -> Numbers<T> {
        let hasher = DefaultHashBuilder::default();
        Numbers { things: Vec::new(), table: HashTable::new(), hasher }
    }

    /// The number of `thing`, and whether it is new.
    pub(crate) fn number(&mut self, thing: T) -> (u32, bool) {
        let Numbers { things, table, hasher } = self;
        let hash = hasher.hash_one(&thing);
        let is_it = |number: &u32| things[wide(*number)] == thing;
        let hash_of = |number: &u32| hasher.hash_one(&things[wide(*number)]);
        match table.entry(hash, is_it, hash_of) {
            Entry::Occupied(found) => (*found.get(), false),
            Entry::Vacant(free) => {
                let number = narrow(things.len());
                free.insert(number);
                things.push(thing);
                (number, true)
            }
        }
    }

    /// The thing with this number.
    pub(crate) fn thing(&self, number: u32) -> &T {
        &self.things[wide(number)]
    }

    /// The things, in the order of their numbers.
    pub(crate) fn into_things(self) -> Vec<T> {
        self.things
    }

    /// How many have a number.
    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }
}

/// As an index.
pub(crate) fn wide(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}

/// As a number of ours: histories and what a search remembers of them stay below four billions.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than four billions")
}
