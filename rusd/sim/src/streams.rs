//! The streams between members, as far as members notice whether they are open: a member greets whom
//! it reaches, and hears when it no longer does.
//!
//! Messages do not wait for them here; the network loses and delays each by itself.

use rand::Rng;

use crate::host::Host;
use crate::network::Network;

/// Time between two looks at all streams.
const EVERY_MS: u64 = 10;
/// Longest pause until a member tries again.
const RECONNECT_MS_MAX: u64 = 500;
/// How long a stream stays open over which nothing comes.
const KEEP_ALIVE_MS: u64 = 2000;

/// All streams.
#[derive(Debug)]
pub struct Streams {
    members: usize,
    /// `streams[from * members + to]`
    streams: Vec<Stream>,
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    /// Tried again at this time.
    Closed { retry_ms: u64 },
    /// Between these lives of its members, silent since a time.
    Open { lives: (u64, u64), silent_ms: Option<u64> },
}

impl Streams {
    /// None is open.
    pub fn new(members: usize) -> Streams {
        Streams { members, streams: vec![Stream::Closed { retry_ms: 0 }; members * members] }
    }

    /// Opens and closes what has to be.
    pub fn step(
        &mut self,
        now_ms: u64,
        hosts: &[Host],
        is_paused: &dyn Fn(usize) -> bool,
        network: &Network,
        rng: &mut impl Rng,
    ) {
        if !now_ms.is_multiple_of(EVERY_MS) {
            return;
        }
        for from in hosts.iter().filter(|host| host.is_up() && !is_paused(host.index)) {
            for to in hosts.iter().filter(|to| to.index != from.index) {
                let stream = &mut self.streams[from.index * self.members + to.index];
                let is_reached =
                    to.is_up() && !is_paused(to.index) && network.is_whole(from.index, to.index);
                stream.step(now_ms, (from, to), is_reached, rng);
            }
        }
    }
}

impl Stream {
    fn step(
        &mut self,
        now_ms: u64,
        (from, to): (&Host, &Host),
        is_reached: bool,
        rng: &mut impl Rng,
    ) {
        let lives = (from.lives(), to.lives());
        match self {
            Stream::Closed { retry_ms } if *retry_ms > now_ms => {}
            Stream::Closed { retry_ms } => {
                if is_reached && from.knows(to.id) && from.greet(to) {
                    *self = Stream::Open { lives, silent_ms: None };
                } else {
                    *retry_ms = now_ms + rng.random_range(0..=RECONNECT_MS_MAX);
                }
            }
            Stream::Open { lives: began, silent_ms } => {
                let silent_ms = if is_reached { None } else { silent_ms.or(Some(now_ms)) };
                let is_over = silent_ms.is_some_and(|since| now_ms - since > KEEP_ALIVE_MS);
                if *began != lives || !to.is_up() || is_over {
                    from.lost(to.id);
                    *self = Stream::Closed { retry_ms: now_ms };
                } else {
                    *self = Stream::Open { lives, silent_ms };
                }
            }
        }
    }
}
