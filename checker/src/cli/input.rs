//! The history that a command is given: a file, a folder, or standard input, in any format.

use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use rusd_checker::formats::{Format, LeftOut, Remarks, Source, compressed, detect};

/// A format, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
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
    /// The format that is called so.
    pub(crate) fn format(self) -> Format {
        match self {
            Name::Jsonl | Name::JsonlZst => Format::Jsonl,
            Name::Edn => Format::JepsenEdn,
            Name::Json => Format::JepsenJson,
            Name::Log => Format::JepsenLog,
            Name::Porcupine => Format::PorcupineKv,
            Name::Robustness => Format::Robustness,
        }
    }

    /// The format that a file's name tells.
    pub(crate) fn of_path(path: &Path) -> Option<Name> {
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

/// Whether a path stands for standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a history. What its format is, its content tells unless `from` does.
pub(crate) fn open(path: &Path, from: Option<Name>) -> anyhow::Result<Source<'_>> {
    let from = from.map(Name::format);
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

/// Says on standard error what is odd in a history, and what was left out of it.
pub(crate) fn tell(remarks: &Remarks, left_out: &LeftOut, input: &Path) {
    for remark in &remarks.first {
        eprintln!("checker: {}: {}: {}", input.display(), remark.place, remark.text);
    }
    if remarks.omitted > 0 {
        eprintln!("checker: {}: {} more like these", input.display(), remarks.omitted);
    }
    for (what, count) in left_out.counts() {
        eprintln!("checker: left out, for want of words: {count} {what}");
    }
}
