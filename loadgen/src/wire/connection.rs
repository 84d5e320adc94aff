//! One HTTP/2 connection, without IO: calls in, bytes out; bytes in, answers out.
//!
//! Order: write what [`Connection::output`] has (the preface), give it what comes, and once it
//! [may be called](Connection::can_call) make calls. A caller has a token for each call in flight;
//! it comes back with the answer.
//!
//! Invariant: a token has one call at most; after its answer, or after it was given up, nothing of
//! it is ever told again. Once broken, a connection is not used any more; whatever is in flight has
//! an unknown outcome.

use std::collections::VecDeque;

use tonic::{Code, Status};

use super::frame::{
    self, Frame, HEAD_BYTES, PAYLOAD_BYTES_MAX, PREFACE, flag, kind, setting, write_setting,
};
use super::head::{Call, CallHeads};
use super::hpack::{self, Heads};
use super::received::Received;

/// Window of the whole connection, and of each stream: everything is read at once.
const WINDOW_BYTES: u32 = i32::MAX.unsigned_abs();
/// What a window is before anybody says otherwise.
const WINDOW_BYTES_AT_FIRST: u32 = 65_535;
/// The window is opened again when so much of it was used.
const WINDOW_BYTES_USED_MAX: u32 = WINDOW_BYTES / 2;
/// The last stream id that may be used.
const STREAM_LAST: u32 = i32::MAX.unsigned_abs();
/// Before each message: whether it is compressed, and its length.
const MESSAGE_HEAD_BYTES: usize = 5;
/// No token.
const NOBODY: u32 = u32::MAX;

/// Why a connection cannot be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The server sent what it may not send.
    #[error("the server broke HTTP/2: {0}")]
    Protocol(&'static str),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    heads: CallHeads,
    out: Vec<u8>,
    out_written: usize,
    received: Received,
    /// Tokens of the streams from `first_stream` on.
    tokens: VecDeque<u32>,
    first_stream: u32,
    next_stream: u32,
    /// By token.
    calls: Vec<InFlight>,
    in_flight: u32,
    /// Its settings, once they came.
    server: Option<Server>,
    send_window: i64,
    received_since_update: u32,
    /// Tokens whose messages wait for a window.
    waiting: VecDeque<u32>,
    /// A header block that is not yet whole, and its first frame.
    partial: Option<(Frame, Vec<u8>)>,
    known: Known,
    is_going_away: bool,
}

/// What the server allows.
#[derive(Debug, Clone, Copy)]
struct Server {
    streams_max: u32,
    stream_window: i64,
}

/// A call in flight, if it has a stream.
#[derive(Debug, Default)]
struct InFlight {
    /// 0 is none.
    stream: u32,
    is_answer_dropped: bool,
    http_status: Option<u16>,
    answer: Vec<u8>,
    /// What the server may still be sent, and what waits for that.
    window: i64,
    unsent: Vec<u8>,
}

/// Header blocks that were read before, and that said that all is well.
#[derive(Debug, Default)]
struct Known {
    begin: Vec<u8>,
    end: Vec<u8>,
}

impl Connection {
    /// A connection to the server of this name.
    pub fn new(authority: &str, is_secured: bool) -> Connection {
        let mut out = PREFACE.to_vec();
        let mut settings = Vec::new();
        write_setting(&mut settings, setting::HEADER_TABLE_SIZE, 0);
        write_setting(&mut settings, setting::ENABLE_PUSH, 0);
        write_setting(&mut settings, setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES);
        let length = settings.len();
        Frame { length, kind: kind::SETTINGS, flags: 0, stream: 0 }.write(&mut out);
        out.extend_from_slice(&settings);
        write_window_update(WINDOW_BYTES - WINDOW_BYTES_AT_FIRST, &mut out);
        Connection {
            heads: CallHeads::new(authority, is_secured),
            out,
            out_written: 0,
            received: Received::default(),
            tokens: VecDeque::new(),
            first_stream: 1,
            next_stream: 1,
            calls: Vec::new(),
            in_flight: 0,
            server: None,
            send_window: i64::from(WINDOW_BYTES_AT_FIRST),
            received_since_update: 0,
            waiting: VecDeque::new(),
            partial: None,
            known: Known::default(),
            is_going_away: false,
        }
    }

    /// Whether the server has said what it allows.
    pub fn is_open(&self) -> bool {
        self.server.is_some()
    }

    /// Whether the server takes no further calls, though it answers those that it has.
    pub fn is_going_away(&self) -> bool {
        self.is_going_away || self.next_stream >= STREAM_LAST
    }

