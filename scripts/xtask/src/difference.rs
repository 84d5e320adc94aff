//! What differs between two texts, line by line, as people read it.

/// Lines that are the same are shown this far around what differs.
const CONTEXT_LINES: usize = 3;

/// A line, and which of the texts have it.
#[derive(Clone, Copy)]
enum Line<'a> {
    Both(&'a str),
    Wanted(&'a str),
    Seen(&'a str),
}

/// Lines of both texts, marked `-` where only the wanted one and `+` where only the seen one has
/// them. Empty when the texts are equal.
pub(crate) fn difference(wanted: &str, seen: &str) -> Vec<String> {
    let lines = merged(wanted, seen);
    let differs: Vec<usize> =
        (0..lines.len()).filter(|&position| !matches!(lines[position], Line::Both(_))).collect();
    let is_near =
        |position: usize| differs.iter().any(|&other| other.abs_diff(position) <= CONTEXT_LINES);
    let mut shown = Vec::new();
    let mut is_gap = false;
    for (position, line) in lines.into_iter().enumerate() {
        if !is_near(position) {
            is_gap = true;
            continue;
        }
        if std::mem::take(&mut is_gap) {
            shown.push("    ...".to_owned());
        }
        shown.push(match line {
            Line::Both(text) => format!("    {text}"),
            Line::Wanted(text) => format!("  - {text}"),
            Line::Seen(text) => format!("  + {text}"),
        });
    }
    shown
}

/// All lines of both texts, with as many in common as there can be.
fn merged<'a>(wanted: &'a str, seen: &'a str) -> Vec<Line<'a>> {
    let (wanted, seen): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), seen.lines().collect());
    // common[i][j]: lines in common of what begins at wanted[i] and at seen[j].
    let mut common = vec![vec![0_usize; seen.len() + 1]; wanted.len() + 1];
    for i in (0..wanted.len()).rev() {
        for j in (0..seen.len()).rev() {
            common[i][j] = if wanted[i] == seen[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < wanted.len() || j < seen.len() {
        let is_wanted = j == seen.len() || i < wanted.len() && common[i + 1][j] >= common[i][j + 1];
        if i < wanted.len() && j < seen.len() && wanted[i] == seen[j] {
            lines.push(Line::Both(wanted[i]));
            (i, j) = (i + 1, j + 1);
        } else if is_wanted {
            lines.push(Line::Wanted(wanted[i]));
            i += 1;
        } else {
            lines.push(Line::Seen(seen[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_sides_in_their_place() {
        assert_eq!(
            difference("a\nb\nc\nd", "a\nx\nd"),
            ["    a", "  - b", "  - c", "  + x", "    d"]
        );
        assert_eq!(difference("a", "a\nb"), ["    a", "  + b"]);
        assert_eq!(difference("", "b"), ["  + b"]);
        assert!(difference("a\nb", "a\nb").is_empty());
    }

    #[test]
    fn what_is_the_same_between_two_differences_is_not_taken_for_one() {
        assert_eq!(
            difference("1\na\n2\nb", "3\na\n4\nb"),
            ["  - 1", "  + 3", "    a", "  - 2", "  + 4", "    b"]
        );
    }

    #[test]
    fn what_is_far_from_a_difference_is_left_out() {
        let text = |last: &str| format!("1\n2\n3\n4\n5\n{last}\n7\n8\n9\n10\n11");
        let shown = difference(&text("x"), &text("y"));
        let wanted =
            ["    ...", "    3", "    4", "    5", "  - x", "  + y", "    7", "    8", "    9"];
        assert_eq!(shown, wanted);
    }
}
