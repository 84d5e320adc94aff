//! The places where a member writes: who comes by, when, and what is right if it ends or fails there.

use super::cluster::Role;

/// What happens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process ends at once.
    Crash,
    /// It fails: the disk is damaged.
    Damaged,
    /// It fails: the disk is full.
    Full,
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// While the member serves. It copies its engine then, too.
    Serving,
    /// While it serves, and values are so long that segments of its log are filled, and removed.
    Filling,
    /// When nothing is written for a while: the images are folded.
    Resting,
    /// When it is started again.
    Starting,
    /// When it is started again, and gets the state of another member since it is far behind.
    Behind,
    /// When it gives its state to a member that is far behind.
    Sending,
    /// When it is asked to copy its engine.
    Copying,
    /// When it is asked for its state as a file.
    Saving,
}

/// What is right if a place fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// The member ends, and says why and on which file: these are in its path.
    Ends(&'static str),
    /// What was to be done is not done, whoever wanted it is told why, and the member goes on. Once the
    /// place does not fail any more, it is done.
    Refuses,
}

/// One fault of one member.
#[derive(Debug, Clone)]
pub(super) struct What {
    /// The failpoint.
    pub(super) place: &'static str,
    /// How often it is passed before.
    pub(super) passed: usize,
    pub(super) fault: Fault,
    pub(super) moment: Moment,
    /// Of a failure.
    pub(super) right: Right,
    /// Of the cluster.
    pub(super) members: usize,
    pub(super) role: Role,
}

/// A place, and who comes by it: one member, the leader of three, a follower.
struct Place {
    name: &'static str,
    moment: Moment,
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

/// Where a member can end, between two writes.
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
    Place { name: "raftAfterWALRelease", moment: Moment::Filling, comes_by: ALL },
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

/// A place that can fail.
struct Failing {
    name: &'static str,
    /// How often it is passed before. With one number, whoever comes by has a case; of several steps each
    /// has one, now of this member, now of that.
    passed: &'static [usize],
    moment: Moment,
    comes_by: [bool; 3],
    right: Right,
}

const fn ends(
    name: &'static str,
    passed: &'static [usize],
    moment: Moment,
    of: &'static str,
) -> Failing {
    let comes_by = if matches!(moment, Moment::Behind) { FOLLOWER } else { ALL };
    Failing { name, passed, moment, comes_by, right: Right::Ends(of) }
}

const fn refuses(name: &'static str, passed: &'static [usize], moment: Moment) -> Failing {
    let comes_by = match moment {
        Moment::Behind => FOLLOWER,
        Moment::Sending => LEADER,
        _ => ALL,
    };
    Failing { name, passed, moment, comes_by, right: Right::Refuses }
}

const FAILING: [Failing; 25] = [
    // What is written first may be entries or the marker of a sync; then it is the other one.
    ends("walWriteError", &[0], Moment::Serving, "/wal/"),
    ends("walWriteError", &[1], Moment::Serving, "/wal/"),
    ends("walSyncError", &[0], Moment::Serving, "/wal/"),
    ends("raftBeforeWALSaveSnaphot", &[0], Moment::Serving, "/wal/"),
    ends("raftBeforeWALSaveSnaphot", &[0], Moment::Behind, "/wal/"),
    ends("walCutStep", &[0, 1, 2, 3, 4, 5, 6], Moment::Filling, "/wal"),
    ends("walReleaseStep", &[0, 1], Moment::Filling, "/wal"),
    ends("walPrepareStep", &[0, 20], Moment::Starting, "/wal/"),
    ends("engineCommitError", &[0], Moment::Serving, "/engine"),
    ends("compactBeforeCommitBatch", &[0], Moment::Serving, "/engine"),
    ends("compactBeforeSetFinishedCompact", &[0], Moment::Serving, "/engine"),
    ends("foldRow", &[0, 50], Moment::Resting, "/engine"),
    ends("foldFinish", &[0], Moment::Resting, "/engine"),
    // A member that starts removes what is left of INCOMING and CURRENT; of one that is behind, INCOMING
    // is removed and then written, and after the next start CURRENT is written and INCOMING removed.
    ends("pointerStep", &[0, 1], Moment::Starting, "/engine/"),
    refuses("pointerStep", &[2, 3, 4, 5, 6], Moment::Behind),
    ends("pointerStep", &[7, 8, 9, 10, 11, 12, 13, 14], Moment::Behind, "/engine"),
    // When its engine was copied, CURRENT is written.
    ends("pointerStep", &[0, 1, 2, 3], Moment::Serving, "/engine"),
    // At least a chunk of history, one of records, the end, and four steps after it.
    refuses("importStep", &[0, 1, 2, 3, 4, 5, 6], Moment::Behind),
    refuses("defragOpenFileError", &[0], Moment::Behind),
    refuses("defragOpenFileError", &[0], Moment::Copying),
    refuses("defragdbFail", &[0, 2], Moment::Copying),
    refuses("defragBeforeRename", &[0], Moment::Copying),
    refuses("exportChunk", &[0, 1, 2], Moment::Sending),
    // The rows are gone through twice.
    refuses("exportFile", &[0], Moment::Saving),
    refuses("exportFile", &[2], Moment::Saving),
];

/// These only fail: where the process can end right before them has a name of its own.
const ONLY_FAIL: [&str; 3] = ["walWriteError", "walSyncError", "engineCommitError"];

/// Who can come by.
const WHOSE: [(usize, Role); 3] = [(1, Role::Leader), (3, Role::Leader), (3, Role::Follower)];

/// Everything that can happen.
pub(super) fn all() -> Vec<What> {
    let mut all = Vec::new();
    for place in &PLACES {
        for (members, role) in whose(place.comes_by) {
            all.push(What {
                place: place.name,
                passed: 0,
                fault: Fault::Crash,
                moment: place.moment,
                right: Right::Ends(""),
                members,
                role,
            });
        }
    }
    for failing in &FAILING {
        failing.add_to(&mut all);
    }
    all
}

/// Their names, each once.
pub(super) fn names() -> Vec<&'static str> {
    let names = PLACES.iter().map(|place| place.name);
    let mut names: Vec<_> = names.chain(FAILING.iter().map(|failing| failing.name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn whose(comes_by: [bool; 3]) -> impl Iterator<Item = (usize, Role)> + Clone {
    WHOSE.into_iter().zip(comes_by).filter(|(_, comes_by)| *comes_by).map(|(whose, _)| whose)
}

impl Failing {
    fn add_to(&self, all: &mut Vec<What>) {
        let mut add = |passed, fault, (members, role)| {
            let Failing { name, moment, right, .. } = *self;
            all.push(What { place: name, passed, fault, moment, right, members, role });
        };
        let can_end =
            !ONLY_FAIL.contains(&self.name) && !PLACES.iter().any(|place| place.name == self.name);
        let failures = |number: usize| [Fault::Damaged, Fault::Full][number % 2];
        let mut in_turn = whose(self.comes_by).cycle();
        for passed in self.passed.iter().copied() {
            if self.passed.len() > 1 {
                let mut next = || in_turn.next().expect("someone comes by");
                add(passed, failures(passed), next());
                if can_end {
                    add(passed, Fault::Crash, next());
                }
                continue;
            }
            for (number, whose) in whose(self.comes_by).enumerate() {
                add(passed, failures(passed + number), whose);
                if can_end {
                    add(passed, Fault::Crash, whose);
                }
            }
        }
    }
}

impl Fault {
    /// What the system says of a write that fails.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Fault::Crash => None,
            Fault::Damaged => Some("Input/output error"),
            Fault::Full => Some("No space left on device"),
        }
    }

    /// Exit code of a member that ends of it.
    pub(super) fn code(self) -> i32 {
        if self == Fault::Crash { 2 } else { 1 }
    }
}

impl What {
    /// What is set at the place, in gofail's words.
    pub(super) fn terms(&self) -> String {
        let does = match self.fault {
            Fault::Crash => "panic",
            Fault::Damaged => "return(\"EIO\")",
            Fault::Full => "return(\"ENOSPC\")",
        };
        if self.passed == 0 { does.to_owned() } else { format!("{}*off->{does}", self.passed) }
    }

