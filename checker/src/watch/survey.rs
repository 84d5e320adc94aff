//! One pass over the responses of all watches, in the order of the file: what they say about
//! themselves, and what they tell of revisions that no answered operation made.
//!
//! It needs nothing but the operations' briefs, so it goes beside what is asked of the operations.

use std::collections::HashMap;

use crate::findings::Findings;
use crate::hashing::Hashing;
use crate::history::WatchLine;
use crate::history::record::{Event, KeyValue, WatchBody};
use crate::linear::brief::Briefs;
use crate::linear::pins::first_watched;
use crate::verdict::Counts;

use super::follow::Follower;

/// All watches of a history.
#[derive(Debug)]
pub(crate) struct Survey<'h> {
    /// In the order in which the history first tells of them.
    pub(crate) followed: Vec<Followed<'h>>,
    /// The highest revision that a response tells of.
    pub(crate) newest: i64,
    /// Key-values before an event, that carry a revision that no answered operation made.
    pub(crate) befores: Vec<&'h KeyValue>,
    /// Responses that bring no events.
    pub(crate) eventless: Vec<&'h WatchLine>,
    /// What was counted.
    pub(crate) counts: Counts,
}

/// One watch.
#[derive(Debug)]
pub(crate) struct Followed<'h> {
    pub(crate) id: u64,
    pub(crate) follower: Follower<'h>,
    /// What it breaks by itself.
    pub(crate) findings: Findings,
    pub(crate) unclaimed: Unclaimed<'h>,
}

/// What a watch tells of revisions that no answered operation made.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed<'h> {
    /// Its events at such revisions; and whether, so far, it was told in full of all that happens.
    pub(crate) events: Vec<(&'h Event, bool)>,
    /// The first revision of which it tells, if it was told in full of all that happens.
    pub(crate) start: Option<i64>,
    /// The last revision of which it has told.
    pub(crate) reached: i64,
    has_ended: bool,
}

impl<'h> Survey<'h> {
    /// Goes through all responses. `findings` is empty.
    pub(crate) fn of(briefs: &Briefs<'h>, findings: &Findings) -> Survey<'h> {
        let history = briefs.history;
        let mut survey = Survey {
            followed: Vec::new(),
            newest: i64::MIN,
            befores: Vec::new(),
            eventless: Vec::new(),
            counts: Counts::default(),
        };
        let mut places: HashMap<u64, usize, Hashing> = HashMap::default();
        let mut next = 0;
        for line in &history.watches {
            let id = line.response.watch;
            // Watches of one kind often speak in turn.
            if survey.followed.get(next).is_none_or(|followed| followed.id != id) {
                next = *places.entry(id).or_insert_with(|| {
                    survey.followed.push(Followed::new(id, findings.empty()));
                    survey.followed.len() - 1
                });
            }
            survey.take(briefs, next, line);
            next = (next + 1) % survey.followed.len();
        }
        survey
    }

    fn take(&mut self, briefs: &Briefs<'h>, place: usize, line: &'h WatchLine) {
        let body = &line.response.body;
        self.counts.add_response(body);
        let told = match body {
            // Events rise, and none is newer than its response; else a watch rule is broken.
            WatchBody::Events { events, .. } => events.last().map(|event| event.kv.mod_revision),
            WatchBody::Digests(short) => short.revisions().map(|(_, newest)| newest),
            WatchBody::Created(_)
            | WatchBody::Progress
            | WatchBody::Canceled { .. }
            | WatchBody::Closed { .. } => None,
        };
        self.newest = self.newest.max(told.unwrap_or(i64::MIN));
        if !matches!(body, WatchBody::Closed { .. }) {
            self.newest = self.newest.max(line.response.revision);
        }
        if let WatchBody::Events { events, .. } = body {
            let befores = events.iter().filter_map(|event| event.prev_kv.as_ref());
            self.befores.extend(befores.filter(|kv| !briefs.is_written(kv.mod_revision)));
        } else if !matches!(body, WatchBody::Digests(_)) {
            self.eventless.push(line);
        }
        self.followed[place].take(briefs, line);
    }
}

impl<'h> Followed<'h> {
    fn new(id: u64, findings: Findings) -> Followed<'h> {
        let (follower, unclaimed) = (Follower::default(), Unclaimed::default());
        Followed { id, follower, findings, unclaimed }
    }

    fn take(&mut self, briefs: &Briefs<'h>, line: &'h WatchLine) {
        self.unclaimed.take(briefs, line);
        self.follower.take(briefs.history, line, &mut self.findings);
    }
}

impl<'h> Unclaimed<'h> {
    fn take(&mut self, briefs: &Briefs<'h>, line: &'h WatchLine) {
        if self.has_ended {
            return;
        }
        match &line.response.body {
            WatchBody::Created(request) => {
                let start = first_watched(request, line.response.revision);
                self.start = briefs.are_all_seen_by(request).then_some(start);
            }
            WatchBody::Progress => self.reached = self.reached.max(line.response.revision),
            WatchBody::Events { events, fragment } => {
                let unclaimed = events.iter().filter(|own| !briefs.is_written(own.kv.mod_revision));
                let sees_all = self.start.is_some();
                self.events.extend(unclaimed.map(|event| (event, sees_all)));
                let newest = events.last().map_or(0, |event| event.kv.mod_revision);
                self.reached = self.reached.max(newest.saturating_sub(i64::from(*fragment)));
            }
            // They say that something happened, and not what.
            WatchBody::Digests(_) => self.start = None,
            WatchBody::Canceled { .. } | WatchBody::Closed { .. } => self.has_ended = true,
        }
    }
}
