//! To which member a lane connects: to its home as long as that answers.
//!
//! After an error a lane goes on to the next member, and goes home again after a while, so that
//! every member keeps its share of the load after a fault. Lanes follow the roster: a voter that
//! came has its share at once, and who is gone has none. Learners have none either, since they would
//! refuse all but a few requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::roster::{Follow, Roster, Seat};

/// How long a lane stays away from the member it belongs to.
const AWAY: Duration = Duration::from_secs(2);

/// Which member is asked.
#[derive(Debug)]
pub(super) struct Route {
    follow: Follow,
    /// Place of the home among the voters, modulo their number.
    home: usize,
    roster: Arc<Roster>,
    /// Who is a voter by that roster. There is always one.
    voters: Vec<Seat>,
    /// The one that is asked, by its place among the voters.
    place: usize,
    home_at: Instant,
}

impl Route {
    /// A route whose home is the voter at the place `home` (modulo their number).
    pub(super) fn new(mut follow: Follow, home: usize) -> Route {
        let roster = Arc::clone(&follow.borrow_and_update());
        let mut route =
            Route { follow, home, roster, voters: Vec::new(), place: 0, home_at: Instant::now() };
        route.begin();
        route
    }

    fn begin(&mut self) {
        self.voters = self.roster.voters().cloned().collect();
        self.place = self.home();
    }

    fn home(&self) -> usize {
        self.home % self.voters.len()
    }

    /// The member to ask now.
    pub(super) fn seat(&mut self) -> &Seat {
        let roster = Arc::clone(&self.follow.borrow_and_update());
        if !Arc::ptr_eq(&roster, &self.roster) {
            self.roster = roster;
            self.begin();
        } else if self.place != self.home() && Instant::now() >= self.home_at {
            self.place = self.home();
        }
        &self.voters[self.place]
    }

    /// The member that was asked failed: goes on to the next one.
    pub(super) fn failed(&mut self) {
        if self.place == self.home() {
            self.home_at = Instant::now() + AWAY;
        }
        self.place = (self.place + 1) % self.voters.len();
    }

    /// Waits until [`Self::seat`] may be another one. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let is_home = self.place == self.home();
        let (home_at, follow) = (self.home_at, &mut self.follow);
        tokio::select! {
            () = tokio::time::sleep_until(home_at), if !is_home => {}
            changed = follow.changed() => if changed.is_err() {
                // Nobody comes or goes any more.
                if is_home {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep_until(home_at).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    fn endpoints(count: usize) -> Vec<String> {
        (0..count).map(|member| format!("127.0.0.1:{member}")).collect()
    }

    #[tokio::test]
    async fn routes_follow_those_that_come_and_go() {
        let (sender, follow) = watch::channel(Arc::new(Roster::of(&endpoints(2))));
        let mut routes: Vec<Route> = (0..6).map(|home| Route::new(follow.clone(), home)).collect();
        let mut asked = || routes.iter_mut().map(|r| r.seat().member).collect::<Vec<_>>();
        assert_eq!(asked(), [0, 1, 0, 1, 0, 1]);
        sender.send_replace(Arc::new(Roster::of(&endpoints(3))));
        assert_eq!(asked(), [0, 1, 2, 0, 1, 2]);
        let mut left = Roster::of(&endpoints(3));
        left.leave(0);
        sender.send_replace(Arc::new(left));
        assert_eq!(asked(), [1, 2, 1, 2, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_failed_is_left_for_a_while() {
        let follow = crate::cluster::roster::fixed(&endpoints(2));
        let mut route = Route::new(follow, 0);
        assert_eq!(route.seat().member, 0);
        route.failed();
        assert_eq!((route.seat().member, route.seat().member), (1, 1));
        let left = Instant::now();
        route.changed().await;
        assert_eq!(Instant::now() - left, AWAY);
        assert_eq!(route.seat().member, 0);
    }
}
