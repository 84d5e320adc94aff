//! A connection, told what servers say.

use rusd_checker::history::record::{Put, Range, Request};
use rusd_checker::history::text::Text;
use tonic::{Code, Status};

use super::frame::{Frame, HEAD_BYTES, PREFACE, flag, kind, setting, write_setting};
use super::*;

/// What was told of calls: token, and the answer or its code and text.
type Told = Vec<(u32, Result<Vec<u8>, (Code, String)>)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Frame { length: payload.len(), kind, flags, stream }.write(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for &(id, value) in entries {
        write_setting(&mut payload, id, value);
    }
    frame(kind::SETTINGS, 0, 0, &payload)
}

fn tell(connection: &mut Connection, bytes: &[u8]) -> Result<Told, Broken> {
    let mut told = Vec::new();
    connection.receive(bytes, |token, answer: Result<&[u8], Status>| {
        let answer = answer.map(<[u8]>::to_vec);
        told.push((token, answer.map_err(|s| (s.code(), s.message().to_owned()))));
    })?;
    Ok(told)
}

/// Frames that the connection sends, after which it has nothing to send.
fn sent(connection: &mut Connection) -> Vec<(Frame, Vec<u8>)> {
    let output = connection.output().to_vec();
    connection.wrote(output.len());
    let mut rest = output.strip_prefix(PREFACE).unwrap_or(&output);
    let mut frames = Vec::new();
    while let Some(frame) = Frame::read(rest) {
        let end = HEAD_BYTES + frame.length;
        frames.push((frame, rest[HEAD_BYTES..end].to_vec()));
        rest = &rest[end..];
    }
    frames
}

fn open(entries: &[(u16, u32)]) -> Connection {
    let mut connection = Connection::new("localhost:2379", false);
    assert!(!connection.can_call());
    tell(&mut connection, &settings(entries)).unwrap();
    assert!(connection.can_call());
    sent(&mut connection);
    connection
}

const BEGIN: &[u8] = b"\x88";
const END: &[u8] = b"\x00\x0bgrpc-status\x010";

fn answer(stream: u32, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    let data = [&[0][..], &length.to_be_bytes(), message].concat();
    [
        frame(kind::HEADERS, flag::END_HEADERS, stream, BEGIN),
        frame(kind::DATA, 0, stream, &data),
        frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, END),
    ]
    .concat()
}

#[test]
fn answers_are_told_in_the_order_in_which_they_come_however_they_are_cut() {
    let mut connection = open(&[]);
    for token in [4, 0, 9] {
        connection.call(token, Call::Put, |out| out.push(7));
    }
    assert_eq!(connection.in_flight(), 3);
    let bytes = [answer(5, b"five"), answer(1, b"one"), answer(3, b"")].concat();
    let mut told = Vec::new();
    for byte in bytes {
        told.extend(tell(&mut connection, &[byte]).unwrap());
    }
    let expected = [(9, &b"five"[..]), (4, b"one"), (0, b"")];
    assert_eq!(told, expected.map(|(token, message)| (token, Ok(message.to_vec()))));
    assert_eq!(connection.in_flight(), 0);
}

#[test]
fn the_first_call_spells_its_path_out_and_the_next_one_refers_to_it() {
    let mut connection = open(&[]);
    let lengths: Vec<usize> = [Call::Put, Call::Put, Call::Range, Call::Put, Call::Range]
        .into_iter()
        .zip(0..)
        .map(|(call, token)| {
            connection.call(token, call, |_| {});
            sent(&mut connection)[0].0.length
        })
        .collect();
    assert!(lengths[0] > 80, "{lengths:?}");
    assert_eq!((lengths[1], lengths[2], lengths[3], lengths[4]), (7, 6 + 2 + 22, 7, 7));
    let mut forgetful = open(&[(setting::HEADER_TABLE_SIZE, 0)]);
    for token in 0..2 {
        forgetful.call(token, Call::Put, |_| {});
        assert!(sent(&mut forgetful)[0].0.length > 80);
    }
}

