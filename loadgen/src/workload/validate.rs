//! Whether a workload can be run: what each part means together with the others.

mod faults;
mod load;

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::{Slow, Watches, Workload, WorkloadError};

/// More members than anybody runs; a typo rather than a wish.
const MEMBERS_MAX: u32 = 9;
/// Longer than anybody waits for a run.
const DURATION_MAX: Duration = Duration::from_hours(7 * 24);

/// Where the run gets its cluster from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// We start it.
    Started,
    /// It is already there.
    Attached,
}

impl Workload {
    /// Says why the workload cannot be run, if it cannot. `file` and `text` are what it was read
    /// from.
    pub fn validate(&self, file: &str, text: &str, origin: Origin) -> Result<(), WorkloadError> {
        let rules = Rules { workload: self, origin };
        match rules.broken() {
            Some((span, message)) => Err(WorkloadError::at(file, text, span, message)),
            None => Ok(()),
        }
    }
}

struct Rules<'a> {
    workload: &'a Workload,
    origin: Origin,
}

type Broken = Option<(Range<usize>, String)>;

impl Rules<'_> {
    fn broken(&self) -> Broken {
        self.times()
            .or_else(|| self.sizes())
            .or_else(|| self.values())
            .or_else(|| self.pacing())
            .or_else(|| self.keys())
            .or_else(|| self.mix())
            .or_else(|| self.lists())
            .or_else(|| self.workload.watches.iter().find_map(|group| self.watches(group)))
            .or_else(|| self.faults())
    }

    fn times(&self) -> Broken {
        let Workload { duration, request_timeout, .. } = self.workload;
        let refuse = |what: &str, time: &Spanned<Duration>, why: &str| {
            broken(time.span(), format!("{what} must be {why}"))
        };
        if duration.get_ref().is_zero() {
            return refuse("duration", duration, "longer than 0");
        }
        if *duration.get_ref() > DURATION_MAX {
            return refuse("duration", duration, "at most a week");
        }
        if request_timeout.get_ref().is_zero() {
            return refuse("request_timeout", request_timeout, "longer than 0");
        }
        None
    }

    fn sizes(&self) -> Broken {
        let workload = self.workload;
        let members = &workload.cluster.members;
        if !(1..=MEMBERS_MAX).contains(members.get_ref()) {
            return broken(members.span(), format!("members must be 1 to {MEMBERS_MAX}"));
        }
        if *workload.clients.get_ref() == 0 {
            return broken(workload.clients.span(), "clients must be at least 1".to_owned());
        }
        if *workload.threads.get_ref() == 0 {
            return broken(workload.threads.span(), "threads must be at least 1".to_owned());
        }
        match &workload.connections {
            Some(connections) if *connections.get_ref() == 0 => {
                broken(connections.span(), "connections must be at least 1".to_owned())
            }
            _ => None,
        }
    }

    fn watches(&self, group: &Watches) -> Broken {
        let keys = *self.workload.keys.count.get_ref();
        if let Some(slices) = &group.slices {
            if !group.prefix.is_empty() {
                let message = "watches have `prefix` or `slices`, not both".to_owned();
                return broken(slices.span(), message);
            }
            if !(1..=keys).contains(slices.get_ref()) {
                return broken(slices.span(), format!("slices must be 1 to {keys}, one key each"));
            }
        }
        let slow = group.slow.as_ref()?;
        let Slow { one_in, events_per_second } = slow.get_ref();
        let message = "one_in and events_per_second must be at least 1";
        if *one_in == 0 || *events_per_second == 0 {
            return broken(slow.span(), message.to_owned());
        }
        None
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a rule that is broken returns")]
fn broken(span: Range<usize>, message: String) -> Broken {
    Some((span, message))
}
