//! Lets in clients whose requests name a URL where HTTP/2 wants an authority.
//!
//! The gRPC library of etcd's clients up to 3.4 sends `:authority: http://HOST:PORT` when it was
//! given a URL for one member, as `etcdctl endpoint status --cluster` does. Go's server takes that;
//! ours would reset the stream before any code of ours sees it. Nobody looks at the authority, so
//! the three characters that are not allowed are overwritten on their way in.
//!
//! Invariant: only bytes inside the headers of requests change, and the change is as long as what it
//! replaces, both as sent and when decoded: neither frames nor the compression's table move.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length (3 bytes), kind, flags and stream (4 bytes) of a frame.
const FRAME_HEADER_BYTES: usize = 9;
/// The kind of frame that holds headers.
const HEADERS: u8 = 1;

/// The authority as a literal that begins with `http://`: HPACK's name of it, a length, and the
/// characters in its Huffman code. Of the length only the mark of that code counts, of the last
/// byte only the first bit.
const URL: [u8; 8] = [0x41, 0x80, 0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x00];
const URL_BITS: [u8; 8] = [0xff, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80];
/// What comes instead, from the fifth byte on: `httpB--`, each letter as long in the code as the one
/// it replaces.
const NO_URL: [u8; 2] = [0xea, 0xcb];
const NO_URL_START: usize = 5;

/// A connection whose incoming authorities are made valid.
#[derive(Debug)]
pub(super) struct WithAuthority<T> {
    stream: T,
    filter: Filter,
    /// Read, and not handed on yet: the beginning of an authority, perhaps.
    held: Vec<u8>,
}

impl<T> WithAuthority<T> {
    pub(super) fn new(stream: T) -> Self {
        WithAuthority { stream, filter: Filter::default(), held: Vec::new() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WithAuthority<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let start = buffer.filled().len();
        if buffer.remaining() <= this.held.len() {
            // No room for what would tell: they go on as they are.
            let mut bytes: Vec<u8> = this.held.drain(..buffer.remaining()).collect();
            this.filter.pass(&mut bytes, false);
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        loop {
            buffer.put_slice(&this.held);
            let with_held = buffer.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            if !matches!(polled, Poll::Ready(Ok(()))) {
                buffer.set_filled(start);
            }
            ready!(polled)?;
            let may_hold = buffer.filled().len() > with_held;
            let passed = start + this.filter.pass(&mut buffer.filled_mut()[start..], may_hold);
            this.held.clear();
            this.held.extend_from_slice(&buffer.filled()[passed..]);
            buffer.set_filled(passed);
            // Nothing at all would say that the stream is over.
            if passed > start || !may_hold {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WithAuthority<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Follows the frames of a connection.
#[derive(Debug)]
enum Filter {
    Preface {
        seen: usize,
    },
    FrameHeader {
        bytes: [u8; FRAME_HEADER_BYTES],
        seen: usize,
    },
    Payload {
        left: usize,
        is_headers: bool,
    },
    /// HTTP/1: nothing is changed.
    Other,
}

impl Default for Filter {
    fn default() -> Self {
        Filter::Preface { seen: 0 }
    }
}

impl Filter {
    /// Goes over the next bytes. Returns how many are done; the others, at the end, may be the
    /// beginning of an authority, and are to come again with what follows them.
    fn pass(&mut self, bytes: &mut [u8], may_hold: bool) -> usize {
        let next_frame = || Filter::FrameHeader { bytes: [0; FRAME_HEADER_BYTES], seen: 0 };
        let mut at = 0;
        while at < bytes.len() {
            match self {
                Filter::Other => return bytes.len(),
                Filter::Preface { seen } if bytes[at] != PREFACE[*seen] => *self = Filter::Other,
                Filter::Preface { seen } => {
                    (at, *seen) = (at + 1, *seen + 1);
                    if *seen == PREFACE.len() {
                        *self = next_frame();
                    }
                }
                Filter::FrameHeader { bytes: header, seen } => {
                    header[*seen] = bytes[at];
                    (at, *seen) = (at + 1, *seen + 1);
                    if *seen == FRAME_HEADER_BYTES {
                        let [high, middle, low, kind, ..] = header.map(usize::from);
                        let left = high << 16 | middle << 8 | low;
                        *self = Filter::Payload { left, is_headers: kind == usize::from(HEADERS) };
                    }
                }
                Filter::Payload { left: 0, .. } => *self = next_frame(),
                Filter::Payload { left, is_headers } => {
                    let end = bytes.len().min(at + *left);
                    let part = &mut bytes[at..end];
                    let may_hold = may_hold && part.len() < *left;
                    let done = if *is_headers { overwrite(part, may_hold) } else { part.len() };
                    (at, *left) = (at + done, *left - done);
                    if at < end {
                        return at;
                    }
                }
            }
        }
        at
    }
}

/// Makes the authorities in a piece of headers valid; returns how many bytes of it are done.
fn overwrite(headers: &mut [u8], may_hold: bool) -> usize {
    for start in 0..headers.len() {
        let rest = &mut headers[start..];
        let mut code = rest.iter().zip(URL.iter().zip(URL_BITS));
        if code.all(|(byte, (url, bits))| byte & bits == url & bits) {
            if let Some(found) = rest.get_mut(..URL.len()) {
                found[NO_URL_START..][..NO_URL.len()].copy_from_slice(&NO_URL);
            } else if may_hold {
                return start;
            }
        }
    }
    headers.len()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// The beginning of what etcdctl 3.4 sends for `--endpoints http://127.0.0.1:13300`.
    const HEADERS_OF_3_4: [u8; 46] = [
        0x83, 0x86, 0x45, 0x97, 0x60, 0xa9, 0x24, 0x88, 0x2d, 0x9d, 0xcb, 0x65, 0x71, 0xaf, 0xa0,
        0x66, 0xa9, 0x25, 0xa8, 0x75, 0x10, 0xac, 0x6e, 0x48, 0xd3, 0x6a, 0x3f, 0x41, 0x90, 0x9d,
        0x29, 0xae, 0xe3, 0x0c, 0x04, 0x4e, 0xae, 0x05, 0xc0, 0xb8, 0x6e, 0x05, 0x96, 0x40, 0x0f,
        0x5f,
    ];
    /// Where its authority begins.
    const AUTHORITY: usize = 27;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 4, 0, 0, 0, 1], payload].concat()
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [PREFACE, &frames.concat()].concat()
    }

    /// What comes out when `sent` comes in pieces of so many bytes, into a buffer of so many.
    fn read(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let mut stream = stream_of(sent, piece);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
            loop {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => return got,
                    count => got.extend_from_slice(&buffer[..count]),
                }
            }
        })
    }

