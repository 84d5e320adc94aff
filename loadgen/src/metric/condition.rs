//! Conditions on metrics: `put.p99<20ms,errors<0.1%` of one run, `put.p99>1.1` of a ratio.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Metric, Unit};
use crate::report::RunReport;
use crate::workload::WorkloadError;

/// What a run has to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    /// Of which number.
    pub metric: Metric,
    /// Whether the number has to be below the limit; else above.
    pub is_below: bool,
    /// The limit, in the metric's unit.
    pub limit: f64,
}

/// A condition, and whether a run kept it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Checked {
    /// The condition, as it was written.
    pub condition: String,
    /// What was measured, in the metric's unit (microseconds, a share of 1, per second, bytes);
    /// `None` if it was not measured.
    pub measured: Option<f64>,
    /// The same for people.
    pub in_words: String,
    /// Whether the condition was kept. What was not measured was not kept.
    pub holds: bool,
}

impl Condition {
    /// Whether a run keeps it.
    pub fn check(&self, report: &RunReport) -> Checked {
        let measured = self.metric.of(report);
        let holds = measured.is_some_and(|value| {
            if self.is_below { value < self.limit } else { value > self.limit }
        });
        let in_words =
            measured.map_or("not measured".to_owned(), |value| self.metric.in_words(value));
        Checked { condition: self.text.clone(), measured, in_words, holds }
    }
}

/// A limit on the ratio of two systems.
#[derive(Debug, Clone, PartialEq)]
pub struct RatioLimit {
    /// As it was written.
    pub text: String,
    /// Of which number.
    pub metric: Metric,
    /// Whether a ratio above the limit is too much; else one below.
    pub is_above: bool,
    /// The limit.
    pub limit: f64,
}

/// Reads conditions, separated by commas. `option` is where they were written, for errors.
pub fn parse_conditions(option: &str, text: &str) -> Result<Vec<Condition>, WorkloadError> {
    each(option, text, |part| {
        let (metric, sign, limit) = split(part)?;
        let limit = value(metric.quantity.unit(), limit)?;
        Ok(Condition { text: part.to_owned(), metric, is_below: sign == '<', limit })
    })
}

/// Reads limits on ratios, separated by commas.
pub fn parse_ratio_limits(option: &str, text: &str) -> Result<Vec<RatioLimit>, WorkloadError> {
    each(option, text, |part| {
        let (metric, sign, written) = split(part)?;
        let limit = number(written)?;
        if limit <= 0.0 {
            return Err(format!("a ratio is above 0, unlike `{written}`"));
        }
        Ok(RatioLimit { text: part.to_owned(), metric, is_above: sign == '>', limit })
    })
}

fn each<T>(
    option: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, WorkloadError> {
    let mut found = Vec::new();
    let mut start = 0;
    for part in text.split(',') {
        let blank = part.len() - part.trim_start().len();
        let span = start + blank..start + part.len();
        let parsed = parse(part.trim());
        found.push(parsed.map_err(|message| WorkloadError::at(option, text, span, message))?);
        start += part.len() + 1;
    }
    Ok(found)
}

/// `put.p99<20ms` as its parts.
fn split(part: &str) -> Result<(Metric, char, &str), String> {
    let Some(at) = part.find(['<', '>']) else {
        return Err(format!("`{part}` has neither < nor >; write it like `put.p99<20ms`"));
    };
    let (name, rest) = part.split_at(at);
    let sign = if rest.starts_with('<') { '<' } else { '>' };
    // Whether the limit itself is kept makes no difference to a measurement.
    let limit = rest[1..].trim_start_matches('=').trim();
    Ok((Metric::parse(name.trim())?, sign, limit))
}

/// A limit with its unit, in the metric's unit.
fn value(unit: Unit, text: &str) -> Result<f64, String> {
    let units: &[(&str, f64)] = match unit {
        Unit::Microseconds => &[("us", 1.0), ("ms", 1e3), ("s", 1e6)],
        Unit::Share => &[("%", 0.01), ("", 1.0)],
        Unit::PerSecond => &[("/s", 1.0), ("", 1.0)],
        Unit::Bytes => &[("KiB", 1024.0), ("MiB", 1_048_576.0), ("B", 1.0)],
        Unit::PerOperation => &[("", 1.0)],
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, written) = text.split_at(end);
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == written.trim()) else {
        let names: Vec<&str> =
            units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        return Err(match (written.trim(), names.is_empty()) {
            ("", _) => format!("`{text}` has no unit; use {}", names.join(", ")),
            (other, false) => format!("unknown unit `{other}`; use {}", names.join(", ")),
            (other, true) => format!("`{other}` is no unit here; write a bare number"),
        });
    };
    Ok(number(digits)? * factor)
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(format!("`{text}` is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::measured;

    #[test]
    fn conditions_are_read_with_their_units() {
        let conditions =
            parse_conditions("--slo", "put.p99<20ms, errors<=0.1%,rate>500,memory<2MiB").unwrap();
        let read: Vec<(String, bool, f64)> = conditions
            .iter()
            .map(|condition| (condition.metric.to_string(), condition.is_below, condition.limit))
            .collect();
        let expected = [
            ("put.p99", true, 20_000.0),
            ("errors", true, 0.001),
            ("rate", false, 500.0),
            ("memory", true, 2_097_152.0),
        ];
        assert_eq!(read, expected.map(|(name, below, limit)| (name.to_owned(), below, limit)));
    }

    #[test]
    fn errors_say_where_and_what() {
        for (text, expected) in [
            ("put.p99<20", "--slo:1:1: `20` has no unit; use us, ms, s"),
            ("errors<1%,put.p9<2ms", "--slo:1:11: unknown metric `p9`; did you mean `p90`?"),
            ("errors<1%, p99<2min", "--slo:1:12: unknown unit `min`; use us, ms, s"),
            ("p99", "--slo:1:1: `p99` has neither < nor >; write it like `put.p99<20ms`"),
            ("syncs<1ms", "--slo:1:1: `ms` is no unit here; write a bare number"),
            ("p99<1.2.3ms", "--slo:1:1: `1.2.3` is no number"),
            ("", "--slo:1:1: `` has neither < nor >; write it like `put.p99<20ms`"),
        ] {
            assert_eq!(parse_conditions("--slo", text).unwrap_err().to_string(), expected);
        }
        let refused = parse_ratio_limits("--fail-if", "p99>1.1,cpu>0").unwrap_err().to_string();
        assert_eq!(refused, "--fail-if:1:9: a ratio is above 0, unlike `0`");
    }

    #[test]
    fn what_was_not_measured_was_not_kept() {
        let report = measured();
        let check = |text: &str| {
            let conditions = parse_conditions("--slo", text).unwrap();
            conditions.iter().map(|condition| condition.check(&report).holds).collect::<Vec<_>>()
        };
        assert_eq!(
            check("get.p99<1ms,get.p99<400us,rate>999,rate>1001"),
            [true, false, true, false]
        );
        assert_eq!(check("put.p99<1s,syncs<100,errors<3%,errors<4%"), [false, false, false, true]);
    }
}
