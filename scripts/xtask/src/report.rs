//! The one place that prints.
//!
//! Results go to stdout, so that they can be kept with `>`; what is going on goes to stderr.

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

/// Prints a line of a result.
#[expect(clippy::print_stdout, reason = "results of a verb are its output")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Tells what is being done now.
pub(crate) fn progress(text: &str) {
    eprintln!("xtask: {text}");
}

/// Tells why the verb failed.
pub(crate) fn error(text: &str) {
    eprintln!("xtask: error: {text}");
}

/// Keeps a result in `results/`, with its table as it was printed; paths are from the root.
pub(crate) fn keep(name: &str, lines: &[String]) -> Result<()> {
    let root = workspace::root();
    let path = root.join("results").join(name);
    let text = lines.join("\n").replace(&format!("{}/", root.display()), "");
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    progress(&format!("kept in {}", path.display()));
    Ok(())
}

/// Lays rows out in columns, each as wide as its widest cell; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let layout = |row: &[String]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |", cells.join(" | "))
    };
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        lines.push(layout(row));
        if number == 0 {
            lines.push(layout(&rule));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_heading_is_ruled_off() {
        let rows = [vec!["step".into(), "s".into()], vec!["tidy".into(), "12".into()]];
        assert_eq!(table(&rows), ["| step | s  |", "| ---- | -- |", "| tidy | 12 |"]);
    }
}
