//! Where to look next for the highest rate that holds: a value without clock or members.
//!
//! First the rate is doubled (or halved) until one rate held and a higher one did not, then the
//! middle of the two is tried until they are near. The lower end is confirmed by further runs; if one
//! of them does not hold, it was luck, and the search goes on below it.
//!
//! Invariants: `held < missed`; a probe is never asked for at a rate that is settled; the number of
//! probes is bounded.

use schemars::JsonSchema;
use serde::Serialize;

/// What a search is to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Where to begin, in operations per second.
    pub start: u32,
    /// The lowest rate that is tried.
    pub lowest: u32,
    /// The highest rate that is tried.
    pub highest: u32,
    /// The ends are near enough if the higher is at most this much above the lower: 0.05.
    pub precision: f64,
    /// Runs in all at the rate that is found, each of which has to hold.
    pub confirmations: u32,
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The service levels were kept.
    Held,
    /// They were not.
    Missed,
    /// The run says nothing: the generator could not offer the load, or the run failed.
    DoesNotCount,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Measure at this rate.
    Probe(u32),
    /// All is said.
    Done(Found),
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Found {
    /// The highest rate at which every run held; `None` if not even the lowest did.
    pub held: Option<u32>,
    /// Runs that held at that rate.
    pub confirmed: u32,
    /// The lowest rate at which a run did not hold; `None` if none was found.
    pub missed: Option<u32>,
    /// Why there is no closer answer.
    pub end: End,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The rates are as near to each other as was asked for.
    Found,
    /// The highest rate that was allowed held.
    HeldEverywhere,
    /// The lowest rate that was allowed did not hold.
    HeldNowhere,
    /// Higher rates could not be measured: runs there did not count.
    NotMeasurable,
}

/// A search as it goes on.
#[derive(Debug, Clone)]
pub struct Bracket {
    bounds: Bounds,
    held: Option<u32>,
    confirmed: u32,
    missed: Option<u32>,
    /// The lowest rate at which runs did not count.
    unmeasurable: Option<u32>,
    next: u32,
    /// Runs in succession that did not count.
    uncounted: u32,
}

/// Runs at one rate that may fail to count before the rate is given up.
const UNCOUNTED_MAX: u32 = 2;

impl Bracket {
    /// A search that has seen nothing.
    pub fn new(bounds: Bounds) -> Bracket {
        assert!(bounds.lowest > 0 && bounds.lowest <= bounds.highest, "{bounds:?}");
        let next = bounds.start.clamp(bounds.lowest, bounds.highest);
        Bracket {
            bounds,
            held: None,
            confirmed: 0,
            missed: None,
            unmeasurable: None,
            next,
            uncounted: 0,
        }
    }

    /// What to do next.
    pub fn step(&self) -> Step {
        let top = self.top();
        if let Some(held) = self.held {
            let is_near = match top {
                Some(top) => self.is_near(held, top),
                None => held == self.bounds.highest,
            };
            if is_near {
                return if self.confirmed >= self.bounds.confirmations {
                    Step::Done(self.found())
                } else {
                    Step::Probe(held)
                };
            }
        } else if top == Some(self.bounds.lowest) {
            return Step::Done(self.found());
        }
        Step::Probe(self.next)
    }

    /// Takes what came of a probe at a rate that [`Bracket::step`] asked for.
    pub fn answer(&mut self, rate: u32, answer: Answer) {
        match answer {
            Answer::DoesNotCount => {
                self.uncounted += 1;
                if self.uncounted < UNCOUNTED_MAX {
                    return;
                }
                self.unmeasurable = Some(self.unmeasurable.map_or(rate, |known| known.min(rate)));
                self.fall_below(rate);
            }
            Answer::Missed => {
                self.missed = Some(self.missed.map_or(rate, |known| known.min(rate)));
                self.fall_below(rate);
            }
            Answer::Held if self.held == Some(rate) => self.confirmed += 1,
            Answer::Held => (self.held, self.confirmed) = (Some(rate), 1),
        }
        self.uncounted = 0;
        self.next = self.between();
    }

    /// What held at this rate, or above it, was luck.
    fn fall_below(&mut self, rate: u32) {
        if self.held.is_some_and(|held| held >= rate) {
            (self.held, self.confirmed) = (None, 0);
        }
    }

