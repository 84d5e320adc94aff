//! `checker convert IN OUT`: a history in another format.
//!
//! What is written appears under its name once it is whole: until then, and if the conversion fails,
//! there is only `OUT.partial`, which is removed again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use rusd_checker::formats::{
    Converted, Format, FormatError, Source, Target, compressed, convert, detect,
};

/// zstd's own choice between speed and size.
const ZSTD_LEVEL: i32 = 3;

/// Tell a history in another format.
#[derive(Debug, clap::Args)]
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

/// A format, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Our own
    Jsonl,
    /// Our own, compressed
    #[value(name = "jsonl.zst")]
    JsonlZst,
    /// Jepsen's operations as maps
    Edn,
    /// The same as objects, as elle-cli reads them
    Json,
    /// Jepsen's log lines of old; read only
    Log,
    /// Porcupine's key-value text
    Porcupine,
    /// The report folder of etcd's robustness tests
    Robustness,
}

impl Name {
    fn format(self) -> Format {
        match self {
            Name::Jsonl | Name::JsonlZst => Format::Jsonl,
            Name::Edn => Format::JepsenEdn,
            Name::Json => Format::JepsenJson,
            Name::Log => Format::JepsenLog,
            Name::Porcupine => Format::PorcupineKv,
            Name::Robustness => Format::Robustness,
        }
    }

    fn of_path(path: &Path) -> Option<Name> {
        let name = path.file_name()?.to_str()?;
        let endings = [
            (".jsonl", Name::Jsonl),
            (".jsonl.zst", Name::JsonlZst),
            (".edn", Name::Edn),
            (".json", Name::Json),
        ];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, name)| name)
    }
}

/// Converts, and says on standard error what is odd and what was left out.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let to = arguments.to.or_else(|| Name::of_path(&arguments.output));
    let to = to.with_context(|| {
        format!("{}: its name tells no format: say --to", arguments.output.display())
    })?;
    let source = source(arguments)?;
    let converted = if to == Name::Robustness {
        to_folder(source, &arguments.output)
    } else if is_standard(&arguments.output) {
        to_text(source, to, io::stdout().lock())
    } else {
        to_file(source, to, &arguments.output)
    };
    let converted = converted.map_err(|error| named(error, arguments))?;
    tell(&converted, &arguments.input);
    Ok(0)
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn source(arguments: &Arguments) -> anyhow::Result<Source<'_>> {
    let path = &arguments.input;
    let from = arguments.from.map(Name::format);
    if path.is_dir() {
        if from.is_some_and(|format| format != Format::Robustness) {
            bail!("{}: a folder is a robustness report", path.display());
        }
        return Ok(Source::Folder(path));
    }
    if from == Some(Format::Robustness) {
        bail!("{}: a robustness report is a folder", path.display());
    }
    let shown = || path.display().to_string();
    let input: Box<dyn BufRead> = if is_standard(path) {
        compressed::plain(io::stdin().lock()).with_context(shown)?
    } else {
        let file = File::open(path).with_context(|| format!("{}: cannot be opened", shown()))?;
        compressed::plain(file).with_context(shown)?
    };
    if let Some(format) = from {
        return Ok(Source::Text(format, input));
    }
    let (format, input) = detect(input).with_context(shown)?;
    Ok(Source::Text(format, input))
}

fn to_folder(source: Source<'_>, output: &Path) -> Result<Converted, FormatError> {
    if output.exists() {
        let reason = format!("{}: is there already", output.display());
        return Err(FormatError::Request { reason });
    }
    let partial = partial(output);
    let done = convert(source, Target::Folder(&partial))
        .and_then(|converted| fs::rename(&partial, output).map(|()| converted).map_err(Into::into));
    if done.is_err() && partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    done
}

fn to_file(source: Source<'_>, to: Name, output: &Path) -> Result<Converted, FormatError> {
    let partial = partial(output);
    let opened = File::create(&partial);
    let file = opened
        .map_err(|source| FormatError::Open { path: partial.display().to_string(), source })?;
    let done = to_text(source, to, file)
        .and_then(|converted| fs::rename(&partial, output).map(|()| converted).map_err(Into::into));
    if done.is_err() {
        fs::remove_file(&partial)?;
    }
    done
}

fn partial(output: &Path) -> PathBuf {
    // Without a slash at its end.
    let mut name = OsString::from(output.components().as_path());
    name.push(".partial");
    PathBuf::from(name)
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

fn tell(converted: &Converted, input: &Path) {
    for remark in &converted.remarks.first {
        eprintln!("checker: {}: {}: {}", input.display(), remark.place, remark.text);
    }
    if converted.remarks.omitted > 0 {
        eprintln!("checker: {}: {} more like these", input.display(), converted.remarks.omitted);
    }
    for (what, count) in converted.left_out.counts() {
        eprintln!("checker: left out, for want of words: {count} {what}");
    }
}
