//! Registers whose written values are unique, without a search: Gibbons and Korach's zones.
//!
//! If only one write can have brought a value, that write, the reads of its value, and the
//! compare-and-set that took it away are one *block*: in any order they come one after the other,
//! with nothing in between that changes the register; and the block of the value that was set
//! comes next, so that the two are one. What is left is the order of blocks:
//!
//! ```text
//!  write 1   |-----|
//!  read 1         |----|             its last invocation: max of invoked
//!                  ^   ^
//!           first return                zone: from first return to last invocation
//! ```
//!
//! Block A comes before block B if a call of A returns before a call of B is invoked, that is, if
//! A's first return is before B's last invocation. Two blocks that must each come before the other
//! have no order, and if no two are like that, there is an order of all.[^cycle] A zone whose first
//! return comes before its last invocation is *forward*: no two of these may overlap. The others
//! are *backward*: none may lie inside a forward one. Sorting finds both, in O(n log n).
//!
//! A write of unknown outcome whose value is read happened, and has all the time in the world to
//! return; one whose value nobody reads may be left out.
//!
//! Calls on a value that has two possible writers are blocks of their own: that they lie inside no
//! other block is true of them too. So a conflict is one in any case; but if there is none, what
//! such calls ask for has not been looked at, and the search must decide. The same goes for a
//! compare-and-set that was refused by a value it can have met.
//!
//! From P. B. Gibbons, E. Korach: Testing Shared Memories (1997), section 4; compare-and-set and
//! unknown outcomes are ours.
//!
//! [^cycle]: "Comes before" compares one number of A with one of B. So of A before B and C before D
//! it follows that A comes before D or C before B; with that any cycle can be made shorter until
//! two blocks are left.

use super::automaton::StateId;
use super::model::{Guard, Model};
use super::numbers::{narrow, wide};
use super::problem::Problem;

/// What the zones say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Zoned {
    /// There is an order.
    Order,
    /// There is none, because of these calls, by their places in the history.
    Conflict(Vec<usize>),
    /// They do not apply.
    Unsuitable,
}

/// A call that happened. Known events have even times, so that there is room between them.
#[derive(Debug, Clone, Copy)]
struct Happened {
    invoked: u32,
    returned: u32,
    requires: Option<StateId>,
    leaves: Option<StateId>,
    /// Its place in the history; the initial state is left by none.
    call: Option<u32>,
}

/// Says whether the calls have an order, if that can be said.
pub(crate) fn check<M: Model>(problem: &Problem<'_, M>) -> Zoned {
    decide(problem).unwrap_or_else(|end| end)
}

fn decide<M: Model>(problem: &Problem<'_, M>) -> Result<Zoned, Zoned> {
    if !problem.automaton.is_closed() {
        return Err(Zoned::Unsuitable);
    }
    let mut writers = Writers::collect(problem);
    let happened = what_happened(problem, &mut writers)?;
    let blocks = Blocks::build(&happened, &writers)?;
    blocks.order()?;
    Ok(if is_all_told(problem, &happened, &writers) { Zoned::Order } else { Zoned::Unsuitable })
}

/// Whether blocks say everything: what is required has one writer, and nothing was refused.
fn is_all_told<M: Model>(
    problem: &Problem<'_, M>,
    happened: &[Happened],
    writers: &Writers,
) -> bool {
    let is_refused = problem.known.iter().any(|call| {
        let class = problem.automaton.known(call.class);
        match class.guard {
            Guard::Except(state) => {
                !class.is_read_only() || writers.0[state.index()] != Writer::Nobody
            }
            Guard::Any | Guard::Only(_) | Guard::Opaque => false,
        }
    });
    let mut required = happened.iter().filter_map(|call| call.requires);
    !is_refused && required.all(|state| writers.is_one(state))
}

/// Who can bring a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Nobody,
    /// It is there at the beginning, or a call whose outcome is known brings it.
    Certain,
    /// The only call of this class of unknown outcome.
    Unknown(u32),
    Several,
}

struct Writers(Vec<Writer>);

impl Writers {
    fn collect<M: Model>(problem: &Problem<'_, M>) -> Writers {
        let mut writers = Writers(vec![Writer::Nobody; problem.automaton.states()]);
        writers.add(problem.initial, Writer::Certain);
        for call in &problem.known {
            if let Some(state) = problem.automaton.known(call.class).leaves() {
                writers.add(state, Writer::Certain);
            }
        }
        for (index, unknown) in (0..).zip(&problem.unknown) {
            let class = problem.automaton.known(unknown.class);
            if let Some(state) = class.leaves() {
                let is_one = unknown.calls.len() == 1 && !matches!(class.guard, Guard::Except(_));
                writers.add(state, if is_one { Writer::Unknown(index) } else { Writer::Several });
            }
        }
        writers
    }

    /// Whether one call, or the beginning, brings the state.
    fn is_one(&self, state: StateId) -> bool {
        self.0[state.index()] == Writer::Certain
    }

    fn add(&mut self, state: StateId, writer: Writer) {
        let known = &mut self.0[state.index()];
        *known = if *known == Writer::Nobody { writer } else { Writer::Several };
    }
}

