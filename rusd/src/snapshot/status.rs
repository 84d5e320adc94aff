//! `rusd snapshot status FILE`: what is in a snapshot, as `etcdutl snapshot status` tells it.
//!
//! All pages that hold something are read and checked. Unlike etcdutl's, this also compares the hash,
//! if the file has one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rusd_bbolt::ReadError;
use rusd_proto::mvccpb::KeyValue;
use rusd_state::EntryKind;
use rusd_state::etcd::{EtcdBucket, RevisionKey, STORAGE_VERSION};
use serde::Serialize;

use super::file::{self, FileError, HashCheck};

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// CRC-32C of the names of buckets, keys and values.
    pub hash: u32,
    /// Revision of the last change.
    pub revision: i64,
    /// Keys that live.
    pub total_key: usize,
    /// Bytes of the database.
    pub total_size: u64,
    /// Storage version of the etcd that wrote it, or whose format it is; empty before 3.6.
    pub version: String,
}

/// How a status is told: etcdutl's `--write-out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names are etcdutl's")]
pub enum StatusFormat {
    Simple,
    Table,
    Json,
    Fields,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no such file.
    #[error("stat {}: {source}", path.display())]
    Stat {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its pages make no sense.
    #[error("snapshot file integrity check failed: {0}")]
    Pages(#[from] ReadError),
    /// A row does not hold what it should.
    #[error("cannot parse revision key: \"{0}\"")]
    Revision(String),
    /// A row does not hold what it should.
    #[error("cannot unmarshal value, key: \"{key}\": {source}")]
    Value {
        /// The row.
        key: String,
        /// What is wrong.
        #[source]
        source: prost::DecodeError,
    },
}

/// Reads all of a snapshot.
pub fn status(path: &Path) -> Result<Status, StatusError> {
    path.metadata().map_err(|source| StatusError::Stat { path: path.to_path_buf(), source })?;
    let database = file::open(path, HashCheck::IfThere)?;
    let mut status = Status {
        hash: 0,
        revision: 0,
        total_key: 0,
        total_size: database.bytes(),
        version: String::new(),
    };
    let mut living = BTreeSet::new();
    for bucket in database.buckets() {
        let bucket = bucket?;
        let mut add = |bytes: &[u8]| status.hash = crc32c::crc32c_append(status.hash, bytes);
        add(bucket.name());
        let kind = EtcdBucket::named(bucket.name());
        for entry in bucket.entries() {
            let (key, value) = entry?;
            add(&key);
            add(&value);
            match kind {
                Some(EtcdBucket::Key) => {
                    status.revision = note(&mut living, &key, &value)?;
                }
                Some(EtcdBucket::Meta) if key == STORAGE_VERSION => {
                    status.version = String::from_utf8_lossy(&value).into_owned();
                }
                _ => {}
            }
        }
    }
    status.total_key = living.len();
    Ok(status)
}

/// Notes whether a key lives after a change; gives its main revision.
fn note(living: &mut BTreeSet<Vec<u8>>, key: &[u8], value: &[u8]) -> Result<i64, StatusError> {
    let bad = || StatusError::Revision(key.escape_ascii().to_string());
    let RevisionKey { revision, kind } = RevisionKey::decode(key).ok_or_else(bad)?;
    let kv: KeyValue = prost::Message::decode(value)
        .map_err(|source| StatusError::Value { key: key.escape_ascii().to_string(), source })?;
    match kind {
        EntryKind::Put => living.insert(kv.key.to_vec()),
        EntryKind::Delete => living.remove(&kv.key[..]),
    };
    Ok(revision.main)
}

impl Status {
    /// As etcdutl prints it, without the last end of line.
    pub fn text(&self, format: StatusFormat) -> String {
        let Status { hash, revision, total_key, total_size, version } = self;
        let row = [
            format!("{hash:x}"),
            revision.to_string(),
            total_key.to_string(),
            human_bytes(*total_size),
            version.clone(),
        ];
        match format {
            StatusFormat::Simple => row.join(", "),
            StatusFormat::Json => serde_json::to_string(self).expect("numbers are JSON"),
            StatusFormat::Fields => format!(
                "\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {total_key}\n\
                 \"Size\" : {total_size}\n\"Version\" : {version}"
            ),
            StatusFormat::Table => table(&row),
        }
    }
}

/// Decimal units, with one digit after the point below ten.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog(1000);
    let unit = 1000_u64.pow(power);
    let tenths = (u128::from(bytes) * 10 + u128::from(unit / 2)) / u128::from(unit);
    let unit = UNITS[usize::try_from(power).expect("below seven")];
    if tenths < 100 && power > 0 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        // etcdutl rounds to tenths first.
        format!("{} {unit}", round_half_to_even(tenths))
    }
}

/// Tenths to whole ones.
fn round_half_to_even(tenths: u128) -> u128 {
    let (whole, rest) = (tenths / 10, tenths % 10);
    if rest > 5 || (rest == 5 && whole % 2 == 1) { whole + 1 } else { whole }
}

fn table(row: &[String; 5]) -> String {
    let header = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"];
    let widths: Vec<usize> =
        header.iter().zip(row).map(|(title, cell)| title.len().max(cell.len())).collect();
    let line = |left: &str, middle: &str, right: &str| {
        let dashes: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}", dashes.join(middle))
    };
    let centred = |(title, width): (&&str, &usize)| format!(" {title:^width$} ");
    let titles: Vec<String> = header.iter().zip(&widths).map(centred).collect();
    let to_right = |(cell, width): (&String, &usize)| format!(" {cell:>width$} ");
    let cells: Vec<String> = row.iter().zip(&widths).map(to_right).collect();
    [
        line("┌", "┬", "┐"),
        format!("│{}│", titles.join("│")),
        line("├", "┼", "┤"),
        format!("│{}│", cells.join("│")),
        line("└", "┴", "┘"),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcdutl 3.7.3 printed of one of its own files.
    #[test]
    fn a_status_reads_as_etcdutls() {
        let status = Status {
            hash: 4_079_518_833,
            revision: 8,
            total_key: 5,
            total_size: 28672,
            version: "3.7.0".to_owned(),
        };
        assert_eq!(status.text(StatusFormat::Simple), "f3288471, 8, 5, 29 kB, 3.7.0");
        assert_eq!(
            status.text(StatusFormat::Json),
            r#"{"hash":4079518833,"revision":8,"totalKey":5,"totalSize":28672,"version":"3.7.0"}"#
        );
        let fields = "\"Hash\" : 4079518833\n\"Revision\" : 8\n\"Keys\" : 5\n\"Size\" : 28672\n\
                      \"Version\" : 3.7.0";
        assert_eq!(status.text(StatusFormat::Fields), fields);
        let table = "\
┌──────────┬──────────┬────────────┬────────────┬─────────┐
│   HASH   │ REVISION │ TOTAL KEYS │ TOTAL SIZE │ VERSION │
├──────────┼──────────┼────────────┼────────────┼─────────┤
│ f3288471 │        8 │          5 │      29 kB │   3.7.0 │
└──────────┴──────────┴────────────┴────────────┴─────────┘";
        assert_eq!(status.text(StatusFormat::Table), table);
    }

    #[test]
    fn bytes_are_shown_as_etcdutl_shows_them() {
        let shown = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (28672, "29 kB"),
            (999_999, "1000 kB"),
            (1_000_000, "1.0 MB"),
            (82_854_982, "83 MB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
