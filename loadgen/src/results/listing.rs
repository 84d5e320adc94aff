//! Runs as a table of text.

use super::Folder;

/// A line for each run, under a line of names.
pub fn render(folders: &[Folder]) -> String {
    let mut rows = vec![
        ["started", "workload", "system", "rate", "p99", "came to", "folder"].map(str::to_owned),
    ];
    rows.extend(folders.iter().map(row));
    let widths: Vec<usize> = (0..7)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(folder: &Folder) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rate = folder.number("/load/per_second").map(|rate| format!("{rate:.0}/s"));
    let p99 = folder.number("/load/response_us/p99").map(|us| format!("{:.2} ms", us / 1000.0));
    let headline = folder.text("/headline").split(':').next().unwrap_or("").to_owned();
    [
        folder.text("/started").to_owned(),
        folder.text("/workload").to_owned(),
        folder.text("/system").to_owned(),
        or_dash(rate),
        or_dash(p99),
        if headline.is_empty() { "-".to_owned() } else { headline },
        folder.path.display().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::folder;

    #[test]
    fn a_table_has_a_line_for_each_run() {
        let root = tempfile::tempdir().unwrap();
        folder(root.path(), "a", "20260102T000000");
        folder(root.path(), "b", "20260101T000000");
        let table = render(&Folder::all(root.path()));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("started          workload  system"), "{table}");
        assert!(
            lines[1].starts_with("20260101T000000  <mixed>   etcd 3.7.3  1000/s  0."),
            "{table}"
        );
        assert!(lines[1].contains("  VALID  "), "{table}");
    }
}
