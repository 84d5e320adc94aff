//! One moment of a run, as text.

use rusd_checker::history::record::{Nemesis, NemesisPhase};

use crate::metric::{Unit, in_unit};
use crate::report::members::UsePoint;
use crate::stats::{Glance, approximate, seconds};

/// Heights of a bar of one character, from empty to full.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Faults that have ended and are still named.
const ENDED_SHOWN: usize = 4;

/// One moment of a run.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When, by the run's clock.
    pub now_ns: u64,
    /// When load began; times of faults are told from then on.
    pub load_start_ns: u64,
    /// What was measured.
    pub glance: Glance,
    /// The members.
    pub members: Vec<MemberNow>,
    /// Beginnings and ends of faults so far.
    pub faults: Vec<Nemesis>,
}

/// A member at that moment.
#[derive(Debug, Clone, Copy)]
pub struct MemberNow {
    /// Its index.
    pub member: u32,
    /// Whether its process is gone.
    pub is_down: bool,
    /// What it used when it was last looked at.
    pub latest: Option<UsePoint>,
}

impl Frame {
    /// The lines of a view that is drawn anew each time.
    pub fn view(&self) -> Vec<String> {
        let mut lines = vec![
            format!("pace       {} {}", sparkline(&self.glance.pace), self.pace()),
            format!("so far     {}", self.counts()),
        ];
        lines.push(format!(
            "{:<24}{:>10}{:>9}{:>11}{:>11}{:>11}",
            "operation", "answered", "errors", "p50", "p99", "max"
        ));
        for kind in &self.glance.kinds {
            let errors = kind.counts.fail + kind.counts.unknown;
            let times = kind.response_us;
            let [p50, p99, max] = [times.p50, times.p99, times.max].map(time);
            lines.push(format!(
                "{:<24}{:>10}{errors:>9}{p50:>11}{p99:>11}{max:>11}",
                kind.kind, kind.counts.ok
            ));
        }
        let members: Vec<String> = self.members.iter().map(MemberNow::in_words).collect();
        lines.push(format!("members    {}", members.join("   ")));
        let faults = self.faults_in_words();
        if !faults.is_empty() {
            lines.push(format!("faults     {faults}"));
        }
        lines
    }

    /// The same in one line, for a log.
    pub fn line(&self) -> String {
        let faults = self.going_on();
        let faults = if faults.is_empty() {
            String::new()
        } else {
            format!("; under {}", faults.join(", "))
        };
        format!("{}; {}{faults}", self.pace(), self.counts())
    }

    /// A line for each beginning and end of a fault, but for the first `told`.
    pub fn fault_lines(&self, told: usize) -> Vec<String> {
        let new = self.faults.iter().skip(told);
        new.map(|fault| {
            let what = match (fault.phase, &fault.error) {
                (_, Some(error)) => format!("went wrong: {}", super::super::first_line(error)),
                (NemesisPhase::Start, None) => "began".to_owned(),
                (NemesisPhase::End, None) => "ended".to_owned(),
            };
            let at_s = seconds(fault.time_ns.saturating_sub(self.load_start_ns));
            format!("{at_s:.1} s: {} {what}", name(fault))
        })
        .collect()
    }

    fn pace(&self) -> String {
        let Glance { per_second, recent_us, errors, .. } = &self.glance;
        let errors = if *errors > 0 { format!(", {errors} errors") } else { String::new() };
        format!(
            "{per_second:.0}/s, p50 {}, p99 {}{errors}",
            time(recent_us.p50),
            time(recent_us.p99)
        )
    }

    fn counts(&self) -> String {
        let counts = self.glance.counts;
        format!("{} answered, {} failed, {} unknown", counts.ok, counts.fail, counts.unknown)
    }

    /// Beginnings without an end. A fault's end is the next one of its kind on the same members,
    /// among others that came meanwhile.
    fn open(&self) -> Vec<&Nemesis> {
        let mut open: Vec<&Nemesis> = Vec::new();
        for fault in &self.faults {
            match fault.phase {
                NemesisPhase::Start => open.push(fault),
                NemesisPhase::End => {
                    let is_its = |begun: &&Nemesis| {
                        begun.fault == fault.fault && fault.members.starts_with(&begun.members)
                    };
                    if let Some(place) = open.iter().position(is_its) {
                        open.remove(place);
                    }
                }
            }
        }
        open
    }

    fn going_on(&self) -> Vec<String> {
        self.open().into_iter().map(name).collect()
    }

    fn faults_in_words(&self) -> String {
        let now_s = seconds(self.now_ns);
        let open = self.open().into_iter().map(|fault| {
            format!("{} for {:.0} s", name(fault), (now_s - seconds(fault.time_ns)).max(0.0))
        });
        let is_end = |fault: &&Nemesis| fault.phase == NemesisPhase::End;
        let ended = self.faults.iter().rev().filter(is_end).take(ENDED_SHOWN).map(|fault| {
            let how = if fault.error.is_some() { "FAILED" } else { "done" };
            format!("{how}: {}", name(fault))
        });
        open.chain(ended).collect::<Vec<_>>().join("   ")
    }
}

