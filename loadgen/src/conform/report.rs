//! What a conformance run found: for the terminal, for machines, for a build's log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::runner::{Outcome, Ran};
use super::version::Version;

/// A run of scripts on one server.
#[derive(Debug)]
pub struct Report {
    /// The server, in words.
    pub server: String,
    /// What it was compared with, in words.
    pub against: String,
    /// The version of etcd that it was held to.
    pub version: Version,
    /// The scripts, by name.
    pub scripts: Vec<Ran>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Counts of an area.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed | Outcome::Recorded { .. } => self.passed += 1,
            Outcome::Failed(_) | Outcome::Broken(..) | Outcome::NoServer(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

impl Report {
    /// 0 all passed, 1 an answer differs, 2 a script is wrong, 4 there was no server.
    pub fn exit_code(&self) -> u8 {
        let any = |of: fn(&Outcome) -> bool| self.scripts.iter().any(|ran| of(&ran.outcome));
        if any(|outcome| matches!(outcome, Outcome::NoServer(_))) {
            4
        } else if any(|outcome| matches!(outcome, Outcome::Broken(..))) {
            2
        } else {
            u8::from(any(|outcome| matches!(outcome, Outcome::Failed(_))))
        }
    }

    /// The table, what differs, and what was skipped.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("writing into a string does not fail");
        text
    }

    /// In one line.
    pub fn headline(&self) -> String {
        let counts = self.total();
        let skipped = match counts.skipped {
            0 => String::new(),
            skipped => format!(", {skipped} skipped"),
        };
        format!(
            "{} of {} scripts passed, {} failed{skipped}; {} held to etcd {}, {}; {:.1} s",
            counts.passed,
            self.scripts.len(),
            counts.failed,
            self.server,
            self.version,
            self.against,
            self.seconds,
        )
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.scripts.iter().for_each(|ran| total.add(&ran.outcome));
        total
    }

    fn areas(&self) -> BTreeMap<&str, Counts> {
        let mut areas: BTreeMap<&str, Counts> = BTreeMap::new();
        for ran in &self.scripts {
            areas.entry(area(ran)).or_default().add(&ran.outcome);
        }
        areas
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        for ran in &self.scripts {
            if let Some(wrong) = wrong(ran) {
                writeln!(text, "{wrong}\n")?;
            }
        }
        for ran in &self.scripts {
            if let Outcome::Skipped(reason) = &ran.outcome {
                writeln!(text, "skipped {}: {reason}", ran.name)?;
            }
            if let Outcome::Recorded { changed: true } = &ran.outcome {
                writeln!(text, "recorded {}", ran.name)?;
            }
        }
        writeln!(text, "{:<14} {:>7} {:>7} {:>8}", "area", "passed", "failed", "skipped")?;
        let total = self.total();
        for (area, counts) in self.areas().into_iter().chain([("all", total)]) {
            let Counts { passed, failed, skipped } = counts;
            writeln!(text, "{area:<14} {passed:>7} {failed:>7} {skipped:>8}")?;
        }
        writeln!(text, "{}", self.headline())
    }

    /// Writes `conform.json`, `junit.xml` and `conform.md`.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(&self.json()).expect("it is plain data");
        fs::write(folder.join("conform.json"), json + "\n")?;
        fs::write(folder.join("junit.xml"), self.junit().map_err(io::Error::other)?)?;
        fs::write(folder.join("conform.md"), self.markdown())
    }

    fn json(&self) -> Value {
        let total = self.total();
        let scripts: Vec<Value> = self.scripts.iter().map(script_json).collect();
        json!({
            "server": self.server,
            "against": self.against,
            "version": self.version.to_string(),
            "seconds": self.seconds,
            "passed": total.passed,
            "failed": total.failed,
            "skipped": total.skipped,
            "scripts": scripts,
        })
    }

