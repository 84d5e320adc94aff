//! What to break: the kinds of faults, to whom they are done, when, and how.
//!
//! A fault is written with all its words in one table; which words a kind takes is decided by
//! [`super::validate`]. What the nemesis reads is [`How`], where every word has its value.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Spanned;

use super::units;

/// What to break, when, for how long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What is done.
    pub kind: Spanned<FaultKind>,
    /// To whom.
    pub target: Spanned<Target>,
    /// What others call it by, in their `when`.
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    /// Once, this long after the load began; with `when`, after that.
    #[serde(default, deserialize_with = "units::optional_spanned_duration")]
    pub at: Option<Spanned<Duration>>,
    /// Again and again, this long from start to start.
    #[serde(default, deserialize_with = "units::optional_spanned_duration")]
    pub every: Option<Spanned<Duration>>,
    /// Once, when this has come about.
    #[serde(default)]
    pub when: Option<Spanned<When>>,
    /// Each start is moved by up to this much, either way.
    #[serde(default, deserialize_with = "units::duration")]
    pub jitter: Duration,
    /// How long it lasts; absent from a fault that is done at once.
    #[serde(rename = "for", default, deserialize_with = "units::optional_spanned_duration")]
    pub lasts: Option<Spanned<Duration>>,
    /// Left out where the machine does not let us do it; otherwise the run is refused there.
    #[serde(default)]
    pub optional: bool,
    /// What a member that is added is at first; a voter if absent.
    #[serde(rename = "as", default)]
    pub role: Option<Spanned<Role>>,
    /// How a partition cuts; `hold` if absent.
    #[serde(default)]
    pub mode: Option<Spanned<CutMode>>,
    /// Whom a partition cuts off from whom; `isolate` if absent.
    #[serde(default)]
    pub shape: Option<Spanned<Shape>>,
    /// Which links are broken; those between members if absent.
    #[serde(default)]
    pub links: Option<Spanned<Links>>,
    /// In which direction, as the target sees it; both if absent.
    #[serde(default)]
    pub direction: Option<Spanned<Direction>>,
    /// How long each byte, or each write to disk, takes longer.
    #[serde(default, deserialize_with = "units::optional_spanned_duration")]
    pub by: Option<Spanned<Duration>>,
    /// And up to this much more, by chance.
    #[serde(default, deserialize_with = "units::optional_spanned_duration")]
    pub spread: Option<Spanned<Duration>>,
    /// Bytes that a link passes in a second.
    #[serde(default, deserialize_with = "units::optional_spanned_size")]
    pub rate: Option<Spanned<usize>>,
    /// After a kill, take from the log on disk what was not yet synced, as a power cut would.
    #[serde(default)]
    pub lose_unsynced: Option<Spanned<bool>>,
    /// Where the disk fails; the sync of the log if absent.
    #[serde(default)]
    pub place: Option<Spanned<DiskPlace>>,
    /// What a member must do that finds its file damaged; by the kind if absent.
    #[serde(default)]
    pub then: Option<Spanned<Then>>,
    /// Revisions that a compaction leaves readable; 1000 if absent.
    #[serde(default)]
    pub keep: Option<Spanned<u32>>,
    /// Processes that spin on the member's only core; 4 if absent.
    #[serde(default)]
    pub hogs: Option<Spanned<u32>>,
    /// The executable that a member is started from instead.
    #[serde(default)]
    pub binary: Option<Spanned<PathBuf>>,
}

