//! The verdict: the history goes to the checker.

use rusd_checker::{Options, check_file};

use super::{HISTORY, Run, RunError};
use crate::report::Phase;

impl Run {
    pub(super) async fn judge(&mut self) -> Result<(), RunError> {
        self.phase(Phase::Judging)?;
        self.live.step("checking the history");
        let path = self.folder.join(HISTORY);
        let checked =
            tokio::task::spawn_blocking(move || check_file(path, &Options::default())).await;
        match checked {
            Ok(Ok(judgement)) => {
                if let Some(early) = &self.report.stopped_by
                    && judgement.verdict.violations().is_empty()
                {
                    let verdict = judgement.verdict.name();
                    let text = format!("the load was ended for {early}, but it is {verdict}");
                    self.report.incidents.push(text);
                }
                self.report.judgement = Some(judgement);
            }
            Ok(Err(error)) => {
                self.report.incidents.push(format!("the history is malformed: {error}"));
            }
            Err(error) => self.report.incidents.push(format!("the checker failed: {error}")),
        }
        self.save()
    }
}
