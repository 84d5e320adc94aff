//! What a run of loadgen left in its folder: `run.json`, read back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;
use crate::workspace::Binaries;

/// How `loadgen run` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every promise was kept.
    Valid,
    /// A promise was broken.
    Invalid,
    /// The history could not be judged.
    Unknown,
    /// Bad input, or the run itself failed; there is no verdict.
    Failed,
}

impl Ended {
    /// By loadgen's exit code.
    fn of(code: Option<i32>) -> Self {
        match code {
            Some(0) => Self::Valid,
            Some(1) => Self::Invalid,
            Some(3) => Self::Unknown,
            _ => Self::Failed,
        }
    }

    /// For tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "INVALID",
            Self::Unknown => "UNKNOWN",
            Self::Failed => "RUN FAILED",
        }
    }
}

/// A run of loadgen that has ended.
pub(crate) struct Run {
    /// Its exit code, read.
    pub(crate) ended: Ended,
    /// Its folder; `None` if it never came to have one.
    pub(crate) folder: Option<PathBuf>,
    report: Value,
}

impl Run {
    /// Runs a workload against members of the server, with its results below `out`, which is emptied.
    pub(crate) fn of(
        binaries: &Binaries,
        workload: &Path,
        out: &Path,
        adjust: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        Self::watched(binaries, workload, out, adjust, workspace::status)
    }

    /// The same, for who runs the command himself, to look at it meanwhile.
    pub(crate) fn watched(
        binaries: &Binaries,
        workload: &Path,
        out: &Path,
        adjust: impl FnOnce(&mut Command),
        run: impl FnOnce(&mut Command) -> Result<ExitStatus>,
    ) -> Result<Self> {
        if out.exists() {
            fs::remove_dir_all(out).with_context(|| format!("cannot clear {}", out.display()))?;
        }
        let mut command = Command::new(binaries.loadgen());
        command
            .arg("run")
            .arg(workload)
            .arg("--binary")
            .arg(binaries.server())
            .arg("--out")
            .arg(out);
        command.current_dir(workspace::root());
        adjust(&mut command);
        let ended = Ended::of(run(&mut command)?.code());
        let folder = newest(out);
        let report = match &folder {
            Some(folder) => serde_json::from_str(&fs::read_to_string(folder.join("run.json"))?)
                .with_context(|| format!("{} is not a report", folder.display()))?,
            None => Value::Null,
        };
        Ok(Self::read(ended, folder, report))
    }

    /// A run of which this is the report.
    pub(crate) fn read(ended: Ended, folder: Option<PathBuf>, report: Value) -> Self {
        Self { ended, folder, report }
    }

    /// Where to look.
    pub(crate) fn place(&self) -> String {
        self.folder.as_ref().map_or_else(|| "no folder".to_owned(), |f| f.display().to_string())
    }

    /// What was run, with its version; `None` if the run never came to know it.
    pub(crate) fn system(&self) -> Option<&str> {
        self.report["system"].as_str()
    }