/// One of several faults, again and again. Each comes once, in an order by chance, before one comes
/// twice.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// This long from start to start.
    #[serde(deserialize_with = "units::spanned_duration")]
    pub every: Spanned<Duration>,
    /// Each start is moved by up to this much, either way.
    #[serde(default, deserialize_with = "units::duration")]
    pub jitter: Duration,
    /// The faults. They have no time of their own.
    pub from: Spanned<Vec<Fault>>,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// Nothing gets from or to the member's peers.
    Partition,
    /// The leader is asked to hand over to the member. Done at once.
    MoveLeader,
    /// SIGTERM, then a restart.
    Restart,
    /// A member comes, with an empty folder. Done when it serves.
    MemberAdd,
    /// A learner becomes a voter. Done when it serves.
    MemberPromote,
    /// The member is removed. Done when it has learned that, and ended.
    MemberRemove,
    /// SIGKILL, for good; then the member is removed, and a new one with an empty folder comes.
    MemberReplace,
    /// What is sent arrives later.
    Delay,
    /// A link passes few bytes in a second.
    Bandwidth,
    /// Connections are reset; new ones may come at once. Done at once.
    Reset,
    /// Who made a connection keeps it, and what it sends is lost; the other end sees it closed.
    HalfOpen,
    /// Each write to the log takes longer.
    SlowDisk,
    /// A write or sync fails; the member ends, and is started again.
    DiskError,
    /// No byte is free; a member that ends is started again when there is space.
    DiskFull,
    /// SIGKILL; the log then ends in a record of which only the beginning was written.
    TornWrite,
    /// SIGKILL; a bit of the log is another one then.
    BitFlip,
    /// SIGKILL; the second half of the newest segment of the log is missing then.
    Truncate,
    /// History is dropped. Done at once.
    Compact,
    /// The member rewrites its store. Done at once.
    Defragment,
    /// The member has one core, on which others spin too.
    CpuStarve,
    /// SIGTERM, then another executable for a while.
    SwapBinary,
}

/// When a fault begins that has no time of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// When this share of the load's time is over, in hundredths.
    Load(u32),
    /// When the fault of this name begins, the first time.
    During(String),
    /// When the fault of this name has ended, the first time.
    After(String),
}

/// Who is there while the link's direction is told: as the target sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What it sends and what it receives.
    #[default]
    Both,
    /// What it sends.
    From,
    /// What it receives.
    To,
}

/// Which links are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// Between members.
    #[default]
    Peers,
    /// Between clients and members.
    Clients,
    /// Both.
    All,
}

/// Whom a partition cuts off from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Each of the targets from everyone else.
    #[default]
    Isolate,
    /// The targets, who reach each other, from the rest, who do too.
    Halves,
    /// Each member reaches its two neighbours only.
    Ring,
    /// Two halves that do not reach each other; the target reaches everyone.
    Bridge,
}

/// How a partition cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutMode {
    /// Bytes stay where they are and new connections hang, as when a cable is pulled.
    #[default]
    #[serde(alias = "drop")]
    Hold,
    /// Connections are closed, and new ones at once after they were made.
    #[serde(alias = "reject")]
    Reset,
}

/// Where the disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskPlace {
    /// A write of the log.
    LogWrite,
    /// A sync of the log.
    #[default]
    LogSync,
    /// A commit of the store.
    Store,
}

/// What a member must do that finds its file damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Serve again, without our help.
    Recover,
    /// End, and say why. The file is mended before it is started again.
    Refuse,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It votes, and serves everything.
    #[default]
    Voter,
    /// It follows the log, and serves next to nothing, until it is promoted.
    Learner,
}

/// To which members a fault is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The one that leads when the fault begins.
    Leader,
    /// A voter that does not lead.
    Follower,
    /// One that does not vote.
    Learner,
    /// One, by chance.
    Any,
    /// As many voters as the others can do without, by chance.
    Minority,
    /// As many voters as decide, by chance.
    Majority,
    /// Every one, at once.
    All,
    /// Every one, one after the other: the next when the last one is whole again.
    Each,
    /// One that is not there yet.
    New,
    /// This one.
    Member(u32),
}

