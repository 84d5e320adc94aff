//! Members that hardly get to run: all their threads are put on one core, where other processes
//! spin.

use std::fs;
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::cluster::process::{self, Process};
use crate::cluster::{Cluster, ClusterError};

/// A member that hardly gets to run.
#[derive(Debug)]
pub struct Starved {
    member: u32,
    pid: Pid,
    /// Where it may run otherwise.
    cores: CpuSet,
    /// They end when dropped.
    _hogs: Vec<Process>,
}

/// Puts each member on one core, with so many that spin.
pub(super) fn begin(
    cluster: &Cluster,
    members: &[u32],
    hogs: u32,
) -> (Vec<Starved>, Result<(), ClusterError>) {
    let mut starved = Vec::new();
    for &member in members {
        match starve(cluster, member, hogs) {
            Ok(one) => starved.push(one),
            Err(error) => return (starved, Err(error)),
        }
    }
    (starved, Ok(()))
}

/// Gives them their cores back.
pub(super) fn end(starved: Vec<Starved>) -> Result<(), ClusterError> {
    let mut done = Ok(());
    for one in starved {
        done = done.and(put_on(one.pid, &one.cores).map_err(failed(one.member)));
    }
    done
}

fn starve(cluster: &Cluster, member: u32, hogs: u32) -> Result<Starved, ClusterError> {
    let Some(pid) = cluster.pid(member) else {
        return Err(ClusterError::NotDone { member, reason: "it does not run".to_owned() });
    };
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id is that small"));
    let cores = sched_getaffinity(pid).map_err(|e| failed(member)(e.into()))?;
    let one = last_of(&cores).map_err(|e| failed(member)(e.into()))?;
    put_on(pid, &one).map_err(failed(member))?;
    let hogs = (0..hogs).map(|_| hog(&one)).collect::<std::io::Result<Vec<Process>>>();
    match hogs {
        Ok(hogs) => Ok(Starved { member, pid, cores, _hogs: hogs }),
        Err(error) => {
            put_on(pid, &cores).map_err(failed(member))?;
            Err(failed(member)(error))
        }
    }
}

/// A process that does nothing, as fast as it can.
fn hog(core: &CpuSet) -> std::io::Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do :; done"]);
    let hog = process::spawn(command, fs::File::options().write(true).open("/dev/null")?)?;
    put_on(Pid::from_raw(i32::try_from(hog.pid()).map_err(std::io::Error::other)?), core)?;
    Ok(hog)
}

/// Puts every thread of a process on these cores.
fn put_on(pid: Pid, cores: &CpuSet) -> std::io::Result<()> {
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match sched_setaffinity(Pid::from_raw(thread), cores) {
            // It has just ended.
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The last of these cores: the first is the one on which most else runs.
fn last_of(cores: &CpuSet) -> nix::Result<CpuSet> {
    let last = (0..CpuSet::count()).rev().find(|core| cores.is_set(*core).unwrap_or(false));
    let mut one = CpuSet::new();
    one.set(last.unwrap_or_default())?;
    Ok(one)
}

fn failed(member: u32) -> impl FnOnce(std::io::Error) -> ClusterError {
    move |source| ClusterError::Io { what: format!("cannot starve m{member}"), source }
}

/// Whether this machine lets us do it, to ourselves.
pub(super) fn works() -> std::io::Result<()> {
    let us = Pid::this();
    Ok(sched_setaffinity(us, &sched_getaffinity(us)?)?)
}
