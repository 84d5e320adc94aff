//! A client's connection, pinned to a member as long as that member answers.
//!
//! After an error the connection is thrown away: the next operation connects anew, to the next
//! member, and goes home again after a while, so that every member keeps its share of the load
//! after a fault. An operation is only made once there is a connection to send it on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::etcd::Client;

/// How long a client stays away from the member it belongs to.
const AWAY: Duration = Duration::from_secs(2);
/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// A connection that one or more clients share.
#[derive(Debug)]
pub struct Link {
    endpoints: Arc<[String]>,
    home: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connected: Option<Connected>,
    member: usize,
    home_at: Instant,
    generation: u64,
}

/// A connection as it was handed out.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The connection.
    pub client: Client,
    /// Index of the member it leads to.
    pub member: u32,
    generation: u64,
}

impl Link {
    /// A link that belongs to member `home` (modulo the number of members).
    pub fn new(endpoints: Arc<[String]>, home: usize) -> Link {
        let home = home % endpoints.len();
        let state = State { connected: None, member: home, home_at: Instant::now(), generation: 0 };
        Link { endpoints, home, state: Mutex::new(state) }
    }

    /// The connection; waits until some member lets us connect. Cancel-safe: a dropped call leaves
    /// the link without a connection.
    pub async fn connected(&self) -> Connected {
        let mut state = self.state.lock().await;
        if state.member != self.home && Instant::now() >= state.home_at {
            state.connected = None;
            state.member = self.home;
        }
        loop {
            if let Some(connected) = &state.connected {
                return connected.clone();
            }
            if let Ok(client) = Client::connect(&self.endpoints[state.member]).await {
                state.generation += 1;
                let member = u32::try_from(state.member).expect("members are few");
                let generation = state.generation;
                state.connected = Some(Connected { client, member, generation });
            } else {
                self.go_on(&mut state);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Throws a connection away that failed, and goes on to the next member.
    pub async fn failed(&self, connected: &Connected) {
        let mut state = self.state.lock().await;
        if state.generation == connected.generation && state.connected.is_some() {
            state.connected = None;
            self.go_on(&mut state);
        }
    }

    fn go_on(&self, state: &mut State) {
        if state.member == self.home {
            state.home_at = Instant::now() + AWAY;
        }
        state.member = (state.member + 1) % self.endpoints.len();
    }
}
