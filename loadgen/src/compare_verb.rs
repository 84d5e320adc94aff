//! `loadgen compare A B`: two systems on one workload.

use std::path::PathBuf;
use std::process::ExitCode;

use rusd_loadgen::compare::side::Side;
use rusd_loadgen::compare::{CompareError, Comparison, Plan, compare, page, rounds_min, save};
use rusd_loadgen::metric::{Metric, parse_ratio_limits};
use rusd_loadgen::report::Outcome;
use rusd_loadgen::runner::Settings;
use rusd_loadgen::workload::Overrides;

use crate::options::{self, Leaving, Overriding};
use crate::{BAD_INPUT, RUN_FAILED, refuse, with_runtime};

/// What it ends with if a limit is broken.
const REGRESSION: u8 = 6;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The first system, perhaps with its executable and flags: rusd, etcd=/path/to/etcd,
    /// 'rusd --backend=fjall'
    a: String,
    /// The second, which is compared with the first.
    b: String,
    /// The workload file.
    #[arg(long, short)]
    workload: PathBuf,
    #[command(flatten)]
    overriding: Overriding,
    /// How often A B B A is run.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Exit with 6 if the second system is so much worse: 'put.p99>1.1,rate<0.95'.
    #[arg(long, value_name = "LIMITS")]
    fail_if: Option<String>,
    /// How sure all intervals together are to be, in percent.
    #[arg(long, default_value_t = 95.0)]
    confidence: f64,
    /// The least difference that matters, in percent.
    #[arg(long, default_value_t = 2.0)]
    margin: f64,
    /// What to compare, instead of all that is worth it: cpu,put.p99. The fewer, the narrower are the
    /// intervals.
    #[arg(long, value_delimiter = ',', value_parser = Metric::parse)]
    metrics: Vec<Metric>,
    #[command(flatten)]
    leaving: Leaving,
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let json = arguments.leaving.json;
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(message) => return refuse(BAD_INPUT, &message),
    };
    let folder = match options::new_folder("compare", &plan.a.1) {
        Ok(folder) => folder,
        Err(message) => return refuse(RUN_FAILED, &message),
    };
    let compared = with_runtime(|interrupt| async {
        let comparison = compare(&plan, &folder, interrupt, |text| eprintln!("{text}")).await?;
        save(&comparison, &folder)?;
        Ok::<Comparison, CompareError>(comparison)
    });
    match compared {
        Ok(Ok(comparison)) => {
            print(&comparison, &folder, json);
            ExitCode::from(if comparison.is_regression() { REGRESSION } else { 0 })
        }
        Ok(Err(error)) => {
            let code = match &error {
                // A broken promise is worth more than a comparison.
                CompareError::DoesNotCount { outcome: Outcome::Violation, .. } => 1,
                _ => RUN_FAILED,
            };
            refuse(code, &error.to_string())
        }
        Err(error) => refuse(RUN_FAILED, &error.to_string()),
    }
}

fn plan(arguments: Arguments) -> Result<Plan, String> {
    let text = options::read(&arguments.workload)?;
    let limits = arguments.fail_if.as_deref().map(|text| parse_ratio_limits("--fail-if", text));
    let limits = limits.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    if arguments.rounds < rounds_min() {
        return Err(format!("--rounds must be at least {}", rounds_min()));
    }
    if !(50.0..100.0).contains(&arguments.confidence) {
        return Err("--confidence must be at least 50 and below 100".to_owned());
    }
    if !(0.0..100.0).contains(&arguments.margin) {
        return Err("--margin must be at least 0 and below 100".to_owned());
    }
    let mut common = Overrides::from(arguments.overriding);
    if common.system.is_some() || common.binary.is_some() {
        return Err("--system and --binary are told by A and B".to_owned());
    }
    // Histories cost both time and place, so they are written only if that is said.
    common.record.get_or_insert(false);
    // Both are read before either is looked for.
    let (a, b) = (Side::parse(&arguments.a)?, Side::parse(&arguments.b)?);
    let file = arguments.workload.display().to_string();
    let settings = |side: Side, leaving: &Leaving| -> Result<(String, Settings), String> {
        let overrides = side.overrides(&common);
        let settings = options::settings(&file, text.clone(), overrides, None, leaving)?;
        Ok((side.text, settings))
    };
    let a = settings(a, &arguments.leaving)?;
    // Both do the same work, whoever chose the seed.
    let leaving = Leaving { seed: Some(a.1.seed), ..arguments.leaving };
    let b = settings(b, &leaving)?;
    Ok(Plan {
        a,
        b,
        rounds: arguments.rounds,
        confidence: arguments.confidence / 100.0,
        margin: arguments.margin / 100.0,
        limits,
        metrics: arguments.metrics,
    })
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(comparison: &Comparison, folder: &std::path::Path, json: bool) {
    if json {
        let text = serde_json::to_string_pretty(comparison).expect("it is plain data");
        println!("{text}");
    } else {
        println!("{}", page::markdown(comparison));
        println!("report: {}\n{}", folder.join("report.html").display(), comparison.headline());
    }
}
