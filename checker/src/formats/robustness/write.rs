//! A history of our own as a report.
//!
//! All operations are those of `client-1`; each watch is a client of its own, so that its file can be
//! written piece by piece. A watch that turns out to be untellable loses its file again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::super::error::{FormatError, Place};
use super::super::left_out::LeftOut;
use super::super::native::RecordSink;
use super::from_operation::{self, Told};
use super::from_watch;
use super::model::{self, RangeRequest, RangeResponse, Request, Response};
use super::values;
use crate::history::record::{Header, Operation, Record, WatchBody, WatchResponse};

/// Bytes of a watch that wait for more, so that files need not all be open.
const WAITING_BYTES_MAX: usize = 16 << 10;
/// The client of all operations.
const OPERATIONS_CLIENT: u64 = 1;

/// Writes a report.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    operations: BufWriter<File>,
    streams: Streams,
    /// `None` of a watch that is left out.
    watches: BTreeMap<u64, Option<WatchFile>>,
    next_client: u64,
    /// etcd's checker wants to see that the store was empty.
    is_seen_empty: bool,
    left_out: LeftOut,
}

/// Which stream a process is, and when that was busy last.
#[derive(Debug, Default)]
struct Streams {
    busy: BTreeMap<u64, (u64, i64)>,
    next: u64,
}

#[derive(Debug)]
struct WatchFile {
    path: PathBuf,
    waiting: Vec<u8>,
    responses: u64,
    /// Events of a response that goes on in the next one.
    fragment: Vec<model::WatchEvent>,
}

impl Writer {
    /// Makes `folder`, which must not be there, and writes to it.
    pub fn create(folder: &Path) -> Result<Writer, FormatError> {
        let path = folder.join(format!("client-{OPERATIONS_CLIENT}"));
        fs::create_dir(folder)
            .and_then(|()| fs::create_dir(&path))
            .map_err(|source| FormatError::Open { path: folder.display().to_string(), source })?;
        let operations = BufWriter::new(File::create(path.join("operations.json"))?);
        Ok(Writer {
            folder: folder.to_owned(),
            operations,
            streams: Streams::default(),
            watches: BTreeMap::new(),
            next_client: OPERATIONS_CLIENT + 1,
            is_seen_empty: false,
            left_out: LeftOut::default(),
        })
    }

    fn take_operation(&mut self, place: Place, operation: &Operation) -> Result<(), FormatError> {
        match from_operation::tell(operation) {
            Told::LeftOut(what) => {
                self.left_out.add(what);
                Ok(())
            }
            Told::Untellable(reason) => Err(FormatError::untellable(place, reason)),
            Told::Operation(input, output) => {
                let is_range = input.range.is_some();
                self.is_seen_empty |= is_range && output.revision == 1;
                let (client_id, call, returned) = self.streams.place(operation);
                self.write_operation(&model::Operation {
                    client_id,
                    input: *input,
                    call,
                    output: *output,
                    returned,
                })
            }
        }
    }

    fn write_operation(&mut self, operation: &model::Operation) -> Result<(), FormatError> {
        self.operations.write_all(&json(operation))?;
        Ok(self.operations.write_all(b"\n")?)
    }

    /// What the header says: that there was nothing at revision 1.
    fn write_seen_empty(&mut self) -> Result<(), FormatError> {
        let everything = RangeRequest {
            start: "\0".into(),
            end: values::LAST_TEXT.into(),
            ..RangeRequest::default()
        };
        let client_id = self.streams.fresh();
        let nothing = RangeResponse { kvs: Some(Vec::new()), count: 0 };
        self.write_operation(&model::Operation {
            client_id,
            input: Request { kind: "range".into(), range: Some(everything), ..Request::default() },
            call: 1,
            output: Response { range: Some(nothing), revision: 1, ..Response::default() },
            returned: 2,
        })
    }

    fn take_response(&mut self, response: &WatchResponse) -> Result<(), FormatError> {
        if let WatchBody::Created(asked) = &response.body {
            let file = match from_watch::request(asked) {
                Ok(request) => Some(self.begin_watch(&request)?),
                Err(what) => {
                    self.left_out.add(what);
                    None
                }
            };
            self.watches.insert(response.watch, file);
            return Ok(());
        }
        let Some(Some(file)) = self.watches.get_mut(&response.watch) else { return Ok(()) };
        if let Err(what) = file.take(response)? {
            self.left_out.add(what);
            file.remove()?;
            self.watches.insert(response.watch, None);
        }
        Ok(())
    }

