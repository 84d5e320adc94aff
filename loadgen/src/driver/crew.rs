//! A thread's clients and connections: who is free, who asks what, what came of it.
//!
//! No waiting and no IO of its own but [`Crew::converse`], which reads and writes what a socket lets
//! it. Whoever waits is in [`lane`](super::lane).

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rusd_checker::history::jsonl;
use rusd_checker::history::record::{Operation, Outcome};
use tokio::sync::Notify;
use tonic::Status;

use super::Shared;
use super::effort::Effort;
use super::preload::{self, Attempt, PreloadError};
use super::source::Source;
use crate::client::failure;
use crate::clock::nanos;
use crate::generator::{Ask, Generator, OpKind};
use crate::pacing::Due;
use crate::recorder::Lines;
use crate::stats::{Ended, Sample};
use crate::wire::{Call, Connection, Socket, message};
use crate::workload::Overflow;

/// Lines of the history that are handed over together, in bytes.
const LINES_BYTES: usize = 1 << 16;
/// Lines that wait for the disk, in bytes. More, and nothing is asked until they are written.
const LINES_BYTES_MAX: usize = 1 << 22;
/// Operations that start on one lane, in one write, before it is the next one's turn and the clock is
/// read again.
const STARTED_PER_TURN: u32 = 16;

/// What a thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start something at this time.
    At(u64),
    /// Wait until something has ended, or somebody connects.
    Wait,
    /// Nothing.
    Done,
}

/// A thread's clients and connections.
pub(super) struct Crew {
    pub(super) shared: Shared,
    /// The thread's place.
    index: usize,
    source: Source,
    clients: Vec<Client>,
    lanes: Vec<Lane>,
    /// By id; ids are not used again.
    connections: Vec<Option<Box<Joined>>>,
    /// Lanes on which something may start, or might a moment ago, in turn.
    ready: VecDeque<usize>,
    /// Connections that have something to write, and whose tasks do not know.
    dirty: Vec<usize>,
    in_flight: usize,
    effort: Effort,
    /// All clients were busy, or cut off, when something was due.
    is_blocked: bool,
    unblocked_ns: u64,
    connected_ns: u64,
    is_stopped: bool,
    /// The ticker waits for [`Self::ticker`].
    is_ticker_waiting: bool,
    pub(super) ticker: Rc<Notify>,
    lines: Lines,
}

struct Client {
    lane: usize,
    generator: Generator,
    doing: Option<Doing>,
}

/// An operation in flight.
struct Doing {
    kind: OpKind,
    ask: Ask,
    attempt: Option<Attempt>,
    connection: usize,
    from_ns: u64,
    call_ns: u64,
}

struct Lane {
    idle: VecDeque<usize>,
    current: Option<usize>,
    is_ready: bool,
    changed: Rc<Notify>,
}

/// A connection to a member.
struct Joined {
    lane: usize,
    member: u32,
    wire: Connection,
    /// It takes no further operations.
    is_retired: bool,
    waker: Option<Waker>,
}

/// How an operation ended.
enum Answer<'a> {
    Message(&'a [u8]),
    Failed(Status),
    TimedOut,
}

impl Crew {
    pub(super) fn new(
        shared: Shared,
        index: usize,
        lanes: usize,
        clients: Vec<(usize, Generator)>,
        source: Source,
    ) -> Crew {
        let now_ns = shared.clock.now_ns();
        let lane = || Lane {
            idle: VecDeque::new(),
            current: None,
            is_ready: false,
            changed: Rc::new(Notify::new()),
        };
        let mut lanes: Vec<Lane> = std::iter::repeat_with(lane).take(lanes).collect();
        for (place, (lane, _)) in clients.iter().enumerate() {
            lanes[*lane].idle.push_back(place);
        }
        let client = |(lane, generator)| Client { lane, generator, doing: None };
        Crew {
            shared,
            index,
            source,
            clients: clients.into_iter().map(client).collect(),
            lanes,
            connections: Vec::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            in_flight: 0,
            effort: Effort::start(),
            is_blocked: true,
            unblocked_ns: now_ns,
            connected_ns: now_ns,
            is_stopped: false,
            is_ticker_waiting: false,
            ticker: Rc::new(Notify::new()),
            lines: Lines::default(),
        }
    }

