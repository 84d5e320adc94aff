//! From requests to the steps of a script.
//!
//! Where an answer would depend on timing, a step before it waits:
//!
//! - A watch is created, and cancelled, before the next request is sent.
//! - What watches owe is read before a watch is cancelled, which could overtake its events, and
//!   before a compaction, which could take the previous value that an event is to have.
//! - A hash is taken, and a watch created, when no compaction is at work: the events of the very
//!   revision that is compacted to are among those that it may take. A compaction to a revision that was compacted
//!   already is refused, but `physical` waits all the same.
//!
//! A stream begins with a compaction of all that was before it, so that it is the same on a server
//! that was used as on a new one.

use super::super::schema;
use super::super::script::{Action, Step};
use super::request::Request;

/// Name of the one watch stream.
const STREAM: &str = "w";
/// Name of each stream of a range.
const RANGE_STREAM: &str = "s";

/// Makes steps of a stream's requests, in order.
#[derive(Debug, Default)]
pub struct Steps {
    is_watching: bool,
    may_be_compacting: bool,
}

impl Steps {
    /// The step before the first request.
    pub fn first() -> Step {
        compact_all_before()
    }

    /// The steps of the next request.
    pub fn of(&mut self, request: &Request) -> Vec<Step> {
        match request.rpc() {
            "Watch" => {
                let is_cancel = request.message.has_field_by_name("cancel_request");
                let mut steps = if is_cancel { self.last() } else { Vec::new() };
                let is_create = request.message.has_field_by_name("create_request");
                if is_create && std::mem::replace(&mut self.may_be_compacting, false) {
                    steps.extend(self.last());
                    steps.push(compact_all_before());
                }
                if !self.is_watching {
                    self.is_watching = true;
                    let method = request.method.clone();
                    let action = Action::Open { stream: named(), method, request: String::new() };
                    steps.push(Step::new(format!("{STREAM} = Watch"), action));
                }
                let (method, text) = (request.method.clone(), request.text());
                let action = Action::Send { stream: named(), method, request: text.clone() };
                steps.push(Step::new(format!("{STREAM} > {text}"), action));
                steps.push(settle());
                steps
            }
            "Compact" => {
                self.may_be_compacting |= !request.message.has_field_by_name("physical");
                self.last().into_iter().chain([call(request)]).collect()
            }
            "HashKV" if std::mem::replace(&mut self.may_be_compacting, false) => {
                let mut steps = self.last();
                steps.extend([compact_all_before(), call(request)]);
                steps
            }
            "RangeStream" => range_stream(request),
            _ => vec![call(request)],
        }
    }

    /// The steps after the last request.
    pub fn last(&self) -> Vec<Step> {
        if self.is_watching { vec![settle()] } else { Vec::new() }
    }
}

fn named() -> String {
    STREAM.to_owned()
}

fn settle() -> Step {
    Step::new(format!("{STREAM} settle"), Action::Settle { stream: named() })
}

fn call(request: &Request) -> Step {
    let text = request.text();
    let written = format!("{} {text}", request.rpc()).trim_end().to_owned();
    let method = request.method.clone();
    Step::new(written, Action::Call { method, request: text, until_expected: false })
}

/// All keys there are come in one message.
fn range_stream(request: &Request) -> Vec<Step> {
    let stream = RANGE_STREAM.to_owned();
    let (method, text) = (request.method.clone(), request.text());
    let written = format!("{RANGE_STREAM} = RangeStream {text}").trim_end().to_owned();
    let open = Action::Open { stream: stream.clone(), method, request: text };
    let receive = Step::new(format!("{RANGE_STREAM} <"), Action::Receive { stream });
    vec![Step::new(written, open), receive.clone(), receive]
}

fn compact_all_before() -> Step {
    let method = schema::method("Compact").expect("the RPC exists");
    let request = "revision: 1 physical: true".to_owned();
    let written = format!("Compact {request}");
    Step::new(written, Action::Call { method, request, until_expected: false })
}

#[cfg(test)]
mod tests {
    use super::super::super::script::Script;
    use super::super::request::tests::request;
    use super::*;

    #[test]
    fn the_steps_are_those_of_the_script_that_is_printed() {
        let requests = [
            request("HashKV", ""),
            request("Watch", "create_request { }"),
            request("LeaseLeases", ""),
            request("Watch", "progress_request { }"),
            request("Watch", "cancel_request { }"),
            request("Compact", "revision: 1 physical: true"),
            request("HashKV", "revision: 3"),
            request("Compact", "revision: 2"),
            request("RangeStream", "key: \"a\""),
            request("HashKV", ""),
        ];
        let mut steps = Steps::default();
        let mut all = vec![Steps::first()];
        all.extend(requests.iter().flat_map(|request| steps.of(request)));
        all.extend(steps.last());
        let texts: Vec<&str> = all.iter().map(|step| step.text.as_str()).collect();
        let expected = [
            "Compact revision: 1 physical: true",
            "HashKV",
            "w = Watch",
            "w > create_request { }",
            "w settle",
            "LeaseLeases",
            "w > progress_request { }",
            "w settle",
            "w settle",
            "w > cancel_request { }",
            "w settle",
            "w settle",
            "Compact revision: 1 physical: true",
            "HashKV revision: 3",
            "w settle",
            "Compact revision: 2",
            "s = RangeStream key: \"a\"",
            "s <",
            "s <",
            "w settle",
            "Compact revision: 1 physical: true",
            "HashKV",
            "w settle",
        ];
        assert_eq!(texts, expected);
        let script = Script::parse("a/b", &format!("# a\n{}\n", texts.join("\n"))).unwrap();
        for (read, made) in script.steps.iter().zip(&all) {
            assert_eq!(format!("{:?}", read.action), format!("{:?}", made.action));
        }
    }
}