    fn begin_watch(&mut self, request: &model::WatchRequest) -> Result<WatchFile, FormatError> {
        let folder = self.folder.join(format!("client-{}", self.next_client));
        self.next_client += 1;
        fs::create_dir(&folder)?;
        let mut file = WatchFile {
            path: folder.join("watch.json"),
            waiting: b"{\"Request\":".to_vec(),
            responses: 0,
            fragment: Vec::new(),
        };
        file.waiting.extend(json(request));
        file.waiting.extend(b",\"Responses\":[");
        Ok(file)
    }
}

impl WatchFile {
    /// Takes a response; why the watch cannot be told, if it cannot.
    fn take(&mut self, response: &WatchResponse) -> Result<Result<(), &'static str>, FormatError> {
        let mut told = model::WatchResponse {
            revision: response.revision,
            time: nanoseconds(response.arrived_ns),
            ..model::WatchResponse::default()
        };
        match &response.body {
            WatchBody::Events { events, fragment } => {
                for event in events {
                    let Some(event) = from_watch::event(event) else {
                        return Ok(Err("watches of keys or short values that are not UTF-8"));
                    };
                    self.fragment.push(event);
                }
                // etcd's client puts the parts of a response together.
                if *fragment {
                    return Ok(Ok(()));
                }
                told.events = Some(std::mem::take(&mut self.fragment));
            }
            WatchBody::Digests(_) => return Ok(Err("watches whose events are told in short")),
            WatchBody::Progress => told.is_progress_notify = true,
            WatchBody::Canceled { reason, .. } => {
                told.error = if reason.is_empty() { "canceled".into() } else { reason.clone() };
            }
            WatchBody::Created(_) | WatchBody::Closed { .. } => return Ok(Ok(())),
        }
        if self.responses > 0 {
            self.waiting.push(b',');
        }
        self.responses += 1;
        self.waiting.extend(json(&told));
        if self.waiting.len() > WAITING_BYTES_MAX {
            self.flush()?;
        }
        Ok(Ok(()))
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        self.waiting.extend(b"]}\n");
        self.flush()
    }

    fn remove(&mut self) -> Result<(), FormatError> {
        if let Some(folder) = self.path.parent() {
            fs::remove_dir_all(folder)?;
        }
        Ok(())
    }
}

impl Streams {
    /// Stream, call and return of an operation. etcd's checker wants times above 0, a return after
    /// its call, and a call after the return before it in the same stream; a longer time and another
    /// stream make nothing invalid.
    fn place(&mut self, operation: &Operation) -> (i64, i64, i64) {
        let call = nanoseconds(operation.call_ns).max(1);
        let returned = operation.return_ns.map_or(0, nanoseconds).max(call.saturating_add(1));
        let (stream, busy) = match self.busy.get(&operation.process) {
            Some((stream, busy)) if *busy < call => (*stream, returned),
            _ => (self.next_stream(), returned),
        };
        self.busy.insert(operation.process, (stream, busy));
        (i64::try_from(stream).expect("counted"), call, returned)
    }

    fn next_stream(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn fresh(&mut self) -> i64 {
        i64::try_from(self.next_stream()).expect("counted")
    }
}

impl RecordSink for Writer {
    fn write(&mut self, place: Place, record: &Record) -> Result<(), FormatError> {
        match record {
            Record::Header(header) => check_fresh(place, header),
            Record::Op(operation) => self.take_operation(place, operation),
            Record::Watch(response) => self.take_response(response),
            Record::Nemesis(_) => {
                self.left_out.add("faults");
                Ok(())
            }
            Record::Final(_) => {
                self.left_out.add("final states");
                Ok(())
            }
            Record::End(_) => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        if !self.is_seen_empty {
            self.write_seen_empty()?;
        }
        self.operations.flush()?;
        for file in self.watches.values_mut().flatten() {
            file.finish()?;
        }
        Ok(())
    }

    fn left_out(&self) -> LeftOut {
        self.left_out.clone()
    }
}

fn check_fresh(place: Place, header: &Header) -> Result<(), FormatError> {
    if header.first_revision == 1 && header.initial.is_empty() {
        return Ok(());
    }
    let reason = "the report is of a store that was empty at its beginning";
    Err(FormatError::untellable(place, reason))
}

fn nanoseconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain fields are JSON")
}
