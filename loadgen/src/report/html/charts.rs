//! The pictures of a run.

use super::plot::{Axis, Line, Plot, Span};
use crate::report::RunReport;
use crate::stats::{CurvePoint, SLICE, SliceSummary, approximate};

/// Kinds of operations whose curves are drawn: those with the most operations.
const CURVES_MAX: usize = 6;

/// Answered operations per second. Only slices that lie wholly in the load: in the first and the
/// last one, load was offered for a part of the time only, and the line would seem to rise and fall.
pub(super) fn throughput(report: &RunReport) -> String {
    let load_end_s = report.load_start_s + report.load.as_ref().map_or(0.0, |load| load.elapsed_s);
    let is_whole = |slice: &SliceSummary| {
        slice.start_s >= report.load_start_s && slice.start_s + SLICE.as_secs_f64() <= load_end_s
    };
    let points = points(report, |slice| is_whole(slice).then_some(slice.per_second));
    let max = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let lines = vec![Line { name: "answered per second", points }];
    over_time(report, "Throughput", Axis::from_zero(max), lines)
}

/// Median and 99th percentile of the response time.
pub(super) fn latency(report: &RunReport) -> String {
    let of = |us: u64| (us > 0).then(|| milliseconds(us));
    let lines = vec![
        Line { name: "p50, ms", points: points(report, |slice| of(slice.p50_us)) },
        Line { name: "p99, ms", points: points(report, |slice| of(slice.p99_us)) },
    ];
    let y = Axis::powers(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
    over_time(report, "Response time over time", y, lines)
}

/// CPUs that each member kept busy.
pub(super) fn cpus(report: &RunReport) -> String {
    of_members(report, "CPUs that each member kept busy", |point| point.cpus)
}

/// Memory that each member held.
pub(super) fn memory(report: &RunReport) -> String {
    of_members(report, "Memory of each member, MiB", |point| {
        point.rss_bytes.map(|bytes| approximate(bytes) / 1_048_576.0)
    })
}

fn of_members(
    report: &RunReport,
    title: &str,
    value: impl Fn(&crate::report::members::UsePoint) -> Option<f64>,
) -> String {
    let names: Vec<String> =
        report.members.iter().map(|member| format!("m{}", member.member)).collect();
    let lines: Vec<Line<'_>> = report
        .members
        .iter()
        .zip(&names)
        .map(|(member, name)| {
            let points = member.samples.iter().filter_map(|point| {
                Some(((point.at_s - report.load_start_s).max(0.0), value(point)?))
            });
            Line { name, points: points.collect() }
        })
        .collect();
    if lines.iter().all(|line| line.points.len() < 2) {
        return String::new();
    }
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let y = Axis::from_zero(values.fold(0.01, f64::max));
    over_time(report, title, y, lines)
}

/// Response and service time of all operations by share, and response time by kind.
pub(super) fn curves(report: &RunReport) -> String {
    let Some(all) = report.curves.get("all") else { return String::new() };
    let both = vec![
        Line { name: "response time", points: curve(all, |point| point.response_us) },
        Line { name: "service time", points: curve(all, |point| point.service_us) },
    ];
    let mut page = by_share("Percentiles of all operations, ms", both, all);
    let Some(load) = &report.load else { return page };
    let mut kinds: Vec<(&str, u64)> =
        load.kinds.iter().map(|(name, kind)| (*name, kind.counts.ok)).collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let lines: Vec<Line<'_>> = kinds
        .into_iter()
        .take(CURVES_MAX)
        .filter_map(|(name, _)| {
            let points = report.curves.get(name)?;
            Some(Line { name, points: curve(points, |point| point.response_us) })
        })
        .collect();
    if lines.len() > 1 {
        page += &by_share("Percentiles of the response time by operation, ms", lines, all);
    }
    page
}

fn by_share(title: &str, lines: Vec<Line<'_>>, longest: &[CurvePoint]) -> String {
    let y = Axis::powers(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
    let last = longest.iter().map(|point| point.quantile).filter(|&q| q < 1.0).fold(0.0, f64::max);
    let nines = (1..=6_u8).find(|nines| last < 1.0 - 0.1_f64.powi(i32::from(*nines)));
    Plot { title, x: Axis::nines(nines.unwrap_or(6)), y, lines, spans: Vec::new() }.render()
}

/// The largest has no place on an axis that never comes to an end, so it is left out.
fn curve(points: &[CurvePoint], value: impl Fn(&CurvePoint) -> u64) -> Vec<(f64, f64)> {
    let points = points.iter().filter(|point| point.quantile < 1.0);
    points.map(|point| (1.0 / (1.0 - point.quantile), milliseconds(value(point)))).collect()
}

fn milliseconds(us: u64) -> f64 {
    approximate(us) / 1000.0
}

/// The slices of the load, by seconds since it began.
fn points(report: &RunReport, value: impl Fn(&SliceSummary) -> Option<f64>) -> Vec<(f64, f64)> {
    let slices = report.load.iter().flat_map(|load| &load.slices);
    slices
        .filter_map(|slice| Some((slice.start_s - report.load_start_s, value(slice)?)))
        .filter(|(seconds, _)| *seconds >= -0.5)
        .map(|(seconds, value)| (seconds.max(0.0), value))
        .collect()
}

fn over_time(report: &RunReport, title: &str, y: Axis, lines: Vec<Line<'_>>) -> String {
    // One axis for every chart, whichever slices it draws.
    let slices = report.load.iter().flat_map(|load| &load.slices);
    let end = slices.map(|slice| slice.start_s - report.load_start_s).fold(1.0, f64::max);
    let spans = report.faults.iter().map(|window| {
        let members: Vec<String> = window.members.iter().map(|m| format!("m{m}")).collect();
        let (fault, target) = (window.fault, window.target);
        Span {
            class: format!("fault {fault}"),
            name: format!("{fault} {}", members.join(" ")),
            title: format!("{fault} of {target}: {}", members.join(" ")),
            from: window.start_s - report.load_start_s,
            to: window.end_s - report.load_start_s,
        }
    });
    Plot { title, x: Axis::seconds(end), y, lines, spans: spans.collect() }.render()
}
