//! A comparison for people: a table of ratios, and a picture of their intervals.

use std::fmt::Write;

use super::{Compared, Comparison};
use crate::report::html::tables::table;
use crate::report::html::{escape, whole};
use crate::report::markdown::{cell, fitting};

/// Renders `summary.md`.
pub fn markdown(comparison: &Comparison) -> String {
    let mut page = String::new();
    write_markdown(&mut page, comparison).expect("writing into a string does not fail");
    fitting(page)
}

fn write_markdown(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    writeln!(page, "# {}: {}\n", comparison.workload, comparison.headline())?;
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(page, "| A | {} ({}) |", cell(&comparison.a), cell(&comparison.a_system))?;
    writeln!(page, "| B | {} ({}) |", cell(&comparison.b), cell(&comparison.b_system))?;
    writeln!(page, "| pairs of runs | {}, in the order A B B A |", comparison.pairs)?;
    writeln!(page, "| seed | {} |", comparison.seed)?;
    writeln!(page, "| started | {} |", comparison.started)?;
    writeln!(page, "| commit | {} |\n", comparison.commit.as_deref().unwrap_or("unknown"))?;
    if !comparison.limits.is_empty() {
        writeln!(page, "| limit | | |\n|---|---|---|")?;
        for checked in &comparison.limits {
            let holds = if checked.holds { "holds" } else { "**broken**" };
            writeln!(page, "| {} | {holds} | {} |", cell(&checked.limit), cell(&checked.reason))?;
        }
        writeln!(page)?;
    }
    writeln!(page, "| | A, median | B, median | B / A | {} | |", interval_name(comparison))?;
    writeln!(page, "|---|--:|--:|--:|--:|---|")?;
    for compared in &comparison.metrics {
        let (a, b) = &compared.in_words;
        let (metric, ratio, said) = (&compared.metric, times(compared.ratio), said(compared));
        let interval = interval(compared);
        writeln!(page, "| {metric} | {a} | {b} | {ratio} | {interval} | {said} |")?;
    }
    writeln!(page, "\n{}", method(comparison))?;
    for text in &comparison.not_compared {
        writeln!(page, "\nNot compared: {text}")?;
    }
    Ok(())
}

/// A ratio, with as many digits as say something.
pub(super) fn times(ratio: f64) -> String {
    match ratio {
        ..0.001 => "below 0.001".to_owned(),
        ..10.0 => format!("{ratio:.3}"),
        ..1000.0 => format!("{ratio:.1}"),
        _ => "above 1000".to_owned(),
    }
}

/// Between what a ratio lies.
pub(super) fn interval(compared: &Compared) -> String {
    format!("{} to {}", times(compared.low), times(compared.high))
}

fn interval_name(comparison: &Comparison) -> String {
    format!("{:.0} % interval", comparison.confidence * 100.0)
}

fn method(comparison: &Comparison) -> String {
    format!(
        "Ratios are geometric means over the pairs. The intervals hold all together with {:.0} % \
         confidence (studentized bootstrap, Bonferroni). Two numbers differ if the interval excludes \
         1 and the ratio is at least {:.0} % from it.",
        comparison.confidence * 100.0,
        comparison.margin * 100.0
    )
}

fn said(compared: &Compared) -> &'static str {
    match (compared.differs, compared.is_worse) {
        (false, _) => "no difference",
        (true, true) => "B is worse",
        (true, false) => "B is better",
    }
}

/// Renders `report.html`.
pub fn html(comparison: &Comparison) -> String {
    let title = format!("{}: {} beside {}", comparison.workload, comparison.b, comparison.a);
    let mut page = String::new();
    write_html(&mut page, comparison).expect("writing into a string does not fail");
    whole(&title, &page)
}