/// How a fault is done: every word with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// See [`Fault::role`].
    pub role: Role,
    /// See [`Fault::mode`].
    pub mode: CutMode,
    /// See [`Fault::shape`].
    pub shape: Shape,
    /// See [`Fault::links`].
    pub links: Links,
    /// See [`Fault::direction`].
    pub direction: Direction,
    /// See [`Fault::by`].
    pub by: Duration,
    /// See [`Fault::spread`].
    pub spread: Duration,
    /// See [`Fault::rate`].
    pub bytes_per_s: u64,
    /// See [`Fault::lose_unsynced`].
    pub lose_unsynced: bool,
    /// See [`Fault::place`].
    pub place: DiskPlace,
    /// See [`Fault::then`].
    pub then: Then,
    /// See [`Fault::keep`].
    pub keep: u32,
    /// See [`Fault::hogs`].
    pub hogs: u32,
    /// See [`Fault::binary`].
    pub binary: Option<PathBuf>,
}

/// Revisions that a compaction leaves readable.
const KEEP: u32 = 1000;
/// Processes that spin on the member's only core.
const HOGS: u32 = 4;

impl Fault {
    /// How long it lasts; no time if it is done at once.
    pub fn lasts(&self) -> Duration {
        self.lasts.as_ref().map_or(Duration::ZERO, |lasts| *lasts.get_ref())
    }

    /// How it is done.
    pub fn how(&self) -> How {
        let rate = value(self.rate.as_ref()).unwrap_or_default();
        How {
            role: value(self.role.as_ref()).unwrap_or_default(),
            mode: value(self.mode.as_ref()).unwrap_or_default(),
            shape: value(self.shape.as_ref()).unwrap_or_default(),
            links: value(self.links.as_ref()).unwrap_or_default(),
            direction: value(self.direction.as_ref()).unwrap_or_default(),
            by: value(self.by.as_ref()).unwrap_or_default(),
            spread: value(self.spread.as_ref()).unwrap_or_default(),
            bytes_per_s: u64::try_from(rate).unwrap_or(u64::MAX),
            lose_unsynced: value(self.lose_unsynced.as_ref()).unwrap_or_default(),
            place: value(self.place.as_ref()).unwrap_or_default(),
            then: value(self.then.as_ref()).unwrap_or(self.kind.get_ref().then()),
            keep: value(self.keep.as_ref()).unwrap_or(KEEP),
            hogs: value(self.hogs.as_ref()).unwrap_or(HOGS),
            binary: self.binary.as_ref().map(|binary| binary.get_ref().clone()),
        }
    }
}

fn value<T: Copy>(written: Option<&Spanned<T>>) -> Option<T> {
    written.map(|written| *written.get_ref())
}

impl FaultKind {
    /// Name in workload files and histories.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Kill => "kill",
            FaultKind::Pause => "pause",
            FaultKind::Partition => "partition",
            FaultKind::MoveLeader => "move_leader",
            FaultKind::Restart => "restart",
            FaultKind::MemberAdd => "member_add",
            FaultKind::MemberPromote => "member_promote",
            FaultKind::MemberRemove => "member_remove",
            FaultKind::MemberReplace => "member_replace",
            FaultKind::Delay => "delay",
            FaultKind::Bandwidth => "bandwidth",
            FaultKind::Reset => "reset",
            FaultKind::HalfOpen => "half_open",
            FaultKind::SlowDisk => "slow_disk",
            FaultKind::DiskError => "disk_error",
            FaultKind::DiskFull => "disk_full",
            FaultKind::TornWrite => "torn_write",
            FaultKind::BitFlip => "bit_flip",
            FaultKind::Truncate => "truncate",
            FaultKind::Compact => "compact",
            FaultKind::Defragment => "defragment",
            FaultKind::CpuStarve => "cpu_starve",
            FaultKind::SwapBinary => "swap_binary",
        }
    }

    /// Whether it is done at once, with nothing to mend: it has no length.
    pub fn is_done_at_once(self) -> bool {
        matches!(
            self,
            FaultKind::MoveLeader
                | FaultKind::MemberAdd
                | FaultKind::MemberPromote
                | FaultKind::MemberRemove
                | FaultKind::Reset
                | FaultKind::Compact
                | FaultKind::Defragment
        )
    }

    /// Whether others are members after it than before. One such fault waits for another, and so does
    /// one that is done to a learner.
    pub fn changes_membership(self) -> bool {
        matches!(
            self,
            FaultKind::MemberAdd
                | FaultKind::MemberPromote
                | FaultKind::MemberRemove
                | FaultKind::MemberReplace
        )
    }

    /// Whether it breaks links, so that they may be those of clients.
    pub fn breaks_links(self) -> bool {
        matches!(
            self,
            FaultKind::Partition
                | FaultKind::Delay
                | FaultKind::Bandwidth
                | FaultKind::Reset
                | FaultKind::HalfOpen
        )
    }

    /// Whether a member's process ends by it, so that what it counted is gone.
    pub fn ends_processes(self) -> bool {
        !(self.breaks_links()
            || matches!(
                self,
                FaultKind::Pause
                    | FaultKind::MoveLeader
                    | FaultKind::SlowDisk
                    | FaultKind::Compact
                    | FaultKind::Defragment
                    | FaultKind::CpuStarve
            ))
    }

    /// Whether a file of the member is damaged by it.
    pub fn damages_files(self) -> bool {
        matches!(self, FaultKind::TornWrite | FaultKind::BitFlip | FaultKind::Truncate)
    }

    /// Whether it is done through places in the server's code that a trial can name.
    pub fn needs_failpoints(self) -> bool {
        matches!(self, FaultKind::SlowDisk | FaultKind::DiskError)
    }

    /// What a member must do after it, unless the workload says otherwise. A write that was never
    /// acknowledged may be lost; what was must not be, nor be another.
    pub fn then(self) -> Then {
        match self {
            FaultKind::BitFlip | FaultKind::Truncate => Then::Refuse,
            _ => Then::Recover,
        }
    }
}

