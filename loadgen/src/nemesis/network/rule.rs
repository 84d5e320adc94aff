//! What is done to which links: pure functions of the rules that are in force.
//!
//! A *flow* is one direction of a connection: bytes from one end to the other. A rule names flows
//! and what becomes of them. Several may be in force at once; the worst of them counts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::workload::{Direction, Links};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A member, by its index.
    Member(u32),
    /// A client of ours.
    Client,
    /// A member, and nobody knows which.
    Unknown,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Who sends.
    pub from: End,
    /// Who receives.
    pub to: End,
}

impl Flow {
    /// The other direction.
    #[must_use]
    pub fn back(self) -> Flow {
        Flow { from: self.to, to: self.from }
    }

    fn is_of_client(self) -> bool {
        self.from == End::Client || self.to == End::Client
    }
}

/// Which flows a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// Each of these and everyone else.
    Around(BTreeSet<u32>, Direction),
    /// These on one side, everyone else on the other.
    Across(BTreeSet<u32>, Direction),
    /// The first of a pair sends, the second receives.
    Pairs(BTreeSet<(u32, u32)>),
}

impl Between {
    fn has(&self, flow: Flow) -> bool {
        let is_in = |set: &BTreeSet<u32>, end| matches!(end, End::Member(m) if set.contains(&m));
        match self {
            Between::Around(set, direction) => {
                direction.is_from() && is_in(set, flow.from)
                    || direction.is_to() && is_in(set, flow.to)
            }
            Between::Across(set, direction) => match (is_in(set, flow.from), is_in(set, flow.to)) {
                (true, false) => direction.is_from(),
                (false, true) => direction.is_to(),
                (true, true) | (false, false) => false,
            },
            Between::Pairs(pairs) => match (flow.from, flow.to) {
                (End::Member(from), End::Member(to)) => pairs.contains(&(from, to)),
                _ => false,
            },
        }
    }
}

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Bytes stay where they are; new connections do not come about.
    Hold,
    /// Connections are reset, and new ones too.
    Reset,
    /// Who made the connection keeps it, and what it sends is lost; the other end sees it closed.
    HalfOpen,
    /// Bytes arrive later: by so much, and up to `spread` more.
    Delay {
        /// By at least this.
        by: Duration,
        /// And at most this much more, by chance.
        spread: Duration,
    },
    /// At most so many bytes pass in a second.
    Bandwidth {
        /// Of each connection and direction.
        bytes_per_s: u64,
    },
}

/// What is done to which links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of members with each other, of clients, or both.
    pub links: Links,
    /// Which of them.
    pub between: Between,
    /// What is done.
    pub effect: Effect,
}

impl Rule {
    /// Whether it is about this flow.
    pub fn has(&self, flow: Flow) -> bool {
        self.links.is_of(flow.is_of_client()) && self.between.has(flow)
    }

    /// Whether it may be about this flow, of which one end is unknown.
    fn may_have(&self, flow: Flow) -> bool {
        let is_unknown = flow.from == End::Unknown || flow.to == End::Unknown;
        is_unknown && self.links.is_of(false) && !self.between.has(flow)
    }
}

/// What becomes of a connection as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doom {
    /// Both ends see it reset.
    Reset,
    /// See [`Effect::HalfOpen`].
    HalfOpen,
}

/// What the rules in force make of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing passes.
    pub is_held: bool,
    /// Everything arrives later by this.
    pub delay: Duration,
    /// And by up to this more.
    pub spread: Duration,
    /// Bytes that pass in a second, at most.
    pub bytes_per_s: Option<u64>,
}

impl Weather {
    /// Of a flow under these rules.
    pub fn of(flow: Flow, rules: &[Rule]) -> Weather {
        let mut weather = Weather::default();
        for rule in rules.iter().filter(|rule| rule.has(flow)) {
            match rule.effect {
                Effect::Hold => weather.is_held = true,
                Effect::Delay { by, spread } => {
                    weather.delay += by;
                    weather.spread += spread;
                }
                Effect::Bandwidth { bytes_per_s } => {
                    let slowest = weather.bytes_per_s.map_or(bytes_per_s, |b| b.min(bytes_per_s));
                    weather.bytes_per_s = Some(slowest);
                }
                Effect::Reset | Effect::HalfOpen => {}
            }
        }
        weather
    }

    /// Whether bytes pass at once.
    pub fn is_clear(&self) -> bool {
        *self == Weather::default()
    }
}

/// What becomes of the connection whose bytes flow so, if it cannot go on. A reset is the worst.
pub fn doom(flow: Flow, rules: &[Rule]) -> Option<Doom> {
    let about = || rules.iter().filter(|rule| rule.has(flow) || rule.has(flow.back()));
    if about().any(|rule| rule.effect == Effect::Reset) {
        return Some(Doom::Reset);
    }
    about().any(|rule| rule.effect == Effect::HalfOpen).then_some(Doom::HalfOpen)
}

/// Whether a connection can come about: bytes pass in both directions.
pub fn is_passable(flow: Flow, rules: &[Rule]) -> bool {
    !Weather::of(flow, rules).is_held && !Weather::of(flow.back(), rules).is_held
}

