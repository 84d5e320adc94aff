//! From one format to another: what `checker convert` does.
//!
//! There are two kinds of histories: Jepsen's, events of whatever a model makes of them, and our own,
//! which know revisions. Each kind goes into each of its formats; our own also goes into Jepsen's,
//! where keys can be told as registers; and never the other way, since nobody knows the revisions.

use std::io::{BufRead, Write};
use std::path::Path;

use super::detect::Format;
use super::error::FormatError;
use super::jepsen::{EventSink, Events};
use super::left_out::LeftOut;
use super::native::{self, RecordLint, RecordSink, Records};
use super::native_to_jepsen;
use super::pairing::{Processes, Remarks};
use super::{jepsen_edn, jepsen_json, jepsen_log, porcupine_kv, robustness};

/// Where a history comes from.
pub enum Source<'a> {
    /// A text in a format.
    Text(Format, Box<dyn BufRead + 'a>),
    /// The folder of a robustness report.
    Folder(&'a Path),
}

/// Where a history goes.
pub enum Target<'a> {
    /// A text in a format.
    Text(Format, Box<dyn Write + 'a>),
    /// A folder for a robustness report.
    Folder(&'a Path),
}

/// What is to be said of a conversion that went well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// What is odd in the history.
    pub remarks: Remarks,
    /// What the other format has no words for.
    pub left_out: LeftOut,
}

/// Converts a history.
pub fn convert(source: Source<'_>, target: Target<'_>) -> Result<Converted, FormatError> {
    match source {
        Source::Folder(folder) => records(&mut robustness::Reader::open(folder)?, target),
        Source::Text(Format::Jsonl, input) => records(&mut native::Reader::new(input), target),
        Source::Text(format, input) => {
            let mut events = events(format, input)?;
            let Target::Text(to, out) = target else { return Err(no_revisions()) };
            let mut sink = event_sink(to, out)?.ok_or_else(no_revisions)?;
            copy_events(&mut *events, &mut *sink)
        }
    }
}

/// The events of a history of Jepsen's kind.
pub fn events<'a>(
    format: Format,
    input: Box<dyn BufRead + 'a>,
) -> Result<Box<dyn Events + 'a>, FormatError> {
    Ok(match format {
        Format::JepsenEdn => Box::new(jepsen_edn::Reader::new(input)),
        Format::JepsenJson => Box::new(jepsen_json::Reader::new(input)),
        Format::JepsenLog => Box::new(jepsen_log::Reader::new(input)),
        Format::PorcupineKv => Box::new(porcupine_kv::Reader::new(input)),
        Format::Jsonl | Format::Robustness => return Err(no_events(format)),
    })
}

fn records(records: &mut dyn Records, target: Target<'_>) -> Result<Converted, FormatError> {
    let mut sink: Box<dyn RecordSink + '_> = match target {
        Target::Folder(folder) => Box::new(robustness::Writer::create(folder)?),
        Target::Text(Format::Jsonl, out) => Box::new(native::Writer::new(out)),
        Target::Text(format, out) => {
            let sink = event_sink(format, out)?.ok_or_else(|| no_text(format))?;
            Box::new(native_to_jepsen::Writer::new(sink))
        }
    };
    let mut lint = RecordLint::default();
    while let Some((place, record)) = records.next_record()? {
        lint.see(place, &record);
        sink.write(place, &record)?;
    }
    sink.finish()?;
    let mut left_out = records.left_out();
    left_out.merge(&sink.left_out());
    Ok(Converted { remarks: lint.remarks, left_out })
}

fn copy_events(
    events: &mut dyn Events,
    sink: &mut dyn EventSink,
) -> Result<Converted, FormatError> {
    let mut processes = Processes::new();
    while let Some(event) = events.next_event()? {
        processes.see(&event, |_| ())?;
        sink.write(&event)?;
    }
    sink.finish()?;
    Ok(Converted { remarks: processes.remarks, left_out: sink.left_out() })
}

/// A writer of Jepsen's kind; `None` if the format is not of that kind.
fn event_sink<'a>(
    format: Format,
    out: Box<dyn Write + 'a>,
) -> Result<Option<Box<dyn EventSink + 'a>>, FormatError> {
    Ok(match format {
        Format::JepsenEdn => Some(Box::new(jepsen_edn::Writer::new(out))),
        Format::JepsenJson => Some(Box::new(jepsen_json::Writer::new(out))),
        Format::PorcupineKv => Some(Box::new(porcupine_kv::Writer::new(out))),
        Format::JepsenLog => {
            return Err(FormatError::request(
                "Jepsen's log lines are read, but not written: edn has all they have",
            ));
        }
        Format::Jsonl | Format::Robustness => None,
    })
}

fn no_text(format: Format) -> FormatError {
    FormatError::request(format!("{} is a folder, not a text", format.name()))
}

fn no_events(format: Format) -> FormatError {
    FormatError::request(format!("{} is no history of Jepsen's kind", format.name()))
}

fn no_revisions() -> FormatError {
    FormatError::request(
        "a Jepsen history does not tell revisions, without which ours is none: it goes into edn, json \
         and porcupine",
    )
}
