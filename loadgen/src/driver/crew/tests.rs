//! What starts when, and on which connection: ticks by hand, against a server that answers at once.

use std::cell::RefCell;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::*;
use crate::clock::Clock;
use crate::cluster::roster;
use crate::driver::tests::shared;
use crate::driver::{lane, route};
use crate::generator::Seen;
use crate::keys::KeySpace;
use crate::pacing::{Share, Timetable};
use crate::wire::null;
use crate::workload::Workload;

const TEXT: &str = "duration = \"1s\"\nclients = 1\nkeys = { count = 9 }\nmix = { put = 1 }\n\
                    pacing = { mode = \"trace\", file = \"t\" }\n";

/// A crew with operations due at these seconds of its clock, and connections for its lanes; clients
/// share them evenly.
async fn watch(due_s: &[u64], lanes: usize, clients: usize, see: impl AsyncFnOnce(&RefCell<Crew>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || null::serve(&listener));
    let workload = Workload::parse("test.toml", TEXT).unwrap();
    let seen = Arc::new(Seen::new(KeySpace::new(&workload.keys), &workload.lists, 1, 7));
    let client = |place: usize| {
        let number = u64::try_from(place).unwrap();
        (place % lanes, Generator::new(&workload, 1, number, Arc::clone(&seen)))
    };
    let second = Duration::from_secs(1);
    let times = due_s.iter().map(|due_s| due_s * nanos(second)).collect();
    let timetable = Timetable::new(&workload.pacing, times, second, 0, Share::WHOLE, 1);
    let clients = (0..clients).map(client).collect();
    let crew = Crew::new(shared(), 0, lanes, clients, Source::Load(timetable));
    let crew = Rc::new(RefCell::new(crew));
    let seeing = async {
        for lane in 0..lanes {
            let route = route::Route::new(roster::fixed(std::slice::from_ref(&address)), 0);
            tokio::task::spawn_local(lane::run(Rc::clone(&crew), lane, route));
        }
        while (0..lanes).any(|lane| crew.borrow().current(lane).is_none()) {
            tokio::task::yield_now().await;
        }
        see(&crew).await;
    };
    LocalSet::new().run_until(seeing).await;
}

/// Lets the ticker wake at this second.
fn tick(crew: &RefCell<Crew>, at_s: u64) {
    come_to(crew, at_s);
    crew.borrow_mut().tick();
}

fn come_to(crew: &RefCell<Crew>, at_s: u64) {
    crew.borrow_mut().shared.clock = Clock::after(Duration::from_secs(at_s));
}

/// Lets something be answered.
async fn answered(crew: &RefCell<Crew>) {
    while crew.borrow().shared.stats.counts().ok == 0 {
        tokio::task::yield_now().await;
    }
}

/// With each answer came a write of what was due by then: the faster the server answered, the more
/// writes there were, and the more an operation cost.
#[tokio::test]
async fn what_is_due_waits_for_the_next_tick() {
    watch(&[10, 30], 1, 3, async |crew| {
        tick(crew, 20);
        assert_eq!(crew.borrow().in_flight, 1);
        come_to(crew, 40);
        answered(crew).await;
        assert_eq!(crew.borrow().in_flight, 0);
        tick(crew, 40);
        assert_eq!(crew.borrow().in_flight, 1);
    })
    .await;
}

#[tokio::test]
async fn what_waited_for_a_client_starts_when_there_is_one() {
    watch(&[10, 10], 1, 1, async |crew| {
        tick(crew, 20);
        assert_eq!(crew.borrow().in_flight, 1);
        answered(crew).await;
        let crew = crew.borrow();
        let ok = usize::try_from(crew.shared.stats.counts().ok).unwrap();
        assert_eq!(ok + crew.in_flight, 2);
    })
    .await;
}

/// One write for each connection cost four times as much with four connections.
#[tokio::test]
async fn what_is_due_together_goes_out_on_few_connections_in_turn() {
    let due_s = [&[10; 40][..], &[30; 24][..], &[50; 16][..], &[70; 2][..]].concat();
    watch(&due_s, 2, 128, async |crew| {
        for (at_s, expected) in [(20, [24, 16]), (40, [32, 32]), (60, [48, 32]), (80, [48, 34])] {
            tick(crew, at_s);
            let crew = crew.borrow();
            let connections = crew.connections.iter().flatten();
            let mut in_flight: Vec<_> = connections.map(|joined| joined.wire.in_flight()).collect();
            in_flight.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(in_flight, expected, "{at_s}");
        }
    })
    .await;
}
