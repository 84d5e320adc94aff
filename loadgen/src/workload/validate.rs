//! Whether a workload can be run: what each part means together with the others.

mod load;

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::{Fault, FaultKind, Role, Slow, System, Target, Watches, Workload, WorkloadError};

/// More members than anybody runs; a typo rather than a wish.
const MEMBERS_MAX: u32 = 9;
/// Longer than anybody waits for a run.
const DURATION_MAX: Duration = Duration::from_hours(7 * 24);

/// Where the run gets its cluster from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We start it.
    Started,
    /// It is already there.
    Attached,
}

impl Workload {
    /// Says why the workload cannot be run, if it cannot. `file` and `text` are what it was read
    /// from.
    pub fn validate(&self, file: &str, text: &str, origin: Origin) -> Result<(), WorkloadError> {
        let rules = Rules { workload: self, origin };
        match rules.broken() {
            Some((span, message)) => Err(WorkloadError::at(file, text, span, message)),
            None => Ok(()),
        }
    }
}

struct Rules<'a> {
    workload: &'a Workload,
    origin: Origin,
}

type Broken = Option<(Range<usize>, String)>;

impl Rules<'_> {
    fn broken(&self) -> Broken {
        self.times()
            .or_else(|| self.sizes())
            .or_else(|| self.values())
            .or_else(|| self.pacing())
            .or_else(|| self.keys())
            .or_else(|| self.mix())
            .or_else(|| self.lists())
            .or_else(|| self.workload.watches.iter().find_map(|group| self.watches(group)))
            .or_else(|| self.workload.faults.iter().find_map(|fault| self.fault(fault)))
    }

    fn times(&self) -> Broken {
        let Workload { duration, request_timeout, .. } = self.workload;
        let refuse = |what: &str, time: &Spanned<Duration>, why: &str| {
            broken(time.span(), format!("{what} must be {why}"))
        };
        if duration.get_ref().is_zero() {
            return refuse("duration", duration, "longer than 0");
        }
        if *duration.get_ref() > DURATION_MAX {
            return refuse("duration", duration, "at most a week");
        }
        if request_timeout.get_ref().is_zero() {
            return refuse("request_timeout", request_timeout, "longer than 0");
        }
        None
    }

    fn sizes(&self) -> Broken {
        let workload = self.workload;
        let members = &workload.cluster.members;
        if !(1..=MEMBERS_MAX).contains(members.get_ref()) {
            return broken(members.span(), format!("members must be 1 to {MEMBERS_MAX}"));
        }
        if *workload.clients.get_ref() == 0 {
            return broken(workload.clients.span(), "clients must be at least 1".to_owned());
        }
        if *workload.threads.get_ref() == 0 {
            return broken(workload.threads.span(), "threads must be at least 1".to_owned());
        }
        match &workload.connections {
            Some(connections) if *connections.get_ref() == 0 => {
                broken(connections.span(), "connections must be at least 1".to_owned())
            }
            _ => None,
        }
    }

    fn watches(&self, group: &Watches) -> Broken {
        let keys = *self.workload.keys.count.get_ref();
        if let Some(slices) = &group.slices {
            if !group.prefix.is_empty() {
                let message = "watches have `prefix` or `slices`, not both".to_owned();
                return broken(slices.span(), message);
            }
            if !(1..=keys).contains(slices.get_ref()) {
                return broken(slices.span(), format!("slices must be 1 to {keys}, one key each"));
            }
        }
        let slow = group.slow.as_ref()?;
        let Slow { one_in, events_per_second } = slow.get_ref();
        let message = "one_in and events_per_second must be at least 1";
        if *one_in == 0 || *events_per_second == 0 {
            return broken(slow.span(), message.to_owned());
        }
        None
    }

    fn fault(&self, fault: &Fault) -> Broken {
        self.fault_place(fault).or_else(|| self.fault_time(fault)).or_else(|| self.fault_how(fault))
    }

    fn fault_place(&self, fault: &Fault) -> Broken {
        let kind = *fault.kind.get_ref();
        if self.origin == Origin::Attached {
            return broken(
                fault.kind.span(),
                format!(
                    "{} needs members that we started; drop --endpoints or add --no-faults",
                    kind.name()
                ),
            );
        }
        let grows = self.workload.faults.iter().any(|f| *f.kind.get_ref() == FaultKind::MemberAdd);
        let alone = self.workload.members() == 1 && !grows;
        let target = *fault.target.get_ref();
        if let Some(message) = misfit(kind, target) {
            return broken(fault.target.span(), message);
        }
        match (kind, target) {
            (FaultKind::Partition, _) if alone => broken(
                fault.kind.span(),
                "a cluster of 1 member has no peer links to cut".to_owned(),
            ),
            (FaultKind::MemberRemove | FaultKind::MemberReplace, _) if alone => {
                broken(fault.kind.span(), "a cluster of 1 member cannot lose it".to_owned())
            }
            (_, Target::Follower) if alone => broken(
                fault.target.span(),
                "a cluster of 1 member has no follower; target leader or any".to_owned(),
            ),
            (_, Target::Learner) if !self.has_learners() => broken(
                fault.target.span(),
                "nobody ever is a learner: add a fault member_add with as = \"learner\"".to_owned(),
            ),
            _ => None,
        }
    }

    fn has_learners(&self) -> bool {
        let is_learner = |role: &Spanned<Role>| *role.get_ref() == Role::Learner;
        self.workload.faults.iter().any(|fault| fault.role.as_ref().is_some_and(is_learner))
    }

    fn fault_time(&self, fault: &Fault) -> Broken {
        Self::fault_length(fault).or_else(|| match (&fault.at, &fault.every) {
            (Some(_), Some(every)) => {
                broken(every.span(), "a fault has `at` or `every`, not both".to_owned())
            }
            (None, None) => broken(
                fault.kind.span(),
                "when? a fault needs `at` (once) or `every` (again and again)".to_owned(),
            ),
            (Some(at), None) => self.late(fault, at),
            (None, Some(every)) if *every.get_ref() <= fault.lasts() => broken(
                every.span(),
                "the fault would begin again before it has ended: `every` must exceed `for`"
                    .to_owned(),
            ),
            (None, Some(every)) => self.late(fault, every),
        })
    }

    fn fault_length(fault: &Fault) -> Broken {
        let kind = *fault.kind.get_ref();
        match &fault.lasts {
            None if kind.is_done_at_once() => None,
            None => broken(fault.kind.span(), format!("how long? a {} needs `for`", kind.name())),
            Some(lasts) if kind.is_done_at_once() => {
                broken(lasts.span(), format!("a {} is done at once: leave `for` out", kind.name()))
            }
            Some(lasts) if lasts.get_ref().is_zero() => {
                broken(lasts.span(), "a fault must last longer than 0".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Whether the first time of a fault may come too late for at least half of it.
    fn late(&self, fault: &Fault, first: &Spanned<Duration>) -> Broken {
        let duration = *self.workload.duration.get_ref();
        let begins = first.get_ref().saturating_add(fault.jitter);
        if begins >= duration {
            let message = format!("begins when the load has ended (duration is {duration:?})");
            return broken(first.span(), message);
        }
        let half = fault.lasts() / 2;
        (begins.saturating_add(half) > duration).then(|| {
            let message =
                format!("less than half of the fault fits in the load (duration is {duration:?})");
            (first.span(), message)
        })
    }

    fn fault_how(&self, fault: &Fault) -> Broken {
        let kind = *fault.kind.get_ref();
        if let Some(mode) = fault.mode.as_ref().filter(|_| kind != FaultKind::Partition) {
            return broken(mode.span(), "only a partition has a mode".to_owned());
        }
        if let Some(role) = &fault.role
            && !matches!(kind, FaultKind::MemberAdd | FaultKind::MemberReplace)
        {
            return broken(role.span(), "only a member that comes is `as` something".to_owned());
        }
        let lose = fault.lose_unsynced.as_ref()?;
        if kind != FaultKind::Kill {
            return broken(lose.span(), "only a kill can lose what was not synced".to_owned());
        }
        if *lose.get_ref() && self.workload.cluster.system != System::Rusd {
            return broken(
                lose.span(),
                "lose_unsynced needs rusd, which notes how far its log is synced".to_owned(),
            );
        }
        None
    }
}

/// Why a fault cannot be done to such a target, whatever the cluster, if it cannot.
fn misfit(kind: FaultKind, target: Target) -> Option<String> {
    let (name, to) = (kind.name(), target.name());
    match (kind, target) {
        (FaultKind::MoveLeader, Target::Follower)
        | (FaultKind::MemberAdd, Target::New)
        | (FaultKind::MemberPromote, Target::Learner) => None,
        (FaultKind::MoveLeader, _) => Some(
            "move_leader hands over to a member that does not lead; target follower".to_owned(),
        ),
        (FaultKind::MemberAdd, _) => {
            Some("member_add is done to a member that is not there yet; target new".to_owned())
        }
        (FaultKind::MemberPromote, _) => {
            Some("member_promote is done to one that does not vote; target learner".to_owned())
        }
        (_, Target::New) => {
            Some(format!("a {name} is done to members that are there, not to {to}"))
        }
        (FaultKind::MemberRemove, Target::All | Target::Each)
        | (FaultKind::MemberReplace, Target::All) => {
            Some(format!("a {name} of {to} would leave nobody"))
        }
        (
            FaultKind::Kill
            | FaultKind::Pause
            | FaultKind::Partition
            | FaultKind::Restart
            | FaultKind::MemberRemove
            | FaultKind::MemberReplace,
            _,
        ) => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a rule that is broken returns")]
fn broken(span: Range<usize>, message: String) -> Broken {
    Some((span, message))
}