impl MemberNow {
    fn in_words(&self) -> String {
        let used = match (self.is_down, self.latest) {
            (true, _) => "down".to_owned(),
            (false, None) => "up".to_owned(),
            (false, Some(point)) => {
                let cpu = point.cpus.map(|cpus| format!("{:.0} % CPU", cpus * 100.0));
                let memory = point.rss_bytes.map(|bytes| in_unit(Unit::Bytes, approximate(bytes)));
                [cpu, memory].into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
        };
        format!("m{} {used}", self.member)
    }
}

fn name(fault: &Nemesis) -> String {
    let members: Vec<String> = fault.members.iter().map(|member| format!("m{member}")).collect();
    if members.is_empty() {
        format!("{} of {}", fault.fault, fault.target)
    } else {
        format!("{} {}", fault.fault, members.join(" "))
    }
}

fn time(us: u64) -> String {
    in_unit(Unit::Microseconds, approximate(us))
}

/// A line of bars, the highest of which is the largest value.
fn sparkline(values: &[f64]) -> String {
    let max = values.iter().copied().fold(1e-9, f64::max);
    let bar = |value: &f64| {
        let steps = (1_u8..).zip(BARS.iter().skip(1));
        let height = value / max * 7.0;
        let reached = steps.take_while(|(step, _)| f64::from(*step) <= height + 1e-9).last();
        reached.map_or(BARS[0], |(_, bar)| *bar)
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::OpKind;
    use crate::stats::{Ended, Sample, Stats};

    fn fault(phase: NemesisPhase, time_s: u64, members: &[u32], error: Option<&str>) -> Nemesis {
        Nemesis {
            time_ns: time_s * 1_000_000_000,
            fault: "kill".to_owned(),
            phase,
            members: members.to_vec(),
            target: "leader".to_owned(),
            error: error.map(str::to_owned),
        }
    }

    fn frame(faults: Vec<Nemesis>) -> Frame {
        let stats = Stats::default();
        for place in 0..40_u64 {
            let ended_ns = place * 100_000_000;
            let from_ns = ended_ns.saturating_sub(2_000_000);
            let ended = if place == 35 { Ended::Unknown } else { Ended::Ok };
            let kind = OpKind::Put;
            stats.record(0, Sample { kind, ended, from_ns, sent_ns: from_ns, ended_ns });
        }
        let point = UsePoint { at_s: 3.0, cpus: Some(0.5), rss_bytes: Some(3 << 20) };
        let members = vec![
            MemberNow { member: 0, is_down: false, latest: Some(point) },
            MemberNow { member: 1, is_down: true, latest: Some(point) },
            MemberNow { member: 2, is_down: false, latest: None },
        ];
        Frame {
            now_ns: 4_000_000_000,
            load_start_ns: 500_000_000,
            glance: stats.glance(4_000_000_000),
            members,
            faults,
        }
    }

    #[test]
    fn a_view_shows_pace_operations_members_and_faults() {
        use NemesisPhase::{End, Start};
        let faults = vec![
            fault(Start, 1, &[2], None),
            fault(End, 2, &[2], None),
            fault(Start, 2, &[1], None),
        ];
        let view = frame(faults).view().join("\n");
        for expected in [
            "███████▆ 9/s, p50 2.01 ms, p99 2.01 ms, 1 errors",
            "39 answered, 0 failed, 1 unknown",
            "put                             39        1    2.00 ms    2.00 ms",
            "members    m0 50 % CPU 3.0 MiB   m1 down   m2 up",
            "faults     kill m1 for 2 s   done: kill m2",
        ] {
            assert!(view.contains(expected), "{expected}\n{view}");
        }
    }

    #[test]
    fn a_line_says_what_goes_on_and_faults_have_lines_of_their_own() {
        use NemesisPhase::{End, Start};
        let faults = vec![
            fault(Start, 1, &[], Some("nobody leads\nat all")),
            fault(End, 1, &[], Some("nobody leads\nat all")),
            fault(Start, 2, &[1], None),
        ];
        let frame = frame(faults);
        let line = frame.line();
        assert!(line.ends_with("39 answered, 0 failed, 1 unknown; under kill m1"), "{line}");
        assert_eq!(
            frame.fault_lines(1),
            ["0.5 s: kill of leader went wrong: nobody leads", "1.5 s: kill m1 began",]
        );
    }

    #[test]
    fn the_largest_value_has_the_highest_bar() {
        assert_eq!(sparkline(&[0.0, 1.0, 3.5, 7.0]), "▁▂▄█");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[0.0, 0.0]), "▁▁");
    }
}
