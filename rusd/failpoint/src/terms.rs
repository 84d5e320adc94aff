//! What is set for a place: terms as gofail writes them, `3*sleep(10)->panic`.
//!
//! The first term whose conditions hold is done: `30%` by chance, `3*` for so many times.

use std::time::Duration;

/// What a place does, in order of preference.
#[derive(Debug)]
pub(crate) struct Terms {
    /// As it was given.
    pub(crate) text: String,
    /// How often something was done.
    pub(crate) count: u64,
    chain: Vec<Term>,
    /// Of a generator of random numbers.
    state: u64,
}

#[derive(Debug)]
struct Term {
    conditions: Vec<Condition>,
    action: Action,
}

#[derive(Debug)]
enum Condition {
    /// So many times more.
    Times(u64),
    /// So many of a million.
    Chance(u64),
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Off,
    /// The place fails with this reason.
    Return(String),
    /// The place takes this much longer.
    Sleep(Duration),
    /// The process ends.
    Panic(Option<String>),
    /// It is said that the place was come to.
    Print,
}

const MILLION: u64 = 1_000_000;

impl Terms {
    /// Reads terms; `None` if they are none.
    pub(crate) fn parse(text: &str) -> Option<Terms> {
        let chain: Vec<Term> = text.split("->").map(parse_term).collect::<Option<_>>()?;
        Some(Terms { text: text.to_owned(), count: 0, chain, state: 1 })
    }

    /// What is to be done now.
    pub(crate) fn next(&mut self) -> Option<Action> {
        let state = &mut self.state;
        let mut chance = |of_a_million: u64| {
            // Weyl's sequence through a mix of its bits: fair enough, and the same each time.
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*state ^ (*state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 20) % MILLION < of_a_million
        };
        let mut holds = |condition: &mut Condition| match condition {
            Condition::Times(0) => false,
            Condition::Times(left) => {
                *left -= 1;
                true
            }
            Condition::Chance(of_a_million) => chance(*of_a_million),
        };
        for term in &mut self.chain {
            if term.conditions.iter_mut().all(&mut holds) {
                self.count += 1;
                return Some(term.action.clone());
            }
        }
        None
    }
}

fn parse_term(mut text: &str) -> Option<Term> {
    let mut conditions = Vec::new();
    while let Some(end) = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)
    {
        let (number, rest) = text.split_at(end);
        conditions.push(match rest.chars().next()? {
            '*' => Condition::Times(number.parse().ok()?),
            '%' => Condition::Chance(of_a_million(number)?),
            _ => return None,
        });
        text = &rest[1..];
    }
    let (name, value) = match text.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
        None => (text, None),
    };
    let text_value = value.filter(|value| !value.is_empty()).map(unquoted);
    let action = match name {
        "off" => Action::Off,
        "return" => Action::Return(text_value.unwrap_or_default()),
        "sleep" => Action::Sleep(duration(&text_value?)?),
        "panic" => Action::Panic(text_value),
        "print" => Action::Print,
        _ => return None,
    };
    Some(Term { conditions, action })
}

/// Percents, of which gofail takes parts, as a number of a million.
fn of_a_million(percents: &str) -> Option<u64> {
    let (whole, part) = percents.split_once('.').unwrap_or((percents, ""));
    let part: String = part.chars().chain(std::iter::repeat('0')).take(4).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(MILLION / 100)?.checked_add(part.parse().ok()?)
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

/// Milliseconds, or a number with a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse().ok()?;
    match unit {
        "" | "ms" => Some(Duration::from_millis(number)),
        "us" => Some(Duration::from_micros(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(text: &str, times: usize) -> Vec<Option<Action>> {
        let mut terms = Terms::parse(text).unwrap();
        (0..times).map(|_| terms.next()).collect()
    }

    #[test]
    fn terms_are_gofails() {
        let sleep = |ms| Action::Sleep(Duration::from_millis(ms));
        for (text, action) in [
            ("off", Action::Off),
            ("panic", Action::Panic(None)),
            ("panic(\"why\")", Action::Panic(Some("why".into()))),
            ("sleep(100)", sleep(100)),
            ("sleep(\"2s\")", sleep(2000)),
            ("return", Action::Return(String::new())),
            ("return()", Action::Return(String::new())),
            ("return(\"no space\")", Action::Return("no space".into())),
            ("return(1)", Action::Return("1".into())),
            ("print", Action::Print),
        ] {
            assert_eq!(done(text, 1), [Some(action)], "{text}");
        }
        for text in ["", "nothing", "sleep", "sleep(x)", "3sleep(1)", "panic(", "off->", "1*"] {
            assert!(Terms::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_first_term_whose_conditions_hold_is_done() {
        let sleep = || Some(Action::Sleep(Duration::from_millis(1)));
        let panic = || Some(Action::Panic(None));
        assert_eq!(done("2*sleep(1)->1*panic", 4), [sleep(), sleep(), panic(), None]);
        let mut terms = Terms::parse("30.5%off").unwrap();
        let hits = (0..10_000).filter(|_| terms.next().is_some()).count();
        assert!((2700..3400).contains(&hits), "{hits}");
        assert_eq!(terms.count, u64::try_from(hits).unwrap());
    }
}
