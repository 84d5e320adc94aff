//! Log lines on stderr, in the shape of etcd's: process managers and test frameworks read them.
//!
//! `{"level":"info","ts":"2026-11-25T12:00:00.000000Z","caller":"rusd/server.rs:42","msg":"...",...}`
//! and then the fields.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, fmt::Subscriber as FmtSubscriber};

use crate::config::{LogFormat, LogLevel};

/// Writes this process's log lines to stderr from now on.
pub fn start(level: LogLevel, format: LogFormat) {
    let subscriber = subscriber(level, format, std::io::stderr);
    // A second start, in a test, keeps the first.
    drop(tracing::subscriber::set_global_default(subscriber));
}

fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Of libraries only what is wrong.
    let directives = format!("error,rusd={level},rusd_raft={level},rusd_state={level}");
    FmtSubscriber::builder()
        // A line that cannot be written is lost. Telling so on stderr, which is what fails, panics.
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::new(directives))
        .event_format(Lines { format, clock: SystemTime })
        .with_writer(writer)
        .finish()
}

/// One line per event.
struct Lines<C> {
    format: LogFormat,
    clock: C,
}

impl<S, N, C> FormatEvent<S, N> for Lines<C>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    C: FormatTime,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        self.clock.format_time(&mut Writer::new(&mut time))?;
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let caller = caller(event.metadata());
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, others } = fields;
        match self.format {
            LogFormat::Json => {
                let head =
                    [("level", level), ("ts", &time), ("caller", &caller), ("msg", &message)];
                let head = head.map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
                let tail = others.iter().map(|(name, value)| format!(",{}:{value}", quoted(name)));
                writeln!(writer, "{{{}{}}}", head.join(","), tail.collect::<String>())
            }
            LogFormat::Console => {
                write!(writer, "{time}\t{level}\t{caller}\t{message}")?;
                if !others.is_empty() {
                    write!(writer, "\t{}", Value::Object(others))?;
                }
                writeln!(writer)
            }
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The last two parts of the source path, as zap shortens it, and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let Some(file) = metadata.file() else { return metadata.target().to_owned() };
    let parts: Vec<&str> = file.split(['/', '\\']).filter(|part| *part != "src").collect();
    let shown = parts[parts.len().saturating_sub(2)..].join("/");
    format!("{shown}:{}", metadata.line().unwrap_or(0))
}

/// An event's message and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name().replace('_', "-");
        self.others.insert(name.trim_start_matches("r#").to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.put(field, format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.put(field, text.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LogLevel, format: LogFormat, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = subscriber(level, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_etcds_shape() {
        let text = lines(LogLevel::Info, LogFormat::Json, || {
            tracing::info!(member_id = 7, name = "a\"b", "ready to serve client requests");
            tracing::debug!("not written");
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "ready to serve client requests");
        assert_eq!(line["member-id"], 7);
        assert_eq!(line["name"], "a\"b");
        let caller = line["caller"].as_str().unwrap();
        assert!(caller.starts_with("rusd/logging.rs:"), "{caller}");
        let time = line["ts"].as_str().unwrap();
        assert_eq!((time.len(), time.chars().last()), (27, Some('Z')), "{time}");
        assert!(text.starts_with("{\"level\":\"info\",\"ts\":"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn console_lines_are_for_eyes() {
        let text = lines(LogLevel::Warn, LogFormat::Console, || {
            tracing::warn!(count = 2, "slow");
            tracing::info!("not written");
        });
        let parts: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!((parts[1], parts[3], parts[4]), ("warn", "slow", "{\"count\":2}"));
    }
}
