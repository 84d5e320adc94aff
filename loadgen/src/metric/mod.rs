//! The numbers of a run that conditions and comparisons name: `put.p99`, `errors`, `rate`.
//!
//! One name, one number, one unit: a limit on the command line, a row of a comparison and a cell of
//! a report mean the same.

mod condition;

use std::fmt;

use crate::generator::OpKind;
use crate::report::RunReport;
use crate::report::members::of_all;
use crate::stats::{Counts, Quantiles, Summary, approximate};
use crate::workload::{Mix, nearest};

pub use condition::{Checked, Condition, RatioLimit, parse_conditions, parse_ratio_limits};

/// A number of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Of one kind of operation; of all if absent.
    pub kind: Option<OpKind>,
    /// Which number.
    pub quantity: Quantity,
}

/// What a number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Median of the response time, in microseconds.
    P50,
    /// 90th percentile of the response time, in microseconds.
    P90,
    /// 99th percentile of the response time, in microseconds.
    P99,
    /// 99.9th percentile of the response time, in microseconds.
    P999,
    /// Longest response time, in microseconds.
    Max,
    /// Share of the operations that were not answered, 0 to 1. Those that were due and that nobody
    /// came to start are among them.
    Errors,
    /// Answered operations per second.
    Rate,
    /// CPU time of all members for each operation, in microseconds.
    Cpu,
    /// The most memory that the members held, all together, in bytes.
    Memory,
    /// Bytes that all members wrote to storage for each operation.
    Written,
    /// Syncs of all members' logs for each operation.
    Syncs,
}

/// In what a number is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// A share of 1.
    Share,
    /// Operations per second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Something for each operation.
    PerOperation,
}

impl Quantity {
    /// Every quantity.
    pub const ALL: [Quantity; 11] = [
        Quantity::Rate,
        Quantity::P50,
        Quantity::P90,
        Quantity::P99,
        Quantity::P999,
        Quantity::Max,
        Quantity::Errors,
        Quantity::Cpu,
        Quantity::Memory,
        Quantity::Written,
        Quantity::Syncs,
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::P50 => "p50",
            Quantity::P90 => "p90",
            Quantity::P99 => "p99",
            Quantity::P999 => "p999",
            Quantity::Max => "max",
            Quantity::Errors => "errors",
            Quantity::Rate => "rate",
            Quantity::Cpu => "cpu",
            Quantity::Memory => "memory",
            Quantity::Written => "written",
            Quantity::Syncs => "syncs",
        }
    }

    /// What it is counted in.
    pub fn unit(self) -> Unit {
        match self {
            Quantity::P50 | Quantity::P90 | Quantity::P99 | Quantity::P999 | Quantity::Max => {
                Unit::Microseconds
            }
            Quantity::Cpu => Unit::Microseconds,
            Quantity::Errors => Unit::Share,
            Quantity::Rate => Unit::PerSecond,
            Quantity::Memory | Quantity::Written => Unit::Bytes,
            Quantity::Syncs => Unit::PerOperation,
        }
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        self == Quantity::Rate
    }

    /// Whether it is measured of the members, and of all operations together.
    fn is_of_members(self) -> bool {
        match self {
            Quantity::Cpu | Quantity::Memory | Quantity::Written | Quantity::Syncs => true,
            Quantity::P50
            | Quantity::P90
            | Quantity::P99
            | Quantity::P999
            | Quantity::Max
            | Quantity::Errors
            | Quantity::Rate => false,
        }
    }

    fn of_latency(self, quantiles: &Quantiles) -> Option<u64> {
        match self {
            Quantity::P50 => Some(quantiles.p50),
            Quantity::P90 => Some(quantiles.p90),
            Quantity::P99 => Some(quantiles.p99),
            Quantity::P999 => Some(quantiles.p999),
            Quantity::Max => Some(quantiles.max),
            Quantity::Errors
            | Quantity::Rate
            | Quantity::Cpu
            | Quantity::Memory
            | Quantity::Written
            | Quantity::Syncs => None,
        }
    }
}

/// Every kind of operation.
fn kinds() -> impl Iterator<Item = OpKind> {
    Mix::default().weights().into_iter().map(|(kind, _)| kind)
}

impl Metric {
    /// Of all operations.
    pub fn of_all(quantity: Quantity) -> Metric {
        Metric { kind: None, quantity }
    }

