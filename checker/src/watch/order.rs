//! The order in which the events of a watch arrive.

use crate::findings::{Broken, Findings};
use crate::history::WatchLine;
use crate::history::record::{Event, WatchBody};
use crate::render;
use crate::verdict::Rule;

/// How far the events of a watch have come.
pub(super) struct Order<'h> {
    pub(super) last: i64,
    pub(super) last_line: &'h WatchLine,
    /// The last response was a fragment.
    pub(super) may_continue: bool,
}

impl<'h> Order<'h> {
    /// Whether an event is in order; if not, it is noted and left out of what follows.
    pub(super) fn accepts(
        &mut self,
        line: &'h WatchLine,
        event: &Event,
        findings: &mut Findings,
    ) -> bool {
        let revision = event.kv.mod_revision;
        let other_response = line.line != self.last_line.line;
        let broken = |expected: &str| Broken {
            operations: vec![render::watch(self.last_line), render::watch(line)],
            expected: expected.to_owned(),
            got: render::event(event),
        };
        if revision < self.last {
            findings.add(Rule::WatchOrdered, || broken("revisions that rise"));
            return false;
        }
        let same = revision == self.last && other_response && !self.may_continue;
        let repeated = revision == self.last && self.is_repeated(line, event);
        if repeated {
            findings.add(Rule::WatchUnique, || broken("each event once"));
            return false;
        }
        if same {
            findings.add(Rule::WatchAtomic, || broken("all events of a revision together"));
        }
        self.last = revision;
        self.last_line = line;
        true
    }

    /// Whether the same key has had an event of this revision in the last response, or earlier in
    /// this one.
    fn is_repeated(&self, line: &WatchLine, event: &Event) -> bool {
        let same = |other: &&Event| {
            other.kv.key == event.kv.key && other.kv.mod_revision == event.kv.mod_revision
        };
        let within = |line: &WatchLine| match &line.response.body {
            WatchBody::Events { events, .. } => {
                events.iter().take_while(|other| !std::ptr::eq(*other, event)).any(|own| same(&own))
            }
            _ => false,
        };
        within(line) || (line.line != self.last_line.line && within(self.last_line))
    }
}
