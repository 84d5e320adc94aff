//! Which calls of unknown outcome were used: as much of it as matters.
//!
//! That a write was used matters as long as somebody may want its value again. When nobody is left
//! who reads it, it still can help to leave a state that refuses a call; for that any other write
//! that nobody reads does as well, so that only their number counts: they are *pooled*.

use super::numbers::wide;
use super::seen::Use;

/// In place of a class: all that are pooled.
const POOL: u32 = u32::MAX;

/// Calls of unknown outcome that were used, by class.
pub(super) struct Uses {
    /// For each class how many of its calls were used.
    used: Vec<u32>,
    /// Classes that were used and count each for itself.
    distinct: Vec<u32>,
    is_pooled: Vec<bool>,
    /// Uses of pooled classes.
    pool: u32,
    told: Vec<Use>,
}

/// How a use can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The class was not in use.
    First,
    /// It was.
    Again,
    /// It is pooled.
    Pooled,
}

impl Uses {
    pub(super) fn new(classes: usize) -> Uses {
        Uses {
            used: vec![0; classes],
            distinct: Vec::new(),
            is_pooled: vec![false; classes],
            pool: 0,
            told: Vec::new(),
        }
    }

    /// For each class how many of its calls were used.
    pub(super) fn used(&self) -> &[u32] {
        &self.used
    }

    /// Uses one more call of a class.
    pub(super) fn add(&mut self, class: u32) -> Kind {
        self.used[wide(class)] += 1;
        if self.is_pooled[wide(class)] {
            self.pool += 1;
            Kind::Pooled
        } else if self.distinct.contains(&class) {
            Kind::Again
        } else {
            self.distinct.push(class);
            Kind::First
        }
    }

    /// Takes back the last use.
    pub(super) fn remove(&mut self, class: u32, kind: Kind) {
        self.used[wide(class)] -= 1;
        match kind {
            Kind::First => self.distinct.retain(|other| *other != class),
            Kind::Again => {}
            Kind::Pooled => self.pool -= 1,
        }
    }

    /// Pools classes that count only by their number from now on, and tells of each.
    pub(super) fn pool(&mut self, is_pooled: impl Fn(u32) -> bool, mut tell: impl FnMut(u32)) {
        let Uses { used, distinct, is_pooled: pooled, pool, .. } = self;
        distinct.retain(|class| {
            if !is_pooled(*class) {
                return true;
            }
            pooled[wide(*class)] = true;
            *pool += used[wide(*class)];
            tell(*class);
            false
        });
    }

    /// Takes a class out of the pool again.
    pub(super) fn unpool(&mut self, class: u32) {
        self.is_pooled[wide(class)] = false;
        self.pool -= self.used[wide(class)];
        self.distinct.push(class);
    }

    /// What matters, ascending by class; that of the pool only if its number does.
    pub(super) fn told(&mut self, with_pool: bool) -> &[Use] {
        let Uses { used, distinct, pool, told, .. } = self;
        distinct.sort_unstable();
        told.clear();
        told.extend(distinct.iter().map(|class| (*class, used[wide(*class)])));
        if with_pool && *pool > 0 {
            told.push((POOL, *pool));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_taken_back_in_reverse() {
        let mut uses = Uses::new(4);
        assert_eq!(uses.add(3), Kind::First);
        assert_eq!(uses.add(1), Kind::First);
        assert_eq!(uses.add(3), Kind::Again);
        assert_eq!(uses.told(true), [(1, 1), (3, 2)]);
        let mut pooled = Vec::new();
        uses.pool(|class| class == 3, |class| pooled.push(class));
        assert_eq!(
            (pooled.as_slice(), uses.told(true)),
            ([3].as_slice(), [(1, 1), (POOL, 2)].as_slice())
        );
        assert_eq!(uses.told(false), [(1, 1)]);
        assert_eq!(uses.add(3), Kind::Pooled);
        assert_eq!(uses.told(true), [(1, 1), (POOL, 3)]);
        uses.remove(3, Kind::Pooled);
        uses.unpool(3);
        uses.remove(3, Kind::Again);
        assert_eq!(uses.told(true), [(1, 1), (3, 1)]);
        assert_eq!(uses.used(), [0, 1, 0, 1]);
        uses.remove(1, Kind::First);
        uses.remove(3, Kind::First);
        assert_eq!(uses.told(true), []);
    }
}
