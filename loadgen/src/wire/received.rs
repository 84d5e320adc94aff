//! What a connection has received and not yet read.

use super::frame::{Frame, HEAD_BYTES};

/// Bytes in the order in which they came, cut into frames.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    read: usize,
}

impl Received {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.read == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..self.read);
        }
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame that is there whole, and its payload.
    pub(super) fn next_frame(&mut self) -> Option<(Frame, &[u8])> {
        let rest = &self.bytes[self.read..];
        let frame = Frame::read(rest)?;
        let end = HEAD_BYTES + frame.length;
        let payload = rest.get(HEAD_BYTES..end)?;
        self.read += end;
        Some((frame, payload))
    }
}
