//! `cargo xtask porcupine`: our search and Porcupine, on the same histories in one run.
//!
//! The histories are made up by `checker calls generate`, told by old logs of Jepsen's, or given as
//! files in the checker's format; one of etcd is judged by its revisions here and key by key there. Both programs judge each file in turn, several times in one process,
//! and tell how long each time took without reading; so neither the start of a process nor a cold
//! first time counts. Verdicts must agree, also with those that are known of logs; one that Porcupine
//! did not reach in time is said so, and its time is a lower bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::workspace::Binaries;
use crate::{peers, report, workspace};

/// Judge the same histories with our search and with Porcupine, and compare times
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds; in each both judge every history
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Times that a history is judged in a round; the middle one counts (one of etcd: once)
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// Seconds after which Porcupine gives up a history; it is then judged once a round
    #[arg(long, default_value_t = 10)]
    timeout: u64,
    /// Calls of each history that is made up
    #[arg(long, default_value_t = 2_000)]
    calls: u64,
    /// Folder with logs of Jepsen's on etcd as a register, as Porcupine's tests have them, to judge as
    /// well; `VERDICTS.tsv` in it has lines of a file and its verdict
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Histories to judge instead, of which no result is kept
    files: Vec<PathBuf>,
}

/// A history to judge.
struct Case {
    name: String,
    file: PathBuf,
    /// The verdict, if it is known.
    verdict: Option<String>,
    /// The same with etcd's revisions, for us.
    history: Option<PathBuf>,
}

impl Case {
    fn new(name: String, file: PathBuf) -> Case {
        Case { name, file, verdict: None, history: None }
    }
}

/// Histories of one kind.
struct Group {
    name: &'static str,
    cases: Vec<Case>,
}

/// What both say of a history in one round.
#[derive(Debug, Clone, PartialEq)]
struct Round {
    verdict: String,
    ours_ns: f64,
    porcupine_verdict: String,
    porcupine_ns: f64,
}

