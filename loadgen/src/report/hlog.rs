//! Latencies as a log of HdrHistogram (version 1.3 of its interval log), for the tools around it:
//! `HistogramLogAnalyzer`, `HistogramLogProcessor`, hdr-plot.
//!
//! Lines without a tag are the response times of all operations, slice by slice, from the warm-up to
//! the end. Tagged lines are the part of the load that is measured: `put` is the response time of
//! puts, `put.service` their service time. All values are microseconds.

use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::stats::Distributions;

/// Divides the largest value of each line, as the tools expect it: they read milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1000.0;

/// How the tag of service times ends.
const SERVICE: &str = ".service";

/// When a load was, by the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// When the run's clock read zero.
    pub origin: SystemTime,
    /// When the measured part began, by the run's clock.
    pub load_start: Duration,
    /// How long that was.
    pub elapsed: Duration,
}

/// Renders `latency.hlog`.
pub fn render(distributions: &Distributions, when: When) -> io::Result<Vec<u8>> {
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("Microseconds. Untagged: response times of everything, over time.")
        .add_comment("Tagged: the measured part, by operation; NAME.service from sent to answered.")
        .with_start_time(when.origin)
        .with_base_time(when.origin)
        .with_max_value_divisor(MAX_VALUE_DIVISOR);
    let mut writer = builder.begin_log_with(&mut log, &mut serializer)?;
    let mut write = |tag: Option<&str>, start: Duration, length: Duration, of: &Histogram<u64>| {
        let tag = tag.map(|tag| Tag::new(tag).expect("names of operations have no commas"));
        let written = writer.write_histogram(of, start, length, tag);
        written.map_err(|error| io::Error::other(format!("{error:?}")))
    };
    for kind in distributions.kinds.iter().filter(|kind| !kind.response.is_empty()) {
        let service = format!("{}{SERVICE}", kind.kind);
        write(Some(kind.kind), when.load_start, when.elapsed, &kind.response)?;
        write(Some(&service), when.load_start, when.elapsed, &kind.service)?;
    }
    for (index, slice) in distributions.slices().enumerate() {
        if !slice.is_empty() {
            write(None, Distributions::slice_start(index), Distributions::slice_length(), &slice)?;
        }
    }
    Ok(log)
}

/// How many operations were answered in the measured part, as a log holds them. The error says which
/// line is malformed.
pub fn count(log: &[u8]) -> Result<u64, String> {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    let mut deserializer = Deserializer::new();
    let mut count = 0_u64;
    for entry in IntervalLogIterator::new(log) {
        let entry = entry.map_err(|error| format!("malformed: {error:?}"))?;
        let LogEntry::Interval(interval) = entry else { continue };
        let bytes = base64(interval.encoded_histogram())?;
        let histogram: Histogram<u64> = deserializer
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("a histogram is malformed: {error}"))?;
        let is_response = |tag: Tag<'_>| !tag.as_str().ends_with(SERVICE);
        if interval.tag().is_some_and(is_response) {
            count += histogram.len();
        }
    }
    Ok(count)
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map_err(|error| format!("a histogram is malformed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::OpKind;
    use crate::stats::{Ended, Sample, Stats};

    fn log() -> Vec<u8> {
        log_of(&Stats::default())
    }

    /// A load of 2 s.
    fn log_of(stats: &Stats) -> Vec<u8> {
        for place in 0..2000_u64 {
            let kind = if place % 2 == 0 { OpKind::Put } else { OpKind::Get };
            let sent_ns = 1_000_000 * place;
            let ended_ns = sent_ns + 700_000;
            let sample = Sample { kind, ended: Ended::Ok, from_ns: sent_ns, sent_ns, ended_ns };
            stats.record(0, sample);
        }
        let (load_start, elapsed) = (Duration::ZERO, Duration::from_secs(2));
        let origin = SystemTime::UNIX_EPOCH + Duration::from_hours(490_896);
        render(&stats.distributions(), When { origin, load_start, elapsed }).unwrap()
    }

    #[test]
    fn a_log_has_the_format_that_tools_read() {
        let log = String::from_utf8(log()).unwrap();
        for expected in [
            "#[Histogram log format version 1.3]",
            "#[StartTime: 1767225600.000 ",
            "#[BaseTime: 1767225600.000 ",
            "Tag=put,0.000,2.000,0.7",
            "Tag=get.service,0.000,2.000,0.7",
            "\n1.500,0.500,0.7",
        ] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
    }

    /// What came before and after the measured part shows over time only.
    #[test]
    fn what_was_measured_is_counted_and_damage_is_found() {
        assert_eq!(count(&log()), Ok(2000));
        let stats = Stats::default();
        stats.measure(500_000_000..1_500_000_000);
        let log = log_of(&stats);
        assert_eq!(count(&log), Ok(1000));
        let over_time = String::from_utf8(log.clone()).unwrap();
        let starts =
            over_time.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
        let starts: Vec<&str> = starts.map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(starts, ["0.000", "0.500", "1.000", "1.500"]);
        let damaged = String::from_utf8(log).unwrap().replace(",HIST", ",HXST");
        assert!(count(damaged.as_bytes()).is_err(), "{damaged}");
        assert!(count(b"1.0,what\n").is_err());
    }
}
