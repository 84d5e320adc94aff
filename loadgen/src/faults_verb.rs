//! `loadgen faults doctor`: which faults can be done here.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use rusd_loadgen::cluster;
use rusd_loadgen::nemesis::doctor::{Finding, Machine};
use rusd_loadgen::workload::{ClusterSpec, System};

use crate::{BAD_INPUT, RUN_FAILED, refuse};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Say which faults this machine and the server's build let us do, and what to do about the
    /// others. Exit code 4 if there are others that the server could have.
    Doctor(DoctorArguments),
}

#[derive(clap::Args)]
struct DoctorArguments {
    /// Which server.
    #[arg(long, value_enum, default_value = "rusd")]
    system: System,
    /// The server's executable.
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let Verb::Doctor(DoctorArguments { system, binary }) = arguments.verb;
    let spec = ClusterSpec { system, binary, ..ClusterSpec::default() };
    let program = match cluster::executable(&spec) {
        Ok(program) => program,
        Err(error) => return refuse(BAD_INPUT, &error.to_string()),
    };
    let findings = Machine::look(system, &program).findings();
    print(&findings);
    // What is not offered at all is nobody's fault here.
    let all = findings.iter().all(|f| f.works.is_ok() || f.through == "not offered");
    if all { ExitCode::SUCCESS } else { ExitCode::from(RUN_FAILED) }
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(findings: &[Finding]) {
    for Finding { fault, through, works } in findings {
        match works {
            Ok(()) => println!("works   {fault:<22} {through}"),
            Err(lack) => {
                println!("lacking {fault:<22} {}", lack.reason);
                println!("        {:<22} {}", "", lack.advice);
            }
        }
    }
}
