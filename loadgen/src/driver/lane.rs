//! The tasks of a thread: one that keeps its timetable, one for each lane, one for each connection,
//! and one that looks for what takes too long.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::crew::{Crew, Next};
use super::route::Route;
use super::timer::{Ticks, Timer};
use crate::cluster::roster::Seat;
use crate::wire::{Connection, Socket};

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);
/// How long a server may take to say what it allows, once it is connected.
const OPEN_MAX: Duration = Duration::from_secs(1);
/// How often is looked for what takes too long.
const SWEEP: Duration = Duration::from_millis(10);
/// What is read from a socket at a time.
const BUFFER_BYTES: usize = 1 << 16;

type Shared = Rc<RefCell<Crew>>;

/// Starts what is due, until all is done.
pub(super) async fn tick(crew: &RefCell<Crew>, timer: &Timer, stop: &CancellationToken) {
    let (ticker, clock) = {
        let crew = crew.borrow();
        (Rc::clone(&crew.ticker), crew.shared.clock)
    };
    let mut ticks = Ticks::default();
    loop {
        let is_stopped = stop.is_cancelled();
        if is_stopped {
            crew.borrow_mut().stop();
        }
        let next_tick_ns = ticks.come(clock.now_ns());
        let next = crew.borrow_mut().tick();
        let due = async {
            match next {
                Next::At(at_ns) => timer.sleep_until(&clock, at_ns.max(next_tick_ns)).await,
                Next::Wait | Next::Done => std::future::pending().await,
            }
        };
        if next == Next::Done {
            return;
        }
        // Cancel-safe: nothing is lost but a wait.
        tokio::select! {
            () = stop.cancelled(), if !is_stopped => {}
            () = ticker.notified() => {}
            () = due => {}
        }
    }
}

/// Keeps a lane connected.
pub(super) async fn run(crew: Shared, lane: usize, mut route: Route) {
    let changed = crew.borrow().changed(lane);
    loop {
        let seat = route.seat().clone();
        let Some(id) = connect(&crew, lane, &seat, &changed).await else {
            route.failed();
            tokio::time::sleep(RETRY).await;
            continue;
        };
        crew.borrow_mut().install(lane, id);
        loop {
            tokio::select! {
                () = changed.notified() => {}
                () = route.changed() => {}
            }
            if crew.borrow().current(lane) != Some(id) {
                route.failed();
                break;
            }
            if *route.seat() != seat {
                crew.borrow_mut().retire(id);
                break;
            }
        }
    }
}

/// A connection that may be asked on.
async fn connect(crew: &Shared, lane: usize, seat: &Seat, changed: &Notify) -> Option<usize> {
    let (socket, authority) = Socket::connect(&seat.endpoint).await.ok()?;
    let wire = Connection::new(&authority, socket.is_secured());
    let id = crew.borrow_mut().join(lane, seat.member, wire);
    tokio::task::spawn_local(converse(Rc::clone(crew), id, socket));
    let opened = async {
        loop {
            let is_open = crew.borrow().is_open(id);
            if is_open != Some(false) {
                return;
            }
            changed.notified().await;
        }
    };
    // Whether it is open is asked below.
    drop(tokio::time::timeout(OPEN_MAX, opened).await);
    let is_open = crew.borrow().is_open(id);
    if is_open == Some(true) {
        return Some(id);
    }
    crew.borrow_mut().retire(id);
    None
}

/// Carries a connection's bytes, until it is of no use any more.
async fn converse(crew: Shared, id: usize, mut socket: Socket) {
    let mut buffer = vec![0; BUFFER_BYTES];
    poll_fn(|context| crew.borrow_mut().converse(id, &mut socket, &mut buffer, context)).await;
    crew.borrow_mut().closed(id);
}

/// Gives up what takes too long, and hands the history over.
pub(super) async fn sweep(crew: Shared) {
    let mut interval = tokio::time::interval(SWEEP);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let recorder = crew.borrow().shared.recorder.clone();
    loop {
        interval.tick().await;
        let lines = {
            let mut crew = crew.borrow_mut();
            crew.expire();
            crew.last_lines()
        };
        recorder.lines(lines).await;
    }
}
