//! The run as one self-contained page: verdict on top, throughput and latency over time with the
//! fault windows shaded, percentile curves, then the tables. No scripts, no fonts, nothing loaded
//! from elsewhere.

mod charts;
pub(crate) mod plot;
pub(crate) mod tables;

use std::fmt::{self, Write};

use rusd_checker::report::page;
pub(crate) use rusd_checker::report::page::escape;

use super::{Outcome, RunReport};

const STYLE: &str = include_str!("html/style.css");

/// Renders `report.html`.
pub fn render(report: &RunReport) -> String {
    let title = format!("{} on {}", report.workload, report.system);
    let mut page = String::new();
    let written = write_to(&mut page, report);
    written.expect("writing into a string does not fail");
    whole(&title, &page)
}

/// A page around its content.
pub(crate) fn whole(title: &str, content: &str) -> String {
    let page::Frame { before, after } = page::frame(title, STYLE);
    format!("{before}{content}{after}")
}

fn write_to(page: &mut String, report: &RunReport) -> fmt::Result {
    let class = match report.outcome() {
        Outcome::Ok => "ok",
        Outcome::Violation | Outcome::SloMissed => "bad",
        Outcome::Unknown | Outcome::Failed => "unknown",
    };
    writeln!(page, "<p class=\"verdict {class}\">{}</p>", escape(&report.headline()))?;
    write_facts(page, report)?;
    write_violations(page, report)?;
    for incident in &report.incidents {
        writeln!(page, "<pre class=\"unknown\">{}</pre>", escape(incident))?;
    }
    tables::slo(page, report)?;
    if report.load.is_some() {
        page.push_str(&charts::throughput(report));
        page.push_str(&charts::latency(report));
    }
    tables::faults(page, report)?;
    tables::operations(page, report)?;
    page.push_str(&charts::curves(report));
    tables::members(page, report)?;
    page.push_str(&charts::cpus(report));
    page.push_str(&charts::memory(report));
    write_details(page, report)
}

fn write_facts(page: &mut String, report: &RunReport) -> fmt::Result {
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

fn write_violations(page: &mut String, report: &RunReport) -> fmt::Result {
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

/// What is needed to do it again.
fn write_details(page: &mut String, report: &RunReport) -> fmt::Result {
    let config = serde_json::to_string_pretty(&report.config).unwrap_or_default();
    writeln!(page, "<details><summary>Workload and command line</summary>")?;
    writeln!(page, "<pre>{}</pre>", escape(&report.command.join(" ")))?;
    writeln!(page, "<pre>{}</pre>\n</details>", escape(&config))
}
