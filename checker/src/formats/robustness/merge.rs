//! The files of a report as one stream, in the order in which things ended.
//!
//! A watch's responses are opened when its first one is due and closed after its last, so as many
//! files are open as watches were at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::super::error::{FormatError, Place};
use super::model::{WatchRequest, WatchResponse};
use super::operations_file::{Line, Operations};
use super::survey::{Survey, named, open};
use super::watch_file::{Found, Responses};

/// The next thing that ended.
#[derive(Debug)]
pub(super) enum Piece {
    Operation(Line),
    /// A watch begins: its number, what it asked for, and its first response.
    Created(u64, WatchRequest, Option<WatchResponse>),
    /// A response to a watch.
    Response(u64, Place, WatchResponse),
}

/// All files, each as far as it was read.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<(PathBuf, Source)>,
    /// When the next piece of a source ended.
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

#[derive(Debug)]
enum Source {
    Operations(Operations<BufReader<File>>, Option<Line>),
    /// A watch that is not begun.
    Watch(u64, Found),
    Responses(u64, Responses, Option<(Place, WatchResponse)>),
    Done,
}

impl Merge {
    pub(super) fn new(survey: &Survey) -> Result<Merge, FormatError> {
        let mut merge = Merge { sources: Vec::new(), due: BinaryHeap::new() };
        for path in &survey.operations {
            let mut operations = Operations::new(open(path)?);
            let first = operations.next().map_err(|error| named(path, error))?;
            merge.add(path.clone(), Source::Operations(operations, first));
        }
        let mut watch = 0;
        for (path, found) in &survey.watches {
            for one in found {
                merge.add(path.clone(), Source::Watch(watch, one.clone()));
                watch += 1;
            }
        }
        Ok(merge)
    }

    fn add(&mut self, path: PathBuf, source: Source) {
        if let Some(due) = source.due() {
            self.due.push(Reverse((due, self.sources.len())));
        }
        self.sources.push((path, source));
    }

    /// The next piece, and the file it is of; `None` when all files have ended.
    pub(super) fn next(&mut self) -> Result<Option<(PathBuf, Piece)>, FormatError> {
        let Some(Reverse((_, index))) = self.due.pop() else { return Ok(None) };
        let (path, source) = &mut self.sources[index];
        let piece = source.take(path).map_err(|error| named(path, error))?;
        if let Some(due) = source.due() {
            self.due.push(Reverse((due, index)));
        }
        Ok(piece.map(|piece| (path.clone(), piece)))
    }
}

impl Source {
    fn due(&self) -> Option<u64> {
        match self {
            Source::Operations(_, line) => line.as_ref().map(|line| line.return_ns),
            Source::Watch(_, found) => Some(found.first.as_ref().map_or(0, arrived)),
            Source::Responses(_, _, next) => next.as_ref().map(|(_, response)| arrived(response)),
            Source::Done => None,
        }
    }

    fn take(&mut self, path: &Path) -> Result<Option<Piece>, FormatError> {
        match std::mem::replace(self, Source::Done) {
            Source::Operations(mut operations, line) => {
                let next = operations.next()?;
                *self = Source::Operations(operations, next);
                Ok(line.map(Piece::Operation))
            }
            Source::Watch(watch, Found { request, responses, first }) => {
                if let Some(place) = responses.filter(|_| first.is_some()) {
                    let mut responses = Responses::open(path, place)?;
                    let next = responses.next()?;
                    *self = Source::Responses(watch, responses, next);
                }
                Ok(Some(Piece::Created(watch, request, first)))
            }
            Source::Responses(watch, mut responses, taken) => {
                let next = responses.next()?;
                if next.is_some() {
                    *self = Source::Responses(watch, responses, next);
                }
                Ok(taken.map(|(place, response)| Piece::Response(watch, place, response)))
            }
            Source::Done => Ok(None),
        }
    }
}

/// When a response arrived.
pub(super) fn arrived(response: &WatchResponse) -> u64 {
    u64::try_from(response.time).unwrap_or(0)
}
