//! `HashKV` after random operations is what etcd answered after the same ones.
//!
//! `RUSD_E2E_ENDPOINT=... UPDATE_GOLDEN=1 cargo test -p rusd --test e2e hashes` makes the record
//! anew, from a fresh etcd. `rusd-state` plays all of it; here it is the beginning only, to see that
//! a physical compaction has done its work when it is answered.

#[path = "../../state/tests/script/operations.rs"]
mod operations;

use std::path::Path;

use operations::{CHECKED_EVERY, Operation, Operations, RECORD, RECORDED, shown};
use rusd_proto::etcdserverpb::HashKvRequest;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rusd_proto::etcdserverpb::lease_client::LeaseClient;
use rusd_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tonic::transport::Channel;

use crate::process::Member;

/// Operations played on a member of our own.
const PLAYED: usize = 1000;

struct Client {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
}

impl Client {
    async fn of(member: &Member) -> Self {
        let channel = member.channel().await;
        let (kv, lease) = (KvClient::new(channel.clone()), LeaseClient::new(channel.clone()));
        Client { kv, lease, maintenance: MaintenanceClient::new(channel) }
    }

    /// The hashes tell whether what is refused is what etcd refuses.
    async fn play(&mut self, operation: Operation) {
        match operation {
            Operation::Put(put) => drop(self.kv.put(put).await),
            Operation::DeleteRange(delete) => drop(self.kv.delete_range(delete).await),
            Operation::Txn(txn) => drop(self.kv.txn(txn).await),
            Operation::LeaseGrant(grant) => drop(self.lease.lease_grant(grant).await),
            Operation::LeaseRevoke(revoke) => drop(self.lease.lease_revoke(revoke).await),
            Operation::Compact(compact) => drop(self.kv.compact(compact).await),
        }
    }

    /// The hash at a revision, and the revision of the store.
    async fn hash(&mut self, revision: i64) -> (String, i64) {
        match self.maintenance.hash_kv(HashKvRequest { revision }).await {
            Ok(response) => {
                let found = response.into_inner();
                let hash = (found.hash, found.compact_revision, found.hash_revision);
                (shown(Some(hash)), found.header.unwrap().revision)
            }
            Err(_) => (shown(None), 0),
        }
    }
}

#[tokio::test]
async fn the_same_operations_give_etcds_hashes() {
    let member = Member::start(&[]);
    let mut client = Client::of(&member).await;
    let mut operations = Operations::recorded();
    let count = if std::env::var("RUSD_E2E_ENDPOINT").is_ok() { RECORDED } else { PLAYED };
    let mut lines = Vec::new();
    let mut revision = 1;
    for number in 1..=count {
        client.play(operations.next(revision)).await;
        revision = client.hash(0).await.1;
        if number % CHECKED_EVERY == 0 {
            let mut line = vec![number.to_string(), revision.to_string()];
            for checked in operations.checked(revision) {
                line.push(client.hash(checked).await.0);
            }
            lines.push(line.join(" "));
        }
    }
    if std::env::var("UPDATE_GOLDEN").is_ok() && count == RECORDED {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("state/tests/recorded");
        std::fs::write(folder.join("hashes_of_operations.txt"), lines.join("\n") + "\n").unwrap();
        return;
    }
    for (line, recorded) in lines.iter().zip(RECORD.lines()) {
        assert_eq!(line, recorded);
    }
}
