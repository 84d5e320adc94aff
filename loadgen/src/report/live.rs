//! Progress, while a run goes on: a view that is drawn anew each second on a terminal, plain lines
//! elsewhere. On stderr, so that stdout holds the result alone.
//!
//! What is shown is a pure function of a [`Frame`].

mod frame;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::RunReport;
pub use frame::{Frame, MemberNow};

/// Seconds between two lines when there is no terminal.
const LINE_EVERY_S: u64 = 5;

/// Whether a run is told while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Telling {
    /// As it goes on.
    #[default]
    Live,
    /// Not at all; whoever runs several tells of them.
    Quiet,
}

/// Tells how the run goes on.
#[derive(Debug)]
pub struct Live {
    telling: Telling,
    bar: Option<ProgressBar>,
    seconds: u64,
    /// Beginnings and ends of faults that were told in plain lines.
    faults_told: AtomicUsize,
}

impl Live {
    /// Progress of a run whose load takes `duration`.
    pub fn new(telling: Telling, report: &RunReport, duration: Duration) -> Live {
        let is_drawn = telling == Telling::Live && std::io::stderr().is_terminal();
        let bar = is_drawn.then(|| {
            let style = ProgressStyle::with_template(
                "{spinner} {prefix} [{wide_bar}] {pos}/{len} s\n{msg}",
            )
            .expect("the template is valid");
            let bar = ProgressBar::new(duration.as_secs()).with_style(style);
            bar.with_prefix(report.workload.clone())
        });
        Live { telling, bar, seconds: duration.as_secs(), faults_told: AtomicUsize::new(0) }
    }

    /// A new step of the run has begun.
    pub fn step(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.telling == Telling::Live => eprintln!("{text}"),
            None => {}
        }
    }

    /// The load has gone on for `seconds`. Whatever is not shown is not asked for.
    pub fn tick(&self, seconds: u64, frame: impl FnOnce() -> Frame) {
        if self.telling == Telling::Quiet {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position(seconds);
            bar.set_message(frame().view().join("\n"));
        } else if seconds.is_multiple_of(LINE_EVERY_S) {
            let frame = frame();
            let told = self.faults_told.swap(frame.faults.len(), Ordering::Relaxed);
            for line in frame.fault_lines(told) {
                eprintln!("           {line}");
            }
            eprintln!("  {seconds:>3}/{} s: {}", self.seconds, frame.line());
        }
    }

    /// The load has ended.
    pub fn load_ended(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