impl Direction {
    /// Whether it is about what the target sends.
    pub fn is_from(self) -> bool {
        self != Direction::To
    }

    /// Whether it is about what the target receives.
    pub fn is_to(self) -> bool {
        self != Direction::From
    }
}

impl Links {
    /// Whether a link is among these.
    pub fn is_of(self, clients: bool) -> bool {
        match self {
            Links::Peers => !clients,
            Links::Clients => clients,
            Links::All => true,
        }
    }
}

/// What a target may be called, beside `member:N`.
const TARGETS: [(&str, Target); 9] = [
    ("leader", Target::Leader),
    ("follower", Target::Follower),
    ("learner", Target::Learner),
    ("any", Target::Any),
    ("minority", Target::Minority),
    ("majority", Target::Majority),
    ("all", Target::All),
    ("each", Target::Each),
    ("new", Target::New),
];
/// What all names of one certain member begin with.
const MEMBER: &str = "member:";

impl Target {
    /// Its name, for reports, which tell the members too.
    pub fn name(self) -> &'static str {
        let named = TARGETS.iter().find(|(_, target)| *target == self);
        named.map_or("member", |(name, _)| name)
    }
}

impl fmt::Display for Target {
    /// As in workload files and histories.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Member(member) => write!(f, "{MEMBER}{member}"),
            other => f.write_str(other.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(number) = text.strip_prefix(MEMBER) {
            let wrong = |_| de::Error::custom(format!("`{text}`: a member is named `member:0`"));
            return number.parse().map(Target::Member).map_err(wrong);
        }
        let named = TARGETS.iter().find(|(name, _)| *name == text);
        named.map(|(_, target)| *target).ok_or_else(|| {
            let names: Vec<String> = TARGETS.iter().map(|(name, _)| format!("`{name}`")).collect();
            let names = names.join(", ");
            let what = format!("unknown target `{text}`, expected one of {names}, `member:0`");
            de::Error::custom(what)
        })
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let share = || text.strip_suffix('%')?.parse().ok().filter(|share| *share < 100);
        if let Some(share) = share() {
            return Ok(When::Load(share));
        }
        match text.split_once(' ') {
            Some(("during", name)) => Ok(When::During(name.to_owned())),
            Some(("after", name)) => Ok(When::After(name.to_owned())),
            _ => Err(de::Error::custom(format!(
                "`{text}`: write \"40%\" (of the load), \"after NAME\" or \"during NAME\" (of a \
                 fault)"
            ))),
        }
    }
}
