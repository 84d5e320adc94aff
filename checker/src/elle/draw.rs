//! What was found as pictures, for Graphviz.
//!
//! Transactions are called as [`explain`] calls them, so that picture and words go
//! together.

use super::anomaly::Anomaly;
use super::explain::{self, Explainer};
use super::names::Names;
use super::numbering::at;
use super::report::{Case, Dependency};
use super::transaction::{MicroOp, Transaction};
use crate::report::graphviz::quoted;

/// A case of an anomaly as a graph in the language of Graphviz: a box for each transaction, and for a
/// cycle an arrow for each of its steps. What else is wrong has no arrows and is told in a note.
pub fn dot<M: MicroOp>(
    anomaly: Anomaly,
    case: &Case,
    transactions: &[Transaction<M>],
    names: &Names,
) -> String {
    let mut lines = vec![
        format!("digraph \"{anomaly}\" {{"),
        format!("  label=\"{anomaly}\"; fontname=sans;"),
        "  node [shape=box, fontname=sans];".to_owned(),
        "  edge [fontname=sans];".to_owned(),
    ];
    let concerned = explain::concerned(case);
    for (place, id) in (1..).zip(&concerned) {
        let own = &transactions[at(id.0)];
        let mops: Vec<String> = own.mops.iter().map(|mop| quoted(&mop.describe(names))).collect();
        lines.push(format!("  T{place} [label=\"T{place}\\n{}\"];", mops.join("\\n")));
    }
    if let Case::Cycle { steps, .. } = case {
        // Steps follow each other, and the transactions concerned are where they begin.
        for (place, step) in (1..).zip(steps) {
            let (name, color) = style(&step.because);
            let reason = quoted(&explain::reason_in_short(&step.because, names));
            let label = format!("label=\"{name}\\n{reason}\", color=\"{color}\"");
            lines.push(format!("  T{place} -> T{} [{label}];", place % steps.len() + 1));
        }
    } else {
        let words = Explainer { transactions, names }.words(anomaly, case);
        let words: Vec<String> = words.iter().map(|line| quoted(line)).collect();
        lines.push(format!("  why [shape=note, label=\"{}\"];", words.join("\\n")));
    }
    lines.push("}\n".to_owned());
    lines.join("\n")
}

/// What a step is called, and its colour.
pub(crate) fn style(because: &Dependency) -> (&'static str, &'static str) {
    match because {
        Dependency::Ww { .. } => ("ww", "#c0392b"),
        Dependency::Wr { .. } => ("wr", "#8e44ad"),
        Dependency::Rw { .. } => ("rw", "#2471a3"),
        Dependency::Process { .. } => ("process", "#7f8c8d"),
        Dependency::Realtime { .. } => ("realtime", "#27ae60"),
    }
}
