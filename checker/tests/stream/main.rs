//! The check of a stream agrees with the check of the whole history, or says that it does not know.

mod agreement;
mod bounds;
mod damages;
mod follow;
mod orders;
mod stories;

use rusd_checker::history::History;
use rusd_checker::history::record::Record;
use rusd_checker::stream::{Stream, StreamOptions};
use rusd_checker::synthetic::{Mix, Run, Shape};
use rusd_checker::{Options, Report, Verdict, check};

/// A watched history without anything that is left to the whole check.
pub(crate) fn plain() -> Shape {
    let mix = Mix {
        lease_grant: 0,
        lease_put: 0,
        lease_revoke: 0,
        lease_keep_alive: 0,
        compact: 0,
        ..Shape::large().mix
    };
    Shape { mix, ..Shape::medium() }
}

pub(crate) fn records(seed: u64, shape: Shape, operations: u64) -> Vec<Record> {
    let mut run = Run::shaped(seed, shape);
    let header = Record::Header(run.header());
    std::iter::once(header).chain(run.records(operations)).collect()
}

pub(crate) fn whole(records: &[Record]) -> Verdict {
    let history = History::collect(records.to_vec()).expect("well-formed");
    check(&history, &Options::default()).verdict
}

/// Feeds all records; `see` looks at the stream after each.
pub(crate) fn stream_with(
    records: &[Record],
    options: StreamOptions,
    mut see: impl FnMut(&mut Stream),
) -> Report {
    let mut lines = (1..).zip(records.iter().cloned());
    let Some((_, Record::Header(header))) = lines.next() else { panic!("a header comes first") };
    let mut stream = Stream::begin(header, options).expect("well-formed");
    for (line, record) in lines {
        stream.take(line, record).expect("well-formed");
        see(&mut stream);
    }
    stream.finish()
}

pub(crate) fn stream(records: &[Record], options: StreamOptions) -> Verdict {
    stream_with(records, options, |_| {}).verdict
}
