//! Watches that are told in short are judged as those told in full.

#![expect(clippy::ptr_arg, reason = "some damages need the vector, and all have one type")]

use std::collections::BTreeMap;

use rusd_checker::history::History;
use rusd_checker::history::digests::{Brief, Digests, digest};
use rusd_checker::history::record::{Event, EventKind, Record, WatchBody, WatchResponse};
use rusd_checker::synthetic::{Bug, Mix, Run, Shape};
use rusd_checker::{Options, Report, Rule, Verdict, check};

const SEEDS: u64 = 8;
/// Events that a line tells at most.
const EVENTS_MAX: usize = 50;
/// The watch that is damaged; watch 0 stays as it is, told in full.
const DAMAGED: u64 = 1;

fn records(seed: u64, bug: Option<Bug>) -> Vec<Record> {
    let mix = Mix { lease_grant: 3, ..Shape::large().mix };
    let mut run = Run::shaped(seed, Shape { mix, bug, ..Shape::medium() });
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(1_500)).collect()
}

fn judge(records: Vec<Record>) -> Report {
    check(&History::collect(records).expect("well-formed"), &Options::default())
}

/// What a watch has received and not yet told.
struct Waiting {
    responses: Vec<Brief>,
    last: WatchResponse,
}

impl Waiting {
    fn record(self) -> Record {
        let body = WatchBody::Digests(Digests::new(&self.responses));
        Record::Watch(WatchResponse { body, ..self.last })
    }

    fn count(&self) -> usize {
        self.responses.iter().map(|brief| brief.events.len()).sum()
    }
}

/// The same history, with every watch but one told in short.
fn in_short(records: Vec<Record>, full: u64) -> Vec<Record> {
    let mut waiting: BTreeMap<u64, Waiting> = BTreeMap::new();
    let mut short = Vec::new();
    for record in records {
        let Record::Watch(response) = record else {
            short.push(record);
            continue;
        };
        let watch = response.watch;
        match &response.body {
            WatchBody::Events { events, fragment } if watch != full => {
                let told = |event: &Event| (event.kv.mod_revision, digest(event));
                let events = events.iter().map(told).collect();
                let brief = Brief { revision: response.revision, events, fragment: *fragment };
                let last = response.clone();
                let own = waiting.entry(watch);
                let own = own.or_insert_with(|| Waiting { responses: Vec::new(), last });
                own.responses.push(brief);
                own.last = response;
                if own.count() >= EVENTS_MAX {
                    short.extend(waiting.remove(&watch).map(Waiting::record));
                }
            }
            _ => {
                short.extend(waiting.remove(&watch).map(Waiting::record));
                short.push(Record::Watch(response));
            }
        }
    }
    short.extend(waiting.into_values().map(Waiting::record));
    short
}

#[test]
fn what_is_valid_stays_valid_and_nothing_is_lost() {
    for seed in 0..SEEDS {
        let full = judge(records(seed, None));
        let short = judge(in_short(records(seed, None), 0));
        assert_eq!(full.verdict, Verdict::Valid, "seed {seed}");
        assert_eq!(short.verdict, Verdict::Valid, "seed {seed}");
        assert_eq!(short.counts.events, full.counts.events, "seed {seed}");
    }
}

/// It is the first watch that lacks them.
#[test]
fn dropped_events_are_missed() {
    for seed in 0..SEEDS {
        let verdict = judge(in_short(records(seed, Some(Bug::DroppedEvent)), 1)).verdict;
        assert_eq!(verdict.rule(), Some(Rule::WatchComplete), "seed {seed}: {verdict:#?}");
    }
}

/// Damages the responses of one watch, told in full; or says that there is nothing to damage.
type Damage = fn(&mut Vec<Record>, &[usize]) -> Option<()>;

