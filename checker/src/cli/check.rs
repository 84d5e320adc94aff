//! `checker check HISTORY`: judges a history in any format.
//!
//! A history of our own, or a robustness report, is judged by its revisions; transactions of a Jepsen
//! history in Elle's manner; its single operations by zones or by search.

use std::io::{BufRead, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use rusd_checker::elle::{self, Anomaly, KeyOrder, Model as Isolation};
use rusd_checker::formats::edn::{self, Edn};
use rusd_checker::formats::interpret::{FailedCas, Interpreted, Model, interpret, recognise};
use rusd_checker::formats::jepsen::Events;
use rusd_checker::formats::{Format, FormatError, LeftOut, Linted, Remarks, Source, events};
use rusd_checker::report::{graphviz, json, junit, text};
use rusd_checker::stream::StreamOptions;
use rusd_checker::timeline_page::{self, Kept, Recording};
use rusd_checker::{
    CallsOptions, CallsReport, Checked, Engine, InputError, Options, Report, TransactionsReport,
    check_calls, check_list_append, check_rw_register, search,
};

use super::follow;
use super::input::{self, Name};
use super::output;

/// Judge a history: exit 0 valid, 1 invalid, 2 unknown, 3 bad input.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The history: a file, the folder of a robustness report, or `-` for standard input. It may be
    /// compressed with zstd.
    history: PathBuf,
    /// The format of the history. By default its content tells.
    #[arg(long, value_enum)]
    from: Option<Name>,
    /// Judge a history with revisions while it is still being written: until its end, the first
    /// violation, or until its writer is gone. Memory is bounded; leases, compactions and refusals
    /// are left to a check without this, so with any of them the answer is unknown at best.
    #[arg(long, conflicts_with_all = ["engine", "from", "steps_max", "timeline"])]
    follow: bool,
    /// Revisions below the newest that are remembered, for what comes late.
    #[arg(long, value_name = "REVISIONS", requires = "follow")]
    window: Option<usize>,
    /// How to report.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Also write a page for a browser: who did what when, and what is wrong.
    #[arg(long, value_name = "PATH")]
    timeline: Option<PathBuf>,
    /// What decides on linearizability. The report says which it was.
    #[arg(long, value_enum, default_value_t = EngineArgument::Auto)]
    engine: EngineArgument,
    /// Steps that a search may make before it gives up, as unknown.
    #[arg(long, value_name = "STEPS")]
    steps_max: Option<u64>,
    /// What a register, several registers, a bank or a counter begin with, in EDN: 0, {:x 0}. By
    /// default registers are nil, a counter is 0, and of a bank the first read tells.
    #[arg(long, value_name = "EDN", value_parser = form, help_heading = "Jepsen's single operations")]
    initial: Option<Edn>,
    /// Accounts of a bank may be overdrawn.
    #[arg(long, help_heading = "Jepsen's single operations")]
    negative_balances: bool,
    /// What the operations of a Jepsen history are on. By default their names tell.
    #[arg(long, value_parser = named_model)]
    model: Option<Model>,
    /// Consistency models that must hold, by Elle's names.
    #[arg(
        long,
        value_name = "MODELS",
        value_delimiter = ',',
        default_value = "strong-serializable",
        help_heading = "Jepsen's transactions"
    )]
    consistency_models: Vec<Isolation>,
    /// Anomalies that must not be there beside what the models forbid, by Elle's names.
    #[arg(
        long,
        value_name = "ANOMALIES",
        value_delimiter = ',',
        help_heading = "Jepsen's transactions"
    )]
    anomalies: Vec<Anomaly>,
    /// What to take for granted of each key of `rw-register`, to order the values that it had.
    #[arg(
        long,
        value_enum,
        value_name = "KNOWN",
        value_delimiter = ',',
        help_heading = "Jepsen's transactions"
    )]
    keys: Vec<KeyArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineArgument {
    /// Revisions where there are any, else zones where they apply, else the search
    Auto,
    /// By revisions
    Revision,
    /// Of histories with revisions: by stateright's search, for small ones
    Stateright,
    /// Of histories without revisions: by sorting, if no value is written twice
    Zones,
    /// Of histories without revisions: by search, after Wing, Gong and Lowe
    Wgl,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs
    Json,
    /// For CI
    Junit,
    /// What is wrong as graphs, for Graphviz
    Graphviz,
}

