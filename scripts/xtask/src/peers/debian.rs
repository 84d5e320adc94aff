//! etcd and etcdctl of an older minor version, out of Debian's packages.
//!
//! Nothing is installed: a package is downloaded by apt with lists and a cache of its own below
//! `target/`, compared with its checksum here, and unpacked there. Where that cannot be done (no
//! apt, no network, another processor, another release of Debian) the reason is told, and what
//! needs these programs says that it was left out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// A program, and the package that holds it.
pub(super) struct Program {
    /// Its name in `target/peers`.
    pub(super) name: &'static str,
    package: &'static str,
    version: &'static str,
    architecture: &'static str,
    sha256: &'static str,
    path: &'static str,
}

/// Debian 12's.
pub(super) const PROGRAMS: [Program; 2] = [
    Program {
        name: "etcd-3.4",
        package: "etcd-server",
        version: "3.4.23-4+b4",
        architecture: "amd64",
        sha256: "3a9445d4560ad6de1c375756b2a17d97713df44cbd20a658c871fe108af7ef5d",
        path: "usr/bin/etcd",
    },
    Program {
        name: "etcdctl-3.4",
        package: "etcd-client",
        version: "3.4.23-4+b4",
        architecture: "amd64",
        sha256: "db3a484d5d924b50bf71f459ee544ecd7b11c25dc2f6becc0c50352d67299cc8",
        path: "usr/bin/etcdctl",
    },
];

/// Programs that fetching needs.
const TOOLS: [&str; 4] = ["apt-get", "dpkg", "dpkg-deb", "sha256sum"];

/// Fetches what is not there; an error says why it cannot be had.
pub(super) fn fetch(force: bool) -> Result<()> {
    for program in &PROGRAMS {
        let stamp = workspace::peer(&format!("{}.pin", program.name));
        let is_there = workspace::peer(program.name).is_file()
            && fs::read_to_string(&stamp).is_ok_and(|pin| pin == program.sha256);
        if force || !is_there {
            program.fetch().with_context(|| format!("{} cannot be had", program.name))?;
            fs::write(&stamp, program.sha256)?;
        }
    }
    Ok(())
}

impl Program {
    fn fetch(&self) -> Result<()> {
        if let Some(tool) = TOOLS.iter().find(|tool| !workspace::is_installed(tool)) {
            bail!("{tool} is not installed");
        }
        let ours = quiet(Command::new("dpkg").arg("--print-architecture"))?;
        if ours.trim() != self.architecture {
            bail!("the package is for {}, this is {}", self.architecture, ours.trim());
        }
        let folder = workspace::peer("debian");
        let file = self.download(&folder)?;
        let sum = quiet(Command::new("sha256sum").arg(folder.join(&file)))?;
        if sum.split_whitespace().next() != Some(self.sha256) {
            bail!("{file} has another checksum: {}", sum.trim());
        }
        let unpacked = folder.join(self.name);
        quiet(Command::new("dpkg-deb").arg("-x").arg(folder.join(&file)).arg(&unpacked))?;
        fs::copy(unpacked.join(self.path), workspace::peer(self.name))?;
        Ok(())
    }

    /// Downloads the package into `folder`; returns the name of the file.
    fn download(&self, folder: &Path) -> Result<String> {
        let (lists, cache) = (folder.join("lists"), folder.join("cache"));
        for folder in [lists.join("partial"), cache.join("archives/partial")] {
            fs::create_dir_all(&folder)?;
        }
        let apt = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command
                .args(["-q", "-o", &format!("Dir::State::Lists={}", lists.display())])
                .args(["-o", &format!("Dir::Cache={}", cache.display())])
                .args(arguments)
                .current_dir(folder);
            quiet(&mut command)
        };
        let wanted = format!("{}={}", self.package, self.version);
        apt(&["update"])?;
        apt(&["download", &wanted])?;
        Ok(format!("{}_{}_{}.deb", self.package, self.version, self.architecture))
    }
}

/// Its stdout. What it says on stderr is told only when it fails, as the reason.
pub(super) fn quiet(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = stderr.lines().rfind(|line| line.starts_with("E: ")).unwrap_or(stderr.trim());
        bail!("{program} ended with {}: {reason}", output.status);
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}
