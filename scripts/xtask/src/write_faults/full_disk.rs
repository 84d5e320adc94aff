//! A disk that is full: a small tmpfs in a mount namespace of its own, which is made larger later.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Plan;
use super::cluster::{Cluster, Role, Seen};
use super::load::Load;
use crate::server::Scratch;

/// Its name among the places.
pub(super) const NAME: &str = "disk-full";

/// The first segments of the log, and a little for the engine.
const SMALL: &str = "170m";
const LARGE: &str = "2g";
/// How long it may take to fill it.
const FILLED_TIMEOUT: Duration = Duration::from_mins(2);
/// What a member says that has no space.
const REASON: &str = "No space left on device";
/// They fill the disk in some thousand writes.
const VALUE_BYTES: usize = 20_000;
/// Acknowledged writes of the others, and of all after the restart.
const WRITES: usize = 200;

/// The first member's disk is full.
pub(super) struct Case {
    members: usize,
}

/// Of one member, and of one of three.
pub(super) fn all() -> [Case; 2] {
    [1, 3].map(|members| Case { members })
}

impl Case {
    /// Place, what happens, members, whose.
    pub(super) fn cells(&self) -> [String; 4] {
        let whose = if self.members == 1 { Role::Leader.name() } else { "any" };
        [NAME.to_owned(), "the disk is full".to_owned(), self.members.to_string(), whose.to_owned()]
    }

    /// Fills the disk, makes room, and looks at what is there.
    pub(super) fn run(&self, plan: &Plan<'_>) -> Result<Seen> {
        let disk = SmallDisk::new()?;
        let mut cluster = Cluster::start(plan, self.members, Some(&disk))?;
        self.play(&disk, &mut cluster).map_err(|error| cluster.keep(error))
    }

    fn play(&self, disk: &SmallDisk, cluster: &mut Cluster<'_>) -> Result<Seen> {
        let load = Load::start(&cluster.urls(), VALUE_BYTES, false)?;
        let ended = cluster.ended(0, 1, FILLED_TIMEOUT).context("its disk does not fill up")?;
        let said = ended.has_said(REASON);
        ensure!(said, "it does not say why it ends\n{}", ended.log_tail());
        if self.members > 1 {
            load.wait_for(WRITES).context("the others do not go on")?;
        }
        disk.enlarge()?;
        cluster.spawn(0, None)?;
        cluster.ready()?;
        load.wait_for(WRITES).context("they do not go on with it")?;
        let writes = load.finish()?;
        cluster.must_hold(&writes)?;
        cluster.stop_and_verify()?;
        Ok(Seen { end: "ended with code 1".to_owned(), writes: writes.len() })
    }
}

/// A file system that only processes of its namespace see. It is gone when dropped.
pub(super) struct SmallDisk {
    mounted: Scratch,
    keeper: Child,
}

impl SmallDisk {
    fn new() -> Result<Self> {
        let mounted = Scratch::new("small-disk")?;
        let script = r#"mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && exec cat"#;
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(mounted.path())
            .arg(SMALL)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("needs unshare, of util-linux")?;
        let stdout = keeper.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let disk = Self { mounted, keeper };
        ensure!(line.trim_end() == "mounted", "no file system can be mounted in a namespace here");
        Ok(disk)
    }

    /// Where it is, inside.
    pub(super) fn folder(&self) -> &Path {
        self.mounted.path()
    }

    /// How a program is started inside, and ends with whoever started it.
    pub(super) fn inside(&self) -> Vec<OsString> {
        let target = self.keeper.id().to_string();
        let enter = ["nsenter", "--user", "--mount", "--preserve-credentials", "--target", &target];
        let ends_with_us = ["setpriv", "--pdeathsig", "KILL", "--"];
        enter.into_iter().chain(ends_with_us).map(OsString::from).collect()
    }

    fn enlarge(&self) -> Result<()> {
        let words = self.inside();
        let status = Command::new(&words[0])
            .args(&words[1..])
            .args(["mount", "-o", &format!("remount,size={LARGE}")])
            .arg(self.folder())
            .status()?;
        ensure!(status.success(), "the disk cannot be made larger: {status}");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // With its standard input it ends by itself, too, when we are killed.
        if self.keeper.kill().is_ok() {
            self.keeper.wait().ok();
        }
    }
}
