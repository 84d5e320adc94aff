//! What a cycle of each kind is made of, as an automaton that reads the labels of its edges.
//!
//! A cycle is read from a place at which it can be recognised by what comes next. Without real time
//! that is its most telling edge: a read for G1c, an anti-dependency for the milder ones. With real
//! time it is where a real-time edge ends: the last edge of the cycle is then implied, since whoever
//! had returned before the first was called comes before it. One such edge is enough. Of two, `a` to
//! `b` and `c` to `d`, either `a` had returned when `d` was called or `c` when `b` was, and so a
//! shorter cycle does with one; if that drops the cycle's anti-dependencies, it is of a worse kind, and
//! only beside such a one may the shortest have several.

use super::anomaly::{CycleKind, Scope};
use super::graph::{Label, Labels};

/// States of an automaton; the first is where it starts.
pub(crate) const STATES: usize = 3;

/// A state.
pub(crate) type State = usize;

/// What ends a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// An edge to where it started.
    AtStart,
    /// A transaction that had returned when the first was called.
    BeforeStart,
}

/// Recognises cycles of one kind.
#[derive(Debug)]
pub(crate) struct Automaton {
    moves: [[Option<State>; Label::COUNT]; STATES],
    accepts: [bool; STATES],
    pub(crate) closing: Closing,
}

impl Automaton {
    pub(crate) fn new(kind: CycleKind, scope: Scope) -> Automaton {
        let closing = match scope {
            Scope::Data | Scope::Process => Closing::AtStart,
            Scope::Realtime => Closing::BeforeStart,
        };
        let mut quiet = vec![Label::Ww];
        quiet.extend((kind != CycleKind::G0).then_some(Label::Wr));
        quiet.extend((scope == Scope::Process).then_some(Label::Process));
        let mut any = quiet.clone();
        any.push(Label::Rw);
        let empty = Automaton { moves: Default::default(), accepts: [false; STATES], closing };
        match (kind, closing) {
            (CycleKind::G0, _) => empty.on(0, &quiet, 0).accept(0),
            (CycleKind::G1c, Closing::AtStart) => {
                empty.on(0, &[Label::Wr], 1).on(1, &quiet, 1).accept(1)
            }
            (CycleKind::G1c, Closing::BeforeStart) => {
                empty.on(0, &quiet, 0).on(0, &[Label::Wr], 1).on(1, &quiet, 1).accept(1)
            }
            (CycleKind::GSingleItem, Closing::AtStart) => {
                empty.on(0, &[Label::Rw], 1).on(1, &quiet, 1).accept(1)
            }
            (CycleKind::GSingleItem, Closing::BeforeStart) => {
                empty.on(0, &quiet, 0).on(0, &[Label::Rw], 1).on(1, &quiet, 1).accept(1)
            }
            (CycleKind::GNonadjacentItem, Closing::AtStart) => {
                empty.on(0, &[Label::Rw], 1).alternating(&quiet).accept(2)
            }
            (CycleKind::GNonadjacentItem, Closing::BeforeStart) => {
                let begun = empty.on(0, &quiet, 0).on(0, &[Label::Rw], 1);
                begun.alternating(&quiet).accept(1).accept(2)
            }
            (CycleKind::G2Item, Closing::AtStart) => {
                empty.on(0, &[Label::Rw], 1).on(1, &[Label::Rw], 2).on(2, &any, 2).accept(2)
            }
            (CycleKind::G2Item, Closing::BeforeStart) => {
                let begun = empty.on(0, &quiet, 0).on(0, &[Label::Rw], 1).on(1, &quiet, 0);
                begun.on(1, &[Label::Rw], 2).on(2, &any, 2).accept(2)
            }
        }
    }

    /// In state 1 an anti-dependency was just taken, in state 2 something else since.
    fn alternating(self, quiet: &[Label]) -> Automaton {
        self.on(1, quiet, 2).on(2, quiet, 2).on(2, &[Label::Rw], 1)
    }

    fn on(mut self, from: State, labels: &[Label], to: State) -> Automaton {
        for label in labels {
            self.moves[from][label.index()] = Some(to);
        }
        self
    }

    fn accept(mut self, state: State) -> Automaton {
        self.accepts[state] = true;
        self
    }

    /// The state after an edge, if it may be taken.
    #[inline]
    pub(crate) fn after(&self, state: State, label: Label) -> Option<State> {
        self.moves[state][label.index()]
    }

    /// Whether a cycle may end in this state.
    #[inline]
    pub(crate) fn accepts(&self, state: State) -> bool {
        self.accepts[state]
    }
}

