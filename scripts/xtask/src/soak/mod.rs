//! `cargo xtask soak`: an hour of load and faults, while the memory of everybody is looked at.
//!
//! The run must be valid, with every fault done and every watch complete. While load is offered the
//! memory of the generator and of each member must be flat (see [`memory`]); one that came late or
//! went early is shown only, and the members' average is judged too. The checker, which holds a whole
//! history, must not need more for each line of the whole than of its first half.

mod memory;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::run_folder::{self, Ended, Run};
use crate::workspace::Binaries;
use crate::{report, workspace};
use memory::{Memory, Trend, float};

/// Run workloads/soak.toml, and see whether anybody's memory grows
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, instead of the workload's hour
    #[arg(long)]
    duration: Option<String>,
    /// Seed of the load and of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which server: rusd, or etcd as `cargo xtask peers` builds it
    #[arg(long, default_value = "rusd", value_parser = ["rusd", "etcd"])]
    system: String,
    /// The server's executable, such as a rusd with failpoints, whose disks can be slow and fail
    #[arg(long)]
    server: Option<PathBuf>,
    /// The folder with release builds of loadgen and checker, instead of building them
    #[arg(long)]
    built: Option<PathBuf>,
    /// Keep the tables in results/soak.md
    #[arg(long)]
    keep: bool,
}

const WORKLOAD: &str = "workloads/soak.toml";
/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// The same, at the checker, which may be done in a second.
const EVERY_CHECKER: Duration = Duration::from_millis(20);
/// More for each line of a longer history would be a checker that is not linear.
const CHECKER_GROWTH_MAX: f64 = 1.15;
/// Rows of the table of memory over time.
const MOMENTS: u32 = 12;
const GENERATOR: &str = "loadgen";
const AVERAGE: &str = "a member, on average";

/// Who held what while load was offered.
#[derive(Default)]
struct Watched {
    by_name: BTreeMap<String, Memory>,
    /// How long load was offered, in seconds.
    loading_s: f64,
    /// What the generator held while it judged.
    judging: Memory,
}

/// What the checker held at most, for a history of so many lines.
struct Checked {
    lines: u64,
    most: u64,
}

/// Runs it, and judges.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let binaries = binaries(args)?;
    let out = workspace::target().join("soak");
    let mut watched = Watched::default();
    let file = Path::new(WORKLOAD);
    let adjust = |command: &mut Command| {
        command.args(["--system", &args.system, "--seed", &args.seed.to_string()]);
        command.args(args.duration.iter().flat_map(|duration| ["--duration", duration]));
    };
    let run = Run::watched(&binaries, file, &out, adjust, |command| {
        let mut loading = None;
        sampled(command, EVERY, |pid| watched.look(pid, &phase(&out), &mut loading))
    })?;
    let checked = match &run.folder {
        Some(folder) => checked(&binaries, &folder.join("history.jsonl"))?,
        None => Vec::new(),
    };
    let lacks = lacks(&run, &watched, &checked);
    let lines = summary(args, &run, &watched, &checked, &lacks);
    for line in &lines {
        report::line(line);
    }
    if args.keep {
        report::keep("soak.md", &lines)?;
    }
    Ok(if lacks.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn binaries(args: &Args) -> Result<Binaries> {
    let ours = match &args.built {
        Some(folder) => Binaries::in_folder(folder.clone()),
        None => Binaries::release()?,
    };
    Ok(match (&args.server, args.system.as_str()) {
        (Some(server), _) => ours.with_server(server.clone()),
        (None, "etcd") => ours.with_server(workspace::peer("etcd")),
        (None, _) => ours,
    })
}

/// Runs to the end, and looks at the process now and then.
fn sampled(
    command: &mut Command,
    every: Duration,
    mut look: impl FnMut(u32),
) -> Result<ExitStatus> {
    let mut child = command.spawn().context("cannot start it")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        look(child.id());
        thread::sleep(every);
    }
}

/// How far the run below this folder came, as its report says.
fn phase(out: &Path) -> String {
    let report = run_folder::newest(out).map(|folder| folder.join("run.json"));
    let text = report.and_then(|report| fs::read_to_string(report).ok()).unwrap_or_default();
    // It is empty while it is being written.
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    report["phase"].as_str().unwrap_or_default().to_owned()
}

impl Watched {
    fn look(&mut self, generator: u32, phase: &str, loading: &mut Option<Instant>) {
        match phase {
            "loading" => {
                let since = *loading.get_or_insert_with(Instant::now);
                self.look_at_everybody(generator, since.elapsed().as_secs_f64());
            }
            "judging" => {
                if let Some(bytes) = memory::held(generator) {
                    self.judging.look(0.0, bytes);
                }
            }
            _ => {}
        }
    }

