//! Many objects of one kind, each under its key: Jepsen's independent keys, a key-value store.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use stateright::semantics::SequentialSpec;

use crate::search::{Model, Shape};

/// Objects by key. Each begins as the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keyed<K, M> {
    initial: M,
    /// Those that are not as at the beginning.
    changed: BTreeMap<K, M>,
}

/// An operation on the object under a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyedOp<K, O> {
    /// The key.
    pub key: K,
    /// What is asked of its object.
    pub op: O,
}

impl<K: Clone + Ord, M: Clone + PartialEq> Keyed<K, M> {
    /// Each begins as `initial`.
    pub fn new(initial: M) -> Keyed<K, M> {
        Keyed { initial, changed: BTreeMap::new() }
    }

    /// The object under a key.
    pub fn get(&self, key: &K) -> &M {
        self.changed.get(key).unwrap_or(&self.initial)
    }

    /// One that is as at the beginning is not kept, so that equal objects are equal states.
    fn set(&mut self, key: &K, object: M) {
        if object == self.initial {
            self.changed.remove(key);
        } else {
            self.changed.insert(key.clone(), object);
        }
    }

    /// The same, but for the object under one key.
    fn with(&self, key: &K, object: M) -> Keyed<K, M> {
        let mut other = self.clone();
        other.set(key, object);
        other
    }
}

impl<K: Clone + Ord, M: SequentialSpec + Clone + PartialEq> SequentialSpec for Keyed<K, M> {
    type Op = KeyedOp<K, M::Op>;
    type Ret = M::Ret;

    fn invoke(&mut self, KeyedOp { key, op }: &KeyedOp<K, M::Op>) -> M::Ret {
        let mut object = self.get(key).clone();
        let ret = object.invoke(op);
        self.set(key, object);
        ret
    }

    fn is_valid_step(&mut self, KeyedOp { key, op }: &KeyedOp<K, M::Op>, ret: &M::Ret) -> bool {
        let mut object = self.get(key).clone();
        let is_valid = object.is_valid_step(op, ret);
        if is_valid {
            self.set(key, object);
        }
        is_valid
    }
}

impl<K, M> Model for Keyed<K, M>
where
    K: Clone + Ord + Hash + Debug,
    M: Model,
{
    type Key = (K, M::Key);

    fn partition(op: &KeyedOp<K, M::Op>) -> (K, M::Key) {
        (op.key.clone(), M::partition(&op.op))
    }

    fn describe_part((key, part): &(K, M::Key)) -> String {
        if size_of::<M::Key>() == 0 {
            format!("{key:?}")
        } else {
            format!("{key:?}: {}", M::describe_part(part))
        }
    }

    fn is_read_only(op: &KeyedOp<K, M::Op>, ret: Option<&M::Ret>) -> bool {
        M::is_read_only(&op.op, ret)
    }

    fn shape(&self, op: &KeyedOp<K, M::Op>, ret: Option<&M::Ret>) -> Shape<Keyed<K, M>> {
        self.get(&op.key).shape(&op.op, ret).map(|object| self.with(&op.key, object))
    }

    fn may_grow_into(&self, later: &Keyed<K, M>) -> bool {
        let mut keys = self.changed.keys().chain(later.changed.keys());
        keys.all(|key| self.get(key).may_grow_into(later.get(key)))
    }

    fn describe(op: &KeyedOp<K, M::Op>, ret: Option<&M::Ret>) -> String {
        format!("{:?}: {}", op.key, M::describe(&op.op, ret))
    }

    fn describe_state(&self) -> String {
        let object = |(key, object): (&K, &M)| format!("{key:?}: {}", object.describe_state());
        let objects: Vec<String> = self.changed.iter().map(object).collect();
        if objects.is_empty() { "as at the beginning".into() } else { objects.join(", ") }
    }
}