/// All calls that certainly happened: those of known outcome, and those of unknown outcome without
/// which a state that was required would never have been.
fn what_happened<M: Model>(
    problem: &Problem<'_, M>,
    writers: &mut Writers,
) -> Result<Vec<Happened>, Zoned> {
    let mut happened = Vec::with_capacity(problem.known.len() + 1);
    happened.push(Happened {
        invoked: 0,
        returned: 0,
        requires: None,
        leaves: Some(problem.initial),
        call: None,
    });
    for known in &problem.known {
        let class = problem.automaton.known(known.class);
        let (requires, leaves) = (class.requires(), class.leaves());
        if requires.is_some() || leaves.is_some() {
            let (invoked, returned) = (2 * known.invoked, 2 * known.returned);
            happened.push(Happened { invoked, returned, requires, leaves, call: Some(known.call) });
        }
    }
    let mut next = 0;
    while let Some(Happened { requires, call, .. }) = happened.get(next).copied() {
        next += 1;
        let Some(state) = requires else { continue };
        match writers.0[state.index()] {
            Writer::Nobody => return Err(conflict([call])),
            Writer::Several | Writer::Certain => {}
            Writer::Unknown(index) => {
                writers.0[state.index()] = Writer::Certain;
                let unknown = &problem.unknown[wide(index)];
                let class = problem.automaton.known(unknown.class);
                happened.push(Happened {
                    invoked: 2 * unknown.invoked[0] - 1,
                    returned: u32::MAX,
                    requires: class.requires(),
                    leaves: class.leaves(),
                    call: Some(unknown.calls[0]),
                });
            }
        }
    }
    Ok(happened)
}

/// A block, by its zone: the first return and the last invocation, with their calls.
#[derive(Debug, Clone, Copy)]
struct Zone {
    first_return: (u32, Option<u32>),
    last_invocation: (u32, Option<u32>),
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first_return.0 < self.last_invocation.0
    }

    fn conflict(&self, other: &Zone) -> Zoned {
        let ends =
            [self.first_return, other.last_invocation, other.first_return, self.last_invocation];
        conflict(ends.map(|(_, call)| call))
    }
}

/// Which calls read a state, and which takes it away.
struct Blocks {
    zones: Vec<Zone>,
}

impl Blocks {
    /// Puts together what must be; an error if a block has no order in itself.
    fn build(happened: &[Happened], writers: &Writers) -> Result<Blocks, Zoned> {
        let states = writers.0.len();
        let one_writer = |call: &Happened| call.requires.filter(|state| writers.is_one(*state));
        let mut readers = vec![Vec::new(); states];
        let mut turn: Vec<Option<u32>> = vec![None; states];
        for (index, call) in (0..).zip(happened) {
            let Some(state) = one_writer(call) else { continue };
            if call.leaves.is_none() {
                readers[state.index()].push(index);
            } else if let Some(other) = turn[state.index()].replace(index) {
                // The state comes once, and both take it away.
                return Err(conflict([call.call, happened[wide(other)].call]));
            }
        }
        let mut zones = Vec::new();
        let mut is_in_block = vec![false; happened.len()];
        for (index, call) in (0..narrow(happened.len())).zip(happened) {
            if one_writer(call).is_some() {
                continue;
            }
            let mut block = Block::new();
            let mut next = Some(index);
            while let Some(index) = next {
                let writer = happened[wide(index)];
                block.add(&[writer])?;
                is_in_block[wide(index)] = true;
                let Some(state) = writer.leaves else { break };
                let reads: Vec<Happened> =
                    readers[state.index()].iter().map(|read: &u32| happened[wide(*read)]).collect();
                block.add(&reads)?;
                for read in &readers[state.index()] {
                    is_in_block[wide(*read)] = true;
                }
                next = turn[state.index()];
            }
            zones.push(block.zone);
        }
        // Compare-and-sets that only bring each other's states have no beginning.
        match happened.iter().zip(&is_in_block).find(|(_, is_in)| !**is_in) {
            Some((call, _)) => Err(conflict([call.call])),
            None => Ok(Blocks { zones }),
        }
    }

    /// Whether the blocks have an order.
    fn order(self) -> Result<(), Zoned> {
        let (mut forward, backward): (Vec<Zone>, Vec<Zone>) =
            self.zones.into_iter().partition(Zone::is_forward);
        forward.sort_unstable_by_key(|zone| zone.first_return.0);
        for pair in forward.windows(2) {
            if pair[1].first_return.0 < pair[0].last_invocation.0 {
                return Err(pair[0].conflict(&pair[1]));
            }
        }
        for inner in &backward {
            // Forward zones do not overlap: only the last that begins before it can hold it.
            let after =
                forward.partition_point(|outer| outer.first_return.0 < inner.last_invocation.0);
            let Some(outer) = after.checked_sub(1).map(|index| &forward[index]) else { continue };
            if inner.first_return.0 < outer.last_invocation.0 {
                return Err(outer.conflict(inner));
            }
        }
        Ok(())
    }
}

/// A block that grows in the order of its calls.
struct Block {
    zone: Zone,
}

impl Block {
    fn new() -> Block {
        Block { zone: Zone { first_return: (u32::MAX, None), last_invocation: (0, None) } }
    }

    /// Calls that come after all that are in the block, in any order.
    fn add(&mut self, calls: &[Happened]) -> Result<(), Zoned> {
        let last_before = self.zone.last_invocation;
        for call in calls {
            if call.returned < last_before.0 {
                return Err(conflict([call.call, last_before.1]));
            }
            if call.returned < self.zone.first_return.0 {
                self.zone.first_return = (call.returned, call.call);
            }
            if call.invoked > self.zone.last_invocation.0 {
                self.zone.last_invocation = (call.invoked, call.call);
            }
        }
        Ok(())
    }
}

fn conflict(calls: impl IntoIterator<Item = Option<u32>>) -> Zoned {
    let mut places: Vec<usize> = calls.into_iter().flatten().map(wide).collect();
    places.sort_unstable();
    places.dedup();
    Zoned::Conflict(places)
}