    /// The lowest rate that is known not to be the answer.
    fn top(&self) -> Option<u32> {
        match (self.missed, self.unmeasurable) {
            (Some(missed), Some(other)) => Some(missed.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn is_near(&self, held: u32, top: u32) -> bool {
        top - held <= 1 || f64::from(top) <= f64::from(held) * (1.0 + self.bounds.precision)
    }

    fn between(&self) -> u32 {
        let next = match (self.held, self.top()) {
            (Some(held), None) => held.saturating_mul(2),
            (None, Some(top)) => top / 2,
            (Some(held), Some(top)) => held.midpoint(top),
            (None, None) => self.next,
        };
        next.clamp(self.bounds.lowest, self.bounds.highest)
    }

    fn found(&self) -> Found {
        let end = match (self.held, self.top()) {
            (None, _) if self.missed.is_none() => End::NotMeasurable,
            (None, _) => End::HeldNowhere,
            (Some(_), None) => End::HeldEverywhere,
            (Some(_), top) if top == self.missed => End::Found,
            (Some(_), _) => End::NotMeasurable,
        };
        Found { held: self.held, confirmed: self.confirmed, missed: self.missed, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds =
        Bounds { start: 1000, lowest: 10, highest: 1_000_000, precision: 0.05, confirmations: 3 };

    /// Searches a system; says what was found, and after how many probes.
    fn search(bounds: Bounds, mut system: impl FnMut(u32) -> Answer) -> (Found, usize) {
        let mut bracket = Bracket::new(bounds);
        for probes in 0..200 {
            match bracket.step() {
                Step::Done(found) => return (found, probes),
                Step::Probe(rate) => {
                    assert!((bounds.lowest..=bounds.highest).contains(&rate), "{rate}");
                    bracket.answer(rate, system(rate));
                }
            }
        }
        panic!("no end: {bracket:?}");
    }

    fn up_to(capacity: u32) -> impl Fn(u32) -> Answer {
        move |rate| if rate <= capacity { Answer::Held } else { Answer::Missed }
    }

    #[test]
    fn the_highest_rate_is_found_wherever_it_is() {
        for capacity in [10, 11, 47, 300, 999, 1000, 1001, 6789, 123_456, 999_999] {
            let (found, probes) = search(BOUNDS, up_to(capacity));
            let (held, missed) = (found.held.unwrap(), found.missed.unwrap());
            assert!(held <= capacity && missed > capacity, "{capacity}: {found:?}");
            assert!(missed - held <= 1 || f64::from(missed) <= f64::from(held) * 1.05);
            assert_eq!((found.end, found.confirmed), (End::Found, 3), "{capacity}");
            assert!(probes <= 20, "{capacity}: {probes}");
        }
    }

    #[test]
    fn bounds_that_hold_or_miss_are_told() {
        let (found, _) = search(BOUNDS, up_to(2_000_000));
        assert_eq!(
            (found.held, found.missed, found.end),
            (Some(1_000_000), None, End::HeldEverywhere)
        );
        assert_eq!(found.confirmed, 3);
        let (found, _) = search(BOUNDS, up_to(3));
        assert_eq!((found.held, found.missed, found.end), (None, Some(10), End::HeldNowhere));
    }

    /// One run that held by luck is no answer.
    #[test]
    fn luck_is_found_out() {
        let mut lucky = true;
        let (found, _) = search(BOUNDS, |rate| {
            if (3000..=3100).contains(&rate) && std::mem::take(&mut lucky) {
                return Answer::Held;
            }
            up_to(2000)(rate)
        });
        assert!(found.held.is_some_and(|held| held <= 2000), "{found:?}");
        assert_eq!((found.end, found.confirmed), (End::Found, 3));
    }

    /// What a generator cannot offer says nothing of the server.
    #[test]
    fn runs_that_do_not_count_are_no_misses() {
        let offers_up_to = |limit: u32| {
            move |rate: u32| if rate > limit { Answer::DoesNotCount } else { Answer::Held }
        };
        let (found, _) = search(BOUNDS, offers_up_to(5000));
        assert_eq!((found.missed, found.end), (None, End::NotMeasurable));
        assert!(found.held.is_some_and(|held| (4700..=5000).contains(&held)), "{found:?}");
        let (found, _) = search(BOUNDS, |_| Answer::DoesNotCount);
        assert_eq!((found.held, found.missed, found.end), (None, None, End::NotMeasurable));
        // A miss below what could not be measured is an answer.
        let bounds = Bounds { start: 8000, ..BOUNDS };
        let (found, _) = search(bounds, |rate| match rate {
            ..=3000 => Answer::Held,
            3001..=4000 => Answer::Missed,
            _ => Answer::DoesNotCount,
        });
        assert_eq!((found.end, found.confirmed), (End::Found, 3));
        assert!(found.held.is_some_and(|held| held > 2800) && found.missed.is_some(), "{found:?}");
        // Once is chance: the same rate is tried again.
        let mut hiccup = true;
        let (found, _) = search(BOUNDS, |rate| {
            if std::mem::take(&mut hiccup) { Answer::DoesNotCount } else { up_to(6789)(rate) }
        });
        assert_eq!(found.end, End::Found);
        assert!(found.held.is_some_and(|held| held > 6400), "{found:?}");
    }
}