    /// It fills segments of the log, which takes a while.
    pub(super) fn is_long(&self) -> bool {
        self.moment == Moment::Filling
    }

    /// Place, what happens, members, whose.
    pub(super) fn cells(&self) -> [String; 4] {
        let what = match self.fault {
            Fault::Crash => "a crash",
            Fault::Damaged => "input/output error",
            Fault::Full => "no space left on device",
        };
        let when = match self.moment {
            Moment::Serving | Moment::Filling => "",
            Moment::Resting => ", resting",
            Moment::Starting => ", starting",
            Moment::Behind => ", behind",
            Moment::Sending => ", sending",
            Moment::Copying => ", copying",
            Moment::Saving => ", saving",
        };
        let step = match self.passed {
            0 => String::new(),
            passed => format!(" after {passed}"),
        };
        let place = format!("{}{step}{when}", self.place);
        [place, what.to_owned(), self.members.to_string(), self.role.name().to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_case_is_another_one_and_each_step_fails_and_ends() {
        let all = all();
        let cells: BTreeSet<[String; 4]> = all.iter().map(What::cells).collect();
        assert_eq!(cells.len(), all.len());
        let cut = |fault: fn(Fault) -> bool| {
            let of = all.iter().filter(|it| it.place == "walCutStep" && fault(it.fault));
            of.map(|it| it.passed).collect::<Vec<_>>()
        };
        assert_eq!(cut(|fault| fault == Fault::Crash), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(cut(|fault| fault != Fault::Crash), [0, 1, 2, 3, 4, 5, 6]);
        let whose = all.iter().filter(|it| it.place == "walCutStep").map(What::cells);
        assert_eq!(whose.map(|it| it[2..].to_vec()).collect::<BTreeSet<_>>().len(), 3);
    }

    #[test]
    fn terms_are_gofails() {
        let terms: BTreeSet<String> = all().iter().map(What::terms).collect();
        for expected in ["panic", "return(\"EIO\")", "1*off->return(\"ENOSPC\")", "6*off->panic"] {
            assert!(terms.contains(expected), "{expected}");
        }
    }
}
