//! The run as a page for a terminal, a pull request or a build's log.

use std::fmt::Write;

use super::{RunReport, first_line, latency_cells, milliseconds};
use crate::stats::Summary;

/// Renders `summary.md`.
pub fn render(report: &RunReport) -> String {
    let mut page = String::new();
    write_to(&mut page, report).expect("writing into a string does not fail");
    page
}

fn write_to(page: &mut String, report: &RunReport) -> std::fmt::Result {
    writeln!(page, "# {}: {}\n", report.workload, report.headline())?;
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(page, "| system | {} |", report.system)?;
    writeln!(page, "| members | {} |", report.endpoints.len())?;
    writeln!(page, "| seed | {} |", report.seed)?;
    writeln!(page, "| started | {} |", report.started)?;
    writeln!(page, "| commit | {} |", report.commit.as_deref().unwrap_or("unknown"))?;
    if let Some(seconds) = report.preload_s {
        writeln!(page, "| preload | {seconds:.1} s |")?;
    }
    if let Some(seconds) = report.members_cpu_s {
        writeln!(page, "| CPU of all members | {seconds:.2} s |")?;
    }
    if report.interrupted {
        writeln!(page, "| interrupted | by the user |")?;
    }
    writeln!(page)?;
    if let Some(judgement) = &report.judgement {
        write_judgement(page, judgement, report)?;
    }
    if !report.incidents.is_empty() {
        writeln!(page, "## What went wrong with the run\n")?;
        for incident in &report.incidents {
            writeln!(page, "```\n{incident}\n```")?;
        }
        writeln!(page)?;
    }
    if let Some(load) = &report.load {
        write_load(page, load)?;
    }
    write_faults(page, report)
}

fn write_judgement(
    page: &mut String,
    judgement: &rusd_checker::Report,
    report: &RunReport,
) -> std::fmt::Result {
    let counts = &judgement.counts;
    writeln!(page, "## Verdict: {}\n", judgement.verdict.name())?;
    writeln!(
        page,
        "{} operations ({} failed, {} of unknown outcome), {} watches with {} events \
         ({} ended by a compaction; {} of {} watches came up to the final revision {}), {} faults, {} final states; \
         read in {:.2} s, checked in {:.2} s.\n",
        counts.operations,
        counts.failed,
        counts.unknown,
        counts.watches,
        counts.events,
        counts.watches_compacted,
        report.watches.complete,
        report.watches.count,
        report.watches.final_revision,
        counts.faults,
        counts.finals,
        judgement.timing.parse_seconds,
        judgement.timing.check_seconds,
    )?;
    for violation in judgement.verdict.violations() {
        writeln!(page, "### {}\n", violation.rule)?;
        writeln!(page, "- expected: {}", violation.expected)?;
        writeln!(page, "- got: {}", violation.got)?;
        for named in &violation.operations {
            writeln!(page, "- line {}: `{}`", named.line, named.text)?;
        }
        writeln!(page)?;
    }
    Ok(())
}

fn write_load(page: &mut String, load: &Summary) -> std::fmt::Result {
    writeln!(page, "## Load\n")?;
    writeln!(
        page,
        "{}. Failed operations changed nothing: a member refused them, or they were reads that \
         were not answered. Milliseconds; response time counts from when an operation should have \
         been sent, service time from when it was.\n",
        load.in_words(),
    )?;
    writeln!(page, "| operation | answered | failed | unknown | p50 | p90 | p99 | p99.9 | max |")?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    let all = ("**all, response**", &load.counts, &load.response_us);
    let service = ("**all, service**", &load.counts, &load.service_us);
    let kinds = load.kinds.iter().map(|(name, kind)| (*name, &kind.counts, &kind.response_us));
    for (name, counts, quantiles) in [all, service].into_iter().chain(kinds) {
        write!(page, "| {name} | {} | {} | {} |", counts.ok, counts.fail, counts.unknown)?;
        for cell in latency_cells(quantiles) {
            write!(page, " {cell} |")?;
        }
        writeln!(page)?;
    }
    writeln!(page)?;
    let Some(effort) = &load.effort else { return Ok(()) };
    writeln!(
        page,
        "The generator used {:.1} s of CPU time; the busiest of its {} threads was busy for {:.0} % \
         of the time. Of its own doing operations started {} ms late at the median, {} ms at the \
         99th percentile.\n",
        effort.cpu_s,
        effort.threads,
        effort.busiest * 100.0,
        milliseconds(effort.lag_us.p50),
        milliseconds(effort.lag_us.p99),
    )
}

fn write_faults(page: &mut String, report: &RunReport) -> std::fmt::Result {
    if report.faults.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Faults\n")?;
    writeln!(page, "| fault | target | members | from | to | |")?;
    writeln!(page, "|---|---|---|--:|--:|---|")?;
    for window in &report.faults {
        let members: Vec<String> = window.members.iter().map(|m| format!("m{m}")).collect();
        writeln!(
            page,
            "| {} | {} | {} | {:.1} s | {:.1} s | {} |",
            window.fault,
            window.target,
            members.join(" "),
            window.start_s - report.load_start_s,
            window.end_s - report.load_start_s,
            window.error.as_deref().map_or("", first_line),
        )?;
    }
    Ok(())
}
