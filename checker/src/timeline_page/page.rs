//! The page as one file: what a browser shows without the script, what the script draws, and the
//! script.
//!
//! What comes from the history is text to the browser, never markup: it is escaped, or stands as JSON
//! without a `<`, or in base64.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;

use super::columns::{BLOCK, Column, blocks};
use super::{Clock, Ended, Mark, Named, Timeline, Violation};
use crate::report::page::{escape, frame};

const STYLE: &str = include_str!("page.css");

/// What reads, what draws, what listens.
const SCRIPTS: [&str; 3] =
    [include_str!("data.js"), include_str!("picture.js"), include_str!("page.js")];

/// A run that is long.
const LONG_NS: u64 = 10_000_000_000;

/// What the script is told beside the columns.
#[derive(Serialize)]
struct Facts<'a> {
    clock: &'static str,
    /// What times in columns are counted in.
    tick: u64,
    origin: u64,
    span: u64,
    block: usize,
    kinds: Vec<[&'a str; 2]>,
    lanes: Vec<LaneFacts<'a>>,
    bands: Vec<(&'a str, &'a str, u64, Option<u64>)>,
    order: &'static str,
    /// What stands before a number of the order.
    sign: &'static str,
    /// Of each violation its marks, by the places of its lines, and its arrows.
    violations: Vec<ViolationFacts<'a>>,
    keys: &'a [String],
    certain: i64,
    done: i64,
    counts: Counts,
}

#[derive(Serialize)]
struct LaneFacts<'a> {
    name: &'a str,
    short: &'a str,
    watch: bool,
    marks: usize,
}

#[derive(Serialize)]
struct ViolationFacts<'a> {
    name: &'a str,
    marks: Vec<Option<usize>>,
    arrows: &'a [(usize, usize, &'static str)],
}

#[derive(Serialize)]
struct Counts {
    marks: usize,
    order: usize,
    changes: usize,
    ranges: usize,
}

