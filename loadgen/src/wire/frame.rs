//! Frames: nine bytes of head, then the payload (RFC 9113, section 4).

/// Bytes of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;
/// What a client sends first.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload that nobody has to announce.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 14;

/// Kinds of frames.
pub(super) mod kind {
    pub(in crate::wire) const DATA: u8 = 0;
    pub(in crate::wire) const HEADERS: u8 = 1;
    pub(in crate::wire) const RST_STREAM: u8 = 3;
    pub(in crate::wire) const SETTINGS: u8 = 4;
    pub(in crate::wire) const PUSH_PROMISE: u8 = 5;
    pub(in crate::wire) const PING: u8 = 6;
    pub(in crate::wire) const GOAWAY: u8 = 7;
    pub(in crate::wire) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::wire) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in crate::wire) const END_STREAM: u8 = 1;
    pub(in crate::wire) const ACK: u8 = 1;
    pub(in crate::wire) const END_HEADERS: u8 = 4;
    pub(in crate::wire) const PADDED: u8 = 8;
    pub(in crate::wire) const PRIORITY: u8 = 0x20;
}

/// Settings.
pub(super) mod setting {
    pub(in crate::wire) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::wire) const ENABLE_PUSH: u16 = 2;
    pub(in crate::wire) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::wire) const INITIAL_WINDOW_SIZE: u16 = 4;
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0 is the connection.
    pub(super) stream: u32,
}

impl Frame {
    /// The head that `bytes` begin with, if it is there whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Frame> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = bytes.first_chunk::<HEAD_BYTES>()?;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits fit usize");
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(Frame { length, kind, flags, stream })
    }

    /// Appends the head.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let [_, a, b, c] = u32::try_from(self.length).expect("payloads are small").to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags, s0, s1, s2, s3]);
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a setting.
pub(super) fn write_setting(out: &mut Vec<u8>, id: u16, value: u32) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&value.to_be_bytes());
}

/// The payload without padding and priority; `None` if it is shorter than it says.
pub(super) fn content(frame: Frame, payload: &[u8]) -> Option<&[u8]> {
    let mut content = payload;
    if frame.has(flag::PADDED) {
        let (&padding, rest) = content.split_first()?;
        content = rest.get(..rest.len().checked_sub(usize::from(padding))?)?;
    }
    if frame.kind == kind::HEADERS && frame.has(flag::PRIORITY) {
        content = content.get(5..)?;
    }
    Some(content)
}
