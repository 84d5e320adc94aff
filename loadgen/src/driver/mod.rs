//! Offers load: logical clients on a few threads, many on one connection.
//!
//! ```text
//!   thread 0                                        thread 1 ...
//!   ticker: sleeps until an operation is due             (its own connections,
//!     |                                                   clients, share of the timetable)
//!     v
//!   crew: who is free -> asks -> frames of connections
//!     ^                                |
//!     |                                v
//!   answers <-------- connection tasks: one write, one read for many operations
//!     |
//!     '--> stats, history, what the client learns
//! ```
//!
//! A write costs more than anything else, and less so the more operations it carries. So an open loop
//! starts what is due at ticks only, and not when answers come; but what waited for a client starts as
//! soon as there is one. Connections take turns.
//!
//! Order within an operation: due (pacing) -> called -> sent -> ended -> recorded -> learned. An
//! operation in flight when the load ends is waited for, up to its timeout, so that its outcome is
//! known if it can be.
//!
//! Invariants: a client has one operation at a time, on the connection of its lane; nothing is sent
//! twice. A connection on which something failed that was no refusal takes no further operations;
//! those that it has are waited for. A lane connects to the next member then, and goes home after a
//! while.
//!
//! A thread runs everything that is its own, so nothing here takes a lock, and what a thread was
//! late with and how busy it was is the generator's own share of what is measured: [`Effort`].

mod crew;
mod effort;
mod lane;
mod preload;
mod route;
mod source;
mod timer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::roster::Follow;
use crate::generator::Generator;
use crate::recorder::Recorder;
use crate::stats::Stats;
use crate::workload::Overflow;
use crew::Crew;
pub use effort::{Effort, EffortSummary};
pub use preload::{Preload, PreloadError, RETRY as PRELOAD_RETRY};
pub use source::Source;

/// What all threads of a load share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The run's clock.
    pub clock: Clock,
    /// Where histories go.
    pub recorder: Recorder,
    /// Where latencies go.
    pub stats: Arc<Stats>,
    /// When a client gives up.
    pub request_timeout: Duration,
    /// What becomes of operations that are due while all clients are busy.
    pub overflow: Overflow,
    /// Set when the load has ended.
    pub stop: CancellationToken,
}

/// What one thread does.
#[derive(Debug)]
pub struct Part {
    /// Its place among the threads.
    pub index: usize,
    /// Who the members are.
    pub follow: Follow,
    /// The home of each of its lanes, which are connections: the voter at that place, modulo their
    /// number.
    pub lanes: Vec<usize>,
    /// Its clients, each with its lane (an index into `lanes`).
    pub clients: Vec<(usize, Generator)>,
    /// What they do.
    pub source: Source,
}

/// A thread at work.
#[derive(Debug)]
pub struct Working {
    thread: JoinHandle<Result<Effort, PreloadError>>,
}

/// Puts a thread to work.
pub fn start(shared: Shared, part: Part) -> std::io::Result<Working> {
    let name = format!("load-{}", part.index);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, work(shared, part))
    })?;
    Ok(Working { thread })
}

impl Working {
    /// Waits until the thread has nothing left to do; blocking.
    ///
    /// # Panics
    /// If the thread did.
    pub fn join(self) -> Result<Effort, PreloadError> {
        self.thread.join().expect("a thread of the load does not panic")
    }
}

async fn work(shared: Shared, part: Part) -> Result<Effort, PreloadError> {
    let Part { index, follow, lanes, clients, source } = part;
    let stop = shared.stop.clone();
    let timer = timer::Timer::new().expect("the system has timers");
    let crew = Rc::new(RefCell::new(Crew::new(shared, index, lanes.len(), clients, source)));
    for (lane, home) in lanes.into_iter().enumerate() {
        let route = route::Route::new(follow.clone(), home);
        tokio::task::spawn_local(lane::run(Rc::clone(&crew), lane, route));
    }
    tokio::task::spawn_local(lane::sweep(Rc::clone(&crew)));
    lane::tick(&crew, &timer, &stop).await;
    let (rest, recorder) = {
        let mut crew = crew.borrow_mut();
        (crew.last_lines(), crew.shared.recorder.clone())
    };
    recorder.lines(rest).await;
    crew.borrow_mut().finish()
}

#[cfg(test)]
mod tests;
