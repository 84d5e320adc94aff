//! The valid histories that are damaged: small ones, which stateright can judge; made-up ones that are
//! watched; and recorded ones, of rusd and of etcd.

use std::fs::File;
use std::path::Path;

use rusd_checker::formats::compressed;
use rusd_checker::formats::native::{Reader, Records};
use rusd_checker::history::record::{Operation, Outcome, Record, Request};
use rusd_checker::synthetic::{Dice, Mix, Run, Shape};

use crate::truth::Truth;

/// Where a history comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Made up: a dozen operations, which nobody watches. What nobody saw may be explained otherwise.
    Small,
    /// Made up: hundreds of operations, watched.
    Synthetic,
    /// A run of loadgen on rusd, with faults.
    Rusd,
    /// The same on etcd.
    Etcd,
}

impl Source {
    pub(crate) const ALL: [Source; 4] =
        [Source::Small, Source::Synthetic, Source::Rusd, Source::Etcd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Small => "small",
            Source::Synthetic => "synthetic",
            Source::Rusd => "rusd",
            Source::Etcd => "etcd",
        }
    }

    /// Its history of this number; recorded ones are few and come again.
    pub(crate) fn history(self, number: u64) -> Base {
        match self {
            Source::Small => small(number),
            Source::Synthetic => synthetic(number),
            Source::Rusd | Source::Etcd => recorded(self.name(), number),
        }
    }

    /// How many different ones there are, if not as many as wanted.
    pub(crate) fn count(self) -> Option<u64> {
        matches!(self, Source::Rusd | Source::Etcd).then_some(RECORDED)
    }
}

/// Recorded histories of each system.
const RECORDED: u64 = 2;
/// Operations of a history that is watched.
const WATCHED_OPERATIONS: u64 = 500;

/// A valid history, and what happened in it.
pub(crate) struct Base {
    /// The header first.
    pub(crate) records: Vec<Record>,
    pub(crate) truth: Truth,
}

impl Base {
    fn new(records: Vec<Record>) -> Base {
        let truth = Truth::of(&records);
        Base { records, truth }
    }
}

fn run(seed: u64, shape: Shape, operations: u64) -> Vec<Record> {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(operations)).collect()
}

fn synthetic(number: u64) -> Base {
    let mut dice = Dice::new(number ^ 0x5_17de);
    let mix = Mix { lease_grant: 4, lease_put: 12, compact: 1, ..Shape::large().mix };
    let shape = Shape {
        clients: 2 + dice.below(12),
        keys: 8 + dice.below(30),
        unknown_per_mille: dice.below(40),
        mix: if dice.per_mille(500) { Mix { lease_revoke: 0, ..mix } } else { mix },
        // Some end before the load does; others are there to the end.
        lease_ttl: if dice.per_mille(600) { 1 } else { 1_000 },
        step_ns_max: 1 << (22 + dice.below(7)),
        ..Shape::large()
    };
    Base::new(run(number, shape, WATCHED_OPERATIONS))
}

/// As nobody watches it, but for us.
fn small(number: u64) -> Base {
    let mut dice = Dice::new(number ^ 0x5_3a11);
    let small = Shape::small();
    // stateright cannot be told what a renewal proves: renewed leases do not run out.
    let renewed = dice.per_mille(300);
    let lease_keep_alive = if renewed { small.mix.lease_keep_alive } else { 0 };
    let shape = Shape {
        mix: Mix { lease_keep_alive, ..small.mix },
        lease_ttl: if renewed { 1_000 } else { 1 },
        keys: 1 + dice.below(3),
        unique_values: dice.per_mille(700),
        unknown_per_mille: 100,
        observed: true,
        ..small
    };
    let records = run(number, shape, 5 + dice.below(8));
    let truth = Truth::of(&records);
    let mut base = Base { records, truth };
    base.records.retain(|record| matches!(record, Record::Header(_) | Record::Op(_)));
    limit_unknown(&mut base.records);
    base.records.iter_mut().for_each(forget_keep_alive_revision);
    base
}

/// stateright tries every order of what never returns: more than a few, and it never ends. Reads alone say
/// nothing then, and go first.
fn limit_unknown(records: &mut Vec<Record>) {
    let mut unknown = 0;
    records.retain(|record| {
        let Record::Op(Operation { outcome: Outcome::Unknown(_), request, .. }) = record else {
            return true;
        };
        unknown += 1;
        !matches!(request, Request::Range(_)) && unknown <= 4
    });
}

/// The model answers a keep-alive at once, a server from two members: its revision says nothing.
fn forget_keep_alive_revision(record: &mut Record) {
    if let Record::Op(Operation {
        request: Request::LeaseKeepAlive(_),
        outcome: Outcome::Ok(response),
        ..
    }) = record
    {
        response.revision = 0;
    }
}

fn recorded(system: &str, number: u64) -> Base {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/recorded");
    let path = folder.join(format!("{system}-{}.jsonl.zst", 1 + number % RECORDED));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = Reader::new(compressed::plain(file).expect("can be decompressed"));
    let mut records = Vec::new();
    while let Some((_, record)) = reader.next_record().expect("well-formed") {
        records.push(record);
    }
    Base::new(records)
}
