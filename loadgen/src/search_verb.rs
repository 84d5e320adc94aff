//! `loadgen search`: the highest rate that holds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rusd_loadgen::search::bracket::Bounds;
use rusd_loadgen::search::{Plan, SearchError, Searched, search};
use rusd_loadgen::workload::Overrides;

use crate::options::{self, Leaving, Overriding};
use crate::{BAD_INPUT, RUN_FAILED, refuse, with_runtime};

/// What it ends with if not even the lowest rate holds.
const SLO_MISSED: u8 = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The workload file; its faults are left out.
    file: PathBuf,
    /// What has to hold: put.p99<20ms,errors<0.1%
    #[arg(long, value_name = "CONDITIONS")]
    slo: String,
    #[command(flatten)]
    overriding: Overriding,
    /// Client addresses of a cluster that is already there, instead of starting one for each probe.
    #[arg(long, value_delimiter = ',')]
    endpoints: Option<Vec<String>>,
    /// The rate to begin with.
    #[arg(long, default_value_t = 500)]
    start: u32,
    /// The lowest rate to try.
    #[arg(long, default_value_t = 10)]
    lowest: u32,
    /// The highest rate to try.
    #[arg(long, default_value_t = 1_000_000)]
    highest: u32,
    /// How near the rate that holds and the one that does not are to be, in percent.
    #[arg(long, default_value_t = 5.0)]
    precision: f64,
    /// Runs that have to hold at the rate that is found.
    #[arg(long, default_value_t = 3)]
    confirm: u32,
    #[command(flatten)]
    leaving: Leaving,
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let json = arguments.leaving.json;
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(message) => return refuse(BAD_INPUT, &message),
    };
    let folder = match options::new_folder("search", &plan.settings) {
        Ok(folder) => folder,
        Err(message) => return refuse(RUN_FAILED, &message),
    };
    let searched =
        with_runtime(|interrupt| search(&plan, &folder, interrupt, |t| eprintln!("{t}")));
    match searched {
        Ok(Ok(searched)) => {
            if let Err(error) = save(&searched, &folder) {
                return refuse(RUN_FAILED, &format!("{}: {error}", folder.display()));
            }
            print(&searched, &folder, json);
            match (searched.is_answer(), searched.found.missed) {
                (true, _) => ExitCode::SUCCESS,
                (false, Some(_)) => ExitCode::from(SLO_MISSED),
                (false, None) => ExitCode::from(RUN_FAILED),
            }
        }
        Ok(Err(error @ SearchError::Violation { .. })) => refuse(1, &error.to_string()),
        Ok(Err(error)) => refuse(RUN_FAILED, &error.to_string()),
        Err(error) => refuse(RUN_FAILED, &error.to_string()),
    }
}

fn plan(arguments: Arguments) -> Result<Plan, String> {
    let text = options::read(&arguments.file)?;
    let slo = options::conditions(&arguments.slo)?;
    let (lowest, highest) = (arguments.lowest, arguments.highest);
    if lowest == 0 || lowest > highest {
        return Err("--lowest must be at least 1, and at most --highest".to_owned());
    }
    if !(0.1..=100.0).contains(&arguments.precision) {
        return Err("--precision must be 0.1 to 100".to_owned());
    }
    let mut overrides = Overrides::from(arguments.overriding);
    if overrides.rate.is_some() {
        return Err("the rate is what is searched; where to begin is told by --start".to_owned());
    }
    overrides.rate = Some(arguments.start.clamp(lowest, highest));
    overrides.no_faults = true;
    // Histories cost both time and place, so they are written only if that is said.
    overrides.record.get_or_insert(false);
    let (file, endpoints) = (arguments.file.display().to_string(), arguments.endpoints);
    let settings = options::settings(&file, text, overrides, endpoints, &arguments.leaving)?;
    let bounds = Bounds {
        start: arguments.start,
        lowest,
        highest,
        precision: arguments.precision / 100.0,
        confirmations: arguments.confirm.max(1),
    };
    Ok(Plan { settings, slo, bounds })
}

fn save(searched: &Searched, folder: &Path) -> std::io::Result<()> {
    let json = serde_json::to_string_pretty(searched).expect("it is plain data");
    std::fs::write(folder.join("search.json"), json + "\n")?;
    std::fs::write(folder.join("summary.md"), searched.markdown())
}

#[expect(clippy::print_stdout, reason = "the result is what the verb is for")]
fn print(searched: &Searched, folder: &Path, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(searched).expect("it is plain data"));
    } else {
        println!("{}", searched.markdown());
        println!("folder: {}\n{}", folder.display(), searched.headline());
    }
}
