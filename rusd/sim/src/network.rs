//! The network between members: packets that are late, lost, doubled, out of order, or cut off.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use prost::Message as _;
use rand::Rng;
use rusd_proto::rusdpeerpb::peer_message::Body;
use rusd_proto::rusdpeerpb::{PeerMessage, SnapshotChunk, VoteRequest};

/// What one member sends another.
#[derive(Debug, Clone)]
pub enum Packet {
    /// Of the stream of messages.
    Message(Box<PeerMessage>),
    /// A request for a vote.
    Vote(VoteRequest),
    /// Of a stream that carries a snapshot.
    Snapshot {
        /// Number of the stream; no other one has it.
        stream: u64,
        /// What it carries.
        part: SnapshotPart,
    },
    /// An answer: who asked is no member any more.
    Removed,
}

/// What a stream with a snapshot carries. It is not lost in part: it breaks.
#[derive(Debug, Clone)]
pub enum SnapshotPart {
    /// A piece of the state.
    Chunk(Box<SnapshotChunk>),
    /// The answer: whether it was taken.
    Taken(bool),
    /// The stream has broken.
    Broken,
}

impl SnapshotPart {
    /// As bytes, with the number of its stream.
    pub fn to_bytes(&self, stream: u64) -> Vec<u8> {
        let mut bytes = match self {
            SnapshotPart::Chunk(chunk) => chunk.encode_to_vec(),
            SnapshotPart::Taken(is_installed) => vec![u8::from(*is_installed)],
            SnapshotPart::Broken => Vec::new(),
        };
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes
    }
}

impl Packet {
    /// Streams deliver a message at most once. Raft bears more, except for what is forwarded to
    /// the leader to be proposed: it would be applied twice, in etcd too.
    fn may_be_doubled(&self) -> bool {
        let is_proposal = |message: &PeerMessage| matches!(message.body, Some(Body::Proposal(_)));
        match self {
            Packet::Message(message) => !is_proposal(message),
            Packet::Vote(_) => true,
            Packet::Snapshot { .. } | Packet::Removed => false,
        }
    }
}

/// How links behave that are not cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Shortest and longest time on the way, in milliseconds.
    pub delay_ms: (u64, u64),
    /// Chance that a packet is lost.
    pub loss: f64,
    /// Chance that a packet arrives twice.
    pub doubled: f64,
    /// Packets of one link may overtake each other.
    pub reorders: bool,
}

impl Weather {
    /// A quiet local network.
    pub const FAIR: Weather =
        Weather { delay_ms: (0, 2), loss: 0.0, doubled: 0.0, reorders: false };

    /// A long way between members: much is on it when a link is cut.
    pub const FAR: Weather = Weather { delay_ms: (2, 12), ..Weather::FAIR };
}

/// Until a lost packet of a stream is sent again.
const RESEND_MS: u64 = 200;

/// A packet that has arrived.
#[derive(Debug)]
pub struct Arrival {
    /// Index of the sender.
    pub from: usize,
    /// Index of the receiver.
    pub to: usize,
    /// What was sent.
    pub packet: Packet,
}

