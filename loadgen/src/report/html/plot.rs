//! Plots as inline SVG: lines over an axis, with shaded spans behind them.

use std::fmt::{self, Write};

use super::escape;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 26.0;
/// Where the name of the next line stands.
const LEGEND_STEP: f64 = 138.0;
/// Width of a letter, about.
const LETTER: f64 = 6.5;
/// Spans whose names are written one below the other, so that they seldom meet.
const NAME_ROWS: usize = 3;
/// More names than that are only told to who points at them.
const NAMES_MAX: usize = 14;

/// A picture of lines.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line<'a>>,
    pub(crate) spans: Vec<Span>,
}

/// One line. Its place among the lines is its colour.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A stretch of the x axis that is shaded.
pub(crate) struct Span {
    /// Names of classes in the style sheet.
    pub(crate) class: String,
    pub(crate) name: String,
    /// What is told to who points at it.
    pub(crate) title: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// How a value becomes a place.
pub(crate) struct Axis {
    scale: Scale,
    /// Values at which a label stands.
    ticks: Vec<(f64, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// From the first power of ten to the second.
    Logarithmic(i32, i32),
}

impl Scale {
    /// 0 at the beginning, 1 at the end.
    fn share(self, value: f64) -> f64 {
        match self {
            Scale::Linear(max) => value / max,
            Scale::Logarithmic(low, high) => {
                (value.max(1e-12).log10() - f64::from(low)) / f64::from(high - low)
            }
        }
        .clamp(0.0, 1.0)
    }
}

impl Axis {
    /// From 0 to a round number at or above `max`.
    pub(crate) fn from_zero(max: f64) -> Axis {
        let max = round_up(max);
        let ticks = (0..=4_u8).map(|quarter| {
            let value = max * f64::from(quarter) / 4.0;
            (value, number(value))
        });
        Axis { scale: Scale::Linear(max), ticks: ticks.collect() }
    }

    /// Seconds, from 0 to `end`.
    pub(crate) fn seconds(end: f64) -> Axis {
        let step = round_up(end / 8.0).max(1.0);
        let count = (0..=40_u8).map(f64::from).take_while(|count| count * step <= end + 1e-9);
        let ticks = count.map(|count| (count * step, format!("{} s", number(count * step))));
        Axis { scale: Scale::Linear(end), ticks: ticks.collect() }
    }

    /// Powers of ten around these values.
    pub(crate) fn powers(values: impl Iterator<Item = f64> + Clone) -> Axis {
        let positive = values.filter(|value| *value > 0.0);
        let (least, most) =
            positive.fold((1.0, 1e-9), |(low, high), value| (value.min(low), value.max(high)));
        let mut low = 0;
        while 10_f64.powi(low) > least {
            low -= 1;
        }
        let mut high = low + 1;
        while 10_f64.powi(high) < most {
            high += 1;
        }
        let ticks = (low..=high).map(|power| {
            let value = 10_f64.powi(power);
            (value, number(value))
        });
        Axis { scale: Scale::Logarithmic(low, high), ticks: ticks.collect() }
    }

    /// Shares of operations, spread so that each further nine takes as much room as the last one:
    /// a share `q` stands at `1 / (1 - q)`.
    pub(crate) fn nines(count: u8) -> Axis {
        let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
        let high = i32::from(count.clamp(1, 6));
        let ticks =
            (0..=high).zip(names).map(|(power, name)| (10_f64.powi(power), name.to_owned()));
        Axis { scale: Scale::Logarithmic(0, high), ticks: ticks.collect() }
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.iter().map(|step| step * power).find(|step| *step >= value * 0.999_999).unwrap_or(value)
}

/// A number without digits that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Plot<'_> {
    /// The picture, with its heading.
    pub(crate) fn render(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg).expect("writing into a string does not fail");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * self.x.scale.share(value)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * self.y.scale.share(value)
    }

    fn write(&self, svg: &mut String) -> fmt::Result {
        let title = escape(self.title);
        writeln!(svg, "<h2>{title}</h2>\n<div class=\"wide\">")?;
        writeln!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
        )?;
        self.write_spans(svg)?;
        self.write_axes(svg)?;
        self.write_lines(svg)?;
        writeln!(svg, "</svg></div>")
    }

