//! A server that knows nothing and answers at once: the yardstick of a load generator.
//!
//! What a generator reaches against it is the most that it can measure; and what it reports of it is
//! its own. Every call gets the same answer, whose only content is a header and that the server
//! leads: that is a valid answer to most calls of etcd's API. What a history says of it is nonsense.
//!
//! One thread per connection, blocking, and many answers in one write. Nothing is read of a call but
//! where it ends.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use prost::Message;
use rusd_proto::etcdserverpb as pb;

use super::frame::{self, Frame, PREFACE, flag, kind, setting};
use super::received::Received;

/// What the server lets a connection and each stream send.
const WINDOW_BYTES: u32 = 1 << 30;
const BUFFER_BYTES: usize = 1 << 18;

/// Serves every connection, until the listener fails.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A connection that breaks is the client's affair.
        thread::Builder::new().name("null".to_owned()).spawn(move || drop(converse(stream)))?;
    }
}

/// Takes every connection, says what it allows, and answers nothing.
pub fn silent(listener: &TcpListener) -> io::Result<()> {
    let mut taken = Vec::new();
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.write_all(&Answering::new().out)?;
        taken.push(stream);
    }
}

fn converse(mut stream: TcpStream) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface)?;
    let mut answering = Answering::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        stream.write_all(&answering.out)?;
        answering.out.clear();
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        answering.take(&buffer[..read]);
    }
}

/// One connection.
struct Answering {
    out: Vec<u8>,
    received: Received,
    used: u32,
    /// The frames of an answer; where their stream ids stand.
    answer: Vec<u8>,
    stream_at: Vec<usize>,
}

impl Answering {
    fn new() -> Answering {
        let mut out = Vec::new();
        let mut settings = Vec::new();
        frame::write_setting(&mut settings, setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES);
        push(&mut out, kind::SETTINGS, 0, &settings);
        push(&mut out, kind::WINDOW_UPDATE, 0, &WINDOW_BYTES.to_be_bytes());

        let mut answer = Vec::new();
        let mut stream_at = Vec::new();
        let message = message();
        // ":status 200", and the rest in plain letters.
        let begin = b"\x88\x0f\x10\x10application/grpc";
        let end = b"\x00\x0bgrpc-status\x010";
        for (kind, flags, payload) in [
            (kind::HEADERS, flag::END_HEADERS, &begin[..]),
            (kind::DATA, 0, &message),
            (kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, &end[..]),
        ] {
            stream_at.push(answer.len() + 5);
            push(&mut answer, kind, flags, payload);
        }
        Answering { out, received: Received::default(), used: 0, answer, stream_at }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.received.push(bytes);
        while let Some((frame, payload)) = self.received.next_frame() {
            match frame.kind {
                kind::SETTINGS if !frame.has(flag::ACK) => {
                    push(&mut self.out, kind::SETTINGS, flag::ACK, &[]);
                }
                kind::PING if !frame.has(flag::ACK) => {
                    push(&mut self.out, kind::PING, flag::ACK, payload);
                }
                kind::DATA => {
                    self.used += u32::try_from(frame.length).expect("24 bits");
                    if frame.has(flag::END_STREAM) {
                        let at = self.out.len();
                        self.out.extend_from_slice(&self.answer);
                        for place in &self.stream_at {
                            self.out[at + place..at + place + 4]
                                .copy_from_slice(&frame.stream.to_be_bytes());
                        }
                    }
                }
                _ => {}
            }
        }
        if self.used >= WINDOW_BYTES / 2 {
            push(&mut self.out, kind::WINDOW_UPDATE, 0, &self.used.to_be_bytes());
            self.used = 0;
        }
    }
}

/// The answer to everything.
fn message() -> Vec<u8> {
    let header = pb::ResponseHeader { cluster_id: 1, member_id: 1, revision: 1, raft_term: 1 };
    let answer = pb::StatusResponse { header: Some(header), leader: 1, ..Default::default() };
    let length = u32::try_from(answer.encoded_len()).expect("it is small");
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    answer.encode(&mut message).expect("a vector grows");
    message
}

fn push(out: &mut Vec<u8>, kind: u8, flags: u8, payload: &[u8]) {
    Frame { length: payload.len(), kind, flags, stream: 0 }.write(out);
    out.extend_from_slice(payload);
}