/// The links between all members.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    /// Without a fault.
    calm: Weather,
    members: usize,
    /// `cut[from * members + to]`: how many cuts keep packets away.
    cut: Vec<u32>,
    /// When the last packet of each link arrives.
    last_ms: Vec<u64>,
    /// The same of packets that are not lost.
    last_sure_ms: Vec<u64>,
    on_the_way: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// By the number in the heap; taken when it arrives.
    packets: Vec<Option<Arrival>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Network {
    /// All links whole, in this weather.
    pub fn new(members: usize, calm: Weather) -> Network {
        Network {
            weather: calm,
            calm,
            members,
            cut: vec![0; members * members],
            last_ms: vec![0; members * members],
            last_sure_ms: vec![0; members * members],
            on_the_way: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }

    /// As at first.
    pub fn end_weather(&mut self) {
        self.weather = self.calm;
    }

    /// From now on packets fare like this.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts one direction between two members, or takes a cut back. Messages that are on their way are
    /// lost; of a stream with a snapshot they are sent again.
    pub fn set_cut(&mut self, from: usize, to: usize, is_cut: bool) {
        let is_lost = |arrival: &Arrival| {
            (arrival.from, arrival.to) == (from, to) && arrival.packet.may_be_doubled()
        };
        if is_cut {
            for packet in &mut self.packets {
                packet.take_if(|arrival| is_lost(arrival));
            }
        }
        let cuts = &mut self.cut[from * self.members + to];
        *cuts = if is_cut { *cuts + 1 } else { cuts.saturating_sub(1) };
    }

    /// Takes all cuts back; the weather is fair from now on.
    pub fn heal(&mut self) {
        self.cut.fill(0);
        self.weather = Weather::FAIR;
    }

    /// Sends a packet.
    pub fn send(&mut self, now_ms: u64, arrival: Arrival, rng: &mut impl Rng) {
        let link = arrival.from * self.members + arrival.to;
        if self.cut[link] > 0 || rng.random_bool(self.weather.loss) {
            return;
        }
        if rng.random_bool(self.weather.doubled) && arrival.packet.may_be_doubled() {
            let Arrival { from, to, ref packet } = arrival;
            self.put(now_ms, link, Arrival { from, to, packet: packet.clone() }, rng);
        }
        self.put(now_ms, link, arrival, rng);
    }

    /// Packets get from one member to the other, in both directions.
    pub fn is_whole(&self, one: usize, other: usize) -> bool {
        self.cut[one * self.members + other] == 0 && self.cut[other * self.members + one] == 0
    }

    /// Sends a packet that is sent again when it is lost, in order with others of its kind.
    pub fn send_surely(&mut self, now_ms: u64, arrival: Arrival, rng: &mut impl Rng) {
        let link = arrival.from * self.members + arrival.to;
        let (least, most) = self.weather.delay_ms;
        let mut due_ms = now_ms + rng.random_range(least..=most);
        while rng.random_bool(self.weather.loss) {
            due_ms += RESEND_MS;
        }
        due_ms = due_ms.max(self.last_sure_ms[link]);
        self.last_sure_ms[link] = due_ms;
        self.enqueue(due_ms, arrival);
    }

    fn put(&mut self, now_ms: u64, link: usize, arrival: Arrival, rng: &mut impl Rng) {
        let (least, most) = self.weather.delay_ms;
        let mut due_ms = now_ms + rng.random_range(least..=most);
        if !self.weather.reorders {
            due_ms = due_ms.max(self.last_ms[link]);
        }
        self.last_ms[link] = due_ms;
        self.enqueue(due_ms, arrival);
    }

    fn enqueue(&mut self, due_ms: u64, arrival: Arrival) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(None);
            self.packets.len() - 1
        });
        self.packets[slot] = Some(arrival);
        self.sequence += 1;
        self.on_the_way.push(Reverse((due_ms, self.sequence, slot)));
    }

    /// The next packet that has arrived by now.
    pub fn receive(&mut self, now_ms: u64) -> Option<Arrival> {
        loop {
            let Reverse((due_ms, _, slot)) = *self.on_the_way.peek()?;
            if due_ms > now_ms {
                return None;
            }
            self.on_the_way.pop();
            self.free.push(slot);
            let arrival = self.packets[slot].take();
            if arrival.is_some() {
                return arrival;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn vote(term: u64) -> Arrival {
        let request = VoteRequest { term, ..VoteRequest::default() };
        Arrival { from: 0, to: 1, packet: Packet::Vote(request) }
    }

    fn terms(network: &mut Network, now_ms: u64) -> Vec<u64> {
        let arrivals = std::iter::from_fn(|| network.receive(now_ms));
        let term = |arrival: Arrival| match arrival.packet {
            Packet::Vote(request) => request.term,
            _ => unreachable!(),
        };
        arrivals.map(term).collect()
    }

    #[test]
    fn links_keep_order_unless_the_weather_is_bad() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut network = Network::new(2, Weather::FAIR);
        for term in 0..20 {
            network.send(0, vote(term), &mut rng);
        }
        assert_eq!(terms(&mut network, 2), (0..20).collect::<Vec<_>>());
        let delay_ms = (0, 50);
        network.set_weather(Weather { delay_ms, loss: 0.2, doubled: 0.2, reorders: true });
        for term in 0..200 {
            network.send(10, vote(term), &mut rng);
        }
        let arrived = terms(&mut network, 60);
        let mut distinct = arrived.clone();
        distinct.sort_unstable();
        assert!(!arrived.is_sorted());
        distinct.dedup();
        assert!(distinct.len() < arrived.len() && distinct.len() < 200);
    }

    #[test]
    fn a_cut_is_of_one_direction_and_counts() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut network = Network::new(2, Weather::FAIR);
        network.set_cut(0, 1, true);
        network.set_cut(0, 1, true);
        network.set_cut(0, 1, false);
        network.send(0, vote(1), &mut rng);
        let back = Arrival { from: 1, to: 0, packet: vote(2).packet };
        network.send(0, back, &mut rng);
        assert_eq!(terms(&mut network, 9), [2]);
        network.set_cut(0, 1, false);
        network.send(9, vote(3), &mut rng);
        assert_eq!(terms(&mut network, 20), [3]);
    }
}
