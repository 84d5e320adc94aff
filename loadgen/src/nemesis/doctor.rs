//! Which faults this machine, and the server's build, let us do; and what to do about the others.
//!
//! A run asks before it starts anything: a fault that cannot be done refuses the run, by its place
//! in the workload, unless it is `optional`; then it is left out, and said so.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cpu;
use crate::cluster::disk::SmallDisk;
use crate::workload::{Fault, FaultKind, System, Workload, WorkloadError};

/// What only builds with failpoints have in them.
const FAILPOINTS: &str = "GOFAIL_HTTP";
/// What only builds with planted bugs have in them; they note how far the log is synced.
const PLANTED: &str = "RUSD_PLANT";
/// Enough for a file system.
const SMALL_BYTES: usize = 1 << 20;

/// Why something cannot be done, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Why.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

/// What the machine and a server's build let us do.
#[derive(Debug, Clone)]
pub struct Machine {
    sockets: Result<(), Lack>,
    small_disk: Result<(), Lack>,
    cores: Result<(), Lack>,
    failpoints: Result<(), Lack>,
    synced_note: Result<(), Lack>,
}

/// A kind of fault, and whether it can be done.
#[derive(Debug, Clone)]
pub struct Finding {
    /// As a workload names it.
    pub fault: &'static str,
    /// How it is done.
    pub through: &'static str,
    /// Whether it can be done.
    pub works: Result<(), Lack>,
}

/// All kinds, in the order in which they are told.
const KINDS: [FaultKind; 23] = [
    FaultKind::Kill,
    FaultKind::Pause,
    FaultKind::Restart,
    FaultKind::SwapBinary,
    FaultKind::Partition,
    FaultKind::Delay,
    FaultKind::Bandwidth,
    FaultKind::Reset,
    FaultKind::HalfOpen,
    FaultKind::SlowDisk,
    FaultKind::DiskError,
    FaultKind::DiskFull,
    FaultKind::TornWrite,
    FaultKind::BitFlip,
    FaultKind::Truncate,
    FaultKind::CpuStarve,
    FaultKind::MoveLeader,
    FaultKind::MemberAdd,
    FaultKind::MemberPromote,
    FaultKind::MemberRemove,
    FaultKind::MemberReplace,
    FaultKind::Compact,
    FaultKind::Defragment,
];

impl Machine {
    /// Looks at this machine, and at the executable of a system.
    pub fn look(system: System, program: &Path) -> Machine {
        let build = |feature: &str| match system {
            System::Rusd => format!("build it: cargo build --release -p rusd --features {feature}"),
            System::Etcd => "build etcd with gofail, as its robustness tests do".to_owned(),
        };
        let has = |word, what: &str, advice: String| match holds(program, word) {
            Ok(true) => Ok(()),
            Ok(false) => lack(format!("{} was built without {what}", program.display()), advice),
            Err(error) => lack(format!("{}: {error}", program.display()), advice),
        };
        Machine {
            sockets: sockets(),
            small_disk: small_disk(),
            cores: cores(),
            failpoints: has(FAILPOINTS, "failpoints", build("failpoints")),
            synced_note: match system {
                System::Rusd => has(PLANTED, "a note of its synced log", build("planted-bugs")),
                System::Etcd => lack(
                    "etcd does not note how far its log is synced".to_owned(),
                    "use torn_write, which every server must survive".to_owned(),
                ),
            },
        }
    }

    /// Why a fault cannot be done, if it cannot.
    pub fn lacks(&self, kind: FaultKind, lose_unsynced: bool) -> Option<&Lack> {
        let needed = match kind {
            FaultKind::Kill if lose_unsynced => &self.synced_note,
            kind if kind.breaks_links() => &self.sockets,
            FaultKind::SlowDisk | FaultKind::DiskError => &self.failpoints,
            FaultKind::DiskFull => &self.small_disk,
            FaultKind::CpuStarve => &self.cores,
            _ => return None,
        };
        needed.as_ref().err()
    }

    /// Every kind of fault, and whether it can be done.
    pub fn findings(&self) -> Vec<Finding> {
        let find = |kind: FaultKind, fault, lose_unsynced| Finding {
            fault,
            through: through(kind),
            works: self.lacks(kind, lose_unsynced).cloned().map_or(Ok(()), Err),
        };
        let mut findings = Vec::new();
        for kind in KINDS {
            findings.push(find(kind, kind.name(), false));
            if kind == FaultKind::Kill {
                findings.push(find(kind, "kill, lose_unsynced", true));
            }
        }
        findings.push(Finding {
            fault: "clock_jump",
            through: "not offered",
            works: lack(
                "the wall clock is one for the whole machine, no namespace has its own".to_owned(),
                "give each member a machine, and set its clock there".to_owned(),
            ),
        });
        findings
    }
}

/// Takes the optional faults that cannot be done out of a workload, and says which; an error is of
/// the first that is not optional. `file` and `text` are what the workload was read from.
pub fn prepare(
    workload: &mut Workload,
    file: &str,
    text: &str,
    program: &Path,
) -> Result<Vec<String>, WorkloadError> {
    if workload.every_fault().next().is_none() {
        return Ok(Vec::new());
    }
    let machine = Machine::look(workload.cluster.system, program);
    let lack_of = |fault: &Fault| {
        let how = fault.how();
        match how.binary.filter(|binary| !binary.is_file()) {
            Some(binary) => Some(Lack {
                reason: format!("there is no executable {}", binary.display()),
                advice: "correct `binary`".to_owned(),
            }),
            None => machine.lacks(*fault.kind.get_ref(), how.lose_unsynced).cloned(),
        }
    };
    for fault in workload.every_fault().filter(|fault| !fault.optional) {
        if let Some(Lack { reason, advice }) = lack_of(fault) {
            let name = fault.kind.get_ref().name();
            let message = format!(
                "{name} cannot be done: {reason}; {advice}, or say `optional = true` to leave it \
                 out (see `loadgen faults doctor`)"
            );
            return Err(WorkloadError::at(file, text, fault.kind.span(), message));
        }
    }
    let mut left_out = Vec::new();
    let mut stays = |fault: &Fault| match lack_of(fault) {
        Some(Lack { reason, .. }) => {
            left_out.push(format!("left out: {}: {reason}", fault.kind.get_ref().name()));
            false
        }
        None => true,
    };
    workload.faults.retain(&mut stays);
    for pick in &mut workload.picks {
        pick.from.get_mut().retain(&mut stays);
    }
    workload.picks.retain(|pick| !pick.from.get_ref().is_empty());
    Ok(left_out)
}