    /// Whether a call may be made now.
    pub fn can_call(&self) -> bool {
        let allows = |server: &Server| self.in_flight < server.streams_max;
        self.server.as_ref().is_some_and(allows) && !self.is_going_away()
    }

    /// How many calls have no answer yet.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_written..]
    }

    /// So much of it was written.
    pub fn wrote(&mut self, bytes: usize) {
        self.out_written += bytes;
        if self.out_written == self.out.len() {
            self.out.clear();
            self.out_written = 0;
        }
    }

    /// Makes a call. `encode` appends the message.
    ///
    /// # Panics
    /// If the token has a call, or none [may be made](Self::can_call).
    pub fn call(&mut self, token: u32, call: Call, encode: impl FnOnce(&mut Vec<u8>)) {
        let stream_window = self.server.expect("it is open").stream_window;
        let stream = self.next_stream;
        self.next_stream += 2;
        self.tokens.push_back(token);
        self.in_flight += 1;
        let place = index(token);
        if self.calls.len() <= place {
            self.calls.resize_with(place + 1, InFlight::default);
        }
        let in_flight = &mut self.calls[place];
        assert_eq!(in_flight.stream, 0, "a token has one call at a time");
        in_flight.begin(stream, stream_window, call);
        let head = self.out.len();
        self.out.extend_from_slice(&[0; HEAD_BYTES]);
        self.heads.write(call, &mut self.out);
        patch_frame(&mut self.out, head, kind::HEADERS, flag::END_HEADERS, stream);
        self.write_message(token, stream, stream_window, encode);
    }

    /// Appends the message in one frame, if it fits, and in several if it does not.
    fn write_message(
        &mut self,
        token: u32,
        stream: u32,
        stream_window: i64,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        let head = self.out.len();
        let payload = head + HEAD_BYTES;
        let message = payload + MESSAGE_HEAD_BYTES;
        self.out.resize(message, 0);
        encode(&mut self.out);
        let length = u32::try_from(self.out.len() - message).expect("messages are small");
        self.out[payload + 1..message].copy_from_slice(&length.to_be_bytes());
        let sent = self.out.len() - payload;
        let window = self.send_window.min(stream_window);
        if sent <= PAYLOAD_BYTES_MAX && size(sent) <= window && self.waiting.is_empty() {
            self.send_window -= size(sent);
            patch_frame(&mut self.out, head, kind::DATA, flag::END_STREAM, stream);
            return;
        }
        self.calls[index(token)].unsent.extend_from_slice(&self.out[payload..]);
        self.out.truncate(head);
        self.waiting.push_back(token);
        self.pump();
    }

    /// Sends what waits, as far as the windows allow, each in its turn.
    fn pump(&mut self) {
        for _ in 0..self.waiting.len() {
            let Some(token) = self.waiting.pop_front() else { return };
            let call = &mut self.calls[index(token)];
            while !call.unsent.is_empty() {
                let window = usize::try_from(call.window.min(self.send_window)).unwrap_or(0);
                let length = window.min(PAYLOAD_BYTES_MAX).min(call.unsent.len());
                if length == 0 {
                    self.waiting.push_back(token);
                    break;
                }
                let is_last = length == call.unsent.len();
                let flags = if is_last { flag::END_STREAM } else { 0 };
                Frame { length, kind: kind::DATA, flags, stream: call.stream }.write(&mut self.out);
                self.out.extend(call.unsent.drain(..length));
                call.window -= size(length);
                self.send_window -= size(length);
            }
        }
    }

    /// Gives a call up: its answer is not waited for any more, and the server is told so.
    pub fn give_up(&mut self, token: u32) {
        let stream = self.calls[index(token)].stream;
        if self.forget(stream) {
            const CANCEL: u32 = 8;
            Frame { length: 4, kind: kind::RST_STREAM, flags: 0, stream }.write(&mut self.out);
            self.out.extend_from_slice(&CANCEL.to_be_bytes());
        }
    }

    /// Ends the call of a stream; `false` if it has none.
    fn forget(&mut self, stream: u32) -> bool {
        let token = self.token(stream);
        if token == NOBODY {
            return false;
        }
        let call = &mut self.calls[index(token)];
        call.stream = 0;
        call.unsent.clear();
        self.in_flight -= 1;
        let place = index((stream - self.first_stream) / 2);
        self.tokens[place] = NOBODY;
        while self.tokens.front() == Some(&NOBODY) {
            self.tokens.pop_front();
            self.first_stream += 2;
        }
        true
    }

    fn token(&self, stream: u32) -> u32 {
        let place = stream.checked_sub(self.first_stream).map(|distance| index(distance / 2));
        place.and_then(|place| self.tokens.get(place)).copied().unwrap_or(NOBODY)
    }

    /// Takes bytes that came, and tells the answers that they complete.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        mut answered: impl FnMut(u32, Result<&[u8], Status>),
    ) -> Result<(), Broken> {
        let mut received = std::mem::take(&mut self.received);
        received.push(bytes);
        let mut result = Ok(());
        while let Some((frame, payload)) = received.next_frame() {
            result = self.take(frame, payload, &mut answered);
            if result.is_err() {
                break;
            }
        }
        self.received = received;
        result
    }

    fn take(
        &mut self,
        frame: Frame,
        payload: &[u8],
        answered: &mut impl FnMut(u32, Result<&[u8], Status>),
    ) -> Result<(), Broken> {
        match frame.kind {
            kind::DATA => {
                self.count_received(frame.length);
                let data = frame::content(frame, payload).ok_or(Broken::Protocol("padding"))?;
                self.take_data(frame, data, answered);
            }
            kind::HEADERS => {
                let block = frame::content(frame, payload).ok_or(Broken::Protocol("padding"))?;
                if frame.has(flag::END_HEADERS) {
                    return self.take_block(frame, block, answered);
                }
                self.partial = Some((frame, block.to_vec()));
            }
            kind::CONTINUATION => {
                let unasked = Broken::Protocol("nothing to continue");
                let (first, mut block) = self.partial.take().ok_or(unasked)?;
                block.extend_from_slice(payload);
                if frame.has(flag::END_HEADERS) {
                    return self.take_block(first, &block, answered);
                }
                self.partial = Some((first, block));
            }
            kind::RST_STREAM => {
                let reason = number(payload).ok_or(Broken::Protocol("reset"))?;
                self.end(frame.stream, Err(reset(reason)), answered);
            }
            kind::SETTINGS if !frame.has(flag::ACK) => self.take_settings(payload)?,
            kind::PING if !frame.has(flag::ACK) => {
                Frame { flags: flag::ACK, ..frame }.write(&mut self.out);
                self.out.extend_from_slice(payload);
            }
            kind::GOAWAY => self.is_going_away = true,
            kind::WINDOW_UPDATE => {
                let more = number(payload).ok_or(Broken::Protocol("window"))?;
                match self.token(frame.stream) {
                    _ if frame.stream == 0 => self.send_window += i64::from(more),
                    NOBODY => {}
                    token => self.calls[index(token)].window += i64::from(more),
                }
                self.pump();
            }
            kind::PUSH_PROMISE => return Err(Broken::Protocol("a push that we refused")),
            _ => {}
        }
        Ok(())
    }

    /// Opens the connection's window again, now and then.
    fn count_received(&mut self, bytes: usize) {
        self.received_since_update += u32::try_from(bytes).expect("24 bits");
        if self.received_since_update >= WINDOW_BYTES_USED_MAX {
            write_window_update(self.received_since_update, &mut self.out);
            self.received_since_update = 0;
        }
    }

    fn take_settings(&mut self, payload: &[u8]) -> Result<(), Broken> {
        if !payload.len().is_multiple_of(6) {
            return Err(Broken::Protocol("settings"));
        }
        let first = Server { streams_max: u32::MAX, stream_window: 65_535 };
        let is_first = self.server.is_none();
        let mut server = self.server.unwrap_or(first);
        for entry in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = number(&entry[2..]).expect("six bytes");
            match id {
                setting::HEADER_TABLE_SIZE if is_first => self.heads.set_table_bytes(value),
                setting::MAX_CONCURRENT_STREAMS => server.streams_max = value,
                setting::INITIAL_WINDOW_SIZE => {
                    // It changes what streams that are open may be sent (RFC 9113, section 6.9.2).
                    let more = i64::from(value) - server.stream_window;
                    self.calls.iter_mut().for_each(|call| call.window += more);
                    server.stream_window = i64::from(value);
                }
                _ => {}
            }
        }
        self.server = Some(server);
        Frame { length: 0, kind: kind::SETTINGS, flags: flag::ACK, stream: 0 }.write(&mut self.out);
        self.pump();
        Ok(())
    }

    fn take_data(
        &mut self,
        frame: Frame,
        data: &[u8],
        answered: &mut impl FnMut(u32, Result<&[u8], Status>),
    ) {
        let token = self.token(frame.stream);
        if token == NOBODY {
            return;
        }
        let call = &mut self.calls[index(token)];
        if !call.is_answer_dropped {
            call.answer.extend_from_slice(data);
        }
        if frame.has(flag::END_STREAM) {
            let status = without_status(call.http_status);
            self.end(frame.stream, Err(status), answered);
        }
    }

    fn take_block(
        &mut self,
        frame: Frame,
        block: &[u8],
        answered: &mut impl FnMut(u32, Result<&[u8], Status>),
    ) -> Result<(), Broken> {
        let is_end = frame.has(flag::END_STREAM);
        let known = if is_end { &mut self.known.end } else { &mut self.known.begin };
        let heads = if *known == block {
            None
        } else {
            let heads = hpack::read(block).ok_or(Broken::Protocol("headers"))?;
            if is_well(&heads, is_end) {
                block.clone_into(known);
            }
            Some(heads)
        };
        let token = self.token(frame.stream);
        if token == NOBODY {
            return Ok(());
        }
        if is_end {
            let http_status = self.calls[index(token)].http_status;
            let result = heads.map_or(Ok(()), |heads| ended(http_status, heads));
            self.end(frame.stream, result, answered);
        } else {
            let status = heads.map_or(Some(200), |heads| heads.http_status);
            self.calls[index(token)].http_status = status;
        }
        Ok(())
    }

    /// Ends the call of a stream, and tells its answer.
    fn end(
        &mut self,
        stream: u32,
        result: Result<(), Status>,
        answered: &mut impl FnMut(u32, Result<&[u8], Status>),
    ) {
        let token = self.token(stream);
        if !self.forget(stream) {
            return;
        }
        let call = &self.calls[index(token)];
        let answer = match result {
            Err(status) => Err(status),
            Ok(()) if call.is_answer_dropped => Ok(&[][..]),
            Ok(()) => first_message(&call.answer),
        };
        answered(token, answer);
    }
}

