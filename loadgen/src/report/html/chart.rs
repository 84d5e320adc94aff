//! Charts over time, as inline SVG.

use std::fmt::Write;

use crate::report::RunReport;
use crate::stats::{SLICE, SliceSummary, approximate};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 24.0;

/// A line of a chart.
struct Series<'a> {
    class: &'a str,
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// How a value becomes a height.
#[derive(Clone, Copy)]
enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// From the first power of ten to the second.
    Logarithmic(i32, i32),
}

impl Scale {
    /// 0 at the bottom, 1 at the top.
    fn share(self, value: f64) -> f64 {
        match self {
            Scale::Linear(max) => value / max,
            Scale::Logarithmic(low, high) => {
                (value.max(1e-9).log10() - f64::from(low)) / f64::from(high - low)
            }
        }
        .clamp(0.0, 1.0)
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Scale::Linear(max) => {
                (0..=4_u8).map(|quarter| max * f64::from(quarter) / 4.0).collect()
            }
            Scale::Logarithmic(low, high) => (low..=high).map(|e| 10_f64.powi(e)).collect(),
        }
    }
}

/// Answered operations per second. Only slices that lie wholly in the load: in the first and the
/// last one, load was offered for a part of the time only, and the line would seem to rise and fall.
pub(super) fn throughput(report: &RunReport) -> String {
    let load_end_s = report.load_start_s + report.load.as_ref().map_or(0.0, |load| load.elapsed_s);
    let is_whole = |slice: &SliceSummary| {
        slice.start_s >= report.load_start_s && slice.start_s + SLICE.as_secs_f64() <= load_end_s
    };
    let points = points(report, |slice| is_whole(slice).then_some(slice.per_second));
    let max = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let series = [Series { class: "main", name: "answered per second", points }];
    chart(report, "Throughput", &series, Scale::Linear(round_up(max)))
}

/// Median and 99th percentile of the response time.
pub(super) fn latency(report: &RunReport) -> String {
    let of = |us: u64| (us > 0).then(|| approximate(us) / 1000.0);
    let series = [
        Series { class: "main", name: "p50, ms", points: points(report, |s| of(s.p50_us)) },
        Series { class: "second", name: "p99, ms", points: points(report, |s| of(s.p99_us)) },
    ];
    let values = || series.iter().flat_map(|series| &series.points).map(|point| point.1);
    let mut low = 0;
    while 10_f64.powi(low) > values().fold(1.0, f64::min) {
        low -= 1;
    }
    let mut high = low + 1;
    while 10_f64.powi(high) < values().fold(1e-9, f64::max) {
        high += 1;
    }
    chart(report, "Response time", &series, Scale::Logarithmic(low, high))
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

/// The next 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn chart(report: &RunReport, title: &str, series: &[Series<'_>], scale: Scale) -> String {
    let mut svg = String::new();
    write_chart(&mut svg, report, title, series, scale)
        .expect("writing into a string does not fail");
    svg
}

fn write_chart(
    svg: &mut String,
    report: &RunReport,
    title: &str,
    series: &[Series<'_>],
    scale: Scale,
) -> std::fmt::Result {
    // One axis for every chart, whichever slices it draws.
    let slices = report.load.iter().flat_map(|load| &load.slices);
    let end = slices.map(|slice| slice.start_s - report.load_start_s).fold(1.0, f64::max);
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * (seconds / end).clamp(0.0, 1.0);
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * scale.share(value);
    writeln!(svg, "<h2>{title}</h2>")?;
    writeln!(
        svg,
        "<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    for window in &report.faults {
        let from = x(window.start_s - report.load_start_s);
        let width = (x(window.end_s - report.load_start_s) - from).max(1.0);
        let height = HEIGHT - BOTTOM - TOP;
        writeln!(
            svg,
            "<rect class=\"{0}\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" \
             height=\"{height}\"><title>{0} {1} {2:?}</title></rect>\
             <text x=\"{3:.1}\" y=\"{4}\">{0}</text>",
            window.fault,
            window.target,
            window.members,
            from + 3.0,
            TOP + 12.0,
        )?;
    }
    for tick in scale.ticks() {
        let y = y(tick);
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            WIDTH - RIGHT
        )?;
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            y + 4.0
        )?;
    }
    for step in 0..=6_u8 {
        let seconds = end * f64::from(step) / 6.0;
        let label = format!("{seconds:.0} s");
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            x(seconds),
            HEIGHT - 6.0
        )?;
    }
    for (place, series) in (0_u8..).zip(series) {
        let class = series.class;
        let at = LEFT + 150.0 * f64::from(place);
        writeln!(svg, "<text class=\"{class}\" x=\"{at}\" y=\"14\">{}</text>", series.name)?;
        let mut path = String::new();
        for (index, (seconds, value)) in series.points.iter().enumerate() {
            let verb = if index == 0 { 'M' } else { 'L' };
            write!(path, "{verb}{:.1} {:.1}", x(*seconds), y(*value))?;
        }
        writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>")?;
    }
    writeln!(svg, "</svg></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [(1.0, 1.0), (3.0, 5.0), (12.0, 20.0), (999.0, 1000.0)] {
            assert!((round_up(value) - expected).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn scales_go_from_bottom_to_top() {
        for (scale, value, expected) in [
            (Scale::Linear(10.0), 5.0, 0.5),
            (Scale::Linear(10.0), 50.0, 1.0),
            (Scale::Logarithmic(-1, 1), 1.0, 0.5),
            (Scale::Logarithmic(-1, 1), 0.0, 0.0),
        ] {
            assert!((scale.share(value) - expected).abs() < 1e-9);
        }
    }
}