/// Whether a rule may be about a flow that it is not applied to, since one end is unknown.
pub fn is_leak(flow: Flow, rules: &[Rule]) -> bool {
    rules.iter().any(|rule| rule.may_have(flow))
}

#[cfg(test)]
mod tests {
    use super::*;

    const M0: End = End::Member(0);
    const M1: End = End::Member(1);
    const M2: End = End::Member(2);

    fn flow(from: End, to: End) -> Flow {
        Flow { from, to }
    }

    fn rule(links: Links, between: Between, effect: Effect) -> Rule {
        Rule { links, between, effect }
    }

    fn set(members: &[u32]) -> BTreeSet<u32> {
        members.iter().copied().collect()
    }

    #[test]
    fn rules_are_about_the_flows_that_they_name() {
        let (both, from, to) = (Direction::Both, Direction::From, Direction::To);
        let (peers, clients, all) = (Links::Peers, Links::Clients, Links::All);
        for (links, between, flow, expected) in [
            (peers, Between::Around(set(&[0]), both), flow(M0, M1), true),
            (peers, Between::Around(set(&[0]), both), flow(M1, M0), true),
            (peers, Between::Around(set(&[0]), both), flow(M1, M2), false),
            (peers, Between::Around(set(&[0, 1]), both), flow(M0, M1), true),
            (peers, Between::Around(set(&[0]), from), flow(M0, M1), true),
            (peers, Between::Around(set(&[0]), from), flow(M1, M0), false),
            (peers, Between::Around(set(&[0]), to), flow(M0, M1), false),
            (peers, Between::Around(set(&[0]), to), flow(M1, M0), true),
            (peers, Between::Around(set(&[0]), both), flow(End::Client, M0), false),
            (clients, Between::Around(set(&[0]), both), flow(End::Client, M0), true),
            (clients, Between::Around(set(&[0]), from), flow(End::Client, M0), false),
            (clients, Between::Around(set(&[0]), both), flow(M1, M0), false),
            (all, Between::Around(set(&[0]), both), flow(M0, End::Client), true),
            (all, Between::Around(set(&[0]), both), flow(M0, M1), true),
            (peers, Between::Across(set(&[0, 1]), both), flow(M0, M1), false),
            (peers, Between::Across(set(&[0, 1]), both), flow(M0, M2), true),
            (peers, Between::Across(set(&[0, 1]), from), flow(M2, M0), false),
            (peers, Between::Across(set(&[0, 1]), to), flow(M2, M0), true),
            (peers, Between::Pairs([(0, 1)].into()), flow(M0, M1), true),
            (peers, Between::Pairs([(0, 1)].into()), flow(M1, M0), false),
            (peers, Between::Around(set(&[0]), both), flow(End::Unknown, M1), false),
        ] {
            let rule = rule(links, between, Effect::Hold);
            assert_eq!(rule.has(flow), expected, "{rule:?} {flow:?}");
            assert_eq!(Weather::of(flow, &[rule]).is_held, expected);
        }
    }

    #[test]
    fn the_worst_of_several_rules_counts() {
        let around =
            |effect| rule(Links::Peers, Between::Around(set(&[0]), Direction::Both), effect);
        let delay = |ms| {
            let by = Duration::from_millis(ms);
            around(Effect::Delay { by, spread: by / 2 })
        };
        let slow = |bytes_per_s| around(Effect::Bandwidth { bytes_per_s });
        let weather = Weather::of(flow(M0, M1), &[delay(10), slow(7), delay(20), slow(9)]);
        assert_eq!((weather.delay, weather.spread), ms(30, 15));
        assert_eq!((weather.bytes_per_s, weather.is_held), (Some(7), false));
        assert!(Weather::of(flow(M1, M2), &[delay(10)]).is_clear());
        let (half, reset) = (around(Effect::HalfOpen), around(Effect::Reset));
        assert_eq!(doom(flow(M0, M1), std::slice::from_ref(&half)), Some(Doom::HalfOpen));
        assert_eq!(doom(flow(M1, M0), &[half, reset]), Some(Doom::Reset));
        assert_eq!(doom(flow(M1, M0), &[delay(1)]), None);
    }

    fn ms(first: u64, second: u64) -> (Duration, Duration) {
        (Duration::from_millis(first), Duration::from_millis(second))
    }

    /// A connection of which one end is cut in one direction only does not come about.
    #[test]
    fn a_new_connection_needs_both_directions() {
        let one_way = rule(Links::Peers, Between::Around(set(&[0]), Direction::From), Effect::Hold);
        assert!(!is_passable(flow(M1, M0), std::slice::from_ref(&one_way)));
        assert!(is_passable(flow(M1, M2), &[one_way]));
    }

    #[test]
    fn a_flow_of_unknown_origin_leaks_unless_its_known_end_decides() {
        let cut = |member| {
            rule(Links::Peers, Between::Around(set(&[member]), Direction::Both), Effect::Hold)
        };
        assert!(is_leak(flow(End::Unknown, M0), &[cut(1)]));
        assert!(!is_leak(flow(End::Unknown, M0), &[cut(0)]), "it is held anyway");
        assert!(!is_leak(flow(M1, M0), &[cut(1)]));
    }
}
