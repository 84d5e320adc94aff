//! Judges the history while it is being written, and says so at the first violation.
//!
//! It reads the file that the recorder writes, so it can fall behind without holding anything up. At
//! the end the whole history is judged as ever: this one knows less.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rusd_checker::stream::{StreamOptions, Wait, follow};
use rusd_checker::{InputError, Report};
use tokio_util::sync::CancellationToken;

/// How often the file is looked at when nothing more is in it.
const PAUSE: Duration = Duration::from_millis(20);

/// The thread that judges.
#[derive(Debug)]
pub(super) struct Early {
    thread: JoinHandle<Result<Report, InputError>>,
    is_written: Arc<AtomicBool>,
}

impl Early {
    /// Judges the history in this file from its beginning; `violated` is cancelled at the first
    /// violation.
    pub(super) fn start(history: &Path, violated: CancellationToken) -> io::Result<Early> {
        let file = File::open(history)?;
        let is_written = Arc::new(AtomicBool::new(false));
        let written = Arc::clone(&is_written);
        let judge = move || {
            let mut wait = || {
                if written.load(Ordering::Acquire) {
                    return Wait::Gone;
                }
                std::thread::sleep(PAUSE);
                Wait::Again
            };
            let report = follow(file, StreamOptions::default(), &mut wait);
            if report.as_ref().is_ok_and(|report| report.verdict.rule().is_some()) {
                violated.cancel();
            }
            report
        };
        let thread = std::thread::Builder::new().name("early".to_owned()).spawn(judge)?;
        Ok(Early { thread, is_written })
    }

    /// What it found, once the history is written.
    pub(super) fn end(self) -> Result<Report, InputError> {
        self.is_written.store(true, Ordering::Release);
        self.thread.join().expect("the check does not panic")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusd_checker::Rule;
    use rusd_checker::history::jsonl::Writer;
    use rusd_checker::synthetic::{Bug, Run, Shape};

    use super::*;

    /// Writes the history of a store with or without a bug, and waits for a violation before the last
    /// records of it if there is to be one.
    fn judged(bug: Option<Bug>) -> (Report, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut run = Run::shaped(2, Shape { bug, ..Shape::medium() });
        let mut writer = Writer::new(fs::File::create(&path).unwrap(), &run.header()).unwrap();
        let violated = CancellationToken::new();
        let early = Early::start(&path, violated.clone()).unwrap();
        let records = run.records(4_000);
        let (first, last) = records.split_at(records.len() - 10);
        for record in first {
            writer.write(record).unwrap();
        }
        if bug.is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(violated.cancelled());
        }
        for record in last {
            writer.write(record).unwrap();
        }
        writer.finish().unwrap();
        (early.end().unwrap(), violated.is_cancelled())
    }

    #[test]
    fn the_first_violation_is_told_while_the_history_is_written() {
        let (report, violated) = judged(Some(Bug::StaleRead));
        assert_eq!(report.verdict.rule(), Some(Rule::StaleRead));
        assert!(violated);
    }

    #[test]
    fn a_valid_history_is_not_accused() {
        let (report, violated) = judged(None);
        assert_eq!(report.verdict.rule(), None);
        assert!(!violated);
        assert!(report.counts.finals > 0, "all of it was read: {:?}", report.counts);
    }
}
