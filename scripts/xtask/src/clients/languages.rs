//! The languages: what each needs, how its script is built, and how it is run.
//!
//! Everything is pinned by a file beside the script, and everything that a build makes or installs
//! is in `target/clients/NAME`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{pinned, workspace};

/// A language, with its script in `scripts/clients/NAME`.
pub(super) struct Language {
    /// Its name and that of its folder.
    pub(super) name: &'static str,
    /// The library under test.
    library: &'static str,
    /// Programs that must be installed.
    pub(super) tools: &'static [&'static str],
    build: fn(&Language) -> Result<()>,
    run: fn(&Language) -> Command,
}

/// All of them.
pub(super) const LANGUAGES: [Language; 4] = [
    Language {
        name: "go",
        library: "clientv3",
        tools: &["go"],
        build: |go| {
            let mut command = Command::new("go");
            command.args(["build", "-buildvcs=false", "-mod=readonly", "-o"]);
            workspace::must(
                command.arg(go.built().join("script")).arg(".").current_dir(go.source()),
            )
        },
        run: |go| Command::new(go.built().join("script")),
    },
    Language {
        name: "node",
        library: "etcd3",
        tools: &pinned::NODE,
        build: |node| pinned::npm(&node.source(), &node.built()),
        run: |node| {
            let mut command = Command::new("node");
            command.arg(node.source().join("script.js"));
            command.env("NODE_PATH", node.built().join("node_modules"));
            command
        },
    },
    Language {
        name: "python",
        library: "aetcd",
        tools: &["python3"],
        build: |python| {
            let pins = python.source().join("requirements.txt");
            pinned::install(&pins, python.tools, &python.built(), |folder| {
                workspace::must(
                    Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder),
                )?;
                let mut command = Command::new(folder.join("bin/pip"));
                command.args(["install", "--quiet", "--disable-pip-version-check"]);
                workspace::must(command.args(["--require-hashes", "-r"]).arg(&pins))
            })
        },
        run: |python| {
            let mut command = Command::new(python.built().join("bin/python"));
            command.arg(python.source().join("script.py"));
            command
        },
    },
    Language {
        name: "rust",
        library: "etcd-client",
        tools: &["cargo"],
        build: |rust| {
            let build = |package: &str| {
                let mut command = workspace::cargo(["build", "--quiet", "--locked", "-p", package]);
                command.arg("--manifest-path").arg(rust.source().join("Cargo.toml"));
                command.arg("--target-dir").arg(rust.built());
                command
            };
            workspace::must(&mut build("protoc"))?;
            let protoc = rust.built().join("debug/protoc");
            workspace::must(build("etcd-client-script").env("PROTOC", protoc))
        },
        run: |rust| Command::new(rust.built().join("debug/etcd-client-script")),
    },
];

impl Language {
    /// What its step is called.
    pub(super) fn title(&self) -> String {
        format!("clients: {} of {}", self.library, self.name)
    }

    /// Builds and installs what is not up to date.
    pub(super) fn prepare(&self) -> Result<()> {
        let folder = self.built();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        (self.build)(self)
    }

    /// Runs the script against a server.
    pub(super) fn command(&self, address: &str) -> Command {
        let mut command = (self.run)(self);
        command.arg(address);
        command
    }

    fn source(&self) -> PathBuf {
        workspace::root().join("scripts/clients").join(self.name)
    }

    fn built(&self) -> PathBuf {
        workspace::target().join("clients").join(self.name)
    }
}
