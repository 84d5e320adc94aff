//! Which watches a run has: on every member one on all keys, told in full, if the run is recorded;
//! and those that the workload declares, on the members that there are at the start.
//!
//! A member that comes later is watched from the beginning of the run too: so all that it was given
//! by snapshot or log is seen, unless it was compacted.

use std::collections::BTreeSet;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use rusd_checker::history::record::WatchRequest;
use rusd_checker::history::text::Text;

use super::{Run, Started};
use crate::keys::{KeySpace, prefix_end};
use crate::watcher::{self, Plan, Watcher};
use crate::workload::{WatchStart, WatchTold, Watches};

impl Run {
    /// The watches of the run, each with its member.
    pub(super) fn watches(&self, first_revision: i64, members: u32) -> Vec<Plan> {
        let workload = &self.settings.workload;
        let beginning = first_revision + 1;
        let mut plans = Vec::new();
        if self.report.recorded {
            plans.extend((0..members).map(|member| on_everything(member, beginning)));
        }
        let keys = KeySpace::new(&workload.keys);
        for group in &workload.watches {
            plans.extend(
                (0..group.count).map(|place| plan(group, place, members, beginning, &keys)),
            );
        }
        plans
    }

    /// Watches members that come, until it is told to end.
    pub(super) fn watch_newcomers(&self, started: &Started) -> Newcomers {
        let stop = CancellationToken::new();
        let known = started.watches.iter().map(|watch| watch.member).collect();
        let beginning = started.first_revision + 1;
        let following = self.report.recorded.then(|| {
            tokio::spawn(follow(started.watching.clone(), known, beginning, stop.clone()))
        });
        Newcomers { stop, following }
    }
}

/// Watches of the members that came.
pub(super) struct Newcomers {
    stop: CancellationToken,
    following: Option<JoinHandle<Vec<Watcher>>>,
}

impl Newcomers {
    /// Ends the looking out for further ones. Everyone who has come is watched.
    pub(super) async fn end(self) -> Vec<Watcher> {
        self.stop.cancel();
        match self.following {
            Some(following) => following.await.expect("it does not panic"),
            None => Vec::new(),
        }
    }
}

async fn follow(
    watching: watcher::Shared,
    mut known: BTreeSet<u32>,
    beginning: i64,
    stop: CancellationToken,
) -> Vec<Watcher> {
    let mut roster = watching.roster.clone();
    let mut watches = Vec::new();
    loop {
        let is_last = stop.is_cancelled();
        let now = roster.borrow_and_update().clone();
        for seat in now.seats().iter().filter(|seat| known.insert(seat.member)) {
            watches.extend(watcher::start(watching.clone(), on_everything(seat.member, beginning)));
        }
        if is_last {
            return watches;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            // An error means that nobody comes any more.
            changed = roster.changed() => if changed.is_err() { return watches },
        }
    }
}

fn on_everything(member: u32, start_revision: i64) -> Plan {
    let all = Text::from("\0");
    let request = WatchRequest {
        key: all.clone(),
        range_end: all,
        start_revision,
        // The first one asks for more, so that this too is checked on all keys.
        prev_kv: member == 0,
        no_put: false,
        no_delete: false,
        resumes: None,
    };
    Plan { member, request, events_per_second_max: None, told: WatchTold::InFull }
}

/// The watch at a place of its group.
fn plan(group: &Watches, place: u32, members: u32, beginning: i64, keys: &KeySpace) -> Plan {
    let (key, range_end) = match &group.slices {
        Some(slices) => slice(keys, place, *slices.get_ref()),
        None if group.prefix.is_empty() => (Text::from("\0"), Text::from("\0")),
        None => (Text::from(&group.prefix), Text::from(&prefix_end(group.prefix.as_bytes()))),
    };
    let request = WatchRequest {
        key,
        range_end,
        start_revision: match group.start {
            WatchStart::Beginning => beginning,
            WatchStart::Now => 0,
        },
        prev_kv: group.prev_kv,
        no_put: group.no_put,
        no_delete: group.no_delete,
        resumes: None,
    };
    let slow = group.slow.as_ref().map(|slow| *slow.get_ref());
    // The last of each so many: where there is but one watch, it is not slow.
    let slow = slow.filter(|slow| (place + 1).is_multiple_of(slow.one_in));
    let events_per_second_max = slow.map(|slow| slow.events_per_second);
    Plan { member: place % members, request, events_per_second_max, told: group.told }
}

/// The part of all keys that the watch at a place sees.
fn slice(keys: &KeySpace, place: u32, slices: u32) -> (Text, Text) {
    let [place, slices] = [place % slices, slices].map(|n| usize::try_from(n).expect("u32 fits"));
    let begin = |slice: usize| keys.key(slice * keys.count() / slices);
    (begin(place), begin(place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Workload;

    fn plans(watches: &str) -> Vec<Plan> {
        let text = format!(
            "duration = \"1s\"\nclients = 1\nkeys = {{ count = 7 }}\nmix = {{ put = 1 }}\n\
             [[watches]]\n{watches}"
        );
        let workload = Workload::parse("test.toml", &text).unwrap();
        let keys = KeySpace::new(&workload.keys);
        let group = &workload.watches[0];
        (0..group.count).map(|place| plan(group, place, 3, 2, &keys)).collect()
    }

    #[test]
    fn slices_are_all_keys_and_share_none() {
        let plans = plans("count = 4\nslices = 3\n");
        let spans: Vec<(String, String)> = plans
            .iter()
            .map(|plan| (plan.request.key.to_string(), plan.request.range_end.to_string()))
            .collect();
        let expected =
            [("key/0", "key/2"), ("key/2", "key/4"), ("key/4", "key0"), ("key/0", "key/2")];
        assert_eq!(spans, expected.map(|(key, end)| (key.to_owned(), end.to_owned())));
        let members: Vec<u32> = plans.iter().map(|plan| plan.member).collect();
        assert_eq!(members, [0, 1, 2, 0]);
    }

    #[test]
    fn one_in_so_many_is_slow() {
        let plans = plans(
            "count = 6\nslow = { one_in = 3, events_per_second = 50 }\ntold = \"in_short\"\n",
        );
        let slow: Vec<Option<u32>> = plans.iter().map(|plan| plan.events_per_second_max).collect();
        assert_eq!(slow, [None, None, Some(50), None, None, Some(50)]);
        assert!(plans.iter().all(|plan| plan.told == WatchTold::InShort));
    }
}
