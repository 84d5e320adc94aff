//! Words that must not be committed.

use std::path::Path;

use super::Finding;
use super::tree::Tree;

/// A word, where it is forbidden, and why. Written in pieces, so that this file may hold them.
struct Word {
    text: &'static str,
    only_rust: bool,
    why: &'static str,
}

const WORDS: [Word; 9] = [
    Word { text: concat!("to", "do!"), only_rust: true, why: "unfinished" },
    Word { text: concat!("unimple", "mented!"), only_rust: true, why: "unfinished" },
    Word { text: concat!("FIX", "ME"), only_rust: false, why: "unfinished: name an issue" },
    Word { text: concat!("X", "XX"), only_rust: true, why: "unfinished: name an issue" },
    Word { text: concat!("dbg", "!("), only_rust: true, why: "left over from a search" },
    Word { text: concat!("#[ig", "nore"), only_rust: true, why: "a test runs or is removed" },
    Word { text: concat!("/wo", "rk/"), only_rust: false, why: "a path of one machine" },
    Word { text: concat!("/tmp/", "peers"), only_rust: false, why: "a path of one machine" },
    Word { text: concat!("/ro", "ot/"), only_rust: false, why: "a path of one machine" },
];

/// No forbidden word, and no open task without an issue.
pub(super) fn forbidden(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts("") {
        let is_rust = Path::new(path).extension().is_some_and(|extension| extension == "rs");
        for (number, line) in text.lines().enumerate() {
            for word in WORDS.iter().filter(|word| is_rust || !word.only_rust) {
                if line.contains(word.text) {
                    let what = format!("`{}`: {}", word.text, word.why);
                    findings.push(Finding::at(path, number + 1, what));
                }
            }
            let task = concat!("TO", "DO");
            if is_rust && line.contains(task) && !line.contains('#') {
                let what = format!("a {task} names an issue (#N)");
                findings.push(Finding::at(path, number + 1, what));
            }
        }
    }
    findings
}
