//! `cargo xtask stream`: how fast the checker judges a stream, and in how much memory.
//!
//! `checker stream` makes a history up as it goes on, and times only its judging, on one core.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::Binaries;
use crate::{report, workspace};

/// Judge ten million operations as a stream, and measure time and memory
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Operations of each history
    #[arg(long, default_value_t = 10_000_000)]
    operations: u64,
    /// Keep the table in results/stream.md
    #[arg(long)]
    keep: bool,
}

const HISTORIES: [(&str, Option<&str>); 3] = [
    ("all kinds but leases, 2 in 1000 unknown, watched by three", None),
    ("all kinds but leases", Some("--unwatched")),
    ("puts and reads of single keys", Some("--single")),
];
/// More than this is too much.
const PEAK_KIB_MAX: u64 = 1 << 20;

/// Measures; fails if a history is not found valid, or takes more than a GiB.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    workspace::must(&mut workspace::cargo(["build", "--release", "-p", "rusd-checker", "--bins"]))?;
    let checker = Binaries::in_folder(workspace::target().join("release")).checker();
    let mut lines = vec![
        format!(
            "Made-up histories judged as streams, on one core; checker at {}. Seconds are of judging \
             alone; the peak of memory is that of the whole process, which makes the history up.",
            workspace::commit()
        ),
        String::new(),
        "| history | operations | events | seconds | operations per second | entries held | peak MiB |"
            .to_owned(),
        "|---|--:|--:|--:|--:|--:|--:|".to_owned(),
    ];
    let mut is_good = true;
    for (name, option) in HISTORIES {
        report::progress(name);
        let operations = args.operations.to_string();
        let mut command = Command::new(&checker);
        command.args(["stream", "--operations", &operations]).args(option);
        let output = command.output().context("checker stream")?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let count = |field: &str| told[field].as_u64().with_context(|| format!("no {field}"));
        let (operations, millis) = (count("operations")?, count("millis")?.max(1));
        let peak_kib = count("peak_kib")?;
        is_good &= told["verdict"] == "valid" && peak_kib <= PEAK_KIB_MAX;
        lines.push(format!(
            "| {name} | {operations} | {} | {}.{:02} | {} | {} | {} |",
            count("events")?,
            millis / 1000,
            millis % 1000 / 10,
            operations * 1000 / millis,
            count("held")?,
            peak_kib / 1024
        ));
    }
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("stream.md", &lines)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