    /// Reads `put.p99` or `errors`. The error says what was probably meant.
    pub fn parse(text: &str) -> Result<Metric, String> {
        let (kind, quantity) = match text.split_once('.') {
            Some((kind, quantity)) => (Some(kind), quantity),
            None => (None, text),
        };
        let unknown = |what: &str, written: &str, known: Vec<&'static str>| {
            let meant = nearest(written, known.iter().copied());
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known are {}", known.join(", ")),
            };
            format!("unknown {what} `{written}`; {hint}")
        };
        let kind = match kind {
            None | Some("all") => None,
            Some(written) => {
                Some(kinds().find(|kind| kind.name() == written).ok_or_else(|| {
                    unknown("kind of operation", written, kinds().map(OpKind::name).collect())
                })?)
            }
        };
        let found = Quantity::ALL.into_iter().find(|known| known.name() == quantity);
        let quantity = found.ok_or_else(|| {
            unknown("metric", quantity, Quantity::ALL.iter().map(|known| known.name()).collect())
        })?;
        if kind.is_some() && quantity.is_of_members() {
            let name = quantity.name();
            return Err(format!("`{name}` is of all operations together; write `{name}`"));
        }
        Ok(Metric { kind, quantity })
    }

    /// Its value in a run; `None` if the run did not measure it.
    pub fn of(self, report: &RunReport) -> Option<f64> {
        let load = report.load.as_ref()?;
        match self.quantity {
            Quantity::Cpu => of_all(&report.members, |member| member.cpu_us_per_operation),
            Quantity::Memory => {
                of_all(&report.members, |member| member.rss_bytes_max).map(approximate)
            }
            Quantity::Syncs => of_all(&report.members, |member| member.syncs_per_operation),
            Quantity::Written => {
                of_all(&report.members, |member| member.written_bytes_per_operation)
            }
            Quantity::Errors => self.errors(load),
            Quantity::Rate => {
                let answered = approximate(self.counts(load)?.ok);
                (load.elapsed_s > 0.0).then(|| answered / load.elapsed_s)
            }
            Quantity::P50 | Quantity::P90 | Quantity::P99 | Quantity::P999 | Quantity::Max => {
                (self.counts(load)?.ok > 0).then_some(())?;
                let quantiles = match self.kind {
                    None => &load.response_us,
                    Some(kind) => &load.kinds.get(kind.name())?.response_us,
                };
                self.quantity.of_latency(quantiles).map(approximate)
            }
        }
    }

    fn counts(self, load: &Summary) -> Option<Counts> {
        match self.kind {
            None => Some(load.counts),
            Some(kind) => load.kinds.get(kind.name()).map(|summary| summary.counts),
        }
    }

    /// Nobody knows of what kind an operation would have been that nobody started, or that was
    /// dropped since all clients were busy.
    fn errors(self, load: &Summary) -> Option<f64> {
        let counts = self.counts(load)?;
        let effort = load.effort.as_ref().filter(|_| self.kind.is_none());
        let not_started = effort.map_or(0, |effort| effort.not_started + effort.dropped);
        let errors = counts.fail + counts.unknown + not_started;
        let all = counts.ok + errors;
        (all > 0).then(|| approximate(errors) / approximate(all))
    }

    /// A value of this metric, for people.
    pub fn in_words(self, value: f64) -> String {
        in_unit(self.quantity.unit(), value)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{}.{}", kind.name(), self.quantity.name()),
            None => f.write_str(self.quantity.name()),
        }
    }
}

/// A number with its unit, for people.
pub fn in_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Microseconds if value >= 1e6 => format!("{:.2} s", value / 1e6),
        Unit::Microseconds if value >= 1000.0 => format!("{:.2} ms", value / 1000.0),
        Unit::Microseconds => format!("{value:.1} us"),
        Unit::Share => format!("{:.3} %", value * 100.0),
        Unit::PerSecond => format!("{value:.0}/s"),
        Unit::Bytes if value >= 1_048_576.0 => format!("{:.1} MiB", value / 1_048_576.0),
        Unit::Bytes if value >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::PerOperation => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::measured;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["put.p99", "errors", "rate", "txn_cas.p999", "cpu", "memory", "get.rate"] {
            assert_eq!(Metric::parse(name).map(|metric| metric.to_string()), Ok(name.to_owned()));
        }
        assert_eq!(Metric::parse("all.p50"), Metric::parse("p50"));
    }

    #[test]
    fn a_wrong_name_is_told_with_what_was_meant() {
        for (text, message) in [
            ("put.p98", "unknown metric `p98`; did you mean `p90`?"),
            ("putt.p99", "unknown kind of operation `putt`; did you mean `put`?"),
            ("eror", "unknown metric `eror`; did you mean `errors`?"),
            ("put.cpu", "`cpu` is of all operations together; write `cpu`"),
        ] {
            assert_eq!(Metric::parse(text), Err(message.to_owned()));
        }
        assert!(Metric::parse("zzzzzzzzzzz").unwrap_err().contains("known are rate, p50"));
    }

    #[test]
    fn a_run_is_read_by_them() {
        let report = measured();
        let of = |name: &str| Metric::parse(name).unwrap().of(&report);
        assert_eq!(of("rate"), Some(1000.0));
        assert_eq!(of("get.rate"), Some(1000.0));
        assert_eq!(of("put.rate"), None, "there were no puts");
        assert!(of("get.p99").is_some_and(|us| (us - 500.0).abs() < 2.0), "{:?}", of("get.p99"));
        // 3000 were answered, and 120 more were due.
        assert!(of("errors").is_some_and(|share| (share - 120.0 / 3120.0).abs() < 1e-9));
        assert_eq!(of("get.errors"), Some(0.0));
        assert_eq!(of("cpu"), Some(75.0));
        assert_eq!(of("syncs"), None, "a member does not tell");
        assert_eq!(of("memory"), Some(3072.0));
        assert_eq!(of("written"), Some(2.0));
    }

    #[test]
    fn numbers_have_units() {
        for (name, value, expected) in [
            ("p99", 12.34, "12.3 us"),
            ("p99", 12_340.0, "12.34 ms"),
            ("p99", 2_500_000.0, "2.50 s"),
            ("errors", 0.00123, "0.123 %"),
            ("rate", 1234.5, "1234/s"),
            ("memory", 3_145_728.0, "3.0 MiB"),
            ("syncs", 0.25, "0.250"),
        ] {
            assert_eq!(Metric::parse(name).unwrap().in_words(value), expected);
        }
    }
}