    fn look_at_everybody(&mut self, generator: u32, at_s: f64) {
        self.loading_s = at_s;
        let mut look = |name: &str, bytes| {
            self.by_name.entry(name.to_owned()).or_default().look(at_s, bytes);
        };
        if let Some(bytes) = memory::held(generator) {
            look(GENERATOR, bytes);
        }
        let members = memory::members(generator).into_iter();
        let held: Vec<(String, u64)> =
            members.filter_map(|(name, pid)| Some((name, memory::held(pid)?))).collect();
        let sum: u64 = held.iter().map(|(_, bytes)| bytes).sum();
        let average = sum.checked_div(u64::try_from(held.len()).expect("members are few"));
        if let Some(bytes) = average {
            look(AVERAGE, bytes);
        }
        for (name, bytes) in held {
            look(&name, bytes);
        }
    }

    /// Everybody who was there long enough to be judged.
    fn trends(&self) -> impl Iterator<Item = (&str, Trend)> {
        let judged = self.by_name.iter();
        judged.filter_map(|(name, memory)| Some((name.as_str(), memory.trend(self.loading_s)?)))
    }
}

/// Has the checker judge the first half of a history, and the whole.
fn checked(binaries: &Binaries, history: &Path) -> Result<Vec<Checked>> {
    let lines = u64::try_from(BufReader::new(File::open(history)?).lines().count())?;
    let half = history.with_file_name("first-half.jsonl");
    let mut writer = BufWriter::new(File::create(&half)?);
    for line in BufReader::new(File::open(history)?).lines().take(usize::try_from(lines / 2)?) {
        writeln!(writer, "{}", line?)?;
    }
    // The header is no record.
    let records = (lines / 2).saturating_sub(1);
    writeln!(writer, r#"{{"t":"end","records":{records}}}"#)?;
    writer.flush()?;
    drop(writer);
    let mut checked = Vec::new();
    for (file, lines) in [(&*half, lines / 2), (history, lines)] {
        let mut memory = Memory::default();
        let mut command = Command::new(binaries.checker());
        command.arg("check").arg(file).stdout(std::process::Stdio::null());
        sampled(&mut command, EVERY_CHECKER, |pid| {
            if let Some(bytes) = memory::held(pid) {
                memory.look(0.0, bytes);
            }
        })?;
        checked.push(Checked { lines, most: memory.most() });
    }
    fs::remove_file(&half).with_context(|| format!("cannot remove {}", half.display()))?;
    Ok(checked)
}

impl Checked {
    fn bytes_per_line(&self) -> f64 {
        float(self.most) / float(self.lines.max(1))
    }
}

/// What the soak was to show and has not.
fn lacks(run: &Run, watched: &Watched, checked: &[Checked]) -> Vec<String> {
    let mut lacks = Vec::new();
    if run.ended != Ended::Valid {
        lacks.push(format!("{}: {}", run.ended.name(), run.rules().join(", ")));
    }
    lacks.extend(run.fault_errors().into_iter().map(|e| format!("a fault was not done: {e}")));
    let [count, complete] =
        ["count", "complete"].map(|name| run.count(&format!("/watches/{name}")));
    if count == 0 || complete < count {
        lacks.push(format!("{complete} of {count} watches are complete"));
    }
    for needed in [GENERATOR, AVERAGE] {
        if watched.trends().all(|(name, _)| name != needed) {
            lacks.push(format!("the memory of {needed} was looked at too seldom"));
        }
    }
    let growing = watched.trends().filter(|(_, trend)| !trend.is_flat());
    lacks.extend(growing.map(|(name, _)| format!("the memory of {name} is not flat")));
    let grows =
        |pair: &[Checked]| pair[1].bytes_per_line() > pair[0].bytes_per_line() * CHECKER_GROWTH_MAX;
    if checked.len() < 2 || checked.windows(2).any(grows) {
        lacks.push("the checker needs more for each line of a longer history".to_owned());
    }
    lacks
}

fn summary(
    args: &Args,
    run: &Run,
    watched: &Watched,
    checked: &[Checked],
    lacks: &[String],
) -> Vec<String> {
    let verdict = if lacks.is_empty() { "It holds.".to_owned() } else { lacks.join("; ") };
    let [count, complete] =
        ["count", "complete"].map(|name| run.count(&format!("/watches/{name}")));
    let mut lines = vec![
        format!(
            "`{WORKLOAD}` on three members of {}, seed {}, at {}: {:.0} s of load, {} operations \
             ({} of unknown outcome), {} faults, {complete} of {count} watches complete; {}. {verdict}",
            args.system,
            args.seed,
            workspace::commit(),
            watched.loading_s,
            run.count("/judgement/counts/operations"),
            run.count("/judgement/counts/unknown"),
            run.count_faults(),
            run.ended.name(),
        ),
        String::new(),
        "Resident memory in MiB: the median of the second quarter of the load and of its last one. It \
         is flat if it grew by at most a tenth, or by 8 MiB."
            .to_owned(),
        String::new(),
    ];
    lines.extend(report::table(&trends(watched)));
    lines.extend([String::new(), "As time went on, in MiB (medians):".to_owned(), String::new()]);
    lines.extend(report::table(&moments(watched)));
    lines.extend([String::new(), checker_line(watched, checked), String::new()]);
    lines.push("Faults that were done:".to_owned());
    lines.push(String::new());
    lines.extend(report::table(&faults(run)));
    lines
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", float(bytes) / float(1 << 20))
}

fn trends(watched: &Watched) -> Vec<Vec<String>> {
    let mut rows = vec![["who", "early", "late", "most", "memory"].map(str::to_owned).to_vec()];
    for (name, memory) in &watched.by_name {
        let (early, late, verdict) = match memory.trend(watched.loading_s) {
            Some(trend) => {
                let verdict = if trend.is_flat() { "flat" } else { "GROWS" };
                (mib(trend.early), mib(trend.late), verdict)
            }
            None => (String::new(), String::new(), "came late or went early"),
        };
        rows.push(vec![name.clone(), early, late, mib(memory.most()), verdict.to_owned()]);
    }
    rows
}

fn moments(watched: &Watched) -> Vec<Vec<String>> {
    let mut head = vec!["minute".to_owned()];
    head.extend(watched.by_name.keys().cloned());
    let mut rows = vec![head];
    for moment in 0..MOMENTS {
        let at = |moment: u32| watched.loading_s * f64::from(moment) / f64::from(MOMENTS);
        let (from, to) = (at(moment), at(moment + 1));
        let mut row = vec![format!("{:.1}", to / 60.0)];
        let held = watched.by_name.values().map(|memory| memory.median(from, to));
        row.extend(held.map(|bytes| bytes.map(mib).unwrap_or_default()));
        rows.push(row);
    }
    rows
}

fn checker_line(watched: &Watched, checked: &[Checked]) -> String {
    let of = |checked: &Checked| {
        format!(
            "{} MiB for {} lines, {:.0} bytes each",
            mib(checked.most),
            checked.lines,
            checked.bytes_per_line()
        )
    };
    let checked: Vec<String> = checked.iter().map(of).collect();
    format!(
        "The checker holds a whole history, so its memory grows with the history's length and must \
         not grow faster. At most, for the first half and for the whole: {}. The generator, in which \
         it judged first, held {} MiB then.",
        checked.join("; "),
        mib(watched.judging.most()),
    )
}

fn faults(run: &Run) -> Vec<Vec<String>> {
    let mut rows = vec![["fault", "times"].map(str::to_owned).to_vec()];
    rows.extend(
        run.faults_by_kind().into_iter().map(|(kind, count)| vec![kind, count.to_string()]),
    );
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"faults":[{"fault":"kill"}],"watches":{"count":3,"complete":3}}"#;

    fn watched(grows: bool) -> Watched {
        let mut watched = Watched { loading_s: 100.0, ..Watched::default() };
        for name in [GENERATOR, AVERAGE, "m0"] {
            let memory = watched.by_name.entry(name.to_owned()).or_default();
            for second in 0..100_u32 {
                let more = u64::from(second) << 20;
                let is_leak = grows && name == "m0";
                memory.look(f64::from(second), (90 << 20) + if is_leak { more } else { 0 });
            }
        }
        // Somebody who came late is not judged.
        let late = watched.by_name.entry("m3".to_owned()).or_default();
        (90..100_u32).for_each(|second| late.look(f64::from(second), u64::from(second) << 30));
        watched
    }

    fn checked(half: u64, whole: u64) -> Vec<Checked> {
        vec![Checked { lines: 50, most: half }, Checked { lines: 100, most: whole }]
    }

    fn lacking(ended: Ended, report: &str, grows: bool, checked: &[Checked]) -> usize {
        let run = Run::read(ended, None, serde_json::from_str(report).unwrap());
        lacks(&run, &watched(grows), checked).len()
    }

    #[test]
    fn a_soak_holds_only_with_all_that_it_was_to_show() {
        let linear = checked(1000, 2000);
        assert_eq!(lacking(Ended::Valid, GOOD, false, &linear), 0);
        assert_eq!(lacking(Ended::Unknown, GOOD, false, &linear), 1);
        assert_eq!(lacking(Ended::Valid, GOOD, true, &linear), 1, "m0 leaks");
        assert_eq!(lacking(Ended::Valid, GOOD, false, &checked(1000, 4000)), 1);
        assert_eq!(lacking(Ended::Valid, GOOD, false, &[]), 1);
        let failed = GOOD.replace(r#""kill""#, r#""kill","error":"nobody leads""#);
        assert_eq!(lacking(Ended::Valid, &failed, false, &linear), 1);
        let behind = GOOD.replace(r#""complete":3"#, r#""complete":2"#);
        assert_eq!(lacking(Ended::Valid, &behind, false, &linear), 1);
    }

    #[test]
    fn nobody_who_was_not_looked_at_is_flat() {
        let run = Run::read(Ended::Valid, None, serde_json::from_str(GOOD).unwrap());
        assert_eq!(lacks(&run, &Watched::default(), &checked(1, 2)).len(), 2);
    }
}
