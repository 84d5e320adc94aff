//! The run as a page for a terminal, a build's log, or a comment on a pull request: however much
//! went wrong, it is never longer than a comment may be.

use std::fmt::Write;

use super::members::MemberUse;
use super::recovery::Recovery;
use super::{RunReport, first_line, latency_cells, milliseconds};
use crate::metric::{Unit, in_unit};
use crate::stats::{Summary, approximate};

/// A comment on GitHub holds 65,536 characters.
const BYTES_MAX: usize = 60_000;
/// Broken rules that are told in full.
const VIOLATIONS_MAX: usize = 5;
/// Operations that are named of each.
const NAMED_MAX: usize = 12;
/// Mishaps that are told.
const INCIDENTS_MAX: usize = 5;

/// Renders `summary.md`.
pub fn render(report: &RunReport) -> String {
    let mut page = String::new();
    write_to(&mut page, report).expect("writing into a string does not fail");
    fitting(page)
}

/// Cuts a page to what a comment holds, after a whole line.
pub(crate) fn fitting(mut page: String) -> String {
    if page.len() > BYTES_MAX {
        let end = page[..page.floor_char_boundary(BYTES_MAX)].rfind('\n').unwrap_or(0);
        page.truncate(end);
        // Whatever fence was open is closed.
        if page.matches("```").count() % 2 == 1 {
            page.push_str("\n```");
        }
        page.push_str("\n\nThe rest is in report.html.\n");
    }
    page
}

/// Text in a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
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
    if let Some(violation) = &report.stopped_by {
        writeln!(page, "| load ended at | {} |", cell(violation))?;
    }
    writeln!(page)?;
    write_slo(page, report)?;
    if let Some(judgement) = &report.judgement {
        write_judgement(page, judgement, report)?;
    }
    if !report.incidents.is_empty() {
        writeln!(page, "## What went wrong with the run\n")?;
        for incident in report.incidents.iter().take(INCIDENTS_MAX) {
            writeln!(page, "```\n{incident}\n```")?;
        }
        write_more(page, report.incidents.len(), INCIDENTS_MAX)?;
        writeln!(page)?;
    }
    if let Some(load) = &report.load {
        write_load(page, load)?;
    }
    write_members(page, &report.members)?;
    write_faults(page, report)
}

/// That there are more than `shown`, if there are.
fn write_more(page: &mut String, count: usize, shown: usize) -> std::fmt::Result {
    if count > shown { writeln!(page, "\nand {} more", count - shown) } else { Ok(()) }
}

fn write_slo(page: &mut String, report: &RunReport) -> std::fmt::Result {
    if report.slo.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Service levels\n\n| condition | measured | |\n|---|--:|---|")?;
    for checked in &report.slo {
        let holds = if checked.holds { "holds" } else { "**missed**" };
        let (condition, measured) = (cell(&checked.condition), cell(&checked.in_words));
        writeln!(page, "| {condition} | {measured} | {holds} |")?;
    }
    writeln!(page)
}

fn write_members(page: &mut String, members: &[MemberUse]) -> std::fmt::Result {
    if members.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Members\n")?;
    writeln!(
        page,
        "| member | CPU | CPU per operation | memory, most | written | syncs per operation | restarts |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|--:|--:|")?;
    let unknown = || "-".to_owned();
    let bytes = |bytes: Option<u64>| {
        bytes.map_or_else(unknown, |bytes| in_unit(Unit::Bytes, approximate(bytes)))
    };
    for used in members {
        writeln!(
            page,
            "| m{} | {} | {} | {} | {} | {} | {} |",
            used.member,
            used.cpu_s.map_or_else(unknown, |cpu_s| format!("{cpu_s:.2} s")),
            used.cpu_us_per_operation.map_or_else(unknown, |us| format!("{us:.1} us")),
            bytes(used.rss_bytes_max),
            bytes(used.written_bytes),
            used.syncs_per_operation.map_or_else(unknown, |syncs| format!("{syncs:.3}")),
            used.restarts,
        )?;
    }
    writeln!(page)
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
    let violations = judgement.verdict.violations();
    for violation in violations.iter().take(VIOLATIONS_MAX) {
        writeln!(page, "### {}\n", violation.rule)?;
        writeln!(page, "- expected: {}", violation.expected)?;
        writeln!(page, "- got: {}", violation.got)?;
        for named in violation.operations.iter().take(NAMED_MAX) {
            writeln!(page, "- line {}: `{}`", named.line, named.text)?;
        }
        write_more(page, violation.operations.len(), NAMED_MAX)?;
        writeln!(page)?;
    }
    write_more(page, violations.len(), VIOLATIONS_MAX)
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
    writeln!(page, "| fault | target | members | from | to | service back after | |")?;
    writeln!(page, "|---|---|---|--:|--:|--:|---|")?;
    for window in &report.faults {
        let members: Vec<String> = window.members.iter().map(|m| format!("m{m}")).collect();
        let recovery = report.recoveries.iter().find(|recovery| recovery.is_of(window));
        writeln!(
            page,
            "| {} | {} | {} | {:.1} s | {:.1} s | {} | {} |",
            window.fault,
            window.target,
            members.join(" "),
            window.start_s - report.load_start_s,
            window.end_s - report.load_start_s,
            recovery.map_or_else(String::new, Recovery::in_words),
            window.error.as_deref().map_or_else(String::new, |error| cell(first_line(error))),
        )?;
    }
    Ok(())
}
