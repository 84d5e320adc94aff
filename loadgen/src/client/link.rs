//! A client's connection, pinned to a member as long as that member answers.
//!
//! After an error the connection is thrown away: the next operation connects anew, to the next
//! member, and goes home again after a while, so that every member keeps its share of the load
//! after a fault. An operation is only made once there is a connection to send it on.
//!
//! Links follow the roster: a voter that came has its share at once, and who is gone has none.
//! Learners have none either, since they would refuse all but a few requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::etcd::Client;
use crate::cluster::roster::{Follow, Roster, Seat};

/// How long a client stays away from the member it belongs to.
const AWAY: Duration = Duration::from_secs(2);
/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// A connection that one or more clients share.
#[derive(Debug)]
pub struct Link {
    follow: Follow,
    /// Place of the home among the voters, modulo their number.
    home: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connected: Option<Connected>,
    roster: Arc<Roster>,
    /// Who is a voter by that roster.
    voters: Vec<Seat>,
    /// The one that is asked, by its place among the voters.
    place: usize,
    home_at: Instant,
    generation: u64,
}

impl State {
    fn new(roster: Arc<Roster>, home: usize) -> State {
        let voters: Vec<Seat> = roster.voters().cloned().collect();
        let place = home % voters.len();
        let home_at = Instant::now();
        State { connected: None, roster, voters, place, home_at, generation: 0 }
    }
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
    /// A link that belongs to the voter at the place `home` (modulo their number). There is always
    /// one.
    pub fn new(follow: Follow, home: usize) -> Link {
        let state = State::new(Arc::clone(&follow.borrow()), home);
        Link { follow, home, state: Mutex::new(state) }
    }

    /// The connection; waits until some member lets us connect. Cancel-safe: a dropped call leaves
    /// the link without a connection.
    pub async fn connected(&self) -> Connected {
        let mut state = self.state.lock().await;
        loop {
            self.keep_up(&mut state);
            if let Some(connected) = &state.connected {
                return connected.clone();
            }
            let Seat { member, endpoint, .. } = &state.voters[state.place];
            let member = *member;
            if let Ok(client) = Client::connect(endpoint).await {
                state.generation += 1;
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

    /// Goes home when it is time to, or when others are members than were.
    fn keep_up(&self, state: &mut State) {
        let roster = Arc::clone(&self.follow.borrow());
        let is_changed = !Arc::ptr_eq(&roster, &state.roster);
        if is_changed {
            let (connected, generation) = (state.connected.take(), state.generation);
            *state = State { connected, generation, ..State::new(roster, self.home) };
        } else if state.place != self.home(state) && Instant::now() >= state.home_at {
            state.place = self.home(state);
        }
        let asked = state.voters[state.place].member;
        state.connected.take_if(|connected| connected.member != asked);
    }

    fn home(&self, state: &State) -> usize {
        self.home % state.voters.len()
    }

    fn go_on(&self, state: &mut State) {
        if state.place == self.home(state) {
            state.home_at = Instant::now() + AWAY;
        }
        state.place = (state.place + 1) % state.voters.len();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;

    /// Addresses that let us connect; that is all a link needs.
    async fn listening(count: usize) -> (Vec<TcpListener>, Vec<String>) {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let endpoints = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        (listeners, endpoints)
    }

    #[tokio::test]
    async fn links_follow_those_that_come_and_go() {
        let (_listeners, endpoints) = listening(3).await;
        let two = Roster::of(&endpoints[..2]);
        let (sender, follow) = watch::channel(Arc::new(two));
        let links: Vec<Link> = (0..6).map(|home| Link::new(follow.clone(), home)).collect();
        let asked = async || {
            let mut members = Vec::new();
            for link in &links {
                members.push(link.connected().await.member);
            }
            members
        };
        assert_eq!(asked().await, [0, 1, 0, 1, 0, 1]);
        sender.send_replace(Arc::new(Roster::of(&endpoints)));
        assert_eq!(asked().await, [0, 1, 2, 0, 1, 2]);
        let mut left = Roster::of(&endpoints);
        left.leave(0);
        sender.send_replace(Arc::new(left));
        assert_eq!(asked().await, [1, 2, 1, 2, 1, 2]);
    }

    #[tokio::test]
    async fn a_link_whose_connection_failed_goes_on_and_stays_away_for_a_while() {
        let (_listeners, endpoints) = listening(2).await;
        let link = Link::new(crate::cluster::roster::fixed(&endpoints), 0);
        let connected = link.connected().await;
        assert_eq!(connected.member, 0);
        link.failed(&connected).await;
        assert_eq!(link.connected().await.member, 1);
        assert_eq!(link.connected().await.member, 1);
    }
}
