//! `checker convert IN OUT`: a history in another format.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rusd_checker::formats::{Converted, FormatError, Source, Target, convert};

use super::input::{self, Name};
use super::output;

/// zstd's own choice between speed and size.
const ZSTD_LEVEL: i32 = 3;

/// What `--help` ends with.
const AFTER_HELP: &str = "\
A history with revisions (jsonl, robustness) goes into either format of its kind, and into edn, json
and porcupine if it is one of registers: puts, reads and compare-and-puts of single keys. Others (edn,
json, log, porcupine) go into edn, json and porcupine.

What the other format has no words for is left out and counted on standard error if it only reads; if
it writes, it is named by its place, and nothing is written. A clock that goes back is remarked on;
calls that overlap in one process, or return before they began, are an error.

  checker convert run/history.jsonl run/history.jsonl.zst
  checker convert run/history.jsonl report --to robustness
  checker convert jepsen.log history.edn
  checker convert - - --from edn --to json < history.edn

Exit codes: 0 written, 3 bad input.";

/// Tell a history in another format.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The history: a file, the folder of a robustness report, or `-` for standard input. It may be
    /// compressed with zstd.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write: a file, a folder that is not there yet, or `-` for standard output.
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The format of IN. By default its content tells.
    #[arg(long, value_enum)]
    from: Option<Name>,
    /// The format of OUT. By default its name tells: .jsonl, .jsonl.zst, .edn, .json.
    #[arg(long, value_enum)]
    to: Option<Name>,
}

/// Converts, and says on standard error what is odd and what was left out.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let to = arguments.to.or_else(|| Name::of_path(&arguments.output));
    let to = to.with_context(|| {
        format!(
            "{}: its name tells no format: say --to, one of those of --help",
            arguments.output.display()
        )
    })?;
    let source = input::open(&arguments.input, arguments.from)?;
    let converted = if to == Name::Robustness {
        to_folder(source, &arguments.output)
    } else if input::is_standard(&arguments.output) {
        to_text(source, to, io::stdout().lock())
    } else {
        output::whole(&arguments.output, |file| to_text(source, to, file))
    };
    let converted = converted.map_err(|error| named(error, arguments))?;
    input::tell(&converted.remarks, &converted.left_out, &arguments.input);
    Ok(0)
}

fn to_folder(source: Source<'_>, output: &Path) -> Result<Converted, FormatError> {
    if output.exists() {
        let reason = format!("{}: is there already: name a folder that is not", output.display());
        return Err(FormatError::Request { reason });
    }
    let partial = output::partial(output);
    let done = convert(source, Target::Folder(&partial))
        .and_then(|converted| fs::rename(&partial, output).map(|()| converted).map_err(Into::into));
    if done.is_err() && partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    done
}

fn to_text(source: Source<'_>, to: Name, out: impl Write) -> Result<Converted, FormatError> {
    let mut out = BufWriter::new(out);
    if to == Name::JsonlZst {
        let mut encoder = zstd::Encoder::new(&mut out, ZSTD_LEVEL)?;
        let converted = convert(source, Target::Text(to.format(), Box::new(&mut encoder)))?;
        encoder.finish()?.flush()?;
        return Ok(converted);
    }
    let converted = convert(source, Target::Text(to.format(), Box::new(&mut out)))?;
    out.flush()?;
    Ok(converted)
}

/// The error with the file it is of, unless it names one.
fn named(error: FormatError, arguments: &Arguments) -> anyhow::Error {
    let path = match &error {
        FormatError::Open { .. } | FormatError::Request { .. } => return error.into(),
        FormatError::Write { .. } => &arguments.output,
        _ => &arguments.input,
    };
    anyhow::Error::new(error).context(path.display().to_string())
}
