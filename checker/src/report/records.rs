//! A short history as text: one line for each record, as violations name them.

use std::fmt::Write as _;

use crate::history::record::Record;
use crate::history::{FinalLine, OperationLine, WatchLine};
use crate::render;
use crate::verdict::Named;

/// Renders every record with its line.
pub fn render(records: &[Record]) -> String {
    let mut text = String::new();
    for (line, record) in (1..).zip(records) {
        let Named { line, text: said } = named(line, record);
        writeln!(text, "{line:>4}  {said}").expect("a string grows");
    }
    text
}

fn named(line: u64, record: &Record) -> Named {
    match record {
        Record::Header(header) => {
            let keys = render::list(&header.initial, render::key_value);
            let revision = header.first_revision;
            Named { line, text: format!("the store is at revision {revision} and holds {keys}") }
        }
        Record::Op(operation) => {
            render::operation(&OperationLine { line, operation: operation.clone() })
        }
        Record::Watch(response) => render::watch(&WatchLine { line, response: response.clone() }),
        Record::Final(state) => render::final_state(&FinalLine { line, state: state.clone() }),
        Record::Nemesis(nemesis) => Named {
            line,
            text: format!(
                "{:?} of fault {} [{}]",
                nemesis.phase,
                nemesis.fault,
                render::seconds(nemesis.time_ns)
            ),
        },
        Record::End(_) => Named { line, text: "the end".into() },
    }
}