impl Timeline<'_> {
    /// Writes the page.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let frame = frame(&self.title, STYLE);
        out.write_all(frame.before.as_bytes())?;
        self.write_body(out)?;
        self.write_data(out)?;
        writeln!(out, "<script>\n'use strict';")?;
        for script in SCRIPTS {
            out.write_all(script.as_bytes())?;
        }
        writeln!(out, "</script>")?;
        out.write_all(frame.after.as_bytes())
    }

    fn write_body(&self, out: &mut dyn Write) -> io::Result<()> {
        let class = match self.verdict {
            "valid" => "ok",
            "invalid" => "bad",
            _ => "unknown",
        };
        writeln!(out, "<p class=\"verdict {class}\">{}</p>", escape(&self.headline))?;
        writeln!(out, "<noscript><p class=\"bad\">The picture needs JavaScript.</p></noscript>")?;
        self.write_tools(out)?;
        writeln!(
            out,
            "<canvas id=\"overview\" role=\"img\" aria-label=\"The whole history: operations over \
             time, faults, violations, and the part that is in view\"></canvas>\n\
             <div id=\"frame\"><canvas id=\"lanes\" tabindex=\"0\" role=\"application\" \
             aria-label=\"{}\" aria-describedby=\"help\"></canvas><div id=\"tip\" hidden></div></div>",
            escape(&self.in_words())
        )?;
        self.write_legend(out)?;
        writeln!(out, "<div class=\"below\">")?;
        writeln!(
            out,
            "<section id=\"chosen\" aria-live=\"polite\"><h2>Operation</h2>\
             <p class=\"facts\">Point at an operation, or choose one, to read what was asked and \
             answered.</p></section>"
        )?;
        if !self.violations.is_empty() {
            writeln!(out, "<section><h2>Violations</h2>")?;
            for (number, violation) in self.violations.iter().enumerate() {
                write_violation(out, number, violation)?;
            }
            writeln!(out, "</section>")?;
        }
        writeln!(out, "</div>\n<details><summary>What was checked</summary>")?;
        for fact in &self.facts {
            writeln!(out, "<p>{}</p>", escape(fact))?;
        }
        writeln!(out, "</details>")
    }

    fn write_tools(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "<div class=\"tools\" role=\"toolbar\" aria-label=\"What is in view\">")?;
        if !self.violations.is_empty() {
            writeln!(
                out,
                "<button id=\"previous\" aria-label=\"previous violation\">\u{2039}</button>\
                 <span id=\"which\" class=\"bad\"></span>\
                 <button id=\"next\" aria-label=\"next violation\">\u{203a}</button>"
            )?;
        }
        writeln!(
            out,
            "<button id=\"nearer\" aria-label=\"zoom in\">+</button>\
             <button id=\"farther\" aria-label=\"zoom out\">\u{2212}</button>\
             <button id=\"whole\">whole history</button>"
        )?;
        if !self.order.marks.is_empty() {
            writeln!(
                out,
                "<label><input type=\"checkbox\" id=\"order\" checked> {}</label>",
                escape(self.order.name)
            )?;
        }
        if self.lanes.iter().any(|lane| lane.is_watch) {
            writeln!(
                out,
                "<label><input type=\"checkbox\" id=\"watches\" checked> watches</label>"
            )?;
        }
        writeln!(out, "<span id=\"where\" class=\"facts\"></span></div>")
    }

    fn write_legend(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "<p class=\"legend\">")?;
        let used: BTreeSet<u32> = self.marks.iter().map(|mark| mark.kind).collect();
        for (number, kind) in (0..).zip(&self.kinds) {
            if used.contains(&number) {
                let name = escape(&kind.name);
                write!(out, "<span><i class=\"{}\"></i>{name}</span> ", kind.colour)?;
            }
        }
        let has = |ended| self.marks.iter().any(|mark| mark.ended == ended);
        if has(Ended::Failed) {
            write!(out, "<span><i class=\"failed\"></i>did nothing</span> ")?;
        }
        if has(Ended::Unknown) {
            write!(out, "<span><i class=\"open\"></i>outcome unknown</span> ")?;
        }
        writeln!(
            out,
            "</p>\n<p id=\"help\" class=\"facts\">Drag or arrow keys: move. Wheel, pinch, + and \u{2212}: \
             zoom. Wheel over the names: more lanes. Shift and arrow keys: from operation to operation. \
             n and p: violations. 0: the whole history.</p>"
        )
    }

    /// For who cannot see the picture.
    fn in_words(&self) -> String {
        format!(
            "{} operations and responses in {} lanes over time, {} faults, {} violations",
            self.marks.len(),
            self.lanes.len(),
            self.bands.len(),
            self.violations.len()
        )
    }

    fn write_data(&self, out: &mut dyn Write) -> io::Result<()> {
        let (columns, ranges) = self.columns();
        let facts = serde_json::to_string(&self.told(ranges)).expect("facts are plain data");
        // In a script, only `<` can end it; in JSON, it stands in strings only.
        let facts = facts.replace('<', "\\u003c");
        writeln!(out, "<script type=\"application/json\" id=\"facts\">{facts}</script>")?;
        for (name, column) in columns {
            let text = column.to_text();
            writeln!(out, "<script type=\"text/plain\" id=\"{name}\">{text}</script>")?;
        }
        writeln!(out, "<script type=\"text/plain\" id=\"words\">")?;
        blocks(out, self.marks.len(), |place| self.words.of_mark(self.marks[place].source))?;
        writeln!(out, "</script>\n<script type=\"text/plain\" id=\"changed\">")?;
        blocks(out, self.states.changes.len(), |place| self.words.of_change(place))?;
        writeln!(out, "</script>")
    }

    fn told(&self, ranges: usize) -> Facts<'_> {
        let origin = self.origin();
        Facts {
            clock: match self.clock {
                Clock::Nanoseconds => "nanoseconds",
                Clock::Events => "events",
            },
            tick: self.tick(),
            origin,
            span: self.end() - origin,
            block: BLOCK,
            kinds: self.kinds.iter().map(|kind| [kind.name.as_str(), kind.colour]).collect(),
            lanes: self
                .lanes
                .iter()
                .map(|lane| LaneFacts {
                    name: &lane.name,
                    short: &lane.short,
                    watch: lane.is_watch,
                    marks: lane.marks,
                })
                .collect(),
            bands: self
                .bands
                .iter()
                .map(|band| {
                    (
                        band.name.as_str(),
                        band.class.as_str(),
                        band.start - origin,
                        band.end.map(|end| end - origin),
                    )
                })
                .collect(),
            order: self.order.name,
            sign: self.order.sign,
            violations: self
                .violations
                .iter()
                .map(|own| ViolationFacts {
                    name: &own.name,
                    marks: own.lines.iter().map(|line| line.mark).collect(),
                    arrows: &own.arrows,
                })
                .collect(),
            keys: &self.states.keys,
            certain: self.states.certain,
            done: self.states.done,
            counts: Counts {
                marks: self.marks.len(),
                order: self.order.marks.len(),
                changes: self.states.changes.len(),
                ranges,
            },
        }
    }

    /// Where the time of the page begins.
    pub(super) fn origin(&self) -> u64 {
        let starts = self.marks.iter().map(|mark| mark.start);
        starts.chain(self.bands.iter().map(|band| band.start)).min().unwrap_or(0)
    }

    fn end(&self) -> u64 {
        let ends = self.marks.iter().map(|mark| mark.end.unwrap_or(mark.start));
        let bands = self.bands.iter().map(|band| band.end.unwrap_or(band.start));
        ends.chain(bands).max().unwrap_or(0).max(self.origin() + 1)
    }

    /// Times of a long run are told in microseconds, as its words are: a tenth of the page is saved.
    pub(super) fn tick(&self) -> u64 {
        let is_long = self.end() - self.origin() >= LONG_NS;
        if self.clock == Clock::Nanoseconds && is_long { 1000 } else { 1 }
    }

    /// Everything that is drawn, and how many ranges of keys there are.
    fn columns(&self) -> (Vec<(&'static str, Column)>, usize) {
        let (origin, tick) = (self.origin(), self.tick());
        let [mut starts, mut lengths, mut kinds] = [const { Column::new() }; 3];
        let [mut lines, mut revisions, mut looked, mut keys] = [const { Column::new() }; 4];
        let mut ranges = 0;
        for mark in &self.marks {
            let start = (mark.start - origin) / tick;
            starts.push_step(signed(start));
            lengths.push(mark.end.map_or(0, |end| (end - origin) / tick - start + 1));
            kinds.push(what(mark));
            lines.push_step(signed(mark.line));
            revisions.push_step(mark.revision);
            looked.push_step(mark.looked_at.wrapping_sub(mark.revision));
            let own = self.words.keys(mark.source);
            ranges += own.len();
            keys.push(wide(own.len()));
            for range in own {
                keys.push(range.start.into());
                keys.push((range.end - range.start).into());
            }
        }
        let [mut order, mut numbers] = [const { Column::new() }; 2];
        for (mark, number) in &self.order.marks {
            order.push_step(signed(wide(*mark)));
            numbers.push_step(*number);
        }
        let [mut changes, mut changed] = [const { Column::new() }; 2];
        for (revision, key) in &self.states.changes {
            changes.push_step(*revision);
            changed.push((*key).into());
        }
        let columns = vec![
            ("starts", starts),
            ("lengths", lengths),
            ("kinds", kinds),
            ("lines", lines),
            ("revisions", revisions),
            ("looked", looked),
            ("keys", keys),
            ("ordered", order),
            ("numbers", numbers),
            ("changes", changes),
            ("changed-keys", changed),
        ];
        (columns, ranges)
    }
}

/// Kind, outcome and whether it wrote, in one number.
fn what(mark: &Mark) -> u64 {
    let ended = match mark.ended {
        Ended::Ok => 0,
        Ended::Failed => 1,
        Ended::Unknown => 2,
    };
    u64::from(mark.kind) * 8 + ended * 2 + u64::from(mark.wrote)
}

fn write_violation(out: &mut dyn Write, number: usize, violation: &Violation) -> io::Result<()> {
    writeln!(
        out,
        "<div class=\"violation\"><h3><button data-violation=\"{number}\">{}</button></h3>",
        escape(&violation.name)
    )?;
    for words in &violation.words {
        writeln!(out, "<p>{}</p>", escape(words))?;
    }
    writeln!(out, "<ul>")?;
    for (place, Named { name, text, mark }) in violation.lines.iter().enumerate() {
        let (name, text) = (escape(name), escape(text));
        match mark {
            Some(_) => writeln!(
                out,
                "<li><button data-violation=\"{number}\" data-place=\"{place}\">{name}</button> \
                 <code>{text}</code></li>"
            )?,
            None => writeln!(out, "<li>{name}: <code>{text}</code></li>")?,
        }
    }
    writeln!(out, "</ul></div>")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).expect("usize fits u64")
}