fn write_html(page: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let class = if comparison.is_regression() { "bad" } else { "ok" };
    writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&comparison.headline()))?;
    let (a, b) = (escape(&comparison.a_system), escape(&comparison.b_system));
    writeln!(
        page,
        "<p class=\"facts\">A is {} ({a}), B is {} ({b}); {} pairs of runs in the order A B B A, \
         seed {}, started {}</p>",
        escape(&comparison.a),
        escape(&comparison.b),
        comparison.pairs,
        comparison.seed,
        comparison.started
    )?;
    page.push_str(&picture(comparison));
    let rows: Vec<Vec<String>> = comparison
        .metrics
        .iter()
        .map(|compared| {
            let class = match (compared.differs, compared.is_worse) {
                (false, _) => "facts",
                (true, true) => "bad",
                (true, false) => "ok",
            };
            vec![
                escape(&compared.metric),
                escape(&compared.in_words.0),
                escape(&compared.in_words.1),
                times(compared.ratio),
                interval(compared),
                format!("<span class=\"{class}\">{}</span>", said(compared)),
            ]
        })
        .collect();
    let name = interval_name(comparison);
    table(page, "Numbers", &["", "A, median", "B, median", "B / A", &name, ""], &rows)?;
    let rows: Vec<Vec<String>> = comparison
        .limits
        .iter()
        .map(|checked| {
            let (class, word) = if checked.holds { ("ok", "holds") } else { ("bad", "broken") };
            let word = format!("<span class=\"{class}\">{word}</span>");
            vec![escape(&checked.limit), word, escape(&checked.reason)]
        })
        .collect();
    if !rows.is_empty() {
        table(page, "Limits", &["limit", "", ""], &rows)?;
    }
    writeln!(page, "<p class=\"facts\">{}</p>", method(comparison))?;
    for text in &comparison.not_compared {
        writeln!(page, "<p class=\"facts\">Not compared: {}</p>", escape(text))?;
    }
    Ok(())
}

/// Each ratio as a dot on its interval, over a scale on which half and twice are as far from 1.
fn picture(comparison: &Comparison) -> String {
    const WIDTH: f64 = 900.0;
    const LEFT: f64 = 190.0;
    const RIGHT: f64 = 20.0;
    const ROW: f64 = 22.0;
    let far = comparison.metrics.iter().flat_map(|c| [c.low, c.high]);
    let far = far.map(|ratio| ratio.ln().abs()).filter(|far| far.is_finite());
    let far = far.fold(1.25_f64.ln(), f64::max).min(100_f64.ln());
    let x = |ratio: f64| {
        let share = (ratio.max(1e-9).ln() / far).clamp(-1.0, 1.0);
        LEFT + (WIDTH - LEFT - RIGHT) * f64::midpoint(share, 1.0)
    };
    let rows = u16::try_from(comparison.metrics.len()).unwrap_or(u16::MAX);
    let height = ROW * f64::from(rows) + 34.0;
    let mut svg = format!(
        "<h2>B / A, with intervals</h2>\n<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} \
         {height}\" role=\"img\" aria-label=\"ratios\">\n"
    );
    let mut draw = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    for tick in [0.1, 0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0, 4.0, 10.0_f64] {
        let is_crowded = far > 0.9 && (0.75..1.3).contains(&tick) && (tick - 1.0).abs() > 1e-9;
        if tick.ln().abs() > far + 1e-9 || is_crowded {
            continue;
        }
        let (x, bottom, y) = (x(tick), height - 24.0, height - 8.0);
        draw(format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"4\" y2=\"{bottom}\"/>\
             <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{tick}</text>"
        ));
    }
    for (place, compared) in (0_u16..).zip(&comparison.metrics) {
        let y = ROW * f64::from(place) + 16.0;
        let class = match (compared.differs, compared.is_worse) {
            (false, _) => "same",
            (true, true) => "worse",
            (true, false) => "better",
        };
        draw(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <line class=\"{class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\"/>\
             <circle class=\"{class}\" cx=\"{:.1}\" cy=\"{y}\" r=\"4\"/>",
            LEFT - 12.0,
            y + 4.0,
            escape(&compared.metric),
            x(compared.low),
            x(compared.high),
            x(compared.ratio)
        ));
    }
    svg + "</svg></div>\n"
}
