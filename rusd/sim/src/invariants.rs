//! What must hold after every step, whatever happens (Raft paper, figure 3; section 5.4).
//!
//! - *Election safety*: one leader a term.
//! - *State machine safety*: no two members have another entry committed at one index.
//! - *Leader completeness*: a leader has every entry that was ever committed.
//! - *Durability*: a committed entry is synced on a quorum of the voters, but for those that a new
//!   cluster begins with.
//! - *State equality*: members that have applied as much have the same state, and the same members.
//!
//! Members come and go; what was seen of one that is gone still counts.

use std::collections::BTreeMap;

use rusd_raft::log::LogStore as _;
use rusd_raft::{Index, Node, Term};
use rusd_state::View;

use crate::disk::{Disk, SimLog};

/// Of the entries that a new cluster begins with: each member commits its own without asking, as in
/// etcd. No leader has this term.
const BOOTSTRAP_TERM: Term = Term(1);

/// Bytes of entries looked at in one step.
const BYTES_LOOKED_AT_MAX: u64 = u64::MAX;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct Broken {
    /// Which.
    pub name: &'static str,
    /// How.
    pub what: String,
}

/// A member, as it is looked at.
pub trait Seen {
    /// Its id.
    fn id(&self) -> u64;
    /// Its disk.
    fn disk(&self) -> &Disk;
    /// Its node, while it lives.
    fn node(&self) -> Option<&Node<SimLog>>;
    /// Its state, while it lives.
    fn view(&self) -> Option<&View>;
}

/// What was seen so far.
#[derive(Debug)]
pub struct Invariants {
    leaders: BTreeMap<u64, u64>,
    /// Term and checksum of each committed entry; the first has index 1.
    committed: Vec<(u64, u32)>,
    /// By member: committed entries looked at in this life.
    looked_at: Vec<u64>,
    /// By member: the voters as it had them after its last turn.
    voters: Vec<Vec<u64>>,
    /// At each applied index the hashes of state and membership, and who had them.
    states: BTreeMap<u64, ((u32, u32), usize)>,
}

impl Invariants {
    /// Nothing was seen yet.
    pub fn new(members: usize) -> Invariants {
        Invariants {
            leaders: BTreeMap::new(),
            committed: Vec::new(),
            looked_at: vec![0; members],
            voters: vec![Vec::new(); members],
            states: BTreeMap::new(),
        }
    }

    /// Entries that were committed.
    pub fn committed(&self) -> usize {
        self.committed.len()
    }

    /// Terms that had a leader.
    pub fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// A member began a new life: what it has committed is looked at again.
    pub fn restarted(&mut self, member: usize, hosts: &[impl Seen]) {
        self.looked_at[member] = 0;
        self.voters[member] = voters(&hosts[member]);
    }

    /// Looks at a member that has just taken a turn.
    pub fn check(&mut self, member: usize, hosts: &[impl Seen]) -> Result<(), Broken> {
        let Some(node) = hosts[member].node() else { return Ok(()) };
        if node.is_leader() {
            let (term, id) = (node.term(), hosts[member].id());
            let known = *self.leaders.entry(term).or_insert(id);
            if known != id {
                let what = format!("{known:x} and {id:x} lead in term {term}");
                return Err(Broken { name: "election safety", what });
            }
            self.check_complete(member, hosts)?;
        }
        let committed = node.committed().0;
        if committed > self.looked_at[member] {
            self.check_committed(member, hosts, committed)?;
        }
        self.voters[member] = voters(&hosts[member]);
        Ok(())
    }

    /// Looks whether a leader has the last entry that was committed: with log matching, it then has
    /// all before it.
    fn check_complete(&self, member: usize, hosts: &[impl Seen]) -> Result<(), Broken> {
        let node = hosts[member].node().expect("it was looked at");
        let index = u64::try_from(self.committed.len()).expect("a length fits");
        let Some((term, _)) = self.committed.last() else { return Ok(()) };
        let leads_later = node.term() >= *term;
        if leads_later && node.log().term(Index(index)) != Some(Term(*term)) {
            let what = format!("m{member} leads in term {} without entry {index}", node.term());
            return Err(Broken { name: "leader completeness", what });
        }
        Ok(())
    }

    fn check_committed(
        &mut self,
        member: usize,
        hosts: &[impl Seen],
        until: u64,
    ) -> Result<(), Broken> {
        let node = hosts[member].node().expect("it was looked at");
        let first = node.log().first_index().0;
        let from = self.looked_at[member].max(first - 1) + 1;
        if from > until {
            return Ok(());
        }
        let entries = node.entries(Index(from), Index(until + 1), BYTES_LOOKED_AT_MAX);
        let entries = entries.map_err(|error| Broken {
            name: "readable log",
            what: format!("m{member}: {error}"),
        })?;
        for entry in &entries {
            let seen = (entry.term(), crc(entry.data()));
            let position = usize::try_from(entry.index() - 1).expect("a position fits");
            match self.committed.get(position) {
                Some(known) if *known == seen => {}
                Some(known) => {
                    let what = format!(
                        "entry {} of term {} is committed on m{member}, and another of term {}",
                        entry.index(),
                        seen.0,
                        known.0
                    );
                    return Err(Broken { name: "state machine safety", what });
                }
                None => {
                    assert_eq!(position, self.committed.len(), "indexes have no gaps");
                    self.committed.push(seen);
                    self.check_durable(member, Index(entry.index()), Term(seen.0), hosts)?;
                }
            }
        }
        self.looked_at[member] = until;
        Ok(())
    }

    /// Compares the state of a member with that of others at the same applied index.
    pub fn check_state(&mut self, member: usize, hosts: &[impl Seen]) -> Result<(), Broken> {
        let Some(view) = hosts[member].view() else { return Ok(()) };
        let applied = view.applied_index();
        let hash = view.hash().map_err(|error| Broken {
            name: "readable state",
            what: format!("m{member}: {error}"),
        })?;
        let seen = (hash.0, crc(format!("{:?}", view.membership()).as_bytes()));
        let (known, other) = *self.states.entry(applied).or_insert((seen, member));
        if known != seen {
            let what = if known.0 == seen.0 { "know other members" } else { "differ" };
            let what = format!("m{member} and m{other} {what} after entry {applied}");
            return Err(Broken { name: "state equality", what });
        }
        Ok(())
    }

    /// A turn that commits may also change who votes: the quorum is one of before it or after it.
    fn check_durable(
        &self,
        member: usize,
        index: Index,
        term: Term,
        hosts: &[impl Seen],
    ) -> Result<(), Broken> {
        if term == BOOTSTRAP_TERM {
            return Ok(());
        }
        let synced = hosts.iter().filter(|host| host.disk().has_durably(index, term));
        let synced: Vec<u64> = synced.map(Seen::id).collect();
        let is_quorum = |voters: &[u64]| {
            let count = voters.iter().filter(|voter| synced.contains(voter)).count();
            count > voters.len() / 2
        };
        if is_quorum(&self.voters[member]) || is_quorum(&voters(&hosts[member])) {
            return Ok(());
        }
        let what = format!("entry {index} is committed and synced on {synced:x?} only");
        Err(Broken { name: "durability", what })
    }
}

fn voters(host: &impl Seen) -> Vec<u64> {
    host.node().map(|node| node.conf_state().voters).unwrap_or_default()
}

fn crc(data: &[u8]) -> u32 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(data);
    u32::try_from(hasher.finish() & u64::from(u32::MAX)).expect("it was cut")
}