const DAMAGES: [(&str, Damage, Rule); 11] = [
    ("an event is dropped", dropped, Rule::WatchComplete),
    ("one of several events is dropped", dropped_one, Rule::WatchComplete),
    ("an event comes twice", repeated, Rule::WatchUnique),
    ("two responses change places", swapped, Rule::WatchOrdered),
    ("two events of a revision change places", swapped_within, Rule::WatchOrdered),
    ("a revision is torn apart", torn, Rule::WatchAtomic),
    ("progress is told ahead of an event", early_progress, Rule::WatchBookmarkable),
    ("an event shows another value", wrong, Rule::WatchContent),
    ("an event forgets its predecessor", forgotten, Rule::WatchPrevKv),
    ("events show predecessors that nobody asked for", unasked, Rule::WatchPrevKv),
    ("an event is of the future", future, Rule::WatchNoFuture),
];

#[test]
fn each_damage_is_blamed_on_its_rule() {
    for (what, damage, rule) in DAMAGES {
        let mut damaged = 0;
        for seed in 0..SEEDS {
            let mut records = records(seed, None);
            let places = places(&records);
            if damage(&mut records, &places).is_none() {
                continue;
            }
            damaged += 1;
            let verdict = judge(in_short(records, 0)).verdict;
            assert_eq!(verdict.rule(), Some(rule), "{what}, seed {seed}: {verdict:#?}");
        }
        assert!(damaged > 0, "{what}: nothing was damaged");
    }
}

/// Places of responses with events of the watch to damage, from the middle of the history on.
fn places(records: &[Record]) -> Vec<usize> {
    let of_watch = |record: &Record| {
        matches!(record, Record::Watch(WatchResponse {
            watch: DAMAGED, body: WatchBody::Events { events, .. }, ..
        }) if !events.is_empty())
    };
    let all = records.iter().enumerate().skip(records.len() / 2);
    all.filter(|(_, record)| of_watch(record)).map(|(place, _)| place).collect()
}

fn events(record: &mut Record) -> &mut Vec<Event> {
    match record {
        Record::Watch(WatchResponse { body: WatchBody::Events { events, .. }, .. }) => events,
        other => panic!("no events: {other:?}"),
    }
}

fn place_of_several(records: &mut [Record], places: &[usize]) -> Option<usize> {
    places.iter().copied().find(|place| events(&mut records[*place]).len() > 1)
}

fn dropped(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    records.remove(*places.first()?);
    Some(())
}

fn dropped_one(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let place = place_of_several(records, places)?;
    events(&mut records[place]).remove(0);
    Some(())
}

fn repeated(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let place = *places.first()?;
    records.insert(place, records[place].clone());
    Some(())
}

fn swapped(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    records.swap(*places.first()?, *places.get(1)?);
    Some(())
}

fn swapped_within(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let place = place_of_several(records, places)?;
    events(&mut records[place]).swap(0, 1);
    Some(())
}

fn torn(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let place = place_of_several(records, places)?;
    let mut rest = records[place].clone();
    *events(&mut rest) = events(&mut records[place]).split_off(1);
    records.insert(place + 1, rest);
    Some(())
}

fn early_progress(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let place = *places.first()?;
    let mut progress = records[place].clone();
    if let Record::Watch(response) = &mut progress {
        response.body = WatchBody::Progress;
    }
    records.insert(place, progress);
    Some(())
}

fn wrong(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let mut all = places.iter().copied();
    let place = all.find(|place| events(&mut records[*place])[0].kind == EventKind::Put)?;
    events(&mut records[place])[0].kv.value = "nobody wrote this".into();
    Some(())
}

fn forgotten(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    let mut all = places.iter().copied();
    let place = all.find(|place| events(&mut records[*place])[0].prev_kv.is_some())?;
    events(&mut records[place])[0].prev_kv = None;
    Some(())
}

fn unasked(records: &mut Vec<Record>, _: &[usize]) -> Option<()> {
    records.iter_mut().find_map(|record| match record {
        Record::Watch(WatchResponse {
            watch: DAMAGED, body: WatchBody::Created(request), ..
        }) => {
            request.prev_kv = false;
            Some(())
        }
        _ => None,
    })
}

fn future(records: &mut Vec<Record>, places: &[usize]) -> Option<()> {
    if let Record::Watch(response) = &mut records[*places.first()?] {
        response.revision -= 1;
    }
    Some(())
}
