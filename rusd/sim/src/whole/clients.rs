//! The clients' host: the load, the watches, and the last reads, over connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use rusd_checker::history::record::Record;
use tokio_util::sync::CancellationToken;

use super::wire;
use crate::clients::{self, History, Shared};
use crate::doors::Doors;
use crate::plan::Plan;
use crate::schedule::{header, read_all};
use crate::world::Violation;

/// Pause before a member is asked again that was not there.
const RETRY: Duration = Duration::from_millis(40);

/// How far the clients are, and what they are told.
#[derive(Default)]
pub(super) struct Clients {
    /// Ends the load.
    pub(super) stop: CancellationToken,
    /// All members have applied everything.
    pub(super) settled: CancellationToken,
    /// The load has ended.
    pub(super) are_quiet: Cell<bool>,
    /// Everything was read, and every watch has come to the end.
    pub(super) are_done: Cell<bool>,
    /// What they found wrong.
    pub(super) violation: RefCell<Option<Violation>>,
    history: RefCell<Option<History>>,
}

impl Clients {
    /// Everything recorded so far.
    pub(super) fn records(&self) -> Vec<Record> {
        self.history.borrow().as_ref().map(History::records).unwrap_or_default()
    }

    /// All that they do.
    pub(super) async fn run(self: Rc<Self>, plan: Plan) {
        let history = History::new(header(&plan));
        self.history.replace(Some(history.clone()));
        let doors = Doors::over(plan.members, wire::knock());
        let shared =
            Shared { doors: doors.clone(), history: history.clone(), stop: self.stop.clone() };
        let loads = clients::start(&plan, &shared);
        let mut watches: Vec<_> =
            (0..plan.members).map(|member| clients::start_watch(&plan, member, &shared)).collect();
        for load in loads {
            load.await.expect("a client does not panic");
        }
        self.are_quiet.set(true);
        self.settled.cancelled().await;
        for member in 0..plan.members {
            // One that has just got the state of another may still be starting.
            while doors.reach(member).await.is_none() {
                tokio::time::sleep(RETRY).await;
            }
        }
        match read_all(&plan, (0..plan.members).collect(), doors, history).await {
            Err(violation) => {
                self.violation.replace(Some(violation));
            }
            Ok(revision) => {
                for watch in &mut watches {
                    // The sender lives as long as the watch.
                    watch.reached.wait_for(|reached| *reached >= revision).await.ok();
                }
                for watch in watches {
                    watch.end(false);
                    watch.task.await.expect("a watch does not panic");
                }
            }
        }
        self.are_done.set(true);
    }
}