    fn junit(&self) -> Result<String, SerializeError> {
        let mut report = quick_junit::Report::new("loadgen conform");
        for area_name in self.areas().into_keys() {
            let mut suite = TestSuite::new(area_name);
            for ran in self.scripts.iter().filter(|ran| area(ran) == area_name) {
                let mut status = match &ran.outcome {
                    Outcome::Passed | Outcome::Recorded { .. } => TestCaseStatus::success(),
                    Outcome::Skipped(_) => TestCaseStatus::skipped(),
                    Outcome::Failed(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
                    Outcome::Broken(..) | Outcome::NoServer(_) => {
                        TestCaseStatus::non_success(NonSuccessKind::Error)
                    }
                };
                if let Outcome::Skipped(reason) = &ran.outcome {
                    status.set_message(reason.clone());
                }
                if let Some(wrong) = wrong(ran) {
                    status.set_message(ran.about.clone());
                    status.set_description(wrong);
                }
                let mut case = TestCase::new(ran.name.clone(), status);
                case.set_time(std::time::Duration::from_secs_f64(ran.seconds));
                suite.add_test_case(case);
            }
            report.add_test_suite(suite);
        }
        report.to_string()
    }

    fn markdown(&self) -> String {
        let mut page = String::new();
        self.write_markdown(&mut page).expect("writing into a string does not fail");
        page
    }

    fn write_markdown(&self, page: &mut String) -> std::fmt::Result {
        writeln!(page, "# Conformance: {}\n", self.headline())?;
        writeln!(page, "| area | passed | failed | skipped |\n|---|--:|--:|--:|")?;
        for (area, counts) in self.areas() {
            let Counts { passed, failed, skipped } = counts;
            writeln!(page, "| {area} | {passed} | {failed} | {skipped} |")?;
        }
        for ran in &self.scripts {
            if let Some(wrong) = wrong(ran) {
                writeln!(page, "\n## {}\n\n{}\n\n```\n{wrong}\n```", ran.name, ran.about)?;
            }
        }
        let skipped = self.scripts.iter().filter_map(|ran| match &ran.outcome {
            Outcome::Skipped(reason) => Some((&ran.name, reason)),
            _ => None,
        });
        for (index, (name, reason)) in skipped.enumerate() {
            if index == 0 {
                writeln!(page, "\n## Skipped\n")?;
            }
            writeln!(page, "- {name}: {reason}")?;
        }
        Ok(())
    }
}

fn area(ran: &Ran) -> &str {
    ran.name.split('/').next().unwrap_or_default()
}

/// What is wrong with a script that did not pass.
fn wrong(ran: &Ran) -> Option<String> {
    let name = &ran.name;
    match &ran.outcome {
        Outcome::Failed(mismatch) => Some(format!(
            "{name}:{}: {}\n  request   {}\n  expected  {}\n  got       {}",
            mismatch.line, ran.about, mismatch.request, mismatch.expected, mismatch.got
        )),
        Outcome::Broken(line, problem) => Some(format!("{name}:{line}: {problem}")),
        Outcome::NoServer(reason) => Some(format!("{name}: no server: {reason}")),
        Outcome::Passed | Outcome::Skipped(_) | Outcome::Recorded { .. } => None,
    }
}

fn script_json(ran: &Ran) -> Value {
    let mut json = json!({ "name": ran.name, "about": ran.about, "seconds": ran.seconds });
    let result = match &ran.outcome {
        Outcome::Passed => "passed",
        Outcome::Recorded { .. } => "recorded",
        Outcome::Skipped(reason) => {
            json["reason"] = reason.as_str().into();
            "skipped"
        }
        Outcome::Failed(mismatch) => {
            json["line"] = mismatch.line.into();
            json["request"] = mismatch.request.as_str().into();
            json["expected"] = mismatch.expected.as_str().into();
            json["got"] = mismatch.got.as_str().into();
            "failed"
        }
        Outcome::Broken(line, problem) => {
            json["line"] = (*line).into();
            json["reason"] = problem.as_str().into();
            "broken"
        }
        Outcome::NoServer(reason) => {
            json["reason"] = reason.as_str().into();
            "no server"
        }
    };
    json["result"] = result.into();
    json
}

#[cfg(test)]
mod tests {
    use super::super::runner::Mismatch;
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let ran = |(index, outcome): (usize, &Outcome)| Ran {
            name: format!("put/script{index}"),
            about: "What holds.".to_owned(),
            outcome: outcome.clone(),
            seconds: 0.5,
        };
        Report {
            server: "rusd".to_owned(),
            against: "as recorded".to_owned(),
            version: Version::recorded(),
            scripts: outcomes.iter().enumerate().map(ran).collect(),
            seconds: 1.0,
        }
    }

    fn mismatch() -> Outcome {
        Outcome::Failed(Mismatch {
            line: 3,
            request: "Put key: \"a\"".to_owned(),
            expected: "header { }".to_owned(),
            got: "(end)".to_owned(),
        })
    }

    #[test]
    fn the_exit_code_tells_what_is_wrong_first() {
        let skipped = Outcome::Skipped("why".to_owned());
        let broken = Outcome::Broken(2, "how".to_owned());
        let no_server = Outcome::NoServer("who".to_owned());
        for (outcomes, code) in [
            (&[Outcome::Passed, skipped.clone()][..], 0),
            (&[mismatch(), Outcome::Passed], 1),
            (&[mismatch(), broken.clone()], 2),
            (&[no_server, broken, mismatch()], 4),
        ] {
            assert_eq!(report(outcomes).exit_code(), code, "{outcomes:?}");
        }
    }

    /// Whoever reads any of the four must see what was asked, expected and answered, and what was
    /// left out, and why.
    #[test]
    fn every_form_shows_the_mismatch_and_the_reason() {
        let skipped = Outcome::Skipped("it needs rain".to_owned());
        let report = report(&[Outcome::Passed, mismatch(), skipped]);
        let junit = report.junit().unwrap();
        let unescaped = junit.replace("&quot;", "\"").replace("&gt;", ">");
        let json = serde_json::to_string(&report.json()).unwrap().replace("\\\"", "\"");
        for form in [report.text(), report.markdown(), unescaped, json] {
            for words in ["put/script1", "Put key: \"a\"", "header { }", "(end)", "it needs rain"] {
                assert!(form.contains(words), "no {words:?} in {form}");
            }
        }
        assert!(report.headline().starts_with("1 of 3 scripts passed, 1 failed, 1 skipped; rusd"));
        assert!(junit.contains("failures=\"1\""), "{junit}");
    }
}