/// All that a cycle of a kind may be made of.
pub(crate) fn labels(kind: CycleKind, scope: Scope) -> Labels {
    let mut labels = vec![Label::Onward, Label::Ww];
    match kind {
        CycleKind::G0 => {}
        CycleKind::G1c => labels.push(Label::Wr),
        CycleKind::GSingleItem | CycleKind::GNonadjacentItem | CycleKind::G2Item => {
            labels.extend([Label::Wr, Label::Rw]);
        }
    }
    match scope {
        Scope::Data => {}
        Scope::Process => labels.push(Label::Process),
        Scope::Realtime => labels.push(Label::Realtime),
    }
    Labels::of(&labels)
}

/// The kind of a cycle, from the labels of its edges.
pub(crate) fn classify(labels: &[Label]) -> (CycleKind, Scope) {
    let is_rw = |place: usize| labels[place % labels.len()] == Label::Rw;
    let anti_dependencies = (0..labels.len()).filter(|place| is_rw(*place)).count();
    let two_in_a_row = (0..labels.len()).any(|place| is_rw(place) && is_rw(place + 1));
    let kind = match anti_dependencies {
        0 if labels.contains(&Label::Wr) => CycleKind::G1c,
        0 => CycleKind::G0,
        1 => CycleKind::GSingleItem,
        _ if two_in_a_row => CycleKind::G2Item,
        _ => CycleKind::GNonadjacentItem,
    };
    let scope = if labels.contains(&Label::Realtime) {
        Scope::Realtime
    } else if labels.contains(&Label::Process) {
        Scope::Process
    } else {
        Scope::Data
    };
    (kind, scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Label> {
        let label = |word| match word {
            "ww" => Label::Ww,
            "wr" => Label::Wr,
            "rw" => Label::Rw,
            "p" => Label::Process,
            _ => Label::Realtime,
        };
        text.split_whitespace().map(label).collect()
    }

    /// Whether the automaton accepts a cycle, read from any place at which it may start.
    fn accepts(automaton: &Automaton, cycle: &[Label]) -> bool {
        (0..cycle.len()).any(|start| {
            let mut labels: Vec<Label> = cycle[start..].to_vec();
            labels.extend(&cycle[..start]);
            if automaton.closing == Closing::BeforeStart && labels.pop() != Some(Label::Realtime) {
                return false;
            }
            let end = labels.iter().try_fold(0, |state, label| automaton.after(state, *label));
            end.is_some_and(|state| automaton.accepts(state))
        })
    }

    /// Every cycle of up to six edges, with at most one in real time, is accepted by the automaton
    /// of its own kind and by none of a worse kind; of milder ones, by those that it implies only.
    #[test]
    fn each_cycle_is_recognised_by_its_kind() {
        for scope in [Scope::Data, Scope::Process, Scope::Realtime] {
            let mut alphabet = vec![Label::Ww, Label::Wr, Label::Rw];
            match scope {
                Scope::Data => {}
                Scope::Process => alphabet.push(Label::Process),
                Scope::Realtime => alphabet.push(Label::Realtime),
            }
            let mut cycles: Vec<Vec<Label>> = vec![Vec::new()];
            for _ in 0..6 {
                let longer = cycles.iter().flat_map(|cycle| {
                    alphabet.iter().map(|label| [cycle.as_slice(), &[*label]].concat())
                });
                cycles = longer.collect();
                for cycle in &cycles {
                    judge(cycle, scope);
                }
            }
        }
    }

    fn judge(cycle: &[Label], scope: Scope) {
        let times = cycle.iter().filter(|label| **label == Label::Realtime).count();
        let is_plain = cycle.iter().all(|label| matches!(label, Label::Process | Label::Realtime));
        let (kind, own_scope) = classify(cycle);
        // No edge leads from a transaction to itself.
        if cycle.len() < 2 || times > 1 || is_plain || own_scope != scope {
            return;
        }
        for other in CycleKind::ALL {
            let accepted = accepts(&Automaton::new(other, scope), cycle);
            let expected = match other {
                CycleKind::GNonadjacentItem => {
                    matches!(kind, CycleKind::GNonadjacentItem | CycleKind::GSingleItem)
                }
                _ => other == kind,
            };
            assert_eq!(accepted, expected, "{cycle:?} by {other:?}");
        }
    }

    #[test]
    fn names_of_cycles() {
        for (cycle, kind, scope) in [
            ("ww ww", CycleKind::G0, Scope::Data),
            ("ww wr", CycleKind::G1c, Scope::Data),
            ("ww rw wr", CycleKind::GSingleItem, Scope::Data),
            ("rw wr rw ww", CycleKind::GNonadjacentItem, Scope::Data),
            ("rw rw", CycleKind::G2Item, Scope::Data),
            ("rw wr ww rw", CycleKind::G2Item, Scope::Data),
            ("rw p", CycleKind::GSingleItem, Scope::Process),
            ("rw rt rw rt", CycleKind::GNonadjacentItem, Scope::Realtime),
            ("rt ww", CycleKind::G0, Scope::Realtime),
        ] {
            assert_eq!(classify(&read(cycle)), (kind, scope), "{cycle}");
        }
    }
}
