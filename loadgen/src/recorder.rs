//! Writes the history while the run goes on.
//!
//! Workers, watches and the nemesis hand records to a bounded queue; one thread writes them. When
//! the disk cannot keep up the queue fills and whoever records waits: a slower run, but a whole
//! history.
//!
//! Invariant: a record is handed over after the thing it tells of has ended.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusd_checker::history::jsonl::Writer;
use rusd_checker::history::record::{Header, Nemesis, Record};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Records that wait for the disk. Full means that whoever records waits.
const RECORDS_QUEUED_MAX: usize = 16_384;
const BUFFER_BYTES: usize = 1 << 20;

/// Operations as lines of a history, each with its end.
#[derive(Debug, Default)]
pub struct Lines {
    /// The lines.
    pub text: Vec<u8>,
    /// How many.
    pub count: u64,
}

#[derive(Debug)]
enum Queued {
    Record(Record),
    Lines(Lines),
}

/// Hands records to the writer; or drops them, in a run that is not recorded.
#[derive(Debug, Clone)]
pub struct Recorder {
    records: Option<mpsc::Sender<Queued>>,
    /// Beginnings and ends of faults so far, kept for whoever looks at the run.
    faults: Arc<Mutex<Vec<Nemesis>>>,
}

/// The writer thread.
#[derive(Debug)]
pub struct Writing {
    thread: JoinHandle<io::Result<u64>>,
}

impl Recorder {
    /// A recorder that drops everything.
    pub fn off() -> Recorder {
        Recorder { records: None, faults: Arc::default() }
    }

    /// Starts a history file.
    pub fn start(path: &Path, header: &Header) -> io::Result<(Recorder, Writing)> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        let mut writer = Writer::new(file, header)?;
        writer.flush()?;
        let (records, queued) = mpsc::channel(RECORDS_QUEUED_MAX);
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || write(writer, queued))?;
        Ok((Recorder { records: Some(records), faults: Arc::default() }, Writing { thread }))
    }

    /// Whether records are kept.
    pub fn is_on(&self) -> bool {
        self.records.is_some()
    }

    /// Hands over a record. After a disk error records are dropped, and [`Writing::finish`] tells.
    pub async fn record(&self, record: Record) {
        if let Record::Nemesis(fault) = &record {
            self.faults.lock().expect("no holder panics").push(fault.clone());
        }
        if let Some(records) = &self.records {
            // The thread is gone only after an error that `finish` returns.
            drop(records.send(Queued::Record(record)).await);
        }
    }

    /// Hands over lines.
    pub async fn lines(&self, lines: Lines) {
        if let Some(records) = &self.records
            && lines.count > 0
        {
            drop(records.send(Queued::Lines(lines)).await);
        }
    }

    /// Hands over lines, if there is room for them; gives them back if there is not.
    pub fn try_lines(&self, lines: Lines) -> Lines {
        let Some(records) = &self.records else { return Lines::default() };
        match records.try_send(Queued::Lines(lines)) {
            Err(TrySendError::Full(Queued::Lines(lines))) => lines,
            _ => Lines::default(),
        }
    }

    /// Beginnings and ends of faults so far, also in a run that is not recorded.
    pub fn faults(&self) -> Vec<Nemesis> {
        self.faults.lock().expect("no holder panics").clone()
    }
}

impl Writing {
    /// Waits until every record is in the file; all recorders must be dropped first. Says how many
    /// lines there are after the header.
    pub fn finish(self) -> io::Result<u64> {
        self.thread.join().expect("the writer does not panic")
    }
}

fn write(
    mut writer: Writer<BufWriter<File>>,
    mut queued: mpsc::Receiver<Queued>,
) -> io::Result<u64> {
    let mut lines = 0;
    while let Some(next) = queued.blocking_recv() {
        match next {
            Queued::Record(record) => {
                writer.write(&record)?;
                lines += 1;
            }
            Queued::Lines(Lines { text, count }) => {
                writer.append(&text, count)?;
                lines += count;
            }
        }
        if queued.is_empty() {
            writer.flush()?;
        }
    }
    writer.finish()?;
    Ok(lines)
}
