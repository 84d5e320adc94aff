//! The header block that a call begins with.
//!
//! The first call of a kind on a connection spells its path out and has the server remember it
//! (RFC 7541, section 6.2.1); later ones are eight bytes. That is what other clients do, so servers
//! are measured with what they are used to.

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is etcd's call of that name")]
pub enum Call {
    Put,
    Range,
    DeleteRange,
    Txn,
    Compact,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    Defragment,
    Snapshot,
}

const CALLS: usize = 10;

impl Call {
    fn path(self) -> &'static str {
        match self {
            Call::Put => "/etcdserverpb.KV/Put",
            Call::Range => "/etcdserverpb.KV/Range",
            Call::DeleteRange => "/etcdserverpb.KV/DeleteRange",
            Call::Txn => "/etcdserverpb.KV/Txn",
            Call::Compact => "/etcdserverpb.KV/Compact",
            Call::LeaseGrant => "/etcdserverpb.Lease/LeaseGrant",
            Call::LeaseRevoke => "/etcdserverpb.Lease/LeaseRevoke",
            Call::LeaseKeepAlive => "/etcdserverpb.Lease/LeaseKeepAlive",
            Call::Defragment => "/etcdserverpb.Maintenance/Defragment",
            Call::Snapshot => "/etcdserverpb.Maintenance/Snapshot",
        }
    }

    fn place(self) -> usize {
        match self {
            Call::Put => 0,
            Call::Range => 1,
            Call::DeleteRange => 2,
            Call::Txn => 3,
            Call::Compact => 4,
            Call::LeaseGrant => 5,
            Call::LeaseRevoke => 6,
            Call::LeaseKeepAlive => 7,
            Call::Defragment => 8,
            Call::Snapshot => 9,
        }
    }

    /// Whether nobody wants to know what is answered, only that it is.
    pub(super) fn is_answer_dropped(self) -> bool {
        self == Call::Snapshot
    }
}

/// Entries of HPACK's static table, by index.
mod entry {
    pub(super) const AUTHORITY: u8 = 1;
    pub(super) const METHOD_POST: u8 = 3;
    pub(super) const PATH: u8 = 4;
    pub(super) const SCHEME_HTTP: u8 = 6;
    pub(super) const SCHEME_HTTPS: u8 = 7;
    pub(super) const CONTENT_TYPE: u8 = 31;
    pub(super) const USER_AGENT: u8 = 58;
    /// First index of what the server was told to remember.
    pub(super) const DYNAMIC: u8 = 62;
}

const INDEXED: u8 = 0x80;
const REMEMBERED: u8 = 0x40;
const FORGOTTEN: u8 = 0;
/// What the entries that we have a server remember take at most, far less than it has to keep.
pub(super) const TABLE_BYTES: u32 = 2048;

/// Header blocks of one connection's calls.
#[derive(Debug)]
pub(super) struct CallHeads {
    authority: String,
    is_secured: bool,
    /// Entries that the server remembers; the newest has the lowest index.
    remembered: u8,
    /// Place of each call's path among them.
    paths: [Option<u8>; CALLS],
    /// The server remembers nothing: it has too small a table.
    is_forgetful: bool,
}

impl CallHeads {
    pub(super) fn new(authority: &str, is_secured: bool) -> CallHeads {
        let authority = authority.to_owned();
        let paths = [None; CALLS];
        CallHeads { authority, is_secured, remembered: 0, paths, is_forgetful: false }
    }

    /// The server has a table of this size. Must be told before the first call.
    pub(super) fn set_table_bytes(&mut self, bytes: u32) {
        self.is_forgetful = bytes < TABLE_BYTES;
    }

    /// Appends the block. Names with a colon come first.
    pub(super) fn write(&mut self, call: Call, out: &mut Vec<u8>) {
        let scheme = if self.is_secured { entry::SCHEME_HTTPS } else { entry::SCHEME_HTTP };
        out.extend_from_slice(&[INDEXED | entry::METHOD_POST, INDEXED | scheme]);
        if self.is_forgetful {
            literal(FORGOTTEN, entry::PATH, call.path(), out);
            self.spell(FORGOTTEN, out);
            return;
        }
        let is_first = self.remembered == 0;
        if let Some(place) = self.paths[call.place()] {
            out.push(self.index(place));
        } else {
            literal(REMEMBERED, entry::PATH, call.path(), out);
            self.paths[call.place()] = Some(self.remembered);
            self.remembered += 1;
        }
        if is_first {
            self.spell(REMEMBERED, out);
            self.remembered += COMMON_ENTRIES;
        } else {
            // They come after the first path.
            out.extend((1..=COMMON_ENTRIES).map(|place| self.index(place)));
        }
    }

    /// The index of what the server remembers at a place, counted from the oldest.
    fn index(&self, place: u8) -> u8 {
        INDEXED | (entry::DYNAMIC + self.remembered - 1 - place)
    }

    /// What all calls have in common.
    fn spell(&self, mode: u8, out: &mut Vec<u8>) {
        literal(mode, entry::AUTHORITY, &self.authority, out);
        literal(mode, entry::CONTENT_TYPE, "application/grpc", out);
        out.push(mode);
        string("te", out);
        string("trailers", out);
        literal(mode, entry::USER_AGENT, concat!("loadgen/", env!("CARGO_PKG_VERSION")), out);
    }
}

/// How many entries [`CallHeads::spell`] makes.
const COMMON_ENTRIES: u8 = 4;

/// A header with a name of the static table.
fn literal(mode: u8, name: u8, value: &str, out: &mut Vec<u8>) {
    let mask = if mode == REMEMBERED { 0x3f } else { 0x0f };
    if name < mask {
        out.push(mode | name);
    } else {
        out.extend_from_slice(&[mode | mask, name - mask]);
    }
    string(value, out);
}

fn string(text: &str, out: &mut Vec<u8>) {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 0x7f);
    out.push(length.expect("names, paths and addresses are short"));
    out.extend_from_slice(text.as_bytes());
}
