//! All leases.
//!
//! Which lease a key has stands in its key-value; the sets of keys kept here are an index of that,
//! rebuilt on start.

use std::collections::BTreeMap;

use super::grant::{Lease, LeaseInfo};
use crate::error::ApplyError;
use crate::mvcc::index_key::IndexKey;

/// Longest time to live that etcd grants, in seconds.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// The leases by id.
#[derive(Debug, Default)]
pub(crate) struct Lessor {
    leases: BTreeMap<i64, Lease>,
}

impl Lessor {
    /// The lease exists.
    pub(crate) fn contains(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// A lease.
    pub(crate) fn lease(&self, id: i64) -> Option<LeaseInfo> {
        self.leases.get(&id).map(|lease| lease.info(id))
    }

    /// All ids in ascending order.
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    /// All leases without their keys, in ascending order of id.
    pub(crate) fn times(&self) -> impl Iterator<Item = LeaseInfo> {
        self.leases.iter().map(|(id, lease)| {
            let keys = Vec::new();
            LeaseInfo { id: *id, ttl: lease.ttl, remaining_ttl: lease.remaining_ttl, keys }
        })
    }

    /// Makes a lease; one that asks for less than the minimum gets the minimum.
    pub(crate) fn grant(&mut self, id: i64, ttl: i64, ttl_min: i64) -> Result<&Lease, ApplyError> {
        if id == 0 {
            return Err(ApplyError::LeaseNotFound);
        }
        if ttl > TTL_SECONDS_MAX {
            return Err(ApplyError::LeaseTtlTooLarge);
        }
        if self.contains(id) {
            return Err(ApplyError::LeaseExists);
        }
        let lease = Lease { ttl: ttl.max(ttl_min), ..Lease::default() };
        Ok(self.leases.entry(id).or_insert(lease))
    }

    /// Records what is left of a lease's time, if there is such a lease.
    pub(crate) fn checkpoint(&mut self, id: i64, remaining: i64) -> Option<&Lease> {
        let lease = self.leases.get_mut(&id)?;
        lease.remaining_ttl = remaining;
        Some(lease)
    }

    /// The keys that a revoke must delete, in order.
    pub(crate) fn keys(&self, id: i64) -> Result<Vec<IndexKey>, ApplyError> {
        let lease = self.leases.get(&id).ok_or(ApplyError::LeaseNotFound)?;
        Ok(lease.keys.iter().cloned().collect())
    }

    /// Forgets a lease whose keys are gone.
    pub(crate) fn remove(&mut self, id: i64) {
        let removed = self.leases.remove(&id);
        assert!(removed.is_none_or(|lease| lease.keys.is_empty()), "its keys were deleted first");
    }

    /// Moves a key from one lease to another; 0 is none.
    pub(crate) fn reattach(&mut self, key: &[u8], from: i64, to: i64) {
        if from == to {
            return;
        }
        if let Some(lease) = self.leases.get_mut(&from) {
            lease.keys.remove(key);
        }
        if to != 0 {
            let lease = self.leases.get_mut(&to).expect("puts check that their lease exists");
            lease.keys.insert(key.into());
        }
    }

    /// Adds a lease while the state is loaded. The minimum may be higher than when it was granted.
    pub(crate) fn load(&mut self, record: &rusd_proto::leasepb::Lease, ttl_min: i64) {
        let ttl = record.ttl.max(ttl_min);
        let lease = Lease { ttl, remaining_ttl: record.remaining_ttl, ..Lease::default() };
        self.leases.insert(record.id, lease);
    }

    /// Attaches a key while the state is loaded. False if there is no such lease.
    pub(crate) fn load_key(&mut self, id: i64, key: &IndexKey) -> bool {
        match self.leases.get_mut(&id) {
            Some(lease) => lease.keys.insert(key.clone()),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_refused_in_etcds_order() {
        let mut lessor = Lessor::default();
        assert_eq!(lessor.grant(0, i64::MAX, 2).unwrap_err(), ApplyError::LeaseNotFound);
        assert_eq!(lessor.grant(1, i64::MAX, 2).unwrap_err(), ApplyError::LeaseTtlTooLarge);
        assert_eq!(lessor.grant(1, -5, 2).unwrap().ttl, 2);
        assert_eq!(lessor.grant(1, 10, 2).unwrap_err(), ApplyError::LeaseExists);
        assert_eq!(lessor.grant(2, TTL_SECONDS_MAX, 2).unwrap().ttl, TTL_SECONDS_MAX);
    }

    #[test]
    fn a_key_has_one_lease() {
        let mut lessor = Lessor::default();
        lessor.grant(1, 10, 2).unwrap();
        lessor.grant(2, 10, 2).unwrap();
        lessor.reattach(b"b", 0, 1);
        lessor.reattach(b"a", 0, 1);
        lessor.reattach(b"b", 1, 2);
        assert_eq!(lessor.keys(1).unwrap(), [IndexKey::from(&b"a"[..])]);
        assert_eq!(lessor.keys(2).unwrap(), [IndexKey::from(&b"b"[..])]);
        lessor.reattach(b"b", 2, 0);
        assert_eq!(lessor.keys(2).unwrap(), []);
    }
}
