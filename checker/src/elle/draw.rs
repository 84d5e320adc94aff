//! Cycles as pictures, for Graphviz.

use super::explain;
use super::names::Names;
use super::numbering::at;
use super::report::{Case, Dependency};
use super::transaction::{MicroOp, Transaction};

/// A cycle as a graph in the language of Graphviz: a box for each transaction, an arrow for each step.
/// Nothing if the case is no cycle.
pub fn dot<M: MicroOp>(
    case: &Case,
    transactions: &[Transaction<M>],
    names: &Names,
) -> Option<String> {
    let Case::Cycle { steps, .. } = case else { return None };
    let mut lines = vec![
        "digraph cycle {".to_owned(),
        "  node [shape=box, fontname=sans];".to_owned(),
        "  edge [fontname=sans];".to_owned(),
    ];
    for step in steps {
        let own = &transactions[at(step.from.0)];
        let mops: Vec<String> = own.mops.iter().map(|mop| quoted(&mop.describe(names))).collect();
        let label = format!("T{}\\n{}", step.from.0, mops.join("\\n"));
        lines.push(format!("  T{} [label=\"{label}\"];", step.from.0));
    }
    for step in steps {
        let (name, color) = style(&step.because);
        let reason = quoted(&explain::reason_in_short(&step.because, names));
        let label = format!("label=\"{name}\\n{reason}\", color=\"{color}\"");
        lines.push(format!("  T{} -> T{} [{label}];", step.from.0, step.to.0));
    }
    lines.push("}\n".to_owned());
    Some(lines.join("\n"))
}

fn style(because: &Dependency) -> (&'static str, &'static str) {
    match because {
        Dependency::Ww { .. } => ("ww", "#c0392b"),
        Dependency::Wr { .. } => ("wr", "#8e44ad"),
        Dependency::Rw { .. } => ("rw", "#2471a3"),
        Dependency::Process { .. } => ("process", "#7f8c8d"),
        Dependency::Realtime { .. } => ("realtime", "#27ae60"),
    }
}

/// Text within a label.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
