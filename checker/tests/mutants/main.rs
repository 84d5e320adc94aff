//! Mutants: each kind of damage, done to valid histories, is rejected where it makes them invalid, and by
//! the right rule; and where it does not, it is accepted.
//!
//! Whether a mutant is truly invalid is not for the checker's fast path to say: see `kinds::About`.
//!
//! A few of each kind by default. `cargo xtask mutants` makes hundreds, and keeps the table: `MUTANTS` says
//! how many of each kind and source, `MUTANTS_TABLE` names the file for the table.

mod damage;
mod histories;
mod judge;
mod kinds;
mod relaxed;
mod tally;
mod truth;
mod views;

use rusd_checker::{Engine, Verdict};

use histories::{Base, Source};
use judge::{checked, judge};
use kinds::{KINDS, Kind};
use relaxed::Tried;
use tally::Tally;

/// How many mutants of each kind and source are made, if nobody says.
const MUTANTS_DEFAULT: u64 = 8;
/// Attempts for each mutant that is wanted: not every history can be damaged in every way.
const ATTEMPTS: u64 = 12;
/// Complaints that are shown.
const SHOWN_MAX: usize = 300;

fn wanted() -> u64 {
    std::env::var("MUTANTS")
        .map_or(MUTANTS_DEFAULT, |text| text.parse().expect("MUTANTS is a number"))
}

/// Valid histories of a source: of both judges, and of the truth that they tell.
fn bases(source: Source) -> Vec<Base> {
    let wanted = match source {
        Source::Small => 40 * wanted(),
        _ => source.count().unwrap_or(4 + wanted() / 8),
    };
    (0..wanted)
        .map(|number| {
            let base = source.history(number);
            let what = || format!("{} history {number}", source.name());
            let verdict = checked(&base.records, Engine::Auto).verdict;
            assert_eq!(verdict, Verdict::Valid, "{}", what());
            assert!(views::are_right(&base.records, &base.truth), "{}", what());
            base
        })
        .collect()
}

/// What came of the mutants of a source.
struct Outcome {
    tallies: Vec<(&'static str, Source, Tally)>,
    complaints: Vec<String>,
}

fn outcome(source: Source) -> Outcome {
    let bases = bases(source);
    let mut outcome = Outcome { tallies: Vec::new(), complaints: Vec::new() };
    for (number, kind) in (0_u64..).zip(KINDS).filter(|(_, kind)| kind.concerns(source)) {
        let tally = tally(source, &bases, kind, number << 32, &mut outcome.complaints);
        outcome.tallies.push((kind.name, source, tally));
    }
    outcome
}

fn tally(
    source: Source,
    bases: &[Base],
    kind: &Kind,
    seed: u64,
    complaints: &mut Vec<String>,
) -> Tally {
    let mut tally = Tally::default();
    let attempts = ATTEMPTS * wanted();
    for (attempt, base) in (0..attempts).zip(bases.iter().cycle()) {
        if tally.made == wanted() {
            break;
        }
        let Some(judged) = judge(kind, source, base, seed + attempt) else { continue };
        tally.count(&judged);
        if let Some(complaint) = judged.complaint(kind, source) {
            complaints.push(format!("{}, {}, {attempt}: {complaint}", kind.name, source.name()));
        }
    }
    tally
}

#[test]
fn each_kind_is_rejected_by_its_rule() {
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running = Source::ALL.map(|source| scope.spawn(move || outcome(source)));
        running.into_iter().map(|own| own.join().expect("told above")).collect()
    });
    let (mut tallies, mut complaints) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        tallies.extend(outcome.tallies);
        complaints.extend(outcome.complaints);
    }
    let place = |name: &str| KINDS.iter().position(|kind| kind.name == name);
    tallies.sort_by_key(|(kind, source, _)| (place(kind), *source));
    let lines = tally::table(&tallies);
    println!("{}", lines.join("\n"));
    for complaint in complaints.iter().take(SHOWN_MAX) {
        println!("{complaint}");
    }
    assert!(complaints.is_empty(), "{} mutants are judged wrongly", complaints.len());
    for kind in KINDS {
        let of_kind = tallies.iter().filter(|(name, _, _)| *name == kind.name);
        let invalid: u64 = of_kind.map(|(_, _, tally)| tally.invalid).sum();
        assert!(invalid > 0, "{}: no mutant is invalid", kind.name);
    }
    if let Some(path) = std::env::var_os("MUTANTS_TABLE") {
        std::fs::write(path, lines.join("\n") + "\n").expect("the table can be written");
    }
}

#[test]
fn saying_less_keeps_a_history_valid() {
    let mut tried = Tried::default();
    for source in Source::ALL {
        for base in bases(source) {
            relaxed::stay_valid(source, &base, wanted().div_ceil(4), &mut tried);
        }
    }
    println!("{} histories that say less: none invalid, {} undecided", tried.made, tried.undecided);
    assert!(tried.undecided * 20 < tried.made, "too many are undecided: {}", tried.undecided);
}
