//! `checker shrink IN OUT`: the shortest counterexample that can be found.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rusd_checker::formats::compressed;
use rusd_checker::history::History;
use rusd_checker::history::jsonl::Writer;
use rusd_checker::history::record::Record;
use rusd_checker::report::text;
use rusd_checker::{Options, Shrunk, shrink};

/// What `--help` ends with.
const AFTER_HELP: &str = "\
Operations, keys, watches and writes are left out as long as `checker check` blames the same rule and
breaks no other. Where a write is left out, the revisions after it are counted anew, and so are
versions and creations, so OUT is a history of its own and not a part of IN.

Exit codes: 1 written, as the check of OUT exits; 0 or 2 if IN is not invalid, and nothing is written;
3 bad input.";

/// Find the shortest history that breaks the same rule.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The history, with revisions (jsonl), which may be compressed with zstd.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write. By default beside IN, with `.short.jsonl` for its ending.
    #[arg(value_name = "OUT")]
    output: Option<PathBuf>,
    /// Steps that each check may search before it gives up, as unknown.
    #[arg(long, value_name = "STEPS", default_value_t = 200_000)]
    steps_max: u64,
}

/// Shrinks, writes, and prints what is left.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let shown = || arguments.input.display().to_string();
    let file = File::open(&arguments.input).with_context(shown)?;
    let input = compressed::plain(file).with_context(shown)?;
    let history = History::read(input, &mut |_| {}).with_context(shown)?;
    let options = Options { search_steps_max: arguments.steps_max, ..Options::default() };
    let shows = io::stderr().is_terminal();
    let shrunk = shrink(&history, &options, &mut |left| {
        if shows {
            eprint!("\r{left} records are left   ");
        }
    });
    if shows {
        eprintln!();
    }
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(report) => {
            io::stdout().write_all(text::render(&report).as_bytes())?;
            return Ok(report.verdict.exit_code());
        }
    };
    let output = arguments.output.clone().unwrap_or_else(|| beside(&arguments.input));
    write(&shrunk, &output).with_context(|| output.display().to_string())?;
    let mut told = rusd_checker::report::records::render(&shrunk.records);
    told.push('\n');
    told.push_str(&text::render(&shrunk.report));
    io::stdout().write_all(told.as_bytes())?;
    let (left, tried) = (shrunk.records.len(), shrunk.tried);
    eprintln!("{}: {left} records, after {tried} tries", output.display());
    Ok(shrunk.report.verdict.exit_code())
}

fn beside(input: &std::path::Path) -> PathBuf {
    let name = input.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let stem = name.trim_end_matches(".zst").trim_end_matches(".jsonl");
    input.with_file_name(format!("{stem}.short.jsonl"))
}

fn write(shrunk: &Shrunk, output: &std::path::Path) -> anyhow::Result<()> {
    let Some(Record::Header(header)) = shrunk.records.first() else {
        bail!("a history begins with a header");
    };
    let mut writer = Writer::new(BufWriter::new(File::create(output)?), header)?;
    for record in &shrunk.records[1..] {
        writer.write(record)?;
    }
    writer.finish()?;
    Ok(())
}
