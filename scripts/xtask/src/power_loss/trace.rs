//! A member's file operations, as `strace` wrote them down.
//!
//! ```text
//!   71 1795961042.258294 pwrite64(9, "\10\0\0\1", 4, 512) = 4              begun and ended
//!   71 1795961042.259443 fsync(9 <unfinished ...>                          begun
//!   72 1795961042.259492 mkdir("/x", 0777)        = 0
//!   71 1795961042.259529 <... fsync resumed>)     = 0                      ended
//! ```
//!
//! strace stops a thread where a call begins and where it ends, and writes in the order in which it
//! sees that. So a call takes effect between its begin and its end here, and what ended before
//! another line was done before it.
//!
//! Reads a trace once, from the first line to the last, and holds one line at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What is traced: all that changes a file or a folder, or says which file is meant.
pub(super) const CALLS: &str = "open,openat,creat,close,dup,dup2,dup3,fcntl,lseek,\
    write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,\
    fsync,fdatasync,sync,syncfs,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,\
    link,linkat,symlink,symlinkat,mmap,io_uring_setup";

/// A string longer than any that is written at once.
pub(super) const STRING_BYTES_MAX: &str = "134217728";

/// A call of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Its name.
    pub(super) name: String,
    /// Its arguments.
    pub(super) arguments: Vec<Argument>,
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// A number, flags, a structure: as it was written.
    Word(String),
    /// The bytes of a string; of several, one after the other.
    Bytes(Vec<u8>),
}

/// A thread is where a call begins, or where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The call begins.
    Begin(Call),
    /// The call that the thread had begun ends with this result; `None` if it failed.
    End(Option<i64>),
}

/// A step of one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// The thread.
    pub(super) thread: u32,
    /// Microseconds since 1970 when the line was begun.
    pub(super) micros: u64,
    /// What it does.
    pub(super) step: Step,
}

/// Whether the traced program has ended, and its trace with it.
pub(super) fn is_over(trace: &Path, process: u32) -> bool {
    let Ok(mut lines) = Trace::lines(trace) else { return false };
    let start = format!("{process} ");
    let mut is_over = false;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        if line.starts_with(start.as_bytes()) && line.ends_with(b"+++\n") {
            is_over = true;
        }
        line.clear();
    }
    is_over
}

/// A trace that is read.
pub(super) struct Trace {
    lines: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    /// The second step of a line that has both.
    next: Option<Event>,
    /// What each thread has begun.
    begun: BTreeMap<u32, String>,
}

impl Trace {
    /// Reads from the start.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let lines = Self::lines(path)?;
        Ok(Self { lines, line: Vec::new(), number: 0, next: None, begun: BTreeMap::new() })
    }

    fn lines(path: &Path) -> Result<BufReader<File>> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(BufReader::with_capacity(1 << 20, file))
    }

    /// The next step; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Event>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        loop {
            self.line.clear();
            if self.lines.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let line = std::mem::take(&mut self.line);
            let read = self.read(line.strip_suffix(b"\n").unwrap_or(&line));
            self.line = line;
            let number = self.number;
            if let Some(event) = read.with_context(|| format!("line {number} of the trace"))? {
                return Ok(Some(event));
            }
        }
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Event>> {
        let mut scanner = Scanner { line, at: 0 };
        let thread = scanner.word()?.parse()?;
        let (seconds, micros) = {
            let time = scanner.word()?;
            let (seconds, micros) = time.split_once('.').context("no time")?;
            (seconds.parse::<u64>()?, micros.parse::<u64>()?)
        };
        let micros = seconds * 1_000_000 + micros;
        let event = |step| Event { thread, micros, step };
        let rest = &line[scanner.at..];
        if rest.starts_with(b"+++") || rest.starts_with(b"---") {
            return Ok(None);
        }
        if rest.starts_with(b"<... ") {
            self.begun.remove(&thread).context("what is resumed was not begun")?;
            return Ok(Some(event(Step::End(result(rest)?))));
        }
        let call = scanner.call()?;
        if scanner.rest().ends_with(b"<unfinished ...>") {
            self.begun.insert(thread, call.name.clone());
        } else {
            self.next = Some(event(Step::End(result(scanner.rest())?)));
        }
        Ok(Some(event(Step::Begin(call))))
    }
}

/// The number after the last ` = `; `None` for an error, or where the call did not return.
fn result(text: &[u8]) -> Result<Option<i64>> {
    let text = String::from_utf8_lossy(text);
    let (_, result) = text.rsplit_once("= ").context("a call without a result")?;
    let number = result.split(' ').next().unwrap_or_default();
    if number == "?" {
        return Ok(None);
    }
    let number = match number.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16)?,
        None => number.parse()?,
    };
    Ok((number >= 0).then_some(number))
}

struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &[u8] {
        &self.line[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// Up to the next space, and the spaces after it.
    fn word(&mut self) -> Result<&str> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte != b' ') {
            self.at += 1;
        }
        let end = self.at;
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        Ok(std::str::from_utf8(&self.line[start..end])?)
    }

    /// A name and its arguments, up to the closing bracket or to where the line breaks off.
    fn call(&mut self) -> Result<Call> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte != b'(') {
            self.at += 1;
        }
        let name = String::from_utf8(self.line[start..self.at].to_vec())?;
        self.at += 1;
        let mut arguments = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b')' => break,
                b',' | b' ' => self.at += 1,
                b'<' if self.rest() == b"<unfinished ...>" => break,
                _ => arguments.push(self.argument()?),
            }
        }
        Ok(Call { name, arguments })
    }

    /// Up to the comma or bracket that ends it. A structure or list with strings gives these.
    fn argument(&mut self) -> Result<Argument> {
        let start = self.at;
        let mut strings = None;
        let mut depth = 0_u32;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string(strings.get_or_insert_with(Vec::new))?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1).context("brackets do not match")?,
                b',' | b')' | b' ' if depth == 0 => break,
                _ => {}
            }
            if byte != b'"' {
                self.at += 1;
            }
        }
        let word = || String::from_utf8_lossy(&self.line[start..self.at]).into_owned();
        Ok(strings.map_or_else(|| Argument::Word(word()), Argument::Bytes))
    }

    /// A string with C's escapes, octal ones as short as they can be.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        loop {
            let byte = self.peek().context("a string does not end")?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.escape(out)?,
                plain => out.push(plain),
            }
        }
        if self.rest().starts_with(b"...") {
            bail!("a string was cut short");
        }
        Ok(())
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let byte = self.peek().context("a string does not end")?;
        self.at += 1;
        out.push(match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'0'..=b'7' => {
                let mut value = u16::from(byte - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek() else { break };
                    value = value * 8 + u16::from(digit - b'0');
                    self.at += 1;
                }
                u8::try_from(value)?
            }
            b'"' | b'\\' => byte,
            other => bail!("an escape that is not known: {}", char::from(other)),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Scratch;

    fn events(text: &str) -> Vec<Event> {
        let folder = Scratch::new("trace-test").unwrap();
        let path = folder.path().join("trace");
        std::fs::write(&path, text).unwrap();
        let mut trace = Trace::open(&path).unwrap();
        let mut events = Vec::new();
        while let Some(event) = trace.next().unwrap() {
            events.push(event);
        }
        events
    }

    fn word(text: &str) -> Argument {
        Argument::Word(text.to_owned())
    }

    #[test]
    fn calls_that_overlap_are_told_apart() {
        let text = "7 10.000001 fsync(9 <unfinished ...>\n\
                    8 10.000002 mkdir(\"/a b\", 0777) = -1 EEXIST (File exists)\n\
                    7 10.000003 <... fsync resumed>)   = 0\n\
                    7 10.000004 --- SIGTERM {si_signo=SIGTERM} ---\n\
                    7 10.000005 +++ exited with 0 +++\n";
        let fsync = Call { name: "fsync".into(), arguments: vec![word("9")] };
        let path = Argument::Bytes(b"/a b".to_vec());
        let mkdir = Call { name: "mkdir".into(), arguments: vec![path, word("0777")] };
        let expected = [
            (7, 10_000_001, Step::Begin(fsync)),
            (8, 10_000_002, Step::Begin(mkdir)),
            (8, 10_000_002, Step::End(None)),
            (7, 10_000_003, Step::End(Some(0))),
        ];
        let expected = expected.map(|(thread, micros, step)| Event { thread, micros, step });
        assert_eq!(events(text), expected);
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let text = "7 1.0 write(1, \"a\\0\\0001\\\"\\\\x\\n\\1771)\", 11) = 11\n\
                    7 1.0 writev(3, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"c\", iov_len=1}], 2) = 3\n";
        let written: Vec<_> = (events(text).into_iter())
            .filter_map(|event| match event.step {
                Step::Begin(call) => Some(call.arguments[1].clone()),
                Step::End(_) => None,
            })
            .collect();
        let expected = [&b"a\0\x001\"\\x\n\x7f1)"[..], b"abc"];
        assert_eq!(written, expected.map(|bytes| Argument::Bytes(bytes.to_vec())));
    }

    #[test]
    fn a_string_that_was_cut_short_is_refused() {
        let mut scanner = Scanner { line: b"write(1, \"ab\"..., 5) = 5", at: 0 };
        assert!(scanner.call().is_err());
    }
}
