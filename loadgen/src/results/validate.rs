//! Whether a run's folder is whole, and says what its history says.

use std::fs;
use std::path::Path;

use rusd_checker::{Options, check_file};
use serde_json::Value;

use super::Folder;
use crate::report::{LATENCY_LOG, hlog, schema};
use crate::runner::HISTORY;

/// Mistakes of the report that are told.
const MISTAKES_MAX: usize = 10;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validation {
    /// What is wrong with the folder; nothing if it can be relied on.
    pub mistakes: Vec<String>,
    /// What was checked and is right.
    pub checked: Vec<String>,
    /// What the checker says of the history now: `valid`, `invalid` or `unknown`.
    pub verdict: Option<&'static str>,
}

/// Looks at a folder: the report against its schema, the log of latencies against the report's
/// counts, and the history, judged again, against the report's verdict.
pub fn validate(folder: &Folder) -> Validation {
    let mut found = Validation::default();
    report(folder, &mut found);
    latencies(folder, &mut found);
    history(folder, &mut found);
    for name in ["summary.md", "junit.xml", "report.html"] {
        if fs::metadata(folder.path.join(name)).is_ok_and(|file| file.len() > 0) {
            found.checked.push(format!("{name} is there"));
        } else {
            found.mistakes.push(format!("{name} is not there"));
        }
    }
    found
}

fn report(folder: &Folder, found: &mut Validation) {
    let schema = schema::run();
    let validator = jsonschema::validator_for(&schema).expect("our schema is one");
    let mistakes: Vec<String> = validator
        .iter_errors(&folder.run)
        .map(|error| format!("run.json: {}: {error}", error.instance_path()))
        .collect();
    if mistakes.is_empty() {
        found.checked.push("run.json keeps to its schema".to_owned());
    }
    found.mistakes.extend(mistakes.into_iter().take(MISTAKES_MAX));
}

fn latencies(folder: &Folder, found: &mut Validation) {
    let Some(answered) = folder.run.pointer("/load/counts/ok").and_then(Value::as_u64) else {
        return;
    };
    let path = folder.path.join(LATENCY_LOG);
    let counted =
        fs::read(&path).map_err(|error| error.to_string()).and_then(|log| hlog::count(&log));
    match counted {
        Ok(count) if count == answered => {
            found.checked.push(format!("{LATENCY_LOG} holds all {count} latencies"));
        }
        Ok(count) => found.mistakes.push(format!(
            "{LATENCY_LOG} holds {count} latencies, and run.json tells of {answered}"
        )),
        Err(error) => found.mistakes.push(format!("{LATENCY_LOG}: {error}")),
    }
}

fn history(folder: &Folder, found: &mut Validation) {
    let path = folder.path.join(HISTORY);
    let told = folder.text("/judgement/verdict");
    if !path.is_file() {
        if !told.is_empty() {
            found.checked.push(format!("{HISTORY} is not there: {told} cannot be checked"));
        }
        return;
    }
    judge(&path, told, found);
}

fn judge(path: &Path, told: &str, found: &mut Validation) {
    match check_file(path, &Options::default()) {
        Ok(judged) => {
            let verdict = judged.verdict.name();
            found.verdict = Some(verdict);
            if verdict == told {
                found.checked.push(format!("{HISTORY} is {verdict}, as run.json says"));
            } else {
                let told = if told.is_empty() { "nothing" } else { told };
                found.mistakes.push(format!("{HISTORY} is {verdict}, and run.json says {told}"));
            }
        }
        Err(error) => found.mistakes.push(format!("{HISTORY}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::generator::OpKind;
    use crate::report::hlog::When;
    use crate::results::tests::folder as left;
    use crate::stats::{Ended, Sample, Stats};

    /// A log of so many latencies.
    fn log(count: u64) -> Vec<u8> {
        let stats = Stats::default();
        for place in 0..count {
            let (sent_ns, ended_ns) = (place, place + 1000);
            let kind = OpKind::Get;
            stats.record(0, Sample { kind, ended: Ended::Ok, from_ns: sent_ns, sent_ns, ended_ns });
        }
        let (load_start, elapsed) = (Duration::ZERO, Duration::from_secs(1));
        let when = When { origin: SystemTime::UNIX_EPOCH, load_start, elapsed };
        hlog::render(&stats.distributions(), when).unwrap()
    }

    fn mistakes(break_it: impl FnOnce(&Path)) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let path = left(root.path(), "a", "20260102T000000");
        fs::write(path.join(LATENCY_LOG), log(3000)).unwrap();
        break_it(&path);
        validate(&Folder::open(&path).unwrap()).mistakes
    }

    #[test]
    fn a_whole_folder_has_no_mistakes_and_each_damage_is_one() {
        assert_eq!(mistakes(|_| {}), Vec::<String>::new());
        let fewer = mistakes(|path| fs::write(path.join(LATENCY_LOG), log(2999)).unwrap());
        assert_eq!(fewer, ["latency.hlog holds 2999 latencies, and run.json tells of 3000"]);
        let gone = mistakes(|path| fs::remove_file(path.join("junit.xml")).unwrap());
        assert_eq!(gone, ["junit.xml is not there"]);
        let other = mistakes(|path| {
            let text = fs::read_to_string(path.join("run.json")).unwrap();
            let text = text.replace("\"phase\": \"done\"", "\"phase\": \"dancing\"");
            fs::write(path.join("run.json"), text).unwrap();
        });
        assert!(other.len() == 1 && other[0].starts_with("run.json: /phase: "), "{other:?}");
    }

    /// A history that was changed after the run, or never was the run's.
    #[test]
    fn a_verdict_that_is_not_the_historys_is_found() {
        let told = mistakes(|path| {
            let file = fs::File::create(path.join(HISTORY)).unwrap();
            let run = rusd_checker::synthetic::Run::new(1);
            let header = run.header();
            let writer = rusd_checker::history::jsonl::Writer::new(file, &header).unwrap();
            writer.finish().unwrap();
            let text = fs::read_to_string(path.join("run.json")).unwrap();
            let text = text.replace("\"verdict\": \"valid\"", "\"verdict\": \"unknown\"");
            fs::write(path.join("run.json"), text).unwrap();
        });
        assert_eq!(told, ["history.jsonl is valid, and run.json says unknown"]);
        let torn = mistakes(|path| fs::write(path.join(HISTORY), "{").unwrap());
        assert!(torn.len() == 1 && torn[0].starts_with("history.jsonl: "), "{torn:?}");
    }
}
