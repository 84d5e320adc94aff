//! The report for people.

use std::fmt::Write as _;

use crate::verdict::{Counts, Report, Verdict, Violation};

/// Renders a report.
pub fn render(report: &Report) -> String {
    let mut text = headline(report) + "\n";
    write(&mut text, report).expect("a string takes everything");
    text
}

/// The verdict, and the rule to blame or why there is none.
pub(crate) fn headline(report: &Report) -> String {
    match &report.verdict {
        Verdict::Valid => "VALID: every rule was checked and held".into(),
        Verdict::Invalid { violations, .. } => {
            let first = violations.first().expect("invalid names a rule");
            format!("INVALID: {}", first.rule)
        }
        Verdict::Unknown { reason } => format!("UNKNOWN: {reason}"),
    }
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    if let Verdict::Invalid { violations, omitted } = &report.verdict {
        for broken in violations {
            text.push('\n');
            text.push_str(&violation(broken));
        }
        if *omitted > 0 {
            writeln!(text, "\nand {omitted} more of these rules")?;
        }
        text.push('\n');
    }
    text.push_str(&facts(report));
    writeln!(
        text,
        "engine {}; read in {:.3} s, checked in {:.3} s",
        report.engine, report.timing.parse_seconds, report.timing.check_seconds
    )
}

/// Of what run the history is, and what it has.
pub(crate) fn facts(report: &Report) -> String {
    let mut text = format!("{} on {}, seed {}\n", report.workload, report.system, report.seed);
    counts(&mut text, &report.counts).expect("a string takes everything");
    text
}

/// A violation, over several lines.
pub(super) fn violation(violation: &Violation) -> String {
    let mut text = format!("{}\n", violation.rule);
    for named in &violation.operations {
        writeln!(text, "  line {}: {}", named.line, named.text).expect("a string takes everything");
    }
    writeln!(text, "  expected: {}", violation.expected).expect("a string takes everything");
    writeln!(text, "  got:      {}", violation.got).expect("a string takes everything");
    text
}

fn counts(text: &mut String, counts: &Counts) -> std::fmt::Result {
    writeln!(
        text,
        "{} operations: {} puts, {} ranges, {} delete ranges, {} txns, {} on leases, {} compactions; \
         {} refused, {} of unknown outcome",
        counts.operations,
        counts.puts,
        counts.ranges,
        counts.delete_ranges,
        counts.txns,
        counts.lease_operations,
        counts.compactions,
        counts.failed,
        counts.unknown
    )?;
    writeln!(
        text,
        "revisions {} to {}, {} of them gaps: {} pinned, {} unpinned",
        counts.revisions.0,
        counts.revisions.1,
        counts.gaps,
        counts.gaps_pinned,
        counts.gaps_unpinned
    )?;
    writeln!(
        text,
        "{} watches ({} ended by a compaction) with {} events, {} faults, {} final states, {} of \
         their hashes compared",
        counts.watches,
        counts.watches_compacted,
        counts.events,
        counts.faults,
        counts.finals,
        counts.hashes_compared
    )
}
