//! What is wrong as graphs, in the language of Graphviz: a graph for each violation, with a box for each
//! line that it names and a note of what was expected. Nothing is drawn of what is right.

use std::fmt::Write as _;

use crate::verdict::Report;

/// Renders a report.
pub fn render(report: &Report) -> String {
    let graphs = report.verdict.violations().iter().map(|violation| {
        let mut graph = Graph::new(violation.rule.id());
        for named in &violation.operations {
            graph.node(&format!("line {}", named.line), &named.text);
        }
        // One after the other, as the violation tells of them.
        for place in 1..violation.operations.len() {
            graph.arrow(place - 1, place, "dir=none, style=dotted");
        }
        graph.note(&[
            format!("expected: {}", violation.expected),
            format!("got: {}", violation.got),
        ]);
        graph.finish()
    });
    graphs.collect()
}

/// A graph that is written: boxes, lines between them, and a note.
#[derive(Debug)]
pub(crate) struct Graph {
    text: String,
    nodes: usize,
}

impl Graph {
    /// An empty graph.
    pub(crate) fn new(name: &str) -> Graph {
        let name = quoted(name);
        let text = format!(
            "digraph \"{name}\" {{\n  label=\"{name}\"; fontname=sans; rankdir=LR;\n  \
             node [shape=box, fontname=sans];\n  edge [fontname=sans];\n"
        );
        Graph { text, nodes: 0 }
    }

    /// Adds a box. The first is number 0.
    pub(crate) fn node(&mut self, title: &str, words: &str) {
        let (title, words) = (quoted(title), quoted(words));
        let number = self.nodes;
        self.line(format_args!("n{number} [label=\"{title}\\n{words}\"];"));
        self.nodes += 1;
    }

    /// Adds a line from one box to another.
    pub(crate) fn arrow(&mut self, from: usize, to: usize, style: &str) {
        self.line(format_args!("n{from} -> n{to} [{style}];"));
    }

    /// Adds a note.
    pub(crate) fn note(&mut self, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
        self.line(format_args!("why [shape=note, label=\"{}\"];", lines.join("\\n")));
    }

    /// The graph.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "  {line}").expect("a string takes everything");
    }
}

/// Text within a label.
pub(crate) fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
