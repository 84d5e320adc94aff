//! Calls as a file, so that other programs can judge the same history: one JSON value a line.
//!
//! ```text
//! {"model":"cas_register"}
//! {"process":0,"invoked":0,"returned":3,"op":{"write":4},"ret":"written"}
//! {"process":1,"invoked":1,"returned":2,"op":"read","ret":{"value":null}}
//! {"process":2,"invoked":4,"op":{"cas":[4,5]}}
//! ```
//!
//! The last one is of unknown outcome. Only objects that begin empty, and that Porcupine's tests
//! have as well.

use std::io::{self, BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::answer::{Answer, Counterexample};
use super::calls::{Call, Calls, CallsError};
use super::engine::{Options, check};
use crate::model::append::{AppendOp, AppendRet, AppendString};
use crate::model::cas_register::{CasOp, CasRegister, CasRet};
use crate::model::keyed::{Keyed, KeyedOp};
use crate::model::register::{Register, RegisterOp, RegisterRet};

/// A history, with the object that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallsFile {
    /// Of a register.
    Register(Calls<RegisterOp<u64>, RegisterRet<u64>>),
    /// Of a register with compare-and-set.
    CasRegister(Calls<CasOp<u64>, CasRet<u64>>),
    /// Of strings by key.
    Kv(Calls<KeyedOp<String, AppendOp>, AppendRet>),
}

/// Why a file is no history.
#[derive(Debug, Error)]
pub enum CallsFileError {
    /// It cannot be read.
    #[error("line {line}: {source}")]
    Io {
        /// Which line.
        line: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line}: {source}")]
    Json {
        /// Which line.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no line.
    #[error("the file is empty")]
    Empty,
    /// The calls do not fit together.
    #[error(transparent)]
    Calls(#[from] CallsError),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    model: Name,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Register,
    CasRegister,
    Kv,
}

impl CallsFile {
    /// Reads a history.
    pub fn read(input: impl BufRead) -> Result<CallsFile, CallsFileError> {
        let mut lines = (1..).zip(input.lines());
        let first = lines.next().ok_or(CallsFileError::Empty)?;
        let Header { model } = parse(first)?;
        Ok(match model {
            Name::Register => CallsFile::Register(read(lines)?),
            Name::CasRegister => CallsFile::CasRegister(read(lines)?),
            Name::Kv => CallsFile::Kv(read(lines)?),
        })
    }

    /// Writes it.
    pub fn write(&self, output: impl Write) -> io::Result<()> {
        match self {
            CallsFile::Register(calls) => write(Name::Register, calls, output),
            CallsFile::CasRegister(calls) => write(Name::CasRegister, calls, output),
            CallsFile::Kv(calls) => write(Name::Kv, calls, output),
        }
    }

    /// Judges it.
    pub fn check(&self, options: &Options) -> Answer {
        match self {
            CallsFile::Register(calls) => check(&Register::default(), calls, options),
            CallsFile::CasRegister(calls) => check(&CasRegister::default(), calls, options),
            CallsFile::Kv(calls) => check(&Keyed::new(AppendString::default()), calls, options),
        }
    }

    /// A few lines for people on why it is illegal.
    pub fn render(&self, counterexample: &Counterexample) -> String {
        match self {
            CallsFile::Register(calls) => counterexample.render::<Register<u64>>(calls),
            CallsFile::CasRegister(calls) => counterexample.render::<CasRegister<u64>>(calls),
            CallsFile::Kv(calls) => counterexample.render::<Keyed<String, AppendString>>(calls),
        }
    }
}

fn parse<T: DeserializeOwned>(
    (line, text): (usize, io::Result<String>),
) -> Result<T, CallsFileError> {
    let text = text.map_err(|source| CallsFileError::Io { line, source })?;
    serde_json::from_str(&text).map_err(|source| CallsFileError::Json { line, source })
}

fn read<O: DeserializeOwned, R: DeserializeOwned>(
    lines: impl Iterator<Item = (usize, io::Result<String>)>,
) -> Result<Calls<O, R>, CallsFileError> {
    let list = lines.map(parse::<Call<O, R>>).collect::<Result<Vec<_>, _>>()?;
    Ok(Calls::new(list)?)
}

fn write<O: Serialize, R: Serialize>(
    model: Name,
    calls: &Calls<O, R>,
    mut output: impl Write,
) -> io::Result<()> {
    let header = serde_json::to_string(&Header { model })?;
    writeln!(output, "{header}")?;
    for call in calls.list() {
        serde_json::to_writer(&mut output, call)?;
        writeln!(output)?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"model":"cas_register"}
{"process":0,"invoked":0,"returned":3,"op":{"write":4},"ret":"written"}
{"process":1,"invoked":1,"returned":2,"op":"read","ret":{"value":null}}
{"process":2,"invoked":4,"op":{"cas":[4,5]}}
"#;

    #[test]
    fn what_is_written_is_read_again() {
        let file = CallsFile::read(TEXT.as_bytes()).unwrap();
        let CallsFile::CasRegister(calls) = &file else { panic!("not {file:?}") };
        assert_eq!(calls.list()[2].outcome(), None);
        let mut written = Vec::new();
        file.write(&mut written).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), TEXT);
    }

    #[test]
    fn errors_name_their_line() {
        for (text, why) in [
            ("", "the file is empty"),
            ("{\"model\":\"queue\"}", "line 1: unknown variant"),
            ("{\"model\":\"kv\"}\n{}", "line 2: missing field"),
            (
                "{\"model\":\"register\"}\n{\"process\":0,\"invoked\":2,\"returned\":1,\"op\":\"read\"}",
                "call 0 is invoked at 2",
            ),
        ] {
            let error = CallsFile::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }
}