    /// Starts what is due, as far as clients are free.
    pub(super) fn start_due(&mut self) -> Next {
        let mut now_ns = self.shared.clock.now_ns();
        let mut started = 0;
        loop {
            let due_ns = match self.source.next() {
                _ if self.is_stopped => return self.rest(),
                Due::Never => return self.rest(),
                Due::At(at_ns) if at_ns > now_ns => return Next::At(at_ns),
                Due::At(at_ns) => at_ns,
                Due::Free => now_ns,
            };
            if self.lines.text.len() > LINES_BYTES_MAX {
                return Next::Wait;
            }
            if started == STARTED_PER_TURN {
                started = 0;
                now_ns = self.shared.clock.now_ns();
                self.next_turn();
            }
            let Some(lane) = self.next_lane() else {
                if self.drops() {
                    self.effort.dropped();
                    self.advance();
                    continue;
                }
                self.is_blocked = true;
                return Next::Wait;
            };
            self.start(lane, due_ns, now_ns);
            started += 1;
        }
    }

    fn rest(&self) -> Next {
        if self.in_flight == 0 { Next::Done } else { Next::Wait }
    }

    fn drops(&self) -> bool {
        self.shared.overflow == Overflow::Drop && !self.source.is_closed()
    }

    fn advance(&mut self) {
        if let Source::Load(timetable) = &mut self.source {
            timetable.advance();
        }
    }

    fn start(&mut self, lane: usize, due_ns: u64, now_ns: u64) {
        let place = self.lanes[lane].idle.pop_front().expect("the lane is ready");
        let connection = self.lanes[lane].current.expect("the lane is ready");
        let client = &mut self.clients[place];
        let (kind, ask, attempt) = match &mut self.source {
            Source::Load(timetable) => {
                timetable.advance();
                let (kind, ask) = client.generator.next_ask();
                (kind, ask, None)
            }
            Source::Preload(preload) => {
                let attempt = preload.take().expect("one is due");
                let (kind, request) = client.generator.preload(attempt.index);
                (kind, Ask::Store(request), Some(attempt))
            }
        };
        let joined = self.connections[connection].as_mut().expect("a current one is there");
        let token = u32::try_from(place).expect("clients are counted in 32 bits");
        match &ask {
            Ask::Store(request) => {
                let call = message::call(request);
                joined.wire.call(token, call, |out| message::encode(request, out));
            }
            // Their messages have no fields.
            Ask::Defragment => joined.wire.call(token, Call::Defragment, |_| {}),
            Ask::Snapshot => joined.wire.call(token, Call::Snapshot, |_| {}),
        }
        let doing = Doing { kind, ask, attempt, connection, from_ns: due_ns, call_ns: now_ns };
        client.doing = Some(doing);
        self.in_flight += 1;
        if self.dirty.last() != Some(&connection) {
            self.dirty.push(connection);
        }
        if !self.source.is_closed() {
            if due_ns < self.unblocked_ns {
                self.effort.came_late();
            } else {
                self.effort.lagged(now_ns - due_ns);
            }
        }
    }

    /// The lane whose turn it is.
    fn next_lane(&mut self) -> Option<usize> {
        while let Some(&lane) = self.ready.front() {
            if self.can_start(lane) {
                return Some(lane);
            }
            self.ready.pop_front();
            self.lanes[lane].is_ready = false;
        }
        None
    }

    fn next_turn(&mut self) {
        if let Some(lane) = self.ready.pop_front() {
            self.ready.push_back(lane);
        }
    }

    fn can_start(&self, lane: usize) -> bool {
        let Lane { idle, current, .. } = &self.lanes[lane];
        let joined = current.and_then(|id| self.connections[id].as_ref());
        !idle.is_empty() && joined.is_some_and(|joined| joined.wire.can_call())
    }

    /// Gives a lane its turn, if it can start something.
    fn offer(&mut self, lane: usize) {
        if self.lanes[lane].is_ready || !self.can_start(lane) {
            return;
        }
        self.lanes[lane].is_ready = true;
        self.ready.push_back(lane);
        if self.is_blocked {
            self.is_blocked = false;
            self.unblocked_ns = self.shared.clock.now_ns();
        }
    }

    /// Wakes the tasks of connections that have something to write, but not that of `own`.
    fn wake_dirty(&mut self, own: Option<usize>) {
        for connection in self.dirty.drain(..) {
            if Some(connection) != own
                && let Some(joined) = &self.connections[connection]
                && let Some(waker) = &joined.waker
            {
                waker.wake_by_ref();
            }
        }
    }

    /// What the ticker does each time that it wakes.
    pub(super) fn tick(&mut self) -> Next {
        let next = self.start_due();
        self.next_turn();
        self.wake_dirty(None);
        self.is_ticker_waiting = next == Next::Wait;
        next
    }

