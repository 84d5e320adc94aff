//! A report as a history of our own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use super::super::error::{FormatError, Place};
use super::super::left_out::LeftOut;
use super::super::native::Records;
use super::merge::{Merge, Piece};
use super::model;
use super::survey::{Survey, member_id, named};
use super::to_operation::{self, Told};
use super::to_watch;
use crate::history::record::{FORMAT_VERSION, Header, Record, WatchBody, WatchResponse};

/// Reads a report.
#[derive(Debug)]
pub struct Reader {
    survey: Survey,
    merge: Merge,
    streams: Streams,
    /// Indexes of members by their ids: the smallest is 0.
    members: BTreeMap<u64, u32>,
    /// Watches of which no more can be told.
    cut_watches: BTreeSet<u64>,
    /// Records that are due.
    ready: VecDeque<(Place, Record)>,
    left_out: LeftOut,
}

/// Which process a stream of the report is: after an unknown outcome it is another one.
#[derive(Debug)]
struct Streams {
    renamed: BTreeMap<u64, u64>,
    next_fresh: u64,
}

impl Streams {
    fn process(&self, stream: u64) -> u64 {
        self.renamed.get(&stream).copied().unwrap_or(stream)
    }

    fn retire(&mut self, stream: u64) {
        self.renamed.insert(stream, self.next_fresh);
        self.next_fresh += 1;
    }
}

impl Reader {
    /// Goes through the report in `folder` once, and is ready to read it.
    pub fn open(folder: &Path) -> Result<Reader, FormatError> {
        let survey = Survey::of(folder)?;
        let merge = Merge::new(&survey)?;
        let header = Header {
            version: FORMAT_VERSION,
            workload: "etcd robustness report".into(),
            seed: 0,
            system: "etcd".into(),
            first_revision: 1,
            initial: Vec::new(),
        };
        Ok(Reader {
            streams: Streams {
                renamed: BTreeMap::new(),
                next_fresh: survey.stream_max.saturating_add(1),
            },
            members: survey.members.iter().copied().zip(0..).collect(),
            survey,
            merge,
            cut_watches: BTreeSet::new(),
            ready: VecDeque::from([(Place::START, Record::Header(header))]),
            left_out: LeftOut::default(),
        })
    }

    fn take(&mut self, piece: Piece) -> Result<(), FormatError> {
        match piece {
            Piece::Operation(line) => {
                let place = line.place;
                let process = self.streams.process(line.stream);
                let member = member_id(&line)?.and_then(|id| self.members.get(&id).copied());
                let member = member.unwrap_or(0);
                let told = to_operation::tell(&line, process, member, &self.survey.changes)
                    .map_err(|reason| FormatError::malformed(place, reason))?;
                match told {
                    Told::LeftOut(what) => self.left_out.add(what),
                    Told::Operation(operation) => {
                        if operation.return_ns.is_none() {
                            self.streams.retire(line.stream);
                        }
                        self.ready.push_back((place, Record::Op(*operation)));
                    }
                }
            }
            Piece::Created(watch, request, first) => {
                let created = to_watch::created(watch, &request, first.as_ref());
                self.ready.push_back((Place::START, Record::Watch(created)));
            }
            Piece::Response(watch, place, response) => {
                self.take_response(watch, place, &response)
                    .map_err(|reason| FormatError::malformed(place, reason))?;
            }
        }
        Ok(())
    }

    fn take_response(
        &mut self,
        watch: u64,
        place: Place,
        response: &model::WatchResponse,
    ) -> Result<(), String> {
        if self.cut_watches.contains(&watch) {
            return Ok(());
        }
        let arrived_ns = u64::try_from(response.time).ok().ok_or("Time is negative")?;
        let bodies = to_watch::bodies(response, &self.survey.changes)?;
        let bodies = bodies.unwrap_or_else(|| {
            self.left_out
                .add("rests of watches, from an event of which not all metadata are known");
            self.cut_watches.insert(watch);
            vec![WatchBody::Closed { by_client: false }]
        });
        for body in bodies {
            let revision = response.revision;
            let told = WatchResponse { watch, member: 0, arrived_ns, revision, body };
            self.ready.push_back((place, Record::Watch(told)));
        }
        Ok(())
    }
}

impl Records for Reader {
    fn next_record(&mut self) -> Result<Option<(Place, Record)>, FormatError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            let Some((path, piece)) = self.merge.next()? else { return Ok(None) };
            self.take(piece).map_err(|error| named(&path, error))?;
        }
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}
