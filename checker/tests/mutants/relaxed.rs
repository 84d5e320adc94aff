//! What says less than a valid history is valid: operations that took longer, outcomes that are not known,
//! reads that were not made, streams that broke.

use rusd_checker::history::record::{Failure, Operation, Outcome, Record, Request};
use rusd_checker::{Engine, Verdict};

use crate::damage::{Mutant, answer, resumed};
use crate::histories::{Base, Source};
use crate::judge::checked;

/// Says less; whether the rest is always enough to decide.
type Relaxation = (&'static str, fn(&mut Mutant<'_>) -> Option<()>, bool);

const RELAXATIONS: [Relaxation; 5] = [
    ("operations take longer", widen, true),
    ("a read is left out", unread, true),
    ("a stream breaks and goes on", resumed::well, true),
    ("a member is not asked at the end", unasked, true),
    ("an outcome is not known", forget, false),
];

/// How often each was tried, and how often the checker could not decide.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) made: u64,
    pub(crate) undecided: u64,
}

/// Says less of a history in every way, so many times each; panics if any of it is invalid.
pub(crate) fn stay_valid(source: Source, base: &Base, rounds: u64, tried: &mut Tried) {
    for (what, relax, decides) in RELAXATIONS {
        for round in 0..rounds {
            let mut mutant = Mutant::new(&base.records, &base.truth, round ^ 0x3e1a);
            if relax(&mut mutant).is_none() {
                continue;
            }
            tried.made += 1;
            match checked(&mutant.records, Engine::Auto).verdict {
                Verdict::Valid => {}
                Verdict::Unknown { .. } if !decides => tried.undecided += 1,
                verdict => panic!("{}, {what}, round {round}: {verdict:#?}", source.name()),
            }
        }
    }
}

/// Calls come earlier and returns later, of a few operations or of many.
fn widen(mutant: &mut Mutant<'_>) -> Option<()> {
    let share = [20, 200, 1_000][usize::try_from(mutant.below(3)).ok()?];
    let longest = 1 << (10 + mutant.below(25));
    let places: Vec<usize> = mutant.operations().map(|(place, _)| place).collect();
    // Nobody does one thing after the other any more.
    for place in places {
        let Operation { call_ns, return_ns, .. } = *mutant.operation(place);
        let mut by = || if mutant.dice.per_mille(share) { mutant.dice.below(longest) } else { 0 };
        let (call_ns, later) = (call_ns.saturating_sub(by()), by());
        mutant.move_to(place, call_ns, return_ns.map(|returned| returned + later));
    }
    for record in &mut mutant.records {
        if let Record::Final(state) = record {
            state.call_ns = state.call_ns.saturating_sub(longest);
        }
    }
    Some(())
}

fn unread(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| matches!(operation.request, Request::Range(_)),
        |mutant, place| {
            mutant.records.remove(place);
            Some(())
        },
    )
}

fn unasked(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.somewhere(
        |record| matches!(record, Record::Final(_)),
        |mutant, place| {
            mutant.records.remove(place);
            Some(())
        },
    )
}

fn forget(mutant: &mut Mutant<'_>) -> Option<()> {
    mutant.at_operation(
        |operation| answer(operation).is_some(),
        |mutant, place| {
            let call_ns = mutant.operation(place).call_ns;
            mutant.move_to(place, call_ns, None);
            let failure = Failure { code: "Unavailable".into(), message: "gone".into() };
            mutant.operation_mut(place).outcome = Outcome::Unknown(failure);
            Some(())
        },
    )
}
