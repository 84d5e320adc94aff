//! The run as one self-contained page: verdict on top, throughput and latency over time with the
//! fault windows shaded, then the tables. No scripts, no fonts, nothing loaded from elsewhere.

mod chart;

use std::fmt::Write;

use super::{Outcome, RunReport, first_line, latency_cells};

const STYLE: &str = include_str!("html/style.css");

/// Renders `report.html`.
pub fn render(report: &RunReport) -> String {
    let mut page = String::new();
    write_to(&mut page, report).expect("writing into a string does not fail");
    page
}

fn write_to(page: &mut String, report: &RunReport) -> std::fmt::Result {
    let title = escape(&format!("{} on {}", report.workload, report.system));
    let class = match report.outcome() {
        Outcome::Ok => "ok",
        Outcome::Violation => "bad",
        Outcome::Unknown | Outcome::Failed => "unknown",
    };
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(page, "<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>")?;
    writeln!(page, "<h1>{title}</h1>")?;
    writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&report.headline()))?;
    write_facts(page, report)?;
    write_violations(page, report)?;
    for incident in &report.incidents {
        writeln!(page, "<pre class=\"unknown\">{}</pre>", escape(incident))?;
    }
    if report.load.is_some() {
        page.push_str(&chart::throughput(report));
        page.push_str(&chart::latency(report));
        write_latencies(page, report)?;
    }
    write_faults(page, report)?;
    writeln!(page, "</body>\n</html>")
}

fn write_facts(page: &mut String, report: &RunReport) -> std::fmt::Result {
    writeln!(page, "<p class=\"facts\">")?;
    write!(
        page,
        "{} members, seed {}, started {}",
        report.endpoints.len(),
        report.seed,
        report.started
    )?;
    if let Some(commit) = &report.commit {
        write!(page, ", commit {}", escape(commit))?;
    }
    if let Some(load) = &report.load {
        write!(page, "; {}", load.in_words())?;
    }
    if let Some(judgement) = &report.judgement {
        write!(
            page,
            "; {} watches with {} events; checked in {:.2} s",
            judgement.counts.watches, judgement.counts.events, judgement.timing.check_seconds,
        )?;
    }
    writeln!(page, "</p>")
}

fn write_violations(page: &mut String, report: &RunReport) -> std::fmt::Result {
    for violation in report.judgement.iter().flat_map(|judgement| judgement.verdict.violations()) {
        writeln!(page, "<div class=\"violation\"><h2>{}</h2>", escape(violation.rule.id()))?;
        writeln!(page, "<p><b>expected</b> {}</p>", escape(&violation.expected))?;
        writeln!(page, "<p><b>got</b> {}</p><ul>", escape(&violation.got))?;
        for named in &violation.operations {
            let text = escape(&named.text);
            writeln!(page, "<li>line {}: <code>{text}</code></li>", named.line)?;
        }
        writeln!(page, "</ul></div>")?;
    }
    Ok(())
}

fn write_latencies(page: &mut String, report: &RunReport) -> std::fmt::Result {
    let Some(load) = &report.load else { return Ok(()) };
    writeln!(page, "<h2>Response times, in milliseconds</h2>\n<div class=\"wide\"><table>\n<tr>")?;
    for head in ["operation", "answered", "failed", "unknown", "p50", "p90", "p99", "p99.9", "max"]
    {
        write!(page, "<th>{head}</th>")?;
    }
    writeln!(page, "</tr>")?;
    let all = std::iter::once(("all", &load.counts, &load.response_us));
    let kinds = load.kinds.iter().map(|(name, kind)| (*name, &kind.counts, &kind.response_us));
    for (name, counts, quantiles) in all.chain(kinds) {
        write!(page, "<tr><th>{name}</th>")?;
        for count in [counts.ok, counts.fail, counts.unknown] {
            write!(page, "<td>{count}</td>")?;
        }
        for cell in latency_cells(quantiles) {
            write!(page, "<td>{cell}</td>")?;
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table></div>")
}

fn write_faults(page: &mut String, report: &RunReport) -> std::fmt::Result {
    if report.faults.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Faults</h2>\n<div class=\"wide\"><table>")?;
    writeln!(
        page,
        "<tr><th>fault</th><th>target</th><th>members</th><th>from</th><th>to</th></tr>"
    )?;
    for window in &report.faults {
        let members: Vec<String> = window.members.iter().map(|m| format!("m{m}")).collect();
        let members = match &window.error {
            Some(error) => format!("{} ({})", members.join(" "), escape(first_line(error))),
            None => members.join(" "),
        };
        writeln!(
            page,
            "<tr><th>{}</th><td>{}</td><td>{members}</td><td>{:.1} s</td><td>{:.1} s</td></tr>",
            window.fault,
            window.target,
            window.start_s - report.load_start_s,
            window.end_s - report.load_start_s,
        )?;
    }
    writeln!(page, "</table></div>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
