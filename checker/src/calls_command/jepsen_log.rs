//! The log lines in which old tests of Jepsen's told what happened to their register:
//!
//! ```text
//! INFO  jepsen.util - 2  :invoke  :cas  [3 0]
//! INFO  jepsen.util - 2  :fail  :cas  [3 0]
//! ```
//!
//! Only for comparing engines on the logs that Porcupine's tests read, as those tests read them: a
//! compare-and-set that fails has met another value.

use std::collections::HashMap;
use std::io::BufRead;

use anyhow::{Context as _, bail};
use rusd_checker::model::cas_register::{CasOp, CasRet};
use rusd_checker::search::{Calls, Recorder};

/// The calls of a log. Other lines are left out.
pub(super) fn read(log: impl BufRead) -> anyhow::Result<Calls<CasOp<u64>, CasRet<u64>>> {
    let mut recorder = Recorder::new();
    let mut open = HashMap::new();
    for (number, line) in (1..).zip(log.lines()) {
        let line = line.with_context(|| format!("line {number}"))?;
        if let Some((_, told)) = line.split_once("jepsen.util - ") {
            event(told, &mut recorder, &mut open)
                .with_context(|| format!("line {number}: {line}"))?;
        }
    }
    Ok(recorder.finish())
}

fn event(
    told: &str,
    recorder: &mut Recorder<CasOp<u64>, CasRet<u64>>,
    open: &mut HashMap<u64, usize>,
) -> anyhow::Result<()> {
    let words: Vec<&str> = told.split_whitespace().collect();
    let [process, kind, asked, value @ ..] = words.as_slice() else { bail!("too few words") };
    let process: u64 = process.parse().context("no process")?;
    if *kind == ":invoke" {
        let op = match (*asked, value) {
            (":read", _) => CasOp::Read,
            (":write", [value]) => CasOp::Write(value.parse()?),
            (":cas", [from, to]) => {
                CasOp::Cas(from.trim_start_matches('[').parse()?, to.trim_end_matches(']').parse()?)
            }
            _ => bail!("no operation"),
        };
        open.insert(process, recorder.invoke(process, op));
        return Ok(());
    }
    let call = open.remove(&process).context("returns without a call")?;
    match (*kind, *asked, value) {
        (":ok", ":read", ["nil"]) => recorder.returns(call, CasRet::Value(None)),
        (":ok", ":read", [value]) => recorder.returns(call, CasRet::Value(Some(value.parse()?))),
        (":ok", ":write", _) => recorder.returns(call, CasRet::Written),
        (":ok", ":cas", _) => recorder.returns(call, CasRet::Swapped),
        (":fail", ":cas", _) => recorder.returns(call, CasRet::Differs),
        (":fail", _, _) => recorder.fails(call),
        (":info", _, _) => {}
        _ => bail!("no event"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
INFO  jepsen.core - not an event
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t4
INFO  jepsen.util - 2\t:invoke\t:cas\t[3 0]
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 2\t:fail\t:cas\t[3 0]
";

    #[test]
    fn a_log_is_calls() {
        let calls = read(LOG.as_bytes()).unwrap();
        let told: Vec<_> = calls.list().iter().map(|call| (&call.op, call.outcome())).collect();
        assert_eq!(
            told,
            [
                (&CasOp::Read, Some((3, &CasRet::Value(None)))),
                (&CasOp::Write(4), None),
                (&CasOp::Cas(3, 0), Some((4, &CasRet::Differs))),
            ]
        );
    }

    #[test]
    fn errors_name_their_line() {
        let error = read("INFO jepsen.util - 0 :ok :read 1\n".as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 1: "), "{error}");
    }
}
