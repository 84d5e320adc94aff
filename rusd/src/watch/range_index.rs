//! Interval index: which ranges cover a key.
//!
//! A treap over `(start, end)` where each node also knows the largest end below it, so that a look
//! passes over whole subtrees that end before the key. All members of an equal range share a node.
//!
//! Invariants: ordered by `(start, end)`; a node's priority is at least its children's; `max_end`
//! is the largest `end` of the subtree; no node is without members.

use std::cmp::Ordering;

use bytes::Bytes;

/// Where a range ends, exclusively.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RangeEnd {
    /// Before this key.
    Before(Bytes),
    /// Nowhere.
    Unbounded,
}

impl RangeEnd {
    /// The key lies before the end.
    pub(crate) fn is_after(&self, key: &[u8]) -> bool {
        match self {
            RangeEnd::Before(end) => key < &end[..],
            RangeEnd::Unbounded => true,
        }
    }
}

/// Members by the range that they cover.
#[derive(Debug)]
pub(crate) struct RangeIndex<T> {
    root: Tree<T>,
    nodes_made: u64,
}

type Tree<T> = Option<Box<Node<T>>>;

#[derive(Debug)]
struct Node<T> {
    start: Bytes,
    end: RangeEnd,
    max_end: RangeEnd,
    priority: u64,
    members: Vec<T>,
    left: Tree<T>,
    right: Tree<T>,
}

impl<T> Default for RangeIndex<T> {
    fn default() -> Self {
        RangeIndex { root: None, nodes_made: 0 }
    }
}

impl<T> RangeIndex<T> {
    /// Adds a member that covers `[start, end)`.
    pub(crate) fn insert(&mut self, start: Bytes, end: RangeEnd, member: T) {
        if let Some(node) = find(&mut self.root, &start, &end) {
            node.members.push(member);
            return;
        }
        self.nodes_made += 1;
        let (before, after) = split(self.root.take(), &start, &end);
        let node = Box::new(Node {
            start,
            max_end: end.clone(),
            end,
            priority: scrambled(self.nodes_made),
            members: vec![member],
            left: None,
            right: None,
        });
        self.root = merge(merge(before, Some(node)), after);
    }

    /// Removes the members of exactly this range that `is_it` tells.
    pub(crate) fn remove(&mut self, start: &[u8], end: &RangeEnd, is_it: impl Fn(&T) -> bool) {
        remove(&mut self.root, start, end, &is_it);
    }

    /// Calls `found` with every member whose range covers `key`.
    pub(crate) fn covering(&self, key: &[u8], mut found: impl FnMut(&T)) {
        covering(self.root.as_deref(), key, &mut found);
    }

    /// Some range covers `key`.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        let mut is_covered = false;
        self.covering(key, |_| is_covered = true);
        is_covered
    }

    /// No range at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

impl<T> Node<T> {
    fn order(&self, start: &[u8], end: &RangeEnd) -> Ordering {
        (&self.start[..], &self.end).cmp(&(start, end))
    }

    fn update(&mut self) {
        let children = self.left.iter().chain(&self.right).map(|child| &child.max_end);
        self.max_end = children.chain([&self.end]).max().expect("has its own end").clone();
    }
}

fn find<'a, T>(tree: &'a mut Tree<T>, start: &[u8], end: &RangeEnd) -> Option<&'a mut Node<T>> {
    let node = tree.as_deref_mut()?;
    match node.order(start, end) {
        Ordering::Equal => Some(node),
        Ordering::Greater => find(&mut node.left, start, end),
        Ordering::Less => find(&mut node.right, start, end),
    }
}

/// Splits into what is ordered before `(start, end)` and what is not.
fn split<T>(tree: Tree<T>, start: &[u8], end: &RangeEnd) -> (Tree<T>, Tree<T>) {
    let Some(mut node) = tree else { return (None, None) };
    if node.order(start, end) == Ordering::Less {
        let (before, after) = split(node.right.take(), start, end);
        node.right = before;
        node.update();
        (Some(node), after)
    } else {
        let (before, after) = split(node.left.take(), start, end);
        node.left = after;
        node.update();
        (before, Some(node))
    }
}

/// Joins two trees, all of the first ordered before all of the second.
fn merge<T>(before: Tree<T>, after: Tree<T>) -> Tree<T> {
    match (before, after) {
        (None, tree) | (tree, None) => tree,
        (Some(mut left), Some(mut right)) => {
            if left.priority >= right.priority {
                left.right = merge(left.right.take(), Some(right));
                left.update();
                Some(left)
            } else {
                right.left = merge(Some(left), right.left.take());
                right.update();
                Some(right)
            }
        }
    }
}

fn remove<T>(tree: &mut Tree<T>, start: &[u8], end: &RangeEnd, is_it: &impl Fn(&T) -> bool) {
    let Some(node) = tree else { return };
    match node.order(start, end) {
        Ordering::Greater => remove(&mut node.left, start, end, is_it),
        Ordering::Less => remove(&mut node.right, start, end, is_it),
        Ordering::Equal => {
            node.members.retain(|member| !is_it(member));
            if node.members.is_empty() {
                let merged = merge(node.left.take(), node.right.take());
                *tree = merged;
                return;
            }
        }
    }
    node.update();
}

fn covering<T>(tree: Option<&Node<T>>, key: &[u8], found: &mut impl FnMut(&T)) {
    let Some(node) = tree else { return };
    if !node.max_end.is_after(key) {
        return;
    }
    covering(node.left.as_deref(), key, found);
    if node.start <= key {
        if node.end.is_after(key) {
            node.members.iter().for_each(&mut *found);
        }
        covering(node.right.as_deref(), key, found);
    }
}

/// A well-mixed priority (splitmix64), the same in every run.
fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