    fn write_spans(&self, svg: &mut String) -> fmt::Result {
        let height = HEIGHT - BOTTOM - TOP;
        for (place, span) in self.spans.iter().enumerate() {
            let from = self.x(span.from);
            let width = (self.x(span.to) - from).max(1.5);
            let (class, title) = (escape(&span.class), escape(&span.title));
            writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" \
                 height=\"{height}\"><title>{title}</title></rect>"
            )?;
            if self.spans.len() <= NAMES_MAX {
                let row = u8::try_from(place % NAME_ROWS).expect("rows are few");
                let (x, y) = (from + 3.0, TOP + 12.0 + 12.0 * f64::from(row));
                // A name that would leave the picture stands on the other side.
                let letters = u16::try_from(span.name.chars().count()).unwrap_or(u16::MAX);
                let is_late = x + LETTER * f64::from(letters) > WIDTH - RIGHT;
                let (x, anchor) = if is_late { (from - 3.0, "end") } else { (x, "start") };
                let name = escape(&span.name);
                writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{name}</text>"
                )?;
            }
        }
        Ok(())
    }

    fn write_axes(&self, svg: &mut String) -> fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, label) in &self.y.ticks {
            let (y, x) = (self.y(*value), LEFT - 6.0);
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                y + 4.0
            )?;
        }
        for (value, label) in &self.x.ticks {
            let (x, y) = (self.x(*value), HEIGHT - 8.0);
            // The last label would leave the picture.
            let anchor = if x > WIDTH - 3.0 * RIGHT { "end" } else { "middle" };
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>",
                bottom + 4.0
            )?;
        }
        Ok(())
    }

    fn write_lines(&self, svg: &mut String) -> fmt::Result {
        for (place, line) in (1_u8..).zip(&self.lines) {
            let (at, name) = (LEFT + LEGEND_STEP * f64::from(place - 1), escape(line.name));
            writeln!(svg, "<text class=\"line{place}\" x=\"{at}\" y=\"14\">{name}</text>")?;
            let mut path = String::new();
            for (index, (x, y)) in line.points.iter().enumerate() {
                let verb = if index == 0 { 'M' } else { 'L' };
                write!(path, "{verb}{:.1} {:.1}", self.x(*x), self.y(*y))?;
            }
            if !path.is_empty() {
                writeln!(svg, "<path class=\"line{place}\" d=\"{path}\"/>")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [(1.0, 1.0), (3.0, 5.0), (12.0, 20.0), (999.0, 1000.0), (0.0, 1.0)]
        {
            assert!((round_up(value) - expected).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn scales_go_from_the_beginning_to_the_end() {
        for (scale, value, expected) in [
            (Scale::Linear(10.0), 5.0, 0.5),
            (Scale::Linear(10.0), 50.0, 1.0),
            (Scale::Logarithmic(-1, 1), 1.0, 0.5),
            (Scale::Logarithmic(-1, 1), 0.0, 0.0),
        ] {
            assert!((scale.share(value) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn labels_are_short() {
        let labels = |axis: Axis| axis.ticks.into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(labels(Axis::from_zero(1.7)), ["0", "0.5", "1", "1.5", "2"]);
        assert_eq!(
            labels(Axis::seconds(30.5)),
            ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]
        );
        assert_eq!(labels(Axis::powers([0.3, 0.0, 20.0].into_iter())), ["0.1", "1", "10", "100"]);
        assert_eq!(labels(Axis::nines(3)), ["0 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn a_plot_has_its_lines_and_spans() {
        let span = Span {
            class: "fault kill".to_owned(),
            name: "kill".to_owned(),
            title: "kill <m1>".to_owned(),
            from: 2.0,
            to: 4.0,
        };
        let plot = Plot {
            title: "Pace",
            x: Axis::seconds(10.0),
            y: Axis::from_zero(100.0),
            lines: vec![Line { name: "a & b", points: vec![(0.0, 0.0), (10.0, 100.0)] }],
            spans: vec![span],
        };
        let svg = plot.render();
        assert!(svg.contains("<path class=\"line1\" d=\"M64.0 214.0L886.0 26.0\"/>"), "{svg}");
        assert!(
            svg.contains("a &amp; b") && svg.contains("<title>kill &lt;m1&gt;</title>"),
            "{svg}"
        );
    }
}