impl InFlight {
    fn begin(&mut self, stream: u32, window: i64, call: Call) {
        self.stream = stream;
        self.is_answer_dropped = call.is_answer_dropped();
        self.http_status = None;
        self.window = window;
        self.answer.clear();
        self.unsent.clear();
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("u32 fits usize")
}

fn size(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("buffers are small")
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Writes the head of a frame whose payload is everything after it.
fn patch_frame(out: &mut [u8], head: usize, kind: u8, flags: u8, stream: u32) {
    let length = u32::try_from(out.len() - head - HEAD_BYTES).expect("payloads are small");
    let [_, a, b, c] = length.to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    out[head..head + HEAD_BYTES].copy_from_slice(&[a, b, c, kind, flags, s0, s1, s2, s3]);
}

fn write_window_update(more: u32, out: &mut Vec<u8>) {
    Frame { length: 4, kind: kind::WINDOW_UPDATE, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&more.to_be_bytes());
}

/// Whether a block says nothing but that all is well.
fn is_well(heads: &Heads, is_end: bool) -> bool {
    if is_end { heads.code == Some(Code::Ok) } else { heads.http_status == Some(200) }
}

/// What came of a call, by its last header block.
fn ended(http_status: Option<u16>, heads: Heads) -> Result<(), Status> {
    match heads.code {
        Some(Code::Ok) => Ok(()),
        Some(code) => Err(Status::new(code, heads.message)),
        None => Err(without_status(heads.http_status.or(http_status))),
    }
}

/// What came of a call that has no status of gRPC's (gRPC's http-grpc-status-mapping).
fn without_status(http_status: Option<u16>) -> Status {
    let code = match http_status {
        Some(400) => Code::Internal,
        Some(401) => Code::Unauthenticated,
        Some(403) => Code::PermissionDenied,
        Some(404) => Code::Unimplemented,
        Some(429 | 502 | 503 | 504) => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("no grpc-status; HTTP status {}", http_status.unwrap_or(0)))
}

/// What came of a call whose stream was reset (gRPC's mapping of HTTP/2 error codes).
fn reset(reason: u32) -> Status {
    let code = match reason {
        7 => Code::Unavailable,
        8 => Code::Cancelled,
        11 => Code::ResourceExhausted,
        12 => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, format!("the stream was reset: HTTP/2 error {reason}"))
}

/// The first message of an answer.
fn first_message(answer: &[u8]) -> Result<&[u8], Status> {
    let Some((head, rest)) = answer.split_first_chunk::<MESSAGE_HEAD_BYTES>() else {
        return Err(Status::internal("the answer has no message"));
    };
    let [compressed, length @ ..] = head;
    if *compressed != 0 {
        return Err(Status::internal("the answer is compressed, though nobody asked for that"));
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).expect("u32 fits usize");
    rest.get(..length).ok_or_else(|| Status::internal("the answer is cut off"))
}
