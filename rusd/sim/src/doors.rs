//! The clients' way to the members: no sockets, but doors that are shut when a member is gone.

use std::sync::Arc;

use parking_lot::Mutex;
use rusd_loadgen::client::etcd::Client;
use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// A member that lives.
#[derive(Debug, Clone)]
pub struct Door {
    /// Takes requests.
    pub client: Client<Routes>,
    /// Takes changes of the membership.
    pub cluster: ClusterClient<Routes>,
    /// Cancelled when the member is gone; requests then end without an answer.
    pub gone: CancellationToken,
}

/// The doors of all members.
#[derive(Debug, Clone)]
pub struct Doors {
    members: Arc<[Member]>,
}

#[derive(Debug, Default)]
struct Member {
    door: Mutex<Option<Door>>,
    is_paused: Mutex<bool>,
    /// Told when it goes on; whoever waited longest is first.
    goes_on: Notify,
}

impl Doors {
    /// All shut.
    pub fn new(members: usize) -> Doors {
        let member = |_| Member::default();
        Doors { members: (0..members).map(member).collect() }
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// A member lives from now on.
    pub fn open(&self, member: usize, door: Door) {
        *self.members[member].door.lock() = Some(door);
    }

    /// A member is gone.
    pub fn shut(&self, member: usize) {
        if let Some(door) = self.members[member].door.lock().take() {
            door.gone.cancel();
        }
    }

    /// A member stands still, or goes on.
    pub fn set_paused(&self, member: usize, is_paused: bool) {
        let member = &self.members[member];
        *member.is_paused.lock() = is_paused;
        if !is_paused {
            member.goes_on.notify_waiters();
        }
    }

    /// A member that lives.
    pub fn get(&self, member: usize) -> Option<Door> {
        self.members[member].door.lock().clone()
    }

    /// Returns when the member does not stand still.
    pub async fn going_on(&self, member: usize) {
        let member = &self.members[member];
        loop {
            let goes_on = member.goes_on.notified();
            if !*member.is_paused.lock() {
                return;
            }
            goes_on.await;
        }
    }
}
