//! `cargo xtask conform`: the conformance scripts hold on rusd, and on the etcds they were
//! recorded from.
//!
//! A script that etcd itself does not pass says nothing about rusd, so both run. What each run
//! found is kept in `target/ci/conform-NAME/`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::server::{Options, Scratch, Server, System};
use crate::steps::{Outcome, Steps};
use crate::workspace::Binaries;
use crate::{certificates, peers, report, workspace};

/// How loadgen ends if a server cannot be reached.
const RUN_FAILED: i32 = 4;

/// Run the conformance scripts on rusd, etcd 3.7 and etcd 3.4; all must pass
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only scripts whose name (area/situation) contains this
    #[arg(long)]
    filter: Option<String>,
    /// Only this server
    #[arg(long, value_enum)]
    only: Option<Subject>,
}

/// A server that scripts run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Subject {
    /// Ours, built from this tree.
    Rusd,
    /// The version that scripts are recorded from.
    Etcd,
    /// The oldest version that scripts speak about, as Debian has it.
    #[value(name = "etcd-3.4")]
    OldEtcd,
}

const SECURED: &str = "conform: over secured links";

const SUBJECTS: [Subject; 3] = [Subject::Rusd, Subject::Etcd, Subject::OldEtcd];

/// Builds what is needed, runs the scripts, prints a summary.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = Binaries::release()?;
    let mut steps = Steps::default();
    for subject in SUBJECTS {
        if args.only.is_none_or(|only| only == subject) {
            steps.run(subject.title(), || conform(&binaries, subject, args.filter.as_deref()));
        }
    }
    if args.only.is_none() && args.filter.is_none() {
        steps.run(SECURED, || secured(&binaries));
    }
    Ok(steps.finish("cargo xtask conform"))
}

/// The steps of `test`.
pub(crate) fn steps(steps: &mut Steps, binaries: &Binaries) {
    for subject in SUBJECTS {
        steps.run(subject.title(), || conform(binaries, subject, None));
    }
    steps.run(SECURED, || secured(binaries));
}

impl Subject {
    fn title(self) -> &'static str {
        match self {
            Subject::Rusd => "conform: rusd answers as etcd",
            Subject::Etcd => "conform: etcd 3.7 answers as recorded",
            Subject::OldEtcd => "conform: etcd 3.4 answers as recorded",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Subject::Rusd => "rusd",
            Subject::Etcd => "etcd",
            Subject::OldEtcd => "etcd-3.4",
        }
    }

    /// The executable; an `Err` says why there is none.
    fn binary(self, binaries: &Binaries) -> Result<PathBuf, String> {
        match self {
            Subject::Rusd => Ok(binaries.server().to_owned()),
            Subject::Etcd if !peers::is_available() => Err(peers::MISSING.to_owned()),
            Subject::Etcd => {
                peers::build(false).map_err(|error| format!("{error:#}"))?;
                Ok(workspace::peer("etcd"))
            }
            Subject::OldEtcd => {
                peers::old().map_err(|error| format!("{error:#}"))?;
                Ok(workspace::peer("etcd-3.4"))
            }
        }
    }
}

/// Some scripts on a server that asks clients for a certificate: all hold with one, and nothing is
/// asked without.
fn secured(binaries: &Binaries) -> Result<Outcome> {
    let certificates = Scratch::new("certificates")?;
    certificates::make(certificates.path())?;
    let file = |name: &str| certificates.path().join(name).display().to_string();
    let options = Options::new(System::Rusd, binaries.server())?
        .https(true)
        .flag("--cert-file", &file("server.pem"))
        .flag("--key-file", &file("server.key"))
        .flag("--trusted-ca-file", &file("ca.pem"));
    let server = Server::start(&options)?;
    let conform = |shown: &[String]| {
        let mut command = Command::new(binaries.loadgen());
        command.args(["conform", "--endpoints", &server.client_url(), "--wipe"]);
        command.args(["--filter", "put/", "--cacert", &file("ca.pem")]).args(shown);
        workspace::status(&mut command).map(|status| status.code())
    };
    let shown = ["--cert".to_owned(), file("client.pem"), "--key".to_owned(), file("client.key")];
    Ok(match (conform(&shown)?, conform(&[])?) {
        (Some(0), Some(RUN_FAILED)) => Outcome::Passed("let in with a certificate only".into()),
        (with, without) => Outcome::Failed(format!(
            "loadgen ends with {with:?}, without a certificate {without:?}"
        )),
    })
}

fn conform(binaries: &Binaries, subject: Subject, filter: Option<&str>) -> Result<Outcome> {
    let binary = match subject.binary(binaries) {
        Ok(binary) => binary,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let out = workspace::target().join("ci").join(format!("conform-{}", subject.name()));
    let mut command = Command::new(binaries.loadgen());
    let system = if subject == Subject::Rusd { "rusd" } else { "etcd" };
    command.args(["conform", "--system", system, "--binary"]).arg(binary).arg("--out").arg(&out);
    if let Some(filter) = filter {
        command.args(["--filter", filter]);
    }
    let mut last = None;
    let status = workspace::tee(&mut command, &mut |line| last = Some(line.to_owned()))?;
    report::progress(&format!("kept in {}", out.display()));
    // loadgen says first what it counted; an error is on stderr, and has been seen.
    let note = last.with_context(|| format!("loadgen conform ended with {status}"))?;
    Ok(if status.success() { Outcome::Passed(note) } else { Outcome::Failed(note) })
}