#[test]
fn errors_have_the_code_and_the_text_of_the_server() {
    let refused = b"\x88\x00\x0bgrpc-status\x018\x00\x0cgrpc-message\x16etcdserver:%20too%20ma";
    let cases: Vec<(Vec<u8>, Code, &str)> = vec![
        (frame(kind::HEADERS, 5, 1, refused), Code::ResourceExhausted, "etcdserver: too ma"),
        (frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 7]), Code::Unavailable, "was reset"),
        (frame(kind::HEADERS, 5, 1, b"\x8d"), Code::Unimplemented, "HTTP status 404"),
        (
            [frame(kind::HEADERS, 4, 1, BEGIN), frame(kind::HEADERS, 5, 1, END)].concat(),
            Code::Internal,
            "no message",
        ),
        (
            [frame(kind::HEADERS, 4, 1, BEGIN), frame(kind::DATA, 1, 1, &[0, 0, 0, 0, 0])].concat(),
            Code::Unknown,
            "no grpc-status",
        ),
        (
            [
                frame(kind::HEADERS, 4, 1, BEGIN),
                frame(kind::DATA, 0, 1, &[1, 0, 0, 0, 0]),
                frame(kind::HEADERS, 5, 1, END),
            ]
            .concat(),
            Code::Internal,
            "compressed",
        ),
    ];
    for (bytes, code, text) in cases {
        let mut connection = open(&[]);
        connection.call(2, Call::Txn, |_| {});
        let told = tell(&mut connection, &bytes).unwrap();
        let [(2, Err((got, message)))] = told.as_slice() else { panic!("{text}: {told:?}") };
        assert_eq!(*got, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn what_was_given_up_is_never_told_and_its_token_is_free() {
    let mut connection = open(&[]);
    connection.call(0, Call::Put, |_| {});
    sent(&mut connection);
    connection.give_up(0);
    assert_eq!(sent(&mut connection)[0].0.kind, kind::RST_STREAM);
    connection.call(0, Call::Put, |_| {});
    let told = tell(&mut connection, &[answer(1, b"late"), answer(3, b"own")].concat()).unwrap();
    assert_eq!(told, [(0, Ok(b"own".to_vec()))]);
}

#[test]
fn large_messages_are_sent_as_far_as_the_windows_allow() {
    let mut connection = open(&[(setting::INITIAL_WINDOW_SIZE, 20_000)]);
    connection.call(0, Call::Put, |out| out.resize(out.len() + 50_000, 1));
    connection.call(1, Call::Put, |out| out.resize(out.len() + 100, 2));
    let data = |frames: &[(Frame, Vec<u8>)], stream: u32| -> (usize, bool) {
        let of = frames.iter().filter(|(f, _)| f.kind == kind::DATA && f.stream == stream);
        of.fold((0, false), |(sum, end), (f, _)| (sum + f.length, end || f.has(flag::END_STREAM)))
    };
    let frames = sent(&mut connection);
    assert_eq!(data(&frames, 1), (20_000, false));
    assert_eq!(data(&frames, 3), (105, true), "another stream's window is not its own");
    let opened =
        |stream: u32, more: u32| frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    tell(&mut connection, &opened(1, 40_000)).unwrap();
    assert_eq!(data(&sent(&mut connection), 1), (30_005, true));
    // What the connection may send: 65,535 at first.
    connection.call(2, Call::Put, |out| out.resize(out.len() + 18_000, 3));
    assert_eq!(data(&sent(&mut connection), 5), (65_535 - 50_110, false));
    tell(&mut connection, &opened(0, 1 << 20)).unwrap();
    assert_eq!(data(&sent(&mut connection), 5), (18_005 - (65_535 - 50_110), true));
}

#[test]
fn a_server_is_called_as_often_at_a_time_as_it_allows_and_not_once_it_goes_away() {
    let mut connection = open(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
    connection.call(0, Call::Put, |_| {});
    connection.call(1, Call::Put, |_| {});
    assert!(!connection.can_call());
    let told = tell(&mut connection, &answer(1, b"")).unwrap();
    assert_eq!((told.len(), connection.can_call()), (1, true));
    tell(&mut connection, &frame(kind::GOAWAY, 0, 0, &[0; 8])).unwrap();
    assert!(!connection.can_call());
    assert_eq!(tell(&mut connection, &answer(3, b"")).unwrap().len(), 1, "what it has it answers");
}

#[test]
fn pings_and_settings_are_acknowledged_and_nonsense_breaks_the_connection() {
    let mut connection = open(&[]);
    tell(&mut connection, &frame(kind::PING, 0, 0, b"12345678")).unwrap();
    let (ping, payload) = sent(&mut connection).remove(0);
    assert_eq!((ping.kind, ping.has(flag::ACK), payload), (kind::PING, true, b"12345678".to_vec()));
    for nonsense in [
        frame(kind::HEADERS, 5, 1, &[0xff]),
        frame(kind::CONTINUATION, 4, 1, &[]),
        frame(kind::SETTINGS, 0, 0, &[1]),
        frame(kind::PUSH_PROMISE, 4, 1, &[0; 4]),
        frame(kind::DATA, flag::PADDED, 1, &[200, 1]),
    ] {
        assert!(tell(&mut open(&[]), &nonsense).is_err(), "{nonsense:?}");
    }
}

#[test]
fn header_blocks_may_come_in_parts_with_padding_and_priority() {
    let mut connection = open(&[]);
    connection.call(0, Call::Range, |_| {});
    let padded = [&[2][..], &[0; 5], BEGIN, &[0; 2]].concat();
    let flags = flag::PADDED | flag::PRIORITY;
    let data = frame(kind::DATA, flag::PADDED, 1, &[3, 0, 0, 0, 0, 1, b'x', 0, 0, 0]);
    let told = [
        frame(kind::HEADERS, flags, 1, &padded),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]),
        data,
        frame(kind::HEADERS, flag::END_STREAM, 1, &END[..5]),
        frame(kind::CONTINUATION, flag::END_HEADERS, 1, &END[5..]),
    ];
    assert_eq!(tell(&mut connection, &told.concat()).unwrap(), [(0, Ok(b"x".to_vec()))]);
}

/// A stock server understands what we send, and we what it answers.
#[tokio::test]
async fn a_stock_server_is_understood() {
    use std::future::poll_fn;
    use std::task::Poll;

    let address = crate::test_member::serve(1).await;
    let (mut socket, authority) = Socket::connect(&address).await.unwrap();
    let mut connection = Connection::new(&authority, socket.is_secured());
    let put = Request::Put(Put { key: Text::from("k"), ..Put::default() });
    let range = Request::Range(Range { key: Text::from("k"), ..Range::default() });
    let mut told = Vec::new();
    let mut asked = [&put, &put, &range].into_iter();
    let mut buffer = vec![0; 1 << 12];
    poll_fn(|context| {
        loop {
            if connection.can_call() && connection.in_flight() == 0 {
                let Some(request) = asked.next() else { return Poll::Ready(()) };
                connection.call(0, message::call(request), |out| message::encode(request, out));
            }
            while !connection.output().is_empty() {
                match socket.poll_write(context, connection.output()) {
                    Poll::Ready(written) => connection.wrote(written.unwrap()),
                    Poll::Pending => break,
                }
            }
            match socket.poll_read(context, &mut buffer) {
                Poll::Ready(read) => {
                    told.extend(tell(&mut connection, &buffer[..read.unwrap()]).unwrap());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    let revision = message::decode(&put, told[0].1.as_ref().unwrap()).unwrap().revision;
    assert_eq!(revision, 2);
    let refused = (Code::Unknown, "etcdserver: too many requests".to_owned());
    assert_eq!(told[1].1, Err(refused));
    assert_eq!(told[2].1, Err((Code::Unimplemented, String::new())));
}
