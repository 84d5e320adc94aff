//! The report as it is, in JSON.

use crate::verdict::Report;

/// Renders a report.
pub fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report is plain data");
    text.push('\n');
    text
}