/// Compares; the tables go to stdout and, unless files are given, to `results/porcupine.md`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    peers::build(false)?;
    workspace::must(&mut workspace::cargo(["build", "--release", "-p", "rusd-checker", "--bins"]))?;
    let checker = Binaries::in_folder(workspace::target().join("release")).checker();
    let groups = groups(&checker, args)?;
    let mut lines = vec![
        format!(
            "Our search and Porcupine v1.3.0 on the same histories, {} rounds, the middle one of each; \
             checker at {}. Times are of judging, without reading.",
            args.repeat,
            workspace::commit()
        ),
        String::new(),
    ];
    let mut has_wrong = false;
    for group in &groups {
        let mut rounds: Vec<Vec<Round>> = group.cases.iter().map(|_| Vec::new()).collect();
        for number in 1..=args.repeat {
            report::progress(&format!("{}: round {number} of {}", group.name, args.repeat));
            for (case, rounds) in group.cases.iter().zip(&mut rounds) {
                rounds.push(judge(&checker, case, args)?);
            }
        }
        let is_wrong = |(case, rounds): (&Case, &Vec<Round>)| {
            rounds.iter().any(|round| round.is_wrong(case.verdict.as_deref()))
        };
        has_wrong |= group.cases.iter().zip(&rounds).any(is_wrong);
        lines.extend([format!("## {}", group.name), String::new()]);
        lines.extend(table(&group.cases, &rounds));
        lines.extend([String::new(), summary(&rounds), String::new()]);
    }
    lines.pop();
    for line in &lines {
        report::line(line);
    }
    if args.files.is_empty() {
        report::keep("porcupine.md", &lines)?;
    }
    Ok(if has_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn groups(checker: &Path, args: &Args) -> Result<Vec<Group>> {
    if !args.files.is_empty() {
        let name = |file: &PathBuf| file.file_stem().unwrap_or_default().to_string_lossy().into();
        let cases = args.files.iter().map(|file| Case::new(name(file), file.clone())).collect();
        return Ok(vec![Group { name: "Files", cases }]);
    }
    let mut groups =
        vec![Group { name: "Made-up histories", cases: made_up(checker, args.calls)? }];
    if let Some(folder) = &args.logs {
        groups.push(Group { name: "Jepsen's logs of etcd", cases: logs(checker, folder)? });
    }
    groups.push(Group { name: "Etcd, by revisions and key by key", cases: vec![etcd(checker)?] });
    Ok(groups)
}

/// A history of etcd: we judge it by its revisions, Porcupine key by key.
fn etcd(checker: &Path) -> Result<Case> {
    let (history, file) = (folder()?.join("etcd.jsonl"), folder()?.join("etcd-by-key.jsonl"));
    let mut command = Command::new(checker);
    workspace::must(command.args(["calls", "etcd"]).args([&history, &file]))?;
    let name = "1,000,000 puts and ranges, 64 clients, 10,000 keys, three watches".into();
    Ok(Case { name, file, verdict: None, history: Some(history) })
}

/// Where histories are written.
fn folder() -> Result<PathBuf> {
    let folder = workspace::target().join("porcupine");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The logs in a folder, by name.
fn logs(checker: &Path, logs: &Path) -> Result<Vec<Case>> {
    let known = fs::read_to_string(logs.join("VERDICTS.tsv")).unwrap_or_default();
    let known: BTreeMap<&str, &str> =
        known.lines().filter_map(|line| line.split_once('\t')).collect();
    let mut cases = Vec::new();
    for entry in fs::read_dir(logs).with_context(|| format!("cannot list {}", logs.display()))? {
        let log = entry?.path();
        if log.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = folder()?.join(&name).with_extension("jsonl");
        let mut command = Command::new(checker);
        workspace::must(command.args(["calls", "import"]).args([&log, &file]))?;
        let verdict = known.get(name.as_str()).map(|verdict| (*verdict).to_owned());
        cases.push(Case { name, file, verdict, history: None });
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

/// Histories of both kinds of objects, with more and more clients and unknown outcomes.
fn made_up(checker: &Path, calls: u64) -> Result<Vec<Case>> {
    let folder = folder()?;
    let mut cases = Vec::new();
    let mut make = |name: String, arguments: &[String]| -> Result<()> {
        let file = folder.join(format!("{}.jsonl", name.replace([' ', ',', '%'], "-")));
        let mut command = Command::new(checker);
        command.args(["calls", "generate"]).arg(&file).args(arguments);
        command.arg(format!("--calls={calls}"));
        workspace::must(&mut command)?;
        cases.push(Case::new(name, file));
        Ok(())
    };
    for (clients, unknown) in [(10, 0), (10, 50), (10, 200), (30, 0), (100, 0), (100, 200)] {
        for (values, called) in [(5, "5 values"), (0, "unique values")] {
            let name =
                format!("cas register, {clients} clients, {}% unknown, {called}", unknown / 10);
            let arguments = [
                "--object=cas-register".to_owned(),
                format!("--clients={clients}"),
                format!("--unknown-per-mille={unknown}"),
                format!("--values={values}"),
            ];
            make(name, &arguments)?;
        }
    }
    let old_read = ["--object=cas-register", "--clients=10", "--values=0", "--old-read"];
    make(
        "cas register, 10 clients, unique values, an old read".into(),
        &old_read.map(str::to_owned),
    )?;
    for clients in [10, 50, 100] {
        let arguments =
            ["--object=kv".to_owned(), format!("--clients={clients}"), "--values=10".to_owned()];
        make(format!("kv, {clients} clients, 10 keys"), &arguments)?;
    }
    Ok(cases)
}

fn judge(checker: &Path, case: &Case, args: &Args) -> Result<Round> {
    let mut ours = Command::new(checker);
    ours.args(["calls", "judge"]);
    // Reading a million operations takes much longer than judging them.
    let times = if case.history.is_some() { 1 } else { args.times };
    match &case.history {
        Some(history) => {
            ours.arg("--etcd").args(std::iter::repeat_n(history, times));
        }
        None => {
            ours.arg("--engine=wgl").args(std::iter::repeat_n(&case.file, times));
        }
    }
    let (verdict, ours_ns) = middle(&workspace::output(&mut ours)?)?;
    let theirs = |times: usize| {
        let mut command = Command::new(workspace::peer("porcupine"));
        command.arg(format!("-timeout={}s", args.timeout));
        command.args(std::iter::repeat_n(&case.file, times));
        middle(&workspace::output(&mut command)?)
    };
    let (mut porcupine_verdict, mut porcupine_ns) = theirs(1)?;
    if porcupine_verdict != UNKNOWN && times > 1 {
        (porcupine_verdict, porcupine_ns) = theirs(times)?;
    }
    Ok(Round { verdict, ours_ns, porcupine_verdict, porcupine_ns })
}

/// What both programs print for a history that they gave up.
const UNKNOWN: &str = "unknown";

/// The verdict, and the middle one of the times, of lines like `linearizable 12345`.
fn middle(output: &str) -> Result<(String, f64)> {
    let mut verdicts: Vec<&str> = Vec::new();
    let mut times = Vec::new();
    for line in output.lines() {
        let (verdict, nanoseconds) = line.split_once(' ').context("a verdict and a time")?;
        verdicts.push(verdict);
        times.push(nanoseconds.parse::<f64>().with_context(|| format!("no time: {line}"))?);
    }
    verdicts.dedup();
    let [verdict] = verdicts[..] else { bail!("several verdicts on one history: {verdicts:?}") };
    Ok((verdict.to_owned(), median(&mut times)))
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Round {
    fn is_contradiction(&self) -> bool {
        self.verdict != self.porcupine_verdict
            && ![self.verdict.as_str(), &self.porcupine_verdict].contains(&UNKNOWN)
    }

    /// Whether the programs contradict each other, or what is known, or we gave up.
    fn is_wrong(&self, known: Option<&str>) -> bool {
        self.is_contradiction()
            || self.verdict == UNKNOWN
            || known.is_some_and(|known| known != self.verdict)
    }

    fn ratio(&self) -> f64 {
        self.porcupine_ns / self.ours_ns
    }
}

fn table(cases: &[Case], rounds: &[Vec<Round>]) -> Vec<String> {
    let heading = ["history", "verdict", "ours ms", "Porcupine ms", "Porcupine / ours", "spread"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(cases.iter().zip(rounds).map(|(case, rounds)| row(&case.name, rounds)));
    report::table(&rows)
}

/// All histories of a group together: by their sums, and by the geometric mean of their ratios.
fn summary(rounds: &[Vec<Round>]) -> String {
    let all = |of: &dyn Fn(&Round) -> f64| -> Vec<f64> {
        let middle = |rounds: &Vec<Round>| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
        rounds.iter().map(middle).collect()
    };
    let ours: f64 = all(&|round| round.ours_ns).iter().sum();
    let theirs: f64 = all(&|round| round.porcupine_ns).iter().sum();
    let ratios = all(&Round::ratio);
    let mut histories = 0.0;
    let mut logarithms = 0.0;
    for ratio in &ratios {
        histories += 1.0;
        logarithms += ratio.ln();
    }
    let differ = rounds.iter().filter(|rounds| rounds.iter().any(Round::is_contradiction)).count();
    format!(
        "{} histories, {differ} verdicts differ. In total {:.3} ms against {:.3} ms: {:.1} times faster; \
         geometric mean of the ratios {:.1}.",
        ratios.len(),
        ours / 1e6,
        theirs / 1e6,
        theirs / ours,
        (logarithms / histories).exp(),
    )
}

fn row(name: &str, rounds: &[Round]) -> Vec<String> {
    let all = |of: &dyn Fn(&Round) -> f64| {
        let mut numbers: Vec<f64> = rounds.iter().map(of).collect();
        let middle = median(&mut numbers);
        (middle, numbers)
    };
    let (ours, _) = all(&|round| round.ours_ns);
    let (theirs, _) = all(&|round| round.porcupine_ns);
    let (ratio, ratios) = all(&Round::ratio);
    let is_late = rounds.iter().any(|round| round.porcupine_verdict == UNKNOWN);
    let verdict = match rounds.iter().find(|round| round.is_contradiction()) {
        Some(round) => format!("{}, Porcupine: {}", round.verdict, round.porcupine_verdict),
        None => rounds.first().map(|round| round.verdict.clone()).unwrap_or_default(),
    };
    let bound = if is_late { "> " } else { "" };
    let milliseconds = |ns: f64| format!("{:.3}", ns / 1e6);
    vec![
        name.to_owned(),
        verdict,
        milliseconds(ours),
        format!("{bound}{}", milliseconds(theirs)),
        format!("{bound}{ratio:.1}"),
        match (ratios.first(), ratios.last()) {
            (Some(least), Some(most)) => format!("{least:.1} to {most:.1}"),
            _ => String::new(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_time_counts_and_verdicts_agree() {
        let told = middle("illegal 30\nillegal 10\nillegal 20\n").unwrap();
        assert_eq!(told, ("illegal".to_owned(), 20.0));
        assert!(middle("illegal 30\nlinearizable 10\n").is_err());
        assert!(middle("").is_err());
    }

    fn round(porcupine_verdict: &str, porcupine_ns: f64) -> Round {
        Round {
            verdict: "illegal".into(),
            ours_ns: 2e6,
            porcupine_verdict: porcupine_verdict.into(),
            porcupine_ns,
        }
    }

    #[test]
    fn a_row_tells_ratios_bounds_and_contradictions() {
        let agreed = [4e6, 8e6, 6e6].map(|ns| round("illegal", ns));
        assert_eq!(row("a", &agreed), ["a", "illegal", "2.000", "6.000", "3.0", "2.0 to 4.0"]);
        let late = [round("unknown", 1e9)];
        assert_eq!(row("b", &late)[3..5], ["> 1000.000", "> 500.0"]);
        let differs = [round("linearizable", 4e6)];
        assert_eq!(row("c", &differs)[1], "illegal, Porcupine: linearizable");
        assert!(differs[0].is_contradiction() && !late[0].is_contradiction());
        assert!(differs[0].is_wrong(None) && late[0].is_wrong(Some("linearizable")));
        assert!(!late[0].is_wrong(Some("illegal")) && !late[0].is_wrong(None));
    }

    #[test]
    fn a_group_is_summed_and_averaged() {
        // Ratios of 2 and 8.
        let rounds = [vec![round("illegal", 4e6)], vec![round("illegal", 16e6)]];
        let told = summary(&rounds);
        assert!(told.starts_with("2 histories, 0 verdicts differ."), "{told}");
        assert!(told.contains("4.000 ms against 20.000 ms: 5.0 times faster"), "{told}");
        assert!(told.ends_with("geometric mean of the ratios 4.0."), "{told}");
        let differs = [vec![round("linearizable", 4e6)]];
        assert!(summary(&differs).starts_with("1 histories, 1 verdicts differ."));
    }
}