    /// A number of the report, by JSON pointer; 0 if absent.
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A measure of the report, by JSON pointer; 0 if absent.
    pub(crate) fn measure(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// Faults of a kind that were really done, on a target if one is given.
    pub(crate) fn faults(&self, kind: &str, target: Option<&str>) -> usize {
        let is_meant = |fault: &&Value| {
            fault["fault"] == kind
                && fault["error"].is_null()
                && target.is_none_or(|target| fault["target"] == target)
        };
        self.windows().iter().filter(is_meant).count()
    }

    /// Faults that were really done, of any kind.
    pub(crate) fn count_faults(&self) -> usize {
        self.windows().iter().filter(|fault| fault["error"].is_null()).count()
    }

    /// The same, for each kind.
    pub(crate) fn faults_by_kind(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for fault in self.windows().iter().filter(|fault| fault["error"].is_null()) {
            *kinds.entry(fault["fault"].as_str().unwrap_or("unnamed").to_owned()).or_default() += 1;
        }
        kinds
    }

    /// Faults that the workload declares; each of them is done at least once.
    pub(crate) fn planned_faults(&self) -> usize {
        self.report.pointer("/config/faults").and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// What went wrong with faults.
    pub(crate) fn fault_errors(&self) -> Vec<String> {
        let windows = self.windows().iter();
        windows.filter_map(|fault| fault["error"].as_str().map(str::to_owned)).collect()
    }

    fn windows(&self) -> &[Value] {
        self.report["faults"].as_array().map_or(&[], Vec::as_slice)
    }

    /// What the demo must have had to show anything: every fault as planned, a kill of the leader,
    /// a move of the leader, a pause and a partition among them, and every watch complete. Says what is missing.
    pub(crate) fn demo_lacks(&self) -> Option<String> {
        let lacks = if let Some(error) = self.fault_errors().into_iter().next() {
            format!("a fault was not done: {error}")
        } else if self.faults("kill", Some("leader")) == 0 {
            "the leader was not killed".to_owned()
        } else if self.faults("move_leader", None) == 0 {
            "the leader was not moved".to_owned()
        } else if self.faults("pause", None) == 0 {
            "nobody was paused".to_owned()
        } else if self.faults("partition", None) == 0 {
            "nobody was cut off".to_owned()
        } else if self.count("/watches/count") == 0 {
            "nothing was watched".to_owned()
        } else if self.count("/watches/count") != self.count("/watches/complete") {
            "a watch is not complete".to_owned()
        } else {
            return None;
        };
        Some(lacks)
    }

    /// The first violation, for people.
    pub(crate) fn first_violation(&self) -> Option<String> {
        let violation = self.report.pointer("/judgement/violations/0")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let operations = violation["operations"].as_array().map_or(&[][..], Vec::as_slice);
        let operations: Vec<String> =
            operations.iter().map(|operation| format!("`{}`", text(&operation["text"]))).collect();
        Some(format!(
            "{}: {}; expected: `{}`; got: `{}`",
            text(&violation["rule"]),
            operations.join(", "),
            text(&violation["expected"]),
            text(&violation["got"])
        ))
    }

    /// The rules that broke, the likeliest cause first.
    pub(crate) fn rules(&self) -> Vec<String> {
        let violations = self.report.pointer("/judgement/violations").and_then(Value::as_array);
        let mut rules = Vec::new();
        for violation in violations.map_or(&[][..], Vec::as_slice) {
            let rule = violation["rule"].as_str().unwrap_or("unnamed").to_owned();
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }
}

/// The folder below `out` whose `run.json` is the newest.
pub(crate) fn newest(out: &Path) -> Option<PathBuf> {
    let mut newest = None;
    let mut open = vec![out.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "run.json") {
                let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                newest = newest.max(Some((modified, folder.clone())));
            }
        }
    }
    newest.map(|(_, folder)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(report: &str) -> Run {
        Run::read(Ended::Invalid, None, serde_json::from_str(report).unwrap())
    }

    #[test]
    fn a_fault_that_could_not_be_done_does_not_count() {
        let run =
            run(r#"{"faults":[{"fault":"kill","target":"leader"},{"fault":"kill","target":"any"},
               {"fault":"pause","target":"any","error":"nobody to pause"}]}"#);
        assert_eq!(run.faults("kill", None), 2);
        assert_eq!(run.faults("kill", Some("leader")), 1);
        assert_eq!(run.faults("pause", None), 0);
    }

    #[test]
    fn a_demo_must_have_had_its_faults_and_its_watches() {
        let kill = r#"{"fault":"kill","target":"leader"}"#;
        let moved = r#"{"fault":"move_leader"}"#;
        let pause = r#"{"fault":"pause"}"#;
        let cut = r#"{"fault":"partition"}"#;
        let failed = r#"{"fault":"pause","error":"every member is under a fault"}"#;
        let lacks = |faults: &[&str], complete: u32| {
            let faults = faults.join(",");
            let watches = format!(r#"{{"count":9,"complete":{complete}}}"#);
            run(&format!(r#"{{"faults":[{faults}],"watches":{watches}}}"#)).demo_lacks()
        };
        assert_eq!(lacks(&[kill, moved, pause, cut], 9), None);
        for (faults, complete) in [
            (&[moved, pause, cut][..], 9),
            (&[kill, pause, cut], 9),
            (&[kill, moved, cut], 9),
            (&[kill, moved, pause], 9),
            (&[kill, moved, pause, cut, failed], 9),
            (&[kill, moved, pause, cut], 8),
        ] {
            assert!(lacks(faults, complete).is_some(), "{faults:?} {complete}");
        }
    }

    #[test]
    fn rules_come_once_and_in_order_of_blame() {
        let run = run(r#"{"judgement":{"violations":[{"rule":"txn/atomic"},{"rule":"txn/atomic"},
               {"rule":"final/hash"}]}}"#);
        assert_eq!(run.rules(), ["txn/atomic", "final/hash"]);
    }

    #[test]
    fn only_exit_code_0_is_valid() {
        let codes = [Some(0), Some(1), Some(2), Some(3), Some(4), None];
        let ended = codes.map(|code| Ended::of(code).name());
        assert_eq!(
            ended,
            ["valid", "INVALID", "RUN FAILED", "UNKNOWN", "RUN FAILED", "RUN FAILED"]
        );
    }
}
