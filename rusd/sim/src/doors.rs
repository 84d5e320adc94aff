//! The clients' way to the members: no sockets, but doors that are shut when a member is gone; or
//! connections over a simulated network, which find out for themselves.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use rusd_loadgen::client::etcd::Client;
use rusd_proto::etcdserverpb::cluster_client::ClusterClient;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

/// Takes requests to a member, whichever way they go.
pub type Way = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, WayError>;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WayError(#[source] StdError);

/// Makes a way to a member of this index, if it can be reached.
pub type Knock = Arc<dyn Fn(usize) -> Reaching + Send + Sync>;

/// A way that is being made.
pub type Reaching = Pin<Box<dyn Future<Output = Option<Door>> + Send>>;

/// A member that lives.
#[derive(Debug, Clone)]
pub struct Door {
    /// Takes requests.
    pub client: Client<Way>,
    /// Takes changes of the membership.
    pub cluster: ClusterClient<Way>,
    /// Cancelled when the member is gone; requests then end without an answer.
    pub gone: CancellationToken,
}

impl Door {
    /// A way to a member that is there until `gone`.
    pub fn new<S>(service: S, gone: CancellationToken) -> Door
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + Sync,
        S: 'static,
        S::Error: Into<StdError>,
        S::Future: Send + 'static,
    {
        let way = BoxCloneSyncService::new(service.map_err(|error| WayError(error.into())));
        Door { client: Client::over(way.clone()), cluster: ClusterClient::new(way), gone }
    }
}

/// The doors of all members.
#[derive(Clone)]
pub struct Doors {
    members: Arc<[Member]>,
    knock: Option<Knock>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").field("members", &self.members).finish_non_exhaustive()
    }
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
        Doors { members: (0..members).map(member).collect(), knock: None }
    }

    /// To so many members that are reached by this.
    pub fn over(members: usize, knock: Knock) -> Doors {
        Doors { knock: Some(knock), ..Doors::new(members) }
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

    /// A way to a member, if it can be reached.
    pub fn reach(&self, member: usize) -> Reaching {
        match &self.knock {
            Some(knock) => knock(member),
            None => Box::pin(std::future::ready(self.get(member))),
        }
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