    /// Reads and writes what a connection's socket lets it, until nothing more comes or goes. Ready
    /// when the connection is of no use any more.
    pub(super) fn converse(
        &mut self,
        id: usize,
        socket: &mut Socket,
        buffer: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(joined) = &mut self.connections[id] else { return Poll::Ready(()) };
        joined.waker = Some(context.waker().clone());
        loop {
            let mut has_come = false;
            while let Poll::Ready(read) = socket.poll_read(context, buffer) {
                match read {
                    Ok(length @ 1..) if self.take(id, &buffer[..length]) => has_come = true,
                    _ => return Poll::Ready(()),
                }
            }
            // What waited for a client starts at once; all else waits for its tick, and shares a write.
            if has_come && self.is_ticker_waiting {
                let next = self.start_due();
                self.wake_dirty(Some(id));
                if next != Next::Wait {
                    self.ticker.notify_one();
                }
            }
            let joined = self.connections[id].as_mut().expect("its task has not ended");
            while !joined.wire.output().is_empty() {
                match socket.poll_write(context, joined.wire.output()) {
                    Poll::Ready(Ok(length)) => joined.wire.wrote(length),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if matches!(socket.poll_flush(context), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            if joined.is_retired && joined.wire.in_flight() == 0 {
                return Poll::Ready(());
            }
            if !has_come {
                return Poll::Pending;
            }
        }
    }

    /// Takes what came on a connection; `false` if the connection is broken.
    fn take(&mut self, id: usize, bytes: &[u8]) -> bool {
        let ended_ns = self.shared.clock.now_ns();
        let mut joined = self.connections[id].take().expect("its task has not ended");
        let (lane, member) = (joined.lane, joined.member);
        let was_open = joined.wire.is_open();
        let mut has_failed = false;
        let received = joined.wire.receive(bytes, |token, answer| {
            let client = usize::try_from(token).expect("u32 fits usize");
            let answer = answer.map_or_else(Answer::Failed, Answer::Message);
            has_failed |= self.ended(client, member, answer, ended_ns);
        });
        has_failed |= joined.wire.is_going_away();
        let is_open = joined.wire.is_open();
        self.connections[id] = Some(joined);
        if is_open && !was_open {
            self.lanes[lane].changed.notify_one();
        }
        if has_failed {
            self.retire(id);
        }
        self.offer(lane);
        self.hand_over();
        received.is_ok()
    }

    /// One operation has ended; whether its connection is to take no further ones.
    fn ended(&mut self, place: usize, member: u32, answer: Answer<'_>, ended_ns: u64) -> bool {
        let client = &mut self.clients[place];
        let doing = client.doing.take().expect("an answer is to something that was asked");
        let Doing { kind, ask, attempt, from_ns, call_ns, .. } = doing;
        self.in_flight -= 1;
        self.lanes[client.lane].idle.push_back(place);
        let Ask::Store(request) = ask else {
            let (ended, is_broken) = match answer {
                Answer::Message(_) => (Ended::Ok, false),
                Answer::Failed(status) => (Ended::Fail, !failure::is_refusal(&status)),
                Answer::TimedOut => (Ended::Fail, true),
            };
            let sample = Sample { kind, ended, from_ns, sent_ns: call_ns, ended_ns };
            self.shared.stats.record(self.index, sample);
            return is_broken;
        };
        let answer = match answer {
            Answer::Message(bytes) => message::decode(&request, bytes).map_err(Some),
            Answer::Failed(status) => Err(Some(status)),
            Answer::TimedOut => Err(None),
        };
        let (outcome, is_broken) = match answer {
            Ok(response) => (Outcome::Ok(response), false),
            Err(Some(status)) => {
                (failure::outcome(&request, &status), !failure::is_refusal(&status))
            }
            Err(None) => (failure::timed_out(&request), true),
        };
        let ended = match &outcome {
            Outcome::Ok(_) => Ended::Ok,
            Outcome::Fail(_) => Ended::Fail,
            Outcome::Unknown(_) => Ended::Unknown,
        };
        let sample = Sample { kind, ended, from_ns, sent_ns: call_ns, ended_ns };
        self.shared.stats.record(self.index, sample);
        let process = client.generator.process();
        client.generator.observe(kind, &request, &outcome);
        if let (Some(attempt), Source::Preload(preload)) = (attempt, &mut self.source) {
            preload.ended(attempt, &outcome, ended_ns);
        }
        if self.shared.recorder.is_on() {
            let return_ns = (ended != Ended::Unknown).then_some(ended_ns);
            let operation = Operation { process, member, call_ns, return_ns, request, outcome };
            jsonl::append_operation(&mut self.lines.text, &operation);
            self.lines.count += 1;
        }
        is_broken
    }

    /// Hands lines of the history over, if there are enough of them and they are taken.
    fn hand_over(&mut self) {
        if self.lines.text.len() >= LINES_BYTES {
            self.lines = self.shared.recorder.try_lines(std::mem::take(&mut self.lines));
        }
    }

    /// Lines of the history that were not handed over yet.
    pub(super) fn last_lines(&mut self) -> Lines {
        std::mem::take(&mut self.lines)
    }

    /// Gives up what takes too long. Called now and then.
    pub(super) fn expire(&mut self) {
        let now_ns = self.shared.clock.now_ns();
        let timeout_ns = nanos(self.shared.request_timeout);
        for place in 0..self.clients.len() {
            let Some(doing) = &self.clients[place].doing else { continue };
            if now_ns.saturating_sub(doing.call_ns) < timeout_ns {
                continue;
            }
            let id = doing.connection;
            let joined = self.connections[id].as_mut().expect("what is in flight has one");
            let (lane, member) = (joined.lane, joined.member);
            joined.wire.give_up(u32::try_from(place).expect("clients are counted in 32 bits"));
            self.ended(place, member, Answer::TimedOut, now_ns);
            self.dirty.push(id);
            self.retire(id);
            self.offer(lane);
        }
        self.wake_dirty(None);
        let is_connected = self.lanes.iter().any(|lane| lane.current.is_some());
        let alone_ns = now_ns.saturating_sub(self.connected_ns);
        if is_connected {
            self.connected_ns = now_ns;
        } else if let Source::Preload(preload) = &mut self.source
            && alone_ns > nanos(preload::CONNECT_MAX)
        {
            preload.cut_off();
        }
        self.ticker.notify_one();
    }

    /// Takes a connection that is not yet open.
    pub(super) fn join(&mut self, lane: usize, member: u32, wire: Connection) -> usize {
        let joined = Joined { lane, member, wire, is_retired: false, waker: None };
        self.connections.push(Some(Box::new(joined)));
        self.connections.len() - 1
    }

    pub(super) fn changed(&self, lane: usize) -> Rc<Notify> {
        Rc::clone(&self.lanes[lane].changed)
    }

    /// Whether a connection is open; `None` if it has ended.
    pub(super) fn is_open(&self, id: usize) -> Option<bool> {
        self.connections[id].as_ref().map(|joined| joined.wire.is_open())
    }

    /// Lets a lane ask on a connection.
    pub(super) fn install(&mut self, lane: usize, id: usize) {
        self.lanes[lane].current = Some(id);
        self.offer(lane);
        self.ticker.notify_one();
    }

    /// The connection that a lane asks on.
    pub(super) fn current(&self, lane: usize) -> Option<usize> {
        self.lanes[lane].current
    }

    /// Asks nothing more on a connection. What is in flight on it is waited for.
    pub(super) fn retire(&mut self, id: usize) {
        let Some(joined) = &mut self.connections[id] else { return };
        joined.is_retired = true;
        if let Some(waker) = &joined.waker {
            waker.wake_by_ref();
        }
        let lane = &mut self.lanes[joined.lane];
        if lane.current == Some(id) {
            lane.current = None;
            lane.changed.notify_one();
        }
    }

    /// A connection has ended; what was in flight on it has an unknown outcome.
    pub(super) fn closed(&mut self, id: usize) {
        self.retire(id);
        let Some(joined) = self.connections[id].take() else { return };
        let now_ns = self.shared.clock.now_ns();
        for place in 0..self.clients.len() {
            if self.clients[place].doing.as_ref().is_some_and(|doing| doing.connection == id) {
                let status = Status::unavailable("the connection broke");
                self.ended(place, joined.member, Answer::Failed(status), now_ns);
            }
        }
        self.lanes[joined.lane].changed.notify_one();
        self.offer(joined.lane);
        self.ticker.notify_one();
    }

    /// Starts nothing more but what is due by now and waited for nothing but the next tick.
    pub(super) fn stop(&mut self) {
        if self.is_stopped {
            return;
        }
        let now_ns = self.shared.clock.now_ns();
        if !self.source.is_closed() {
            self.start_due();
        }
        self.is_stopped = true;
        self.effort.stop();
        if let Source::Load(timetable) = &mut self.source {
            while let Due::At(at_ns) = timetable.next()
                && at_ns <= now_ns
            {
                self.effort.not_started += 1;
                timetable.advance();
            }
        }
    }

    /// What the work came to.
    pub(super) fn finish(&mut self) -> Result<Effort, PreloadError> {
        self.stop();
        if let Source::Preload(preload) = &self.source {
            preload.result()?;
        }
        Ok(std::mem::replace(&mut self.effort, Effort::start()))
    }
}

#[cfg(test)]
mod tests;