/// How a fault is done, for people.
fn through(kind: FaultKind) -> &'static str {
    match kind {
        kind if kind.breaks_links() => "our TCP proxies",
        FaultKind::SlowDisk | FaultKind::DiskError => "failpoints (gofail's protocol)",
        FaultKind::DiskFull => "a file system in memory, in a namespace",
        FaultKind::TornWrite | FaultKind::BitFlip | FaultKind::Truncate => "the member's files",
        FaultKind::CpuStarve => "one core, shared with processes that spin",
        FaultKind::Kill | FaultKind::Pause | FaultKind::Restart | FaultKind::SwapBinary => {
            "signals"
        }
        _ => "the member's API",
    }
}

fn lack(reason: String, advice: String) -> Result<(), Lack> {
    Err(Lack { reason, advice })
}

/// Who made a connection is looked up there; without it no cut is whole.
fn sockets() -> Result<(), Lack> {
    match fs::read_to_string("/proc/net/tcp") {
        Ok(_) => Ok(()),
        Err(error) => lack(
            format!("/proc/net/tcp: {error}"),
            "run on Linux, with /proc, to know which member made a connection".to_owned(),
        ),
    }
}

fn small_disk() -> Result<(), Lack> {
    let advice = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu \
                  kernel.apparmor_restrict_unprivileged_userns=0; or run as root) and install \
                  util-linux"
        .to_owned();
    let folder = std::env::temp_dir().join(format!("loadgen-doctor-{}", std::process::id()));
    let tried = fs::create_dir_all(&folder).and_then(|()| try_disk(&folder));
    // Left over at worst, and empty.
    drop(fs::remove_dir(&folder));
    tried.or_else(|error| lack(error.to_string(), advice))
}

fn try_disk(folder: &Path) -> io::Result<()> {
    let disk = SmallDisk::new(folder, SMALL_BYTES)?;
    let words = disk.enter();
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .arg("true")
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("nsenter: {error}")))?;
    if tried.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    Err(io::Error::other(said.trim_end().to_owned()))
}

fn cores() -> Result<(), Lack> {
    cpu::works().or_else(|error| {
        lack(
            format!("processes cannot be put on a core: {error}"),
            "allow sched_setaffinity in this container".to_owned(),
        )
    })
}

/// Whether a file has this word in it.
fn holds(file: &Path, word: &str) -> io::Result<bool> {
    let content = fs::read(file)?;
    Ok(content.windows(word.len()).any(|window| window == word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;

    use super::*;

    const TEXT: &str = "duration = \"30s\"\nclients = 1\nkeys = { count = 1 }\nmix = { put = 1 }\n\
                        [[faults]]\nkind = \"kill\"\ntarget = \"any\"\nat = \"1s\"\nfor = \"1s\"\n\
                        [[faults]]\nkind = \"slow_disk\"\ntarget = \"any\"\nat = \"1s\"\n\
                        for = \"1s\"\nby = \"1ms\"\n";

    fn prepared(more: &str, program: &[u8]) -> (Result<Vec<String>, String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, program).unwrap();
        let text = format!("{TEXT}{more}");
        let mut workload = Workload::parse("test.toml", &text).unwrap();
        let done = prepare(&mut workload, "test.toml", &text, &path).map_err(|e| e.to_string());
        (done, workload.faults.len())
    }

    #[test]
    fn a_fault_that_cannot_be_done_refuses_the_run_unless_it_is_optional() {
        assert_eq!(prepared("", b"... GOFAIL_HTTP ..."), (Ok(Vec::new()), 2));
        let (refused, _) = prepared("", b"nothing");
        let refused = refused.unwrap_err();
        assert!(refused.starts_with("test.toml:11:8: slow_disk cannot be done: "), "{refused}");
        assert!(refused.contains("--features failpoints"), "{refused}");
        let (left_out, faults) = prepared("optional = true\n", b"nothing");
        assert_eq!((left_out.unwrap().len(), faults), (1, 1));
    }

    /// What a workload may name, in order: the refusal of another name lists them.
    fn named() -> Vec<String> {
        let refused = FaultKind::deserialize("none of them".into_deserializer());
        let refused: serde::de::value::Error = refused.unwrap_err();
        let refused = refused.to_string();
        let (_, names) = refused.split_once("expected one of ").unwrap();
        let mut names: Vec<String> =
            names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_doctor_tells_every_kind_once() {
        let machine = Machine::look(System::Etcd, Path::new("nowhere"));
        let findings = machine.findings();
        let mut kinds = KINDS.map(FaultKind::name).to_vec();
        kinds.sort_unstable();
        assert_eq!(kinds, named());
        assert_eq!(findings.len(), KINDS.len() + 2);
        let slow = findings.iter().find(|finding| finding.fault == "slow_disk").unwrap();
        assert!(slow.works.as_ref().unwrap_err().reason.starts_with("nowhere: "), "{slow:?}");
    }
}
