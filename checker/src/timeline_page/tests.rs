//! What is written into a page can be read back, whatever the history says.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::columns::{BLOCK, Column};
use super::{Ended, Recording, Timeline, of_calls, of_store, of_transactions};
use crate::check::{Checked, Options};
use crate::formats::interpret::{FailedCas, Interpreted, Model, interpret};
use crate::formats::{Format, events};
use crate::history::History;
use crate::history::record::Record;
use crate::render;
use crate::synthetic::{Bug, Run, Shape};
use crate::{CallsOptions, check_calls, check_list_append, elle};

/// Numbers of a column, as the page reads them.
struct Numbers {
    bytes: Vec<u8>,
    at: usize,
    last: i64,
}

impl Numbers {
    fn of(text: &str) -> Numbers {
        Numbers { bytes: opened(text), at: 0, last: 0 }
    }

    fn next(&mut self) -> u64 {
        let mut number = 0;
        for place in 0.. {
            let byte = self.bytes[self.at];
            self.at += 1;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn step(&mut self) -> i64 {
        let step = self.next();
        let half = (step >> 1).cast_signed();
        self.last = self.last.wrapping_add(if step & 1 == 0 { half } else { !half });
        self.last
    }
}

fn opened(text: &str) -> Vec<u8> {
    let bytes = STANDARD.decode(text.trim()).expect("base64");
    let mut opened = Vec::new();
    flate2::read::ZlibDecoder::new(bytes.as_slice()).read_to_end(&mut opened).expect("zlib");
    opened
}

/// A page as a browser takes it apart: its scripts by their names.
struct Page {
    text: String,
    scripts: BTreeMap<String, String>,
}

impl Page {
    fn of(timeline: &Timeline<'_>) -> Page {
        let mut bytes = Vec::new();
        timeline.write(&mut bytes).expect("memory takes everything");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let mut scripts = BTreeMap::new();
        for part in text.split("<script").skip(1) {
            let (head, rest) = part.split_once('>').expect("a whole tag");
            let (content, _) = rest.split_once("</script>").expect("an end");
            let name = head.split_once("id=\"").and_then(|(_, rest)| rest.split_once('"'));
            let name = name.map_or("script", |(name, _)| name).to_owned();
            assert!(scripts.insert(name, content.to_owned()).is_none(), "two scripts of one name");
        }
        Page { text, scripts }
    }

    fn numbers(&self, name: &str) -> Numbers {
        Numbers::of(&self.scripts[name])
    }

    fn facts(&self) -> Value {
        serde_json::from_str(&self.scripts["facts"]).expect("JSON")
    }

    fn words(&self, name: &str) -> Vec<Value> {
        let blocks = self.scripts[name].trim().lines();
        let blocks = blocks
            .map(|line| -> Vec<Value> { serde_json::from_slice(&opened(line)).expect("JSON") });
        blocks.flatten().collect()
    }
}

fn checked(shape: Shape, operations: u64) -> Checked {
    let mut run = Run::shaped(3, shape);
    let header = Record::Header(run.header());
    let records = std::iter::once(header).chain(run.records(operations));
    let history = History::collect(records).expect("a history");
    Checked::new(history, &Options::default())
}

fn native(text: &str) -> Checked {
    Checked::input(text.as_bytes(), &Options::default(), &mut |_| {}).expect("a history")
}

proptest! {
    #[test]
    fn numbers_are_read_back(numbers in prop::collection::vec(any::<u64>(), 0..40), steps in prop::collection::vec(any::<i64>(), 0..40)) {
        let mut column = Column::new();
        for number in &numbers {
            column.push(*number);
        }
        for step in &steps {
            column.push_step(*step);
        }
        let mut read = Numbers::of(&column.to_text());
        for number in numbers {
            prop_assert_eq!(read.next(), number);
        }
        for step in steps {
            prop_assert_eq!(read.step(), step);
        }
        prop_assert_eq!(read.at, read.bytes.len());
    }
}

/// Every operation, response and final state of a history is there, with its words.
#[test]
fn a_page_holds_the_whole_history() {
    let checked = checked(Shape { bug: Some(Bug::StaleRead), ..Shape::medium() }, 5000);
    let timeline = of_store(&checked, "runs/one.jsonl");
    let page = Page::of(&timeline);
    let facts = page.facts();
    let History { operations, watches, finals, .. } = &checked.history;
    let count = operations.len() + watches.len() + finals.len();
    assert_eq!(facts["counts"]["marks"], count);
    assert!(count > 2 * BLOCK, "words are in several blocks");
    let tick = timeline.tick();
    assert_eq!((tick, facts["tick"].as_u64()), (1000, Some(tick)), "the run is long");
    let words = page.words("words");
    assert_eq!(words.len(), count);
    let [mut starts, mut lengths] = ["starts", "lengths"].map(|name| page.numbers(name));
    let [mut kinds, mut lines] = ["kinds", "lines"].map(|name| page.numbers(name));
    let [mut revisions, mut looked, mut keys] =
        ["revisions", "looked", "keys"].map(|name| page.numbers(name));
    let by_line: BTreeMap<u64, &crate::history::OperationLine> =
        operations.iter().map(|line| (line.line, line)).collect();
    let mut seen = 0;
    for (mark, words) in timeline.marks.iter().zip(words) {
        let start = starts.step().cast_unsigned() * tick;
        let told = start..start + tick;
        assert!(told.contains(&(mark.start - timeline.origin())), "{mark:?}");
        let length = lengths.next();
        assert_eq!(length == 0, mark.end.is_none());
        if let Some(end) = mark.end {
            let last = start + (length - 1) * tick;
            assert!((last..last + tick).contains(&(end - timeline.origin())), "{mark:?}");
        }
        let what = kinds.next();
        assert_eq!((what >> 3, what & 1 == 1), (u64::from(mark.kind), mark.wrote));
        assert_eq!(lines.step().cast_unsigned(), mark.line);
        let revision = revisions.step();
        assert_eq!(revision, mark.revision);
        assert_eq!(looked.step() + revision, mark.looked_at);
        let ranges: Vec<(u64, u64)> =
            (0..keys.next()).map(|_| (keys.next(), keys.next())).collect();
        let Some(line) = by_line.get(&mark.line) else { continue };
        seen += 1;
        assert_eq!(words[1], render::request(&line.operation.request));
        assert_eq!(mark.ended == Ended::Unknown, line.operation.return_ns.is_none());
        let named = |(first, _): &(u64, u64)| {
            facts["keys"][usize::try_from(*first).expect("small")].as_str()
        };
        let single = ranges.first().filter(|(_, length)| *length == 1).and_then(named);
        assert!(single.is_none_or(|key| words[1].as_str().is_some_and(|text| text.contains(key))));
    }
    assert_eq!(seen, operations.len());
    let changes = page.words("changed");
    assert_eq!(facts["counts"]["changes"], changes.len());
    assert!(changes.len() > 1000, "what was in the keys is known");
}

/// So that a binary search finds what is in view.
#[test]
fn marks_of_a_lane_follow_each_other() {
    let checked = checked(Shape { unknown_per_mille: 30, ..Shape::medium() }, 3000);
    let timeline = of_store(&checked, "one");
    let processes = timeline.lanes.iter().filter(|lane| lane.name.starts_with("process"));
    assert_eq!(processes.count(), 8, "a lane for each client, though many processes crashed");
    let mut marks = timeline.marks.iter();
    for lane in &timeline.lanes {
        let own: Vec<_> = marks.by_ref().take(lane.marks).collect();
        for pair in own.windows(2) {
            let end = pair[0].end.unwrap_or(pair[0].start);
            assert!(end <= pair[1].start, "{}: {pair:?}", lane.name);
        }
    }
    assert!(marks.next().is_none());
    let numbers: Vec<i64> = timeline.order.marks.iter().map(|(_, number)| *number).collect();
    assert!(numbers.is_sorted() && numbers.len() > 1000);
}

/// What a line of the history says stays text: in markup, in JSON and in words.
#[test]
fn nothing_of_a_history_is_markup() {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--<script>";
    let evil = serde_json::to_string(EVIL).expect("a string");
    let history = format!(
        r#"{{"t":"header","version":1,"workload":{evil},"seed":1,"system":{evil},"first_revision":1}}
{{"t":"nemesis","c":1,"fault":{evil},"phase":"start","members":[0]}}
{{"t":"op","p":0,"m":0,"c":10,"r":20,"q":{{"put":{{"k":{evil},"v":{evil}}}}},"o":{{"ok":{{"rev":2,"b":{{"put":{{}}}}}}}}}}
{{"t":"op","p":1,"m":0,"c":30,"r":40,"q":{{"range":{{"k":{evil}}}}},"o":{{"ok":{{"rev":2,"b":{{"range":{{"kvs":[{{"k":{evil},"v":"other","cr":2,"mr":2,"ver":1}}],"count":1}}}}}}}}}}
{{"t":"op","p":2,"m":0,"c":30,"q":{{"put":{{"k":"b","v":"1"}}}},"o":{{"unknown":{{"code":{evil},"message":{evil}}}}}}}
{{"t":"end","records":5}}
"#
    );
    let checked = native(&history);
    assert_eq!(checked.report.verdict.name(), "invalid");
    let page = Page::of(&of_store(&checked, EVIL));
    assert!(!page.text.contains("alert(1)</script>") && !page.text.contains("<img"));
    let own =
        ["facts", "starts", "lengths", "kinds", "lines", "revisions", "looked", "keys", "ordered"];
    let own =
        own.into_iter().chain(["numbers", "changes", "changed-keys", "words", "changed", "script"]);
    let names: Vec<&str> = page.scripts.keys().map(String::as_str).collect();
    let mut own: Vec<&str> = own.collect();
    own.sort_unstable();
    assert_eq!(names, own);
    assert!(page.facts()["bands"][0][0].as_str().is_some_and(|name| name.contains(EVIL)));
    let words = serde_json::to_string(&page.words("words")).expect("JSON");
    assert!(words.contains("</script>"), "the words are there");
    assert!(page.text.contains("&lt;/script&gt;&lt;script&gt;"));
}

/// Whatever line a violation names, there is something to show.
#[test]
fn violations_lead_to_marks() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/invalid");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let checked = Checked::file(&path, &Options::default(), &mut |_| {}).expect("a history");
        let timeline = of_store(&checked, "one");
        assert!(!timeline.violations.is_empty(), "{}", path.display());
        for named in timeline.violations.iter().flat_map(|own| &own.lines) {
            let mark = &timeline.marks[named.mark.expect("a mark")];
            assert_eq!(named.name, format!("line {}", mark.line), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 50, "{count} lines were named");
}

#[test]
fn faults_last_from_their_begin_to_their_end() {
    let nemesis = |time: u64, fault: &str, phase: &str, members: &str| {
        format!(
            "{{\"t\":\"nemesis\",\"c\":{time},\"fault\":\"{fault}\",\"phase\":\"{phase}\",\"members\":{members}}}\n"
        )
    };
    let history =
        r#"{"t":"header","version":1,"workload":"w","seed":1,"system":"s","first_revision":1}"#
            .to_owned()
            + "\n"
            + &nemesis(5, "kill", "start", "[0]")
            + &nemesis(6, "pause", "start", "[1,2]")
            + &nemesis(7, "kill", "start", "[1]")
            + &nemesis(8, "kill", "end", "[1]")
            + &nemesis(9, "kill", "end", "[0]")
            + "{\"t\":\"end\",\"records\":6}\n";
    let checked = native(&history);
    let bands = of_store(&checked, "one").bands;
    let told: Vec<_> = bands.iter().map(|own| (own.name.as_str(), own.start, own.end)).collect();
    assert_eq!(told, [("kill m0", 5, Some(9)), ("pause m1 m2", 6, None), ("kill m1", 7, Some(8))]);
}

/// Events of a Jepsen history, and the page of what they mean.
fn of_jepsen(model: Model, text: &str) -> Timeline<'static> {
    let source = events(Format::JepsenEdn, Box::new(text.as_bytes())).expect("events");
    let mut recording = Recording::new(source, true);
    let interpreted = interpret(model, &mut recording, FailedCas::TellsNothing).expect("a history");
    let kept = recording.into_parts().1.expect("it was asked for");
    match interpreted {
        Interpreted::Object(calls) => {
            let report = check_calls(calls, &CallsOptions::default()).expect("it can begin so");
            of_calls(kept, &report, "one")
        }
        Interpreted::ListAppend(own) => {
            let report = check_list_append(&own, &elle::Options::default());
            let invoked: Vec<u64> = own.iter().map(|own| own.invoked).collect();
            of_transactions(kept, &report, &invoked, "one")
        }
        Interpreted::RwRegister(_) => unreachable!("no test is on registers"),
    }
}

#[test]
fn calls_have_a_page_with_what_failed_and_with_faults() {
    let timeline = of_jepsen(
        Model::CasRegister,
        "{:process 0 :time 1 :type :invoke :f :write :value 1}
         {:process :nemesis :time 2 :type :info :f :start-partition :value \"half\"}
         {:process 0 :time 3 :type :ok :f :write :value 1}
         {:process 1 :time 3 :type :invoke :f :cas :value [2 3]}
         {:process 1 :time 5 :type :fail :f :cas :value [2 3] :error :no}
         {:process :nemesis :time 6 :type :info :f :stop-partition :value nil}
         {:process 2 :time 7 :type :invoke :f :read :value nil}
         {:process 2 :time 8 :type :ok :f :read :value 9}
         {:process 1 :time 9 :type :invoke :f :read :value nil}
         {:process 1 :time 9 :type :info :f :read :value nil :error :late}",
    );
    let told: Vec<_> = timeline
        .marks
        .iter()
        .map(|mark| {
            (mark.start, mark.end, mark.ended, timeline.words.of_mark(mark.source)[1..].join(" / "))
        })
        .collect();
    let [ok, failed, unknown] = [Ended::Ok, Ended::Failed, Ended::Unknown];
    let expected = [
        (1, Some(3), ok, "write 1 / 1"),
        (3, Some(5), failed, "cas [2 3] / failed: :no"),
        (9, None, unknown, "read nil / unknown: :late"),
        (7, Some(8), ok, "read nil / 9"),
    ];
    assert_eq!(told, expected.map(|(start, end, how, said)| (start, end, how, said.to_owned())));
    let band = &timeline.bands[0];
    assert_eq!(
        (band.name.as_str(), band.start, band.end),
        ("start-partition \"half\"", 2, Some(6))
    );
    assert_eq!(timeline.verdict, "invalid");
    // The read has no place; the write has the first.
    assert_eq!(timeline.violations[0].lines[0].mark, Some(3));
    assert_eq!(timeline.order.marks, [(0, 1)]);
    let page = Page::of(&timeline);
    assert_eq!(page.facts()["clock"], "nanoseconds");
    assert_eq!(page.words("words").len(), 4);
}

#[test]
fn a_cycle_is_drawn_with_arrows() {
    let timeline = of_jepsen(
        Model::ListAppend,
        "{:process 0 :type :invoke :value [[:r :x nil] [:append :y 1]]}
         {:process 1 :type :invoke :value [[:r :y nil] [:append :x 2]]}
         {:process 0 :type :ok :value [[:r :x []] [:append :y 1]]}
         {:process 1 :type :ok :value [[:r :y []] [:append :x 2]]}
         {:process 0 :type :invoke :value [[:r :x nil] [:r :y nil]]}
         {:process 0 :type :ok :value [[:r :x [2]] [:r :y [1]]]}",
    );
    let skew = &timeline.violations[0];
    assert_eq!(skew.name, "G2-item");
    assert_eq!(skew.arrows, [(0, 1, "rw"), (1, 0, "rw")]);
    let starts: Vec<u64> =
        skew.lines.iter().map(|line| timeline.marks[line.mark.expect("a mark")].start).collect();
    assert_eq!(starts, [0, 1], "without a clock, by position");
}
