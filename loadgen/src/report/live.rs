//! Progress, while a run goes on: a bar on a terminal, plain lines elsewhere. On stderr, so that
//! stdout holds the result alone.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::stats::Counts;

/// Seconds between two lines when there is no terminal.
const LINE_EVERY_S: u64 = 5;

/// Tells how the run goes on.
#[derive(Debug)]
pub struct Live {
    bar: Option<ProgressBar>,
    seconds: u64,
}

impl Live {
    /// Progress of a run whose load takes `duration`.
    pub fn new(duration: Duration) -> Live {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} [{wide_bar}] {pos}/{len} s {msg}")
                .expect("the template is valid");
            ProgressBar::new(duration.as_secs()).with_style(style)
        });
        Live { bar, seconds: duration.as_secs() }
    }

    /// A new step of the run has begun.
    pub fn step(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// The load has gone on for `seconds`.
    pub fn tick(&self, seconds: u64, counts: Counts) {
        let Counts { ok, fail, unknown } = counts;
        let text = format!("{ok} answered, {fail} failed, {unknown} unknown");
        match &self.bar {
            Some(bar) => {
                bar.set_position(seconds);
                bar.set_message(text);
            }
            None if seconds.is_multiple_of(LINE_EVERY_S) => {
                eprintln!("  {seconds:>3}/{} s: {text}", self.seconds);
            }
            None => {}
        }
    }

    /// The load has ended.
    pub fn load_ended(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
