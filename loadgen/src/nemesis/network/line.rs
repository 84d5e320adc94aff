//! Bytes under way: when each arrives that was sent, on a line with a delay and a bandwidth.
//!
//! Invariant: what was sent first arrives first, and nothing is lost.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::rule::Weather;

/// Bytes under way on a line that is only slow to arrive. Full means that the sender waits.
const UNDER_WAY_BYTES_MAX: usize = 8 << 20;
/// A narrow line passes this part of a second's bytes at a time.
const PARTS_OF_A_SECOND: u64 = 20;

/// What is sent on a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// There will be no more.
    End,
}

/// Bytes under way in one direction of a connection.
#[derive(Debug)]
pub(super) struct Line {
    under_way: VecDeque<(Instant, Sent)>,
    bytes: usize,
    /// When the last that was sent arrives.
    last: Instant,
    /// When the narrow part of the line is free.
    free: Instant,
    has_ended: bool,
    random: ChaCha8Rng,
}

impl Line {
    pub(super) fn new(now: Instant, seed: u64) -> Line {
        Line {
            under_way: VecDeque::new(),
            bytes: 0,
            last: now,
            free: now,
            has_ended: false,
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// How many bytes may be sent now.
    pub(super) fn room(&self, weather: &Weather) -> usize {
        if weather.is_held || self.has_ended {
            return 0;
        }
        let most = match weather.bytes_per_s {
            // No more than a second's, so that the sender feels how narrow it is.
            Some(rate) => usize::try_from(rate).map_or(UNDER_WAY_BYTES_MAX, |rate| rate.max(1)),
            None => UNDER_WAY_BYTES_MAX,
        };
        most.min(UNDER_WAY_BYTES_MAX).saturating_sub(self.bytes)
    }

    /// Sends bytes; none are the end.
    pub(super) fn send(&mut self, now: Instant, weather: &Weather, bytes: &[u8]) {
        if bytes.is_empty() {
            self.has_ended = true;
            self.push(now, weather, Sent::End);
            return;
        }
        let Some(rate) = weather.bytes_per_s else {
            self.push(now, weather, Sent::Bytes(bytes.to_vec()));
            return;
        };
        let part =
            usize::try_from(rate / PARTS_OF_A_SECOND).map_or(bytes.len(), |part| part.max(1));
        for part in bytes.chunks(part) {
            let count = u64::try_from(part.len()).expect("a part is small");
            let takes = Duration::from_nanos(count.saturating_mul(1_000_000_000) / rate.max(1));
            self.free = self.free.max(now) + takes;
            self.push(self.free, weather, Sent::Bytes(part.to_vec()));
        }
    }

    fn push(&mut self, from: Instant, weather: &Weather, sent: Sent) {
        let spread = self.random.random_range(Duration::ZERO..=weather.spread);
        self.last = self.last.max(from + weather.delay + spread);
        if let Sent::Bytes(bytes) = &sent {
            self.bytes += bytes.len();
        }
        self.under_way.push_back((self.last, sent));
    }

    /// When the next arrives, if anything is under way.
    pub(super) fn next(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// What arrives next.
    pub(super) fn arrive(&mut self) -> Option<Sent> {
        let (_, sent) = self.under_way.pop_front()?;
        if let Sent::Bytes(bytes) = &sent {
            self.bytes -= bytes.len();
        }
        Some(sent)
    }

    /// Lets everything that is under way arrive now: the line is clear again.
    pub(super) fn clear_up(&mut self, now: Instant) {
        for (due, _) in &mut self.under_way {
            *due = now;
        }
        (self.last, self.free) = (now, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn arrivals(line: &mut Line, start: Instant) -> Vec<(u128, usize)> {
        let mut arrivals = Vec::new();
        while let Some(due) = line.next() {
            let Some(Sent::Bytes(bytes)) = line.arrive() else { break };
            arrivals.push((due.duration_since(start).as_millis(), bytes.len()));
        }
        arrivals
    }

    #[test]
    fn a_delay_keeps_the_order_whatever_the_spread() {
        let start = Instant::now();
        let mut line = Line::new(start, 1);
        let weather = Weather { delay: ms(100), spread: ms(50), ..Weather::default() };
        for sent in 0..50_u64 {
            line.send(start + ms(sent), &weather, b"x");
        }
        let arrivals = arrivals(&mut line, start);
        assert!(arrivals.is_sorted(), "{arrivals:?}");
        for (sent, (due, _)) in (0..50).zip(&arrivals) {
            assert!((sent + 100..=49 + 150).contains(due), "{sent} {due}");
        }
        assert!(arrivals[0].0 != 100 || arrivals[1].0 != 101, "some of it is by chance");
    }

    #[test]
    fn a_narrow_line_passes_its_bytes_in_their_time() {
        let start = Instant::now();
        let mut line = Line::new(start, 1);
        let weather = Weather { bytes_per_s: Some(1000), ..Weather::default() };
        assert_eq!(line.room(&weather), 1000);
        line.send(start, &weather, &[0; 2000]);
        assert_eq!(line.room(&weather), 0, "two seconds' bytes are under way");
        let arrivals = arrivals(&mut line, start);
        assert_eq!(arrivals.first(), Some(&(50, 50)));
        assert_eq!(arrivals.last(), Some(&(2000, 50)));
        assert_eq!(line.room(&weather), 1000);
        let held = Weather { is_held: true, ..weather };
        assert_eq!(line.room(&held), 0);
    }

    #[test]
    fn what_is_under_way_arrives_when_the_line_clears_up_and_the_end_comes_last() {
        let start = Instant::now();
        let mut line = Line::new(start, 1);
        let weather = Weather { delay: ms(9000), ..Weather::default() };
        line.send(start, &weather, b"abc");
        line.send(start, &weather, b"");
        assert_eq!(line.room(&Weather::default()), 0, "it has ended");
        line.clear_up(start + ms(1));
        assert_eq!(line.next(), Some(start + ms(1)));
        assert_eq!(line.arrive(), Some(Sent::Bytes(b"abc".to_vec())));
        assert_eq!(line.arrive(), Some(Sent::End));
        assert_eq!(line.arrive(), None);
    }
}
