//! Packages of other languages, installed into folders of `target/` as files beside the scripts pin
//! them. What was installed for the same pins and tools stays.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace;

/// What installs and runs packages of Node.
pub(crate) const NODE: [&str; 2] = ["node", "npm"];

/// Installs into the folder, which is made, what `pins` names, unless that was done with the same
/// tools.
pub(crate) fn install(
    pins: &Path,
    tools: &[&str],
    folder: &Path,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let cannot_read = || format!("cannot read {}", pins.display());
    let mut pin = fs::read_to_string(pins).with_context(cannot_read)?;
    for tool in tools {
        pin += &workspace::output(Command::new(tool).arg("--version"))?;
    }
    let stamp = folder.with_extension("pin");
    if fs::read_to_string(&stamp).is_ok_and(|old| old == pin) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    install(folder)?;
    fs::write(&stamp, pin).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Installs the packages of `package-lock.json` in `source`.
pub(crate) fn npm(source: &Path, folder: &Path) -> Result<()> {
    install(&source.join("package-lock.json"), &NODE, folder, |folder| {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(source.join(name), folder.join(name))?;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        workspace::must(command.current_dir(folder))
    })
}
