//! The places, and what happens at each.

use anyhow::{Context, Result, ensure};

use super::Plan;
use super::cluster::{Cluster, Role, Seen};
use super::load::Load;

/// What happens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends at once.
    Crash,
    /// The write or the sync fails, with this reason.
    Error(&'static str),
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While the member serves.
    Serving,
    /// When it is started again.
    Starting,
    /// When it is started again, and gets the state of another member since it is far behind.
    Behind,
}

/// A place, and who comes by it.
struct Place {
    name: &'static str,
    moment: Moment,
    /// Of one member, of the leader of three, of a follower.
    comes_by: [bool; 3],
}

const ALL: [bool; 3] = [true, true, true];
const FOLLOWER: [bool; 3] = [false, false, true];
const LEADER: [bool; 3] = [false, true, false];

const fn serving(name: &'static str, comes_by: [bool; 3]) -> Place {
    Place { name, moment: Moment::Serving, comes_by }
}

const fn behind(name: &'static str) -> Place {
    Place { name, moment: Moment::Behind, comes_by: FOLLOWER }
}

/// Where a member can end.
const PLACES: [Place; 28] = [
    serving("raftBeforeLeaderSend", LEADER),
    serving("raftBeforeSave", ALL),
    serving("raftAfterSave", ALL),
    serving("raftBeforeFollowerSend", FOLLOWER),
    serving("raftBeforeAdvance", ALL),
    behind("raftBeforeSaveSnap"),
    behind("raftAfterSaveSnap"),
    behind("raftBeforeApplySnap"),
    serving("raftBeforeWALSaveSnaphot", ALL),
    behind("raftAfterApplySnap"),
    serving("raftAfterWALRelease", ALL),
    behind("applyBeforeOpenSnapshot"),
    behind("applyAfterOpenSnapshot"),
    serving("walBeforeSync", ALL),
    serving("walAfterSync", ALL),
    Place { name: "beforePublishing", moment: Moment::Starting, comes_by: [true, false, true] },
    serving("beforeApplyOneEntryNormal", ALL),
    serving("beforeApplyOneConfChange", ALL),
    serving("beforeCommit", ALL),
    serving("afterCommit", ALL),
    serving("compactBeforeCommitScheduledCompact", ALL),
    serving("compactAfterCommitScheduledCompact", ALL),
    serving("compactBeforeCommitBatch", ALL),
    serving("compactAfterCommitBatch", ALL),
    serving("compactBeforeSetFinishedCompact", ALL),
    serving("compactAfterSetFinishedCompact", ALL),
    serving("defragBeforeCopy", ALL),
    serving("defragBeforeRename", ALL),
];

/// Where the disk can fail.
const ERRORS: [&str; 3] = ["walWriteError", "walSyncError", "engineCommitError"];
const REASONS: [&str; 2] = ["no space left on device", "input/output error"];

/// Acknowledged writes before, between and after what happens.
const WRITES: usize = 200;
/// So many that a member which missed them needs the state of another one.
const WRITES_MISSED: usize = 1000;
/// Values of this many bytes fill segments of the log, so that old ones are removed.
const LONG_VALUE_BYTES: usize = 200_000;
const VALUE_BYTES: usize = 100;

/// One fault of one member.
pub(super) struct Case {
    /// The failpoint.
    pub(super) place: &'static str,
    fault: Fault,
    moment: Moment,
    members: usize,
    role: Role,
}

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let whose = [(1, Role::Leader), (3, Role::Leader), (3, Role::Follower)];
    for place in &PLACES {
        for ((members, role), _) in whose.into_iter().zip(place.comes_by).filter(|it| it.1) {
            let (moment, place) = (place.moment, place.name);
            cases.push(Case { place, fault: Fault::Crash, moment, members, role });
        }
    }
    for place in ERRORS {
        for reason in REASONS {
            for (members, role) in whose {
                let (fault, moment) = (Fault::Error(reason), Moment::Serving);
                cases.push(Case { place, fault, moment, members, role });
            }
        }
    }
    cases
}

/// Every place that the build has must have a case.
pub(super) fn must_have_all(plan: &Plan<'_>) -> Result<()> {
    let mut cluster = Cluster::start(plan, 1, None)?;
    let (mut wanted, mut here) = (cluster.places()?, places());
    cluster.kill(0)?;
    wanted.sort();
    here.sort_unstable();
    ensure!(wanted == here, "the build has the places {wanted:?}, the cases are of {here:?}");
    Ok(())
}

/// Their names.
pub(super) fn places() -> Vec<&'static str> {
    PLACES.iter().map(|place| place.name).chain(ERRORS).collect()
}

impl Fault {
    fn terms(self) -> String {
        match self {
            Fault::Crash => "panic".to_owned(),
            Fault::Error(reason) => format!("return(\"{reason}\")"),
        }
    }

    /// Exit code of a member that meets it.
    fn code(self) -> i32 {
        match self {
            Fault::Crash => 2,
            Fault::Error(_) => 1,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Fault::Crash => "a crash",
            Fault::Error(reason) => reason,
        }
    }
}

impl Case {
    /// Place, what happens, members, whose.
    pub(super) fn cells(&self) -> [String; 4] {
        let what = self.fault.text().to_owned();
        [self.place.to_owned(), what, self.members.to_string(), self.role.name().to_owned()]
    }

    /// Lets it happen, and looks at what is left.
    pub(super) fn run(&self, plan: &Plan<'_>) -> Result<Seen> {
        let mut cluster = Cluster::start(plan, self.members, None)?;
        self.play(&mut cluster).map_err(|error| cluster.keep(error))
    }

    fn play(&self, cluster: &mut Cluster<'_>) -> Result<Seen> {
        let value_bytes =
            if self.place == "raftAfterWALRelease" { LONG_VALUE_BYTES } else { VALUE_BYTES };
        let changes_members = self.place == "beforeApplyOneConfChange";
        let load = Load::start(&cluster.urls(), value_bytes, changes_members)?;
        load.wait_for(WRITES)?;
        let victim = cluster.find(self.role)?;
        let fault = (self.place, self.fault.terms());
        match self.moment {
            Moment::Serving => cluster.set(victim, &fault)?,
            Moment::Starting => {
                cluster.kill(victim)?;
                cluster.spawn(victim, Some(&fault))?;
            }
            Moment::Behind => {
                cluster.kill(victim)?;
                load.wait_for(WRITES_MISSED)?;
                cluster.spawn(victim, Some(&fault))?;
            }
        }
        let (code, said) = cluster.ended(victim).context("the place is not reached")?;
        ensure!(code == Some(self.fault.code()), "it ends with code {code:?}\n{said}");
        if let Fault::Error(reason) = self.fault {
            ensure!(said.contains(reason), "it does not say why it ends\n{said}");
        }
        if self.members > 1 {
            load.wait_for(WRITES).context("the others do not go on")?;
        }
        cluster.spawn(victim, None)?;
        cluster.ready()?;
        load.wait_for(WRITES).context("they do not go on with it")?;
        let writes = load.finish()?;
        cluster.must_hold(&writes)?;
        cluster.stop_and_verify()?;
        Ok(Seen { end: format!("ended with code {}", self.fault.code()), writes: writes.len() })
    }
}
