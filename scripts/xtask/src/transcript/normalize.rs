//! What may differ between etcd and rusd, as an explicit list.
//!
//! Addresses, and the ids of members and clusters, are not in it: both systems listen on the same
//! ports, and ids are derived from them.

use std::sync::LazyLock;

use regex::Regex;

/// A pattern whose first group is replaced by `*`, and why it may differ.
struct Rule {
    pattern: &'static str,
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule { pattern: r#""(?:raft_term|raftTerm)":(\d+)"#, why: "how many elections there were" },
    Rule { pattern: r#""RaftTerm" : (\d+)"#, why: "how many elections there were" },
    Rule { pattern: r#""(?:raftIndex|raftAppliedIndex)":(\d+)"#, why: "entries of our own" },
    Rule { pattern: r#""(?:RaftIndex|RaftAppliedIndex)" : (\d+)"#, why: "entries of our own" },
    Rule { pattern: r#""(?:dbSize|dbSizeInUse)":(\d+)"#, why: "another engine" },
    Rule { pattern: r#""(?:DBSize|DBSizeInUse)" : (\d+)"#, why: "another engine" },
    Rule { pattern: r#""(?:version|storageVersion)":"([^"]*)""#, why: "the version line" },
    Rule { pattern: r#""(?:Version|StorageVersion)" : "([^"]*)""#, why: "the version line" },
    Rule { pattern: r"took(?: =)? ([0-9.]+[mµn]?s)", why: "a duration" },
    Rule { pattern: r#""took":"([^"]*)""#, why: "a duration" },
    Rule { pattern: r"remaining\((\d+)s\)", why: "a duration" },
    Rule { pattern: r#""ttl":(\d+)"#, why: "a duration: what remains" },
    Rule { pattern: r#""TTL" : (\d+)"#, why: "a duration: what remains" },
    Rule { pattern: r#""Took" : (\S+)"#, why: "a duration" },
    Rule {
        pattern: r"memberID:\d+( +)alarm:",
        why: "protobuf's text has one space or two, by build",
    },
    Rule { pattern: r#""ts":"([^"]*)""#, why: "the time of a log line of etcdctl" },
    Rule { pattern: r#""target":"([^"]*)""#, why: "an address of etcdctl's memory" },
    Rule { pattern: r"LocalAddr: '([^']*)'", why: "the port etcdctl connects from" },
    Rule {
        pattern: r#"latest balancer error: ((?:write tcp|connection error: desc = \\"error (?:reading|writing)).*)"\}"#,
        why: "what one sees first of a connection that the other side ends",
    },
];

static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compile = |rule: &Rule| {
        debug_assert!(!rule.why.is_empty(), "each rule has a reason");
        Regex::new(rule.pattern).expect("patterns are tested")
    };
    RULES.iter().map(compile).collect()
});

/// Columns of tables that may differ, by their headings; the reasons are those of [`RULES`].
const COLUMNS: [&str; 9] = [
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "TOOK",
];

/// The same columns in the simple form of `endpoint status`, which has no headings: of etcdctl 3.7
/// and of 3.4, told apart by how many columns there are.
const STATUS_COLUMNS: [(usize, &[usize]); 2] =
    [(16, &[2, 3, 4, 5, 6, 10, 11, 12]), (10, &[2, 3, 6, 7, 8])];

/// Lists without an order (a hash map in etcd, or sorted by ids that are made of the time): what
/// stands before one, and what separates it.
const SETS: [(&str, &str, char); 3] = [
    ("attached keys([", " ", ']'),
    ("\"keys\":[", ",", ']'),
    ("ETCD_INITIAL_CLUSTER=\"", ",", '"'),
];

/// Takes out what may differ.
pub(super) fn normalize(text: &str) -> String {
    let mut text = text.to_owned();
    for pattern in COMPILED.iter() {
        text = mask(pattern, &text);
    }
    for (before, separator, end) in SETS {
        text = sorted(&text, before, separator, end);
    }
    let mut headings = Vec::new();
    let lines: Vec<String> = text.lines().map(|line| columns(line, &mut headings)).collect();
    sorted_lines(lines).join("\n")
}

fn mask(pattern: &Regex, text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut end = 0;
    for group in pattern.captures_iter(text).filter_map(|captures| captures.get(1)) {
        masked.push_str(&text[end..group.start()]);
        masked.push('*');
        end = group.end();
    }
    masked.push_str(&text[end..]);
    masked
}

fn sorted(text: &str, before: &str, separator: &str, end: char) -> String {
    let mut parts = text.split(before);
    let mut sorted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (list, rest) = part.split_at(part.find(end).unwrap_or(0));
        let mut items: Vec<&str> = list.split(separator).collect();
        items.sort_unstable();
        sorted.push_str(before);
        sorted.push_str(&items.join(separator));
        sorted.push_str(rest);
    }
    sorted
}

/// Lists without an order, a line each: the keys of a lease in `-w fields`, members that were asked
/// at the same time, and members by ids that are made of the time.
fn sorted_lines(mut lines: Vec<String>) -> Vec<String> {
    for mark in ["\"Key\" : ", " is healthy: ", "started, "] {
        let is_item = |line: &String| line.contains(mark);
        for items in lines.chunk_by_mut(|one, next| is_item(one) && is_item(next)) {
            items.sort_unstable();
        }
    }
    lines
}

/// A line of a table without its padding, since a column is as wide as what it masks. There is one
/// table at most, and etcdctl 3.4 draws it with other characters.
fn columns(line: &str, headings: &mut Vec<String>) -> String {
    if line.starts_with(['┌', '├', '└']) || line.starts_with("+--") {
        return line.chars().take(1).collect();
    }
    for edge in ['│', '|'] {
        let Some(row) = line.strip_prefix(edge) else { continue };
        let cells: Vec<&str> =
            row.trim_end().trim_end_matches(edge).split(edge).map(str::trim).collect();
        if headings.is_empty() {
            *headings = cells.iter().map(|&cell| cell.to_owned()).collect();
        }
        let is_masked = |column: usize| {
            let heading = headings.get(column).map_or("", String::as_str);
            COLUMNS.contains(&heading) && cells[column] != heading
        };
        return format!("| {} |", masked(&cells, is_masked).join(" | "));
    }
    let cells: Vec<&str> = line.split(", ").collect();
    let status = STATUS_COLUMNS.iter().find(|(width, _)| *width == cells.len());
    match status {
        Some((_, columns)) if is_id(cells[1]) => {
            masked(&cells, |column| columns.contains(&column)).join(", ")
        }
        _ => line.to_owned(),
    }
}

/// As printed, or as a script names it.
fn is_id(text: &str) -> bool {
    text.starts_with('{') || u64::from_str_radix(text, 16).is_ok()
}

fn masked<'a>(cells: &[&'a str], is_masked: impl Fn(usize) -> bool) -> Vec<&'a str> {
    let mask = |(column, cell)| if is_masked(column) { "*" } else { cell };
    cells.iter().copied().enumerate().map(mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_durations_and_sizes_are_taken_out_and_revisions_stay() {
        let text = r#"{"header":{"cluster_id":7,"revision":4,"raft_term":2},"dbSize":20480} took = 1.02ms"#;
        let wanted =
            r#"{"header":{"cluster_id":7,"revision":4,"raft_term":*},"dbSize":*} took = *"#;
        assert_eq!(normalize(text), wanted);
    }

    #[test]
    fn a_table_keeps_its_headings_and_every_other_column() {
        let table = "┌──┬──┐\n│ ID │ RAFT TERM │\n├──┼──┤\n│  7 │         2 │\n└──┴──┘";
        assert_eq!(normalize(table), "┌\n| ID | RAFT TERM |\n├\n| 7 | * |\n└");
        let old =
            "+----+-----------+\n| ID | RAFT TERM |\n+----+-----------+\n|  7 |         2 |\n+-+";
        assert_eq!(normalize(old), "+\n| ID | RAFT TERM |\n+\n| 7 | * |\n+-+");
    }

    #[test]
    fn a_simple_status_keeps_its_ids_quota_and_flags() {
        let line =
            "h:1, 2e, 3.7.3, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 4, 4, , , false";
        let wanted = "h:1, 2e, *, *, *, *, *, 2.1 GB, true, false, *, *, *, , , false";
        assert_eq!(normalize(line), wanted);
        let old = "h:1, 2e, 3.7.3, 25 kB, true, false, 2, 8, 8, ";
        assert_eq!(normalize(old), "h:1, 2e, *, *, true, false, *, *, *, ");
        let named = "h:1, {m1}, 3.7.3, 25 kB, true, false, 2, 8, 8, ";
        assert_eq!(normalize(named), "h:1, {m1}, *, *, true, false, *, *, *, ");
    }

    #[test]
    fn keys_of_a_lease_and_members_asked_at_once_have_no_order() {
        let health = "b is healthy: took = 1ms\na is healthy: took = 2ms\n";
        assert_eq!(normalize(health), "a is healthy: took = *\nb is healthy: took = *");
        assert_eq!(normalize("attached keys([b a])"), "attached keys([a b])");
        assert_eq!(normalize(r#""keys":["Yg==","YQ=="]"#), r#""keys":["YQ==","Yg=="]"#);
        assert_eq!(normalize("attached keys([])"), "attached keys([])");
        let fields = "\"TTL\" : 9\n\"Key\" : \"b\"\n\"Key\" : \"a\"\n";
        assert_eq!(normalize(fields), "\"TTL\" : *\n\"Key\" : \"a\"\n\"Key\" : \"b\"");
    }

    #[test]
    fn how_a_refused_connection_ends_depends_on_time_and_why_it_is_not_believed_does_not() {
        let with =
            |reason: &str| normalize(&format!(r#"{{"error":"latest balancer error: {reason}"}}"#));
        let ends = with("write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe");
        assert_eq!(ends, r#"{"error":"latest balancer error: *"}"#);
        let read = r#"connection error: desc = \"error reading server preface: EOF\""#;
        assert_eq!(with(read), ends);
        let other = r#"connection error: desc = \"transport: authentication handshake failed\""#;
        assert_ne!(with(other), ends);
    }

    #[test]
    fn the_version_of_a_key_is_not_the_version_of_a_server() {
        assert_eq!(normalize(r#"{"version":3}"#), r#"{"version":3}"#);
        assert_eq!(normalize(r#"{"version":"3.7.3"}"#), r#"{"version":"*"}"#);
    }
}