    fn stream_of(sent: &[u8], piece: usize) -> WithAuthority<Pieces> {
        WithAuthority::new(Pieces { sent: sent.to_vec(), piece, at: 0, is_ready: false })
    }

    /// Gives a piece at every second poll.
    struct Pieces {
        sent: Vec<u8>,
        piece: usize,
        at: usize,
        is_ready: bool,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.is_ready = !self.is_ready;
            if self.is_ready {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let count = self.piece.min(buffer.remaining()).min(self.sent.len() - self.at);
            buffer.put_slice(&self.sent[self.at..self.at + count]);
            self.at += count;
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_url_in_the_headers_becomes_an_authority_however_it_is_divided() {
        let sent = connection(&[frame(4, &[]), frame(HEADERS, &HEADERS_OF_3_4), frame(0, b"data")]);
        let mut wanted = sent.clone();
        let at = sent.len() - 13 - HEADERS_OF_3_4.len() + AUTHORITY + NO_URL_START;
        wanted[at..at + 2].copy_from_slice(&NO_URL);
        for piece in 1..sent.len() {
            assert_eq!(read(&sent, piece, 1024), wanted, "in pieces of {piece}");
            // With less room than that, an authority can come in two.
            assert_eq!(read(&sent, piece, URL.len()), wanted, "in pieces of {piece}");
        }
        assert_eq!(read(&sent, 1024, 3).len(), sent.len());
    }

    #[test]
    fn nothing_else_changes() {
        let mut valid = HEADERS_OF_3_4;
        valid[AUTHORITY + 3] = 0x08;
        let cut = &HEADERS_OF_3_4[..AUTHORITY + 6];
        for sent in [
            connection(&[frame(0, &HEADERS_OF_3_4), frame(HEADERS, &valid)]),
            connection(&[frame(HEADERS, cut), frame(0, &HEADERS_OF_3_4[AUTHORITY + 6..])]),
            connection(&[frame(HEADERS, &HEADERS_OF_3_4)])[..PREFACE.len() + 9 + AUTHORITY + 4]
                .to_vec(),
            [
                b"GET / HTTP/1.1

",
                &HEADERS_OF_3_4[..],
            ]
            .concat(),
        ] {
            for piece in 1..sent.len() {
                assert_eq!(read(&sent, piece, 1024), sent, "in pieces of {piece}");
            }
        }
    }
}
