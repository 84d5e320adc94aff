//! The old logs of Jepsen's that Porcupine's tests read, as those tests read them: a compare-and-set
//! that fails has met another value.

use std::io::BufRead;

use anyhow::bail;
use rusd_checker::formats::calls::Value;
use rusd_checker::formats::interpret::{FailedCas, cas_register};
use rusd_checker::formats::{Format, events};
use rusd_checker::model::cas_register::{CasOp, CasRet};
use rusd_checker::search::{Call, Calls};

/// The calls of a log. Other lines are left out.
pub(super) fn read(log: impl BufRead) -> anyhow::Result<Calls<CasOp<u64>, CasRet<u64>>> {
    let events = events(Format::JepsenLog, Box::new(log))?;
    let calls = cas_register(events, FailedCas::HeldAnother)?.into_iter().map(|call| {
        let Call { process, invoked, returned, op, ret } = call;
        let op = match op.op {
            CasOp::Read => CasOp::Read,
            CasOp::Write(value) => CasOp::Write(written(&value)?),
            CasOp::Cas(from, to) => CasOp::Cas(written(&from)?, written(&to)?),
        };
        let ret = match ret {
            None => None,
            Some(CasRet::Value(None | Some(Value::Nil))) => Some(CasRet::Value(None)),
            Some(CasRet::Value(Some(value))) => Some(CasRet::Value(Some(written(&value)?))),
            Some(CasRet::Written) => Some(CasRet::Written),
            Some(CasRet::Swapped) => Some(CasRet::Swapped),
            Some(CasRet::Differs) => Some(CasRet::Differs),
        };
        anyhow::Ok(Call { process, invoked, returned, op, ret })
    });
    Ok(Calls::new(calls.collect::<anyhow::Result<_>>()?)?)
}

/// Porcupine's registers hold numbers from 0 on.
fn written(value: &Value) -> anyhow::Result<u64> {
    match value {
        Value::Integer(number) => Ok(u64::try_from(*number)?),
        other => bail!("{other} is no number"),
    }
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
                (&CasOp::Cas(3, 0), Some((5, &CasRet::Differs))),
            ]
        );
    }

    #[test]
    fn errors_name_their_place() {
        let error = read("INFO jepsen.util - 0 :ok :read 1\n".as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("1:20 "), "{error}");
    }
}
