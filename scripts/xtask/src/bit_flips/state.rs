//! Everything that a member serves, to be compared bit by bit.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use rusd_proto::etcdserverpb::Member;
use rusd_proto::mvccpb::KeyValue;

use crate::client::Client;

/// What a member serves.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    revision: i64,
    /// Of all revisions, and up to where they are compacted.
    hash: (u32, i64),
    /// Every key, with all of its fields.
    keys: Vec<KeyValue>,
    /// Every read of the past that was asked for.
    past: Vec<Option<KeyValue>>,
    /// The keys of every lease, by id.
    leases: BTreeMap<i64, Vec<Vec<u8>>>,
    /// The members, but for their client URLs.
    members: Vec<Member>,
}

impl State {
    /// Asks for everything, and for these keys at these revisions.
    pub(super) async fn of(client: &mut Client, past: &[(Vec<u8>, i64)]) -> Result<Self> {
        let (revision, keys) = client.all().await.context("cannot read all keys")?;
        let hash = client.hash_at(0).await.context("cannot hash the store")?;
        let mut values = Vec::new();
        for (key, revision) in past {
            let value = client.get_at(key.clone(), *revision).await;
            values.push(value.with_context(|| format!("cannot read at {revision}"))?);
        }
        let leases = client.leases().await.context("cannot read the leases")?;
        let mut members = client.members().await.context("cannot read the members")?;
        // They are told at each start.
        for member in &mut members {
            member.client_ur_ls.clear();
        }
        Ok(Self { revision, hash, keys, past: values, leases, members })
    }

    /// An error says what differs.
    pub(super) fn must_be(&self, other: &Self) -> Result<()> {
        let differs = [
            ("the revision", self.revision != other.revision),
            ("a key", self.keys != other.keys),
            ("a value of the past", self.past != other.past),
            ("a lease", self.leases != other.leases),
            ("a member", self.members != other.members),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            bail!("{what} is not what it was");
        }
        let ((hash, compacted), (hash_before, compacted_before)) = (self.hash, other.hash);
        ensure!(
            self.hash == other.hash,
            "the hash is {hash}, compacted to {compacted}; it was {hash_before}, to {compacted_before}"
        );
        Ok(())
    }
}