impl Form {
    fn of_store(self, report: &Report, name: &str) -> String {
        match self {
            Form::Text => text::render(report),
            Form::Json => json::render(report),
            Form::Junit => junit::render(report, name),
            Form::Graphviz => graphviz::render(report),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KeyArgument {
    /// What a transaction writes follows what it read
    WritesFollowReads,
    /// What a process sees follows what it saw before
    Sequential,
    /// What is seen follows what had been seen before, by anybody
    Linearizable,
}

fn form(text: &str) -> Result<Edn, String> {
    let mut reader = edn::Reader::new(text.as_bytes());
    let first = reader.next_form().map_err(|error| error.to_string())?;
    let more = reader.next_form().map_err(|error| error.to_string())?;
    match (first, more) {
        (Some((_, form)), None) => Ok(form),
        _ => Err("it must be one form of EDN".into()),
    }
}

fn named_model(name: &str) -> Result<Model, String> {
    let found = Model::ALL.into_iter().find(|model| model.name() == name);
    found.ok_or_else(|| format!("there are {}", Model::ALL.map(Model::name).join(", ")))
}

/// Judges, and prints the report.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let path = &arguments.history;
    let name = path.display().to_string();
    if arguments.follow {
        let mut options = StreamOptions::default();
        options.revisions_kept = arguments.window.unwrap_or(options.revisions_kept);
        let report = follow::judge(path, options)?;
        std::io::stdout().write_all(arguments.format.of_store(&report, &name).as_bytes())?;
        return Ok(report.verdict.exit_code());
    }
    let read = match input::open(path, arguments.from)? {
        Source::Folder(folder) => {
            let options = arguments.options()?;
            Checked::report_folder(folder, &options)
                .map(|(checked, left_out)| Read { left_out, ..Read::of_store(checked) })
        }
        Source::Text(Format::Jsonl, input) => {
            let checked = judge_native(arguments, input, &arguments.options()?);
            checked.map(Read::of_store).map_err(FormatError::from)
        }
        Source::Text(format, input) => {
            let events = events(format, input)?;
            judge_jepsen(arguments, format, events)
        }
    };
    let Read { judged, remarks, left_out, kept } = read.map_err(|error| named(error, path))?;
    input::tell(&remarks, &left_out, path);
    let rendered = judged.rendered(arguments.format, &name);
    if let Some(page) = &arguments.timeline {
        write_timeline(&judged, kept, &name, page)
            .with_context(|| format!("{}: cannot be written", page.display()))?;
    }
    std::io::stdout().write_all(rendered.as_bytes())?;
    Ok(judged.exit_code())
}

/// What came of a history.
struct Read {
    judged: Judged,
    remarks: Remarks,
    left_out: LeftOut,
    /// What events have said, if a page is to be made of them.
    kept: Option<Kept>,
}

impl Read {
    fn of_store(checked: Checked) -> Read {
        Read {
            judged: Judged::Store(Box::new(checked)),
            remarks: Remarks::default(),
            left_out: LeftOut::default(),
            kept: None,
        }
    }
}

enum Judged {
    /// A store, by its revisions.
    Store(Box<Checked>),
    /// Transactions, in Elle's manner, with the positions of their calls.
    Transactions(TransactionsReport, Vec<u64>),
    /// Calls on objects, by zones or search.
    Calls(CallsReport),
}

impl Judged {
    fn rendered(&self, form: Form, name: &str) -> String {
        match (self, form) {
            (Judged::Store(checked), form) => form.of_store(&checked.report, name),
            (Judged::Transactions(report, _), Form::Text) => report.to_text(),
            (Judged::Transactions(report, _), Form::Json) => report.to_json(),
            (Judged::Transactions(report, _), Form::Junit) => report.to_junit(name),
            (Judged::Transactions(report, _), Form::Graphviz) => report.to_graphviz(),
            (Judged::Calls(report), Form::Text) => report.to_text(),
            (Judged::Calls(report), Form::Json) => report.to_json(),
            (Judged::Calls(report), Form::Junit) => report.to_junit(name),
            (Judged::Calls(report), Form::Graphviz) => report.to_graphviz(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Judged::Store(checked) => checked.report.verdict.exit_code(),
            Judged::Transactions(report, _) => report.exit_code(),
            Judged::Calls(report) => report.exit_code(),
        }
    }
}

fn write_timeline(
    judged: &Judged,
    kept: Option<Kept>,
    name: &str,
    path: &Path,
) -> anyhow::Result<()> {
    let kept = || kept.expect("events are kept if there is to be a page");
    let timeline = match judged {
        Judged::Store(checked) => timeline_page::of_store(checked, name),
        Judged::Transactions(report, invoked) => {
            timeline_page::of_transactions(kept(), report, invoked, name)
        }
        Judged::Calls(report) => timeline_page::of_calls(kept(), report, name),
    };
    output::whole(path, |file| {
        let mut out = BufWriter::new(file);
        timeline.write(&mut out)?;
        Ok(out.flush()?)
    })
}

impl Arguments {
    /// For a history with revisions.
    fn options(&self) -> Result<Options, FormatError> {
        let engine = match self.engine {
            EngineArgument::Auto => Engine::Auto,
            EngineArgument::Revision => Engine::Revision,
            EngineArgument::Stateright => Engine::Stateright,
            EngineArgument::Zones | EngineArgument::Wgl => {
                return Err(other_engine("a history with revisions", "revision, stateright"));
            }
        };
        let mut options = Options { engine, ..Options::default() };
        options.search_steps_max = self.steps_max.unwrap_or(options.search_steps_max);
        Ok(options)
    }

    /// For calls on objects.
    fn calls_options(&self) -> Result<CallsOptions, FormatError> {
        let engine = match self.engine {
            EngineArgument::Auto => search::Engine::Auto,
            EngineArgument::Zones => search::Engine::Zones,
            EngineArgument::Wgl => search::Engine::Wgl,
            EngineArgument::Revision | EngineArgument::Stateright => {
                return Err(other_engine("a history without revisions", "zones, wgl"));
            }
        };
        let mut search = search::Options { engine, ..search::Options::default() };
        search.steps_max = self.steps_max.unwrap_or(search.steps_max);
        let initial = self.initial.clone();
        Ok(CallsOptions { search, initial, may_be_negative: self.negative_balances })
    }

    /// For transactions.
    fn elle_options(&self) -> Result<elle::Options, FormatError> {
        if !matches!(self.engine, EngineArgument::Auto) {
            return Err(other_engine("a history of transactions", "auto"));
        }
        let takes = |key| self.keys.contains(&key);
        let mut options = elle::Options {
            consistency_models: self.consistency_models.clone(),
            anomalies: self.anomalies.clone(),
            keys: KeyOrder {
                writes_follow_reads: takes(KeyArgument::WritesFollowReads),
                sequential: takes(KeyArgument::Sequential),
                linearizable: takes(KeyArgument::Linearizable),
            },
            ..elle::Options::default()
        };
        options.search_steps_max = self.steps_max.unwrap_or(options.search_steps_max);
        Ok(options)
    }
}

fn other_engine(history: &str, engines: &str) -> FormatError {
    FormatError::Request { reason: format!("--engine: {history} is judged by {engines}") }
}

fn judge_jepsen(
    arguments: &Arguments,
    format: Format,
    events: impl Events,
) -> Result<Read, FormatError> {
    let mut events = Recording::new(Linted::new(events), arguments.timeline.is_some());
    // Porcupine's reading of these lines: a compare that did not hold is an answer.
    let failed = match format {
        Format::JepsenLog => FailedCas::HeldAnother,
        _ => FailedCas::TellsNothing,
    };
    let interpreted = if let Some(model) = arguments.model {
        interpret(model, &mut events, failed)?
    } else {
        let (model, seen) = recognise(&mut events)?;
        interpret(model, seen, failed)?
    };
    let judged = match interpreted {
        Interpreted::ListAppend(own) => {
            let report = check_list_append(&own, &arguments.elle_options()?);
            Judged::Transactions(report, own.iter().map(|own| own.invoked).collect())
        }
        Interpreted::RwRegister(own) => {
            let report = check_rw_register(&own, &arguments.elle_options()?);
            Judged::Transactions(report, own.iter().map(|own| own.invoked).collect())
        }
        Interpreted::Object(calls) => {
            Judged::Calls(check_calls(calls, &arguments.calls_options()?)?)
        }
    };
    let (events, kept) = events.into_parts();
    Ok(Read { judged, remarks: events.into_remarks(), left_out: LeftOut::default(), kept })
}

fn judge_native(
    arguments: &Arguments,
    input: Box<dyn BufRead + '_>,
    options: &Options,
) -> Result<Checked, InputError> {
    let path = &arguments.history;
    if input::is_standard(path) {
        return Checked::input(input, options, &mut |_| {});
    }
    drop(input);
    let total = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let shows = std::io::stderr().is_terminal() && total > PROGRESS_FROM_BYTES;
    let mut shown = None;
    let checked = Checked::file(path, options, &mut |read| {
        let percent = (read * 100 / total.max(1)).min(100);
        if shows && shown != Some(percent) {
            eprint!("\rreading {percent} %");
            shown = Some(percent);
        }
    });
    if shown.is_some() {
        eprint!("\r{:16}\r", "");
    }
    checked
}

/// Shorter files are read before anyone looks.
const PROGRESS_FROM_BYTES: u64 = 32 << 20;

/// The error with the history it is of, unless it names a file.
fn named(error: FormatError, path: &Path) -> anyhow::Error {
    match error {
        FormatError::Open { .. }
        | FormatError::Request { .. }
        | FormatError::Native(InputError::Open { .. }) => error.into(),
        _ => anyhow::Error::new(error).context(path.display().to_string()),
    }
}
