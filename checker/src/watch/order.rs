//! The order in which the events of a watch arrive: by revision, once, all events of a revision
//! together, and before the word that they have arrived.

use crate::findings::{Broken, Findings};
use crate::history::WatchLine;
use crate::render;
use crate::verdict::Rule;

use super::told::Told;

/// How far the events of a watch have come.
#[derive(Debug)]
pub(super) struct Order<'h> {
    last: i64,
    last_line: &'h WatchLine,
    /// Events of the last revision so far.
    of_last: Vec<Told<'h>>,
    /// The response that is being taken has brought one of them.
    is_same_response: bool,
    /// The response before was a fragment.
    may_continue: bool,
    /// The progress response of the highest revision: everything up to there has arrived.
    promise: Option<&'h WatchLine>,
}

impl<'h> Order<'h> {
    /// Before the first event of a watch that was created in this line.
    pub(super) fn new(created: &'h WatchLine) -> Order<'h> {
        Order {
            last: i64::MIN,
            last_line: created,
            of_last: Vec::new(),
            is_same_response: false,
            may_continue: false,
            promise: None,
        }
    }

    /// A progress response.
    pub(super) fn promise(&mut self, line: &'h WatchLine) {
        let revision = |line: &WatchLine| line.response.revision;
        if self.promise.is_none_or(|promise| revision(promise) < revision(line)) {
            self.promise = Some(line);
        }
    }

    /// A response has ended. After a fragment, more of the same revision may follow.
    pub(super) fn end_response(&mut self, fragment: bool) {
        self.is_same_response = false;
        self.may_continue = fragment;
    }

    /// Whether an event is in order; if not, it is noted and left out of what follows.
    pub(super) fn accepts(
        &mut self,
        line: &'h WatchLine,
        told: Told<'h>,
        findings: &mut Findings,
    ) -> bool {
        let revision = told.revision();
        let broken = |expected: &str, last_line| Broken {
            operations: vec![render::watch(last_line), render::watch(line)],
            expected: expected.to_owned(),
            got: told.show(),
        };
        let last_line = self.last_line;
        if revision < self.last {
            findings.add(Rule::WatchOrdered, || broken("revisions that rise", last_line));
            return false;
        }
        if revision > self.last {
            self.of_last.clear();
        } else if self.of_last.iter().any(|other| told.repeats(other)) {
            findings.add(Rule::WatchUnique, || broken("each event once", last_line));
            return false;
        } else if !self.is_same_response && !self.may_continue {
            findings
                .add(Rule::WatchAtomic, || broken("all events of a revision together", last_line));
        }
        if let Some(promise) = self.promise.filter(|promise| revision <= promise.response.revision)
        {
            findings
                .add(Rule::WatchBookmarkable, || broken("nothing more that has arrived", promise));
        }
        self.last = revision;
        self.last_line = line;
        self.of_last.push(told);
        self.is_same_response = true;
        true
    }
}
