//! Whether faults can be done: to whom, when, and with which words.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::super::{
    CutMode, Direction, Fault, FaultKind, Links, Pick, Role, Shape, System, Target, When,
};
use super::{Broken, Origin, Rules, broken};

/// A member has its first two segments of the log prepared, of 64 MB each, and a store.
const DISK_BYTES_MIN: usize = 200 << 20;

impl Rules<'_> {
    pub(super) fn faults(&self) -> Broken {
        let workload = self.workload;
        let one = |fault| {
            self.fault_place(fault)
                .or_else(|| self.fault_time(fault))
                .or_else(|| self.fault_how(fault))
        };
        workload
            .faults
            .iter()
            .find_map(one)
            .or_else(|| workload.picks.iter().find_map(|pick| self.pick(pick)))
            .or_else(|| self.names())
            .or_else(|| self.disk())
    }

    fn disk(&self) -> Broken {
        let disk = self.workload.cluster.disk.as_ref()?;
        (*disk.get_ref() < DISK_BYTES_MIN).then(|| {
            let least = DISK_BYTES_MIN >> 20;
            (disk.span(), format!("a member needs at least {least}MiB to start"))
        })
    }

    /// Each name is one fault's, and nobody waits for itself.
    fn names(&self) -> Broken {
        let faults = &self.workload.faults;
        for (place, fault) in faults.iter().enumerate() {
            let Some(name) = &fault.name else { continue };
            if faults[..place].iter().any(|other| name_of(other) == Some(name.get_ref())) {
                return broken(name.span(), format!("another fault is called {}", name.get_ref()));
            }
        }
        faults.iter().find_map(|fault| self.waits_for(fault))
    }

    fn waits_for(&self, fault: &Fault) -> Broken {
        let faults = &self.workload.faults;
        let when = fault.when.as_ref()?;
        let mut at = fault;
        // At most every fault once, unless they go round.
        for _ in 0..=faults.len() {
            let awaited = match at.when.as_ref().map(Spanned::get_ref) {
                Some(When::During(name) | When::After(name)) => name,
                Some(When::Load(_)) | None => return None,
            };
            let Some(next) = faults.iter().find(|other| name_of(other) == Some(awaited)) else {
                return broken(when.span(), format!("no fault has the name {awaited}"));
            };
            at = next;
        }
        broken(when.span(), "the fault waits for itself".to_owned())
    }

    fn pick(&self, pick: &Pick) -> Broken {
        let from = pick.from.get_ref();
        if from.is_empty() {
            return broken(pick.from.span(), "there is nothing to pick from".to_owned());
        }
        for fault in from {
            let own = [
                fault.at.as_ref().map(Spanned::span),
                fault.every.as_ref().map(Spanned::span),
                fault.when.as_ref().map(Spanned::span),
                fault.name.as_ref().map(Spanned::span),
            ];
            if let Some(span) = own.into_iter().flatten().next() {
                let message = "a fault that is picked has no time and no name of its own";
                return broken(span, message.to_owned());
            }
            let found = self
                .fault_place(fault)
                .or_else(|| Self::fault_length(fault))
                .or_else(|| self.fault_how(fault))
                .or_else(|| self.late(fault, &pick.every, pick.jitter));
            if found.is_some() {
                return found;
            }
            if *pick.every.get_ref() <= fault.lasts() {
                let kind = fault.kind.get_ref().name();
                let message = format!("the {kind} would not have ended: `every` must exceed `for`");
                return broken(pick.every.span(), message);
            }
        }
        None
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
        let target = *fault.target.get_ref();
        if let Some(message) = misfit(kind, target) {
            return broken(fault.target.span(), message);
        }
        let grows = self.workload.every_fault().any(|f| *f.kind.get_ref() == FaultKind::MemberAdd);
        if grows { self.learners(fault) } else { self.few_members(fault) }
    }

    /// What a cluster that does not grow has too few members for.
    fn few_members(&self, fault: &Fault) -> Broken {
        let (kind, target) = (*fault.kind.get_ref(), *fault.target.get_ref());
        let members = self.workload.members();
        let alone = members == 1;
        let links = fault.how().links;
        match (kind, target) {
            (kind, _) if kind.breaks_links() && alone && links.is_of(false) => broken(
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
            (_, Target::Minority) if members < 3 => broken(
                fault.target.span(),
                format!("a cluster of {members} cannot do without anybody; target leader or any"),
            ),
            (_, Target::Member(member)) if member >= members => {
                let last = members - 1;
                broken(fault.target.span(), format!("the members are member:0 to member:{last}"))
            }
            _ => self.learners(fault),
        }
    }

    fn learners(&self, fault: &Fault) -> Broken {
        let is_learner = |role: &Spanned<Role>| *role.get_ref() == Role::Learner;
        let has = self.workload.every_fault().any(|f| f.role.as_ref().is_some_and(is_learner));
        if *fault.target.get_ref() == Target::Learner && !has {
            let message = "nobody ever is a learner: add a fault member_add with as = \"learner\"";
            return broken(fault.target.span(), message.to_owned());
        }
        None
    }

    fn fault_time(&self, fault: &Fault) -> Broken {
        let Fault { at, every, when, jitter, .. } = fault;
        Self::fault_length(fault).or_else(|| match (at, every, when) {
            (Some(_), Some(every), _) => {
                broken(every.span(), "a fault has `at` or `every`, not both".to_owned())
            }
            (None, Some(every), Some(_)) => {
                broken(every.span(), "a fault has `when` or `every`, not both".to_owned())
            }
            (None, None, None) => broken(
                fault.kind.span(),
                "when? a fault needs `at` or `when` (once) or `every` (again and again)".to_owned(),
            ),
            (Some(at), None, None) => self.late(fault, at, *jitter),
            (None, Some(every), None) if *every.get_ref() <= fault.lasts() => broken(
                every.span(),
                "the fault would begin again before it has ended: `every` must exceed `for`"
                    .to_owned(),
            ),
            (None, Some(every), None) => self.late(fault, every, *jitter),
            (at, None, Some(when)) => self.late_when(fault, when, at.as_ref()),
        })
    }

    /// When another fault begins or ends is seen when it does.
    fn late_when(
        &self,
        fault: &Fault,
        when: &Spanned<When>,
        at: Option<&Spanned<Duration>>,
    ) -> Broken {
        let When::Load(share) = when.get_ref() else { return None };
        let duration = *self.workload.duration.get_ref();
        let after = at.map_or(Duration::ZERO, |at| *at.get_ref());
        let begins = Spanned::new(when.span(), duration * *share / 100 + after);
        self.late(fault, &begins, fault.jitter)
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
    fn late(&self, fault: &Fault, first: &Spanned<Duration>, jitter: Duration) -> Broken {
        let duration = *self.workload.duration.get_ref();
        let begins = first.get_ref().saturating_add(jitter);
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
        for word in words(fault) {
            match word.written {
                Some(span) if !(word.of)(kind) => return broken(span, word.otherwise.to_owned()),
                None if word.is_needed && (word.of)(kind) => {
                    let message = format!("a {} needs `{}`", kind.name(), word.name);
                    return broken(fault.kind.span(), message);
                }
                Some(_) | None => {}
            }
        }
        numbers(fault).or_else(|| self.fault_shape(fault)).or_else(|| self.fault_disk(fault))
    }

    fn fault_shape(&self, fault: &Fault) -> Broken {
        let how = fault.how();
        let span = |word: Option<Range<usize>>| word.unwrap_or_else(|| fault.kind.span());
        if how.direction != Direction::Both && how.mode == CutMode::Reset {
            let message = "a reset ends both directions: leave `direction` or `mode` out";
            return broken(span(fault.direction.as_ref().map(Spanned::span)), message.to_owned());
        }
        let shape = fault.shape.as_ref()?;
        let refuse = |message: &str| broken(shape.span(), message.to_owned());
        let (target, members) = (*fault.target.get_ref(), self.workload.members());
        if how.links != Links::Peers && how.shape != Shape::Isolate {
            return refuse("only links between members have a shape; clients have `isolate`");
        }
        let is_one =
            matches!(target, Target::Leader | Target::Follower | Target::Any | Target::Member(_));
        match how.shape {
            Shape::Ring | Shape::Bridge if how.direction != Direction::Both => {
                refuse("a ring and a bridge have no direction")
            }
            Shape::Ring if target != Target::All => refuse("a ring is of all members; target all"),
            Shape::Ring if members < 4 => {
                refuse("in a ring of less than 4 members everybody reaches everybody")
            }
            Shape::Bridge if !is_one => refuse("a bridge is one member; target any or leader"),
            Shape::Bridge if members < 3 => refuse("a bridge needs a member on either side"),
            Shape::Halves if matches!(target, Target::All | Target::Each) => {
                refuse("all members have no other half; target majority or minority")
            }
            Shape::Isolate | Shape::Halves | Shape::Ring | Shape::Bridge => None,
        }
    }

    fn fault_disk(&self, fault: &Fault) -> Broken {
        let cluster = &self.workload.cluster;
        if *fault.kind.get_ref() == FaultKind::DiskFull && cluster.disk.is_none() {
            let message = "a disk that can be full needs a size: [cluster] disk = \"256MiB\"";
            return broken(fault.kind.span(), message.to_owned());
        }
        let lose = fault.lose_unsynced.as_ref()?;
        if *lose.get_ref() && cluster.system != System::Rusd {
            return broken(
                lose.span(),
                "lose_unsynced needs rusd, which notes how far its log is synced".to_owned(),
            );
        }
        None
    }
}

fn name_of(fault: &Fault) -> Option<&String> {
    fault.name.as_ref().map(Spanned::get_ref)
}

/// A word that only some kinds take.
struct Word {
    name: &'static str,
    written: Option<Range<usize>>,
    of: fn(FaultKind) -> bool,
    is_needed: bool,
    /// What is said where it means nothing.
    otherwise: &'static str,
}

#[expect(clippy::too_many_lines, reason = "one row per word")]
fn words(fault: &Fault) -> [Word; 14] {
    fn span<T>(written: Option<&Spanned<T>>) -> Option<Range<usize>> {
        written.map(Spanned::span)
    }
    let word =
        |name, written, of, otherwise| Word { name, written, of, is_needed: false, otherwise };
    let needed = |word: Word| Word { is_needed: true, ..word };
    let is_partition: fn(FaultKind) -> bool = |kind| kind == FaultKind::Partition;
    [
        word("mode", span(fault.mode.as_ref()), is_partition, "only a partition has a mode"),
        word("shape", span(fault.shape.as_ref()), is_partition, "only a partition has a shape"),
        word(
            "as",
            span(fault.role.as_ref()),
            |kind| matches!(kind, FaultKind::MemberAdd | FaultKind::MemberReplace),
            "only a member that comes is `as` something",
        ),
        word(
            "links",
            span(fault.links.as_ref()),
            FaultKind::breaks_links,
            "only partition, delay, bandwidth, reset and half_open break links",
        ),
        word(
            "direction",
            span(fault.direction.as_ref()),
            |kind| kind.breaks_links() && !matches!(kind, FaultKind::Reset | FaultKind::HalfOpen),
            "only partition, delay and bandwidth have a direction",
        ),
        needed(word(
            "by",
            span(fault.by.as_ref()),
            |kind| matches!(kind, FaultKind::Delay | FaultKind::SlowDisk),
            "only delay and slow_disk take longer by something",
        )),
        word(
            "spread",
            span(fault.spread.as_ref()),
            |kind| kind == FaultKind::Delay,
            "only a delay has a spread",
        ),
        needed(word(
            "rate",
            span(fault.rate.as_ref()),
            |kind| kind == FaultKind::Bandwidth,
            "only a bandwidth has a rate",
        )),
        word(
            "lose_unsynced",
            span(fault.lose_unsynced.as_ref()),
            |kind| kind == FaultKind::Kill,
            "only a kill can lose what was not synced",
        ),
        word(
            "place",
            span(fault.place.as_ref()),
            |kind| kind == FaultKind::DiskError,
            "only a disk_error has a place",
        ),
        word(
            "then",
            span(fault.then.as_ref()),
            FaultKind::damages_files,
            "only torn_write, bit_flip and truncate say what comes then",
        ),
        word(
            "keep",
            span(fault.keep.as_ref()),
            |kind| kind == FaultKind::Compact,
            "only a compact keeps revisions",
        ),
        word(
            "hogs",
            span(fault.hogs.as_ref()),
            |kind| kind == FaultKind::CpuStarve,
            "only a cpu_starve has hogs",
        ),
        needed(word(
            "binary",
            span(fault.binary.as_ref()),
            |kind| kind == FaultKind::SwapBinary,
            "only a swap_binary starts another binary",
        )),
    ]
}

/// Numbers that would make a fault none.
fn numbers(fault: &Fault) -> Broken {
    let zero = |is_zero: bool, span: Range<usize>, what: &str| {
        is_zero.then(|| (span, format!("{what} must be more than 0")))
    };
    None.or_else(|| fault.by.as_ref().and_then(|by| zero(by.get_ref().is_zero(), by.span(), "by")))
        .or_else(|| fault.rate.as_ref().and_then(|r| zero(*r.get_ref() == 0, r.span(), "rate")))
        .or_else(|| fault.hogs.as_ref().and_then(|h| zero(*h.get_ref() == 0, h.span(), "hogs")))
}

/// Why a fault cannot be done to such a target, whatever the cluster, if it cannot.
fn misfit(kind: FaultKind, target: Target) -> Option<String> {
    let name = kind.name();
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
            Some(format!("a {name} is done to members that are there, not to {target}"))
        }
        (FaultKind::MemberRemove, Target::All | Target::Each)
        | (FaultKind::MemberReplace, Target::All) => {
            Some(format!("a {name} of {target} would leave nobody"))
        }
        (
            FaultKind::MemberRemove | FaultKind::MemberReplace,
            Target::Minority | Target::Majority,
        ) => Some(format!("a {name} is done to one member at a time")),
        _ => None,
    }
}
