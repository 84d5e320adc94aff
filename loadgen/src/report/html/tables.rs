//! The tables of a run's page.

use std::fmt::{self, Write};

use super::escape;
use crate::metric::{Unit, in_unit};
use crate::report::recovery::Recovery;
use crate::report::{RunReport, first_line, latency_cells};
use crate::stats::approximate;

/// A table: its heading, the names of its columns, its rows. The first cell of a row is its name.
/// Cells are markup.
pub(crate) fn table(
    page: &mut String,
    title: &str,
    heads: &[&str],
    rows: &[Vec<String>],
) -> fmt::Result {
    writeln!(page, "<h2>{}</h2>\n<div class=\"wide\"><table>\n<tr>", escape(title))?;
    for head in heads {
        write!(page, "<th scope=\"col\">{}</th>", escape(head))?;
    }
    writeln!(page, "</tr>")?;
    for row in rows {
        write!(page, "<tr>")?;
        for (place, cell) in row.iter().enumerate() {
            match place {
                0 => write!(page, "<th scope=\"row\">{cell}</th>")?,
                _ => write!(page, "<td>{cell}</td>")?,
            }
        }
        writeln!(page, "</tr>")?;
    }
    writeln!(page, "</table></div>")
}

pub(super) fn slo(page: &mut String, report: &RunReport) -> fmt::Result {
    if report.slo.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = report
        .slo
        .iter()
        .map(|checked| {
            let (class, word) = if checked.holds { ("ok", "holds") } else { ("bad", "missed") };
            let word = format!("<span class=\"{class}\">{word}</span>");
            vec![escape(&checked.condition), escape(&checked.in_words), word]
        })
        .collect();
    table(page, "Service levels", &["condition", "measured", ""], &rows)
}

pub(super) fn operations(page: &mut String, report: &RunReport) -> fmt::Result {
    let Some(load) = &report.load else { return Ok(()) };
    let heads = ["operation", "answered", "failed", "unknown", "p50", "p90", "p99", "p99.9", "max"];
    let all = [
        ("all, response", &load.counts, &load.response_us),
        ("all, service", &load.counts, &load.service_us),
    ];
    let kinds = load.kinds.iter().map(|(name, kind)| (*name, &kind.counts, &kind.response_us));
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .chain(kinds)
        .map(|(name, counts, quantiles)| {
            let counts = [counts.ok, counts.fail, counts.unknown].map(|count| count.to_string());
            let cells = latency_cells(quantiles);
            [name.to_owned()].into_iter().chain(counts).chain(cells).collect()
        })
        .collect();
    table(page, "Operations, response times in milliseconds", &heads, &rows)
}

pub(super) fn members(page: &mut String, report: &RunReport) -> fmt::Result {
    if report.members.is_empty() {
        return Ok(());
    }
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "\u{2013}".to_owned());
    let bytes = |bytes: Option<u64>| {
        or_unknown(bytes.map(|bytes| in_unit(Unit::Bytes, approximate(bytes))))
    };
    let rows: Vec<Vec<String>> = report
        .members
        .iter()
        .map(|member| {
            vec![
                format!("m{}", member.member),
                or_unknown(member.cpu_s.map(|cpu_s| format!("{cpu_s:.2} s"))),
                or_unknown(member.cpu_us_per_operation.map(|us| format!("{us:.1} us"))),
                bytes(member.rss_bytes_max),
                bytes(member.rss_bytes_end),
                bytes(member.written_bytes),
                or_unknown(member.syncs.map(|syncs| syncs.to_string())),
                or_unknown(member.syncs_per_operation.map(|syncs| format!("{syncs:.3}"))),
                member.restarts.to_string(),
            ]
        })
        .collect();
    let heads = [
        "member",
        "CPU",
        "CPU / op",
        "memory, most",
        "memory, end",
        "written",
        "syncs",
        "syncs / op",
        "restarts",
    ];
    table(page, "Members, while load was offered", &heads, &rows)?;
    writeln!(
        page,
        "<p class=\"facts\">An operation is one that the whole cluster answered. A dash is what \
         nobody tells.</p>"
    )
}

pub(super) fn faults(page: &mut String, report: &RunReport) -> fmt::Result {
    if report.faults.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<String>> = report
        .faults
        .iter()
        .map(|window| {
            let members: Vec<String> = window.members.iter().map(|m| format!("m{m}")).collect();
            let recovery = report.recoveries.iter().find(|recovery| recovery.is_of(window));
            let back = recovery.map_or_else(String::new, Recovery::in_words);
            let disturbed = recovery.and_then(|recovery| recovery.disturbed_s);
            let disturbed = disturbed.map_or_else(String::new, in_seconds);
            let wrong = window.error.as_deref().map_or("", first_line);
            vec![
                escape(window.fault),
                escape(window.target),
                members.join(" "),
                in_seconds(window.start_s - report.load_start_s),
                in_seconds(window.end_s - report.load_start_s),
                back,
                disturbed,
                escape(wrong),
            ]
        })
        .collect();
    let heads =
        ["fault", "target", "members", "from", "to", "service back after", "disturbed for", ""];
    table(page, "Faults and recovery", &heads, &rows)?;
    writeln!(
        page,
        "<p class=\"facts\">Service is back with the first of two half seconds in succession that \
         have four fifths of the throughput before the fault, and at most twice the 99th \
         percentile, and 5 ms. Counted from the beginning of the fault.</p>"
    )
}

fn in_seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}
