//! The report for people.

use std::fmt::Write as _;

use crate::verdict::{Counts, Report, Verdict, Violation};

/// Renders a report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    headline(&mut text, report).expect("a string takes everything");
    text
}

fn headline(text: &mut String, report: &Report) -> std::fmt::Result {
    match &report.verdict {
        Verdict::Valid => writeln!(text, "VALID: every rule was checked and held")?,
        Verdict::Invalid { violations, omitted } => {
            let first = violations.first().expect("invalid names a rule");
            writeln!(text, "INVALID: {}", first.rule)?;
            for broken in violations {
                text.push('\n');
                text.push_str(&violation(broken));
            }
            if *omitted > 0 {
                writeln!(text, "\nand {omitted} more of these rules")?;
            }
            text.push('\n');
        }
        Verdict::Unknown { reason } => writeln!(text, "UNKNOWN: {reason}")?,
    }
    writeln!(text, "{} on {}, seed {}", report.workload, report.system, report.seed)?;
    counts(text, &report.counts)?;
    writeln!(
        text,
        "engine {}; read in {:.3} s, checked in {:.3} s",
        report.engine, report.timing.parse_seconds, report.timing.check_seconds
    )
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
