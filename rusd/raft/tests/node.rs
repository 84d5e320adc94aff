//! What a node promises about the disk, about its start, and about what peers may tell it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use rusd_proto::raftpb::{ConfChange, ConfChangeType};
use rusd_proto::rusdpeerpb::peer_message::Body;
use rusd_proto::rusdpeerpb::{Append, AppendReply, Heartbeat, PeerMessage, Proposal, VoteRequest};
use rusd_raft::log::{LogStore, MemoryLog, SnapshotMark};
use rusd_raft::{
    BootstrapMember, ConfState, Config, Entry, Fatal, HardState, Index, Metadata, Node, Outbox,
    Outgoing, Role, StepError, Term, Turn, bootstrap,
};

const CLUSTER_ID: u64 = 0xc1;

/// What happened, in order: `write`, `sync`, and the bodies of messages.
type Events = Rc<RefCell<Vec<&'static str>>>;

/// A log that tells when it is written and synced.
struct WatchedLog {
    inner: MemoryLog,
    events: Events,
}

impl LogStore for WatchedLog {
    fn metadata(&self) -> Metadata {
        self.inner.metadata()
    }
    fn hard_state(&self) -> HardState {
        self.inner.hard_state()
    }
    fn first_index(&self) -> Index {
        self.inner.first_index()
    }
    fn last_index(&self) -> Index {
        self.inner.last_index()
    }
    fn term(&self, index: Index) -> Option<Term> {
        self.inner.term(index)
    }
    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>, Fatal> {
        self.inner.entries(low, high, bytes_max)
    }
    fn append(&mut self, entries: &[Entry], state: Option<HardState>) -> Result<(), Fatal> {
        self.events.borrow_mut().push("write");
        self.inner.append(entries, state)
    }
    fn append_mark(&mut self, mark: &SnapshotMark) -> Result<(), Fatal> {
        self.inner.append_mark(mark)
    }
    fn cut(&mut self, base: Index) -> Result<(), Fatal> {
        self.inner.cut(base)
    }
    fn restart_after(&mut self, mark: &SnapshotMark, state: HardState) -> Result<(), Fatal> {
        self.events.borrow_mut().push("write");
        self.inner.restart_after(mark, state)
    }
    fn sync(&mut self) -> Result<(), Fatal> {
        self.events.borrow_mut().push("sync");
        self.inner.sync()
    }
}

/// An outbox that tells what was sent.
struct WatchedOutbox(Events);

impl Outbox for WatchedOutbox {
    fn send(&mut self, message: Outgoing) {
        self.0.borrow_mut().push(match message {
            Outgoing::Vote(_) => "vote request",
            Outgoing::Snapshot(_) => "snapshot",
            Outgoing::Message(message) => match message.body.unwrap() {
                Body::Append(_) => "append",
                Body::AppendReply(_) => "append reply",
                Body::VoteReply(reply) if reply.pre_vote => "pre-vote reply",
                Body::VoteReply(_) => "vote reply",
                _ => "other",
            },
        });
    }
}

fn config(id: u64) -> Config {
    Config { seed: Some(1), ..Config::new(id) }
}

/// A log with entries `2..` of term 1 after a bootstrap by `voters`, all committed.
fn log(id: u64, voters: &[u64], entries: &[Bytes]) -> MemoryLog {
    let members: Vec<_> =
        voters.iter().map(|id| BootstrapMember { id: *id, context: Bytes::new() }).collect();
    let (mut all, mut state) = bootstrap(&members);
    for data in entries {
        let index = all.len() + 1;
        all.push(Entry {
            term: Some(1),
            index: Some(u64::try_from(index).unwrap()),
            r#type: Some(0),
            data: Some(data.clone()),
        });
    }
    state.commit = u64::try_from(all.len()).unwrap();
    let mut log = MemoryLog::new(Metadata { node_id: id, cluster_id: CLUSTER_ID });
    log.append(&all, Some(state)).unwrap();
    log.sync().unwrap();
    log
}

fn conf_state(voters: &[u64], learners: &[u64]) -> ConfState {
    ConfState { voters: voters.to_vec(), learners: learners.to_vec(), ..Default::default() }
}

/// A node of which everything in the log is applied.
fn watched(voters: &[u64], learners: &[u64]) -> (Node<WatchedLog>, Events) {
    let events = Events::default();
    let log = WatchedLog { inner: log(1, voters, &[]), events: Rc::clone(&events) };
    let applied = log.last_index();
    let node = Node::new(config(1), log, applied, conf_state(voters, learners)).unwrap();
    (node, events)
}

fn turns(node: &mut Node<WatchedLog>, events: &Events) -> Vec<&'static str> {
    let _turn: Turn = node.poll(&mut WatchedOutbox(Rc::clone(events))).unwrap();
    events.take()
}

fn from_2(term: u64, body: Body) -> PeerMessage {
    PeerMessage { to: 1, from: 2, term, cluster_id: CLUSTER_ID, body: Some(body) }
}

fn vote_yes(term: u64, pre_vote: bool) -> PeerMessage {
    let reply = rusd_proto::rusdpeerpb::VoteReply { pre_vote, ..Default::default() };
    from_2(term, Body::VoteReply(reply))
}

fn append(term: u64, entries: Vec<Entry>) -> PeerMessage {
    from_2(term, Body::Append(Append { log_term: 1, index: 3, commit: 3, entries }))
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { term: Some(term), index: Some(index), r#type: Some(0), data: Some(vec![1].into()) }
}

#[test]
fn a_leader_replicates_while_it_syncs() {
    let (mut node, events) = watched(&[1, 2, 3], &[]);
    node.campaign();
    assert_eq!(
        turns(&mut node, &events),
        ["vote request", "vote request"],
        "a pre-vote promises nothing"
    );
    node.step(vote_yes(2, true)).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "sync", "vote request", "vote request"]);
    node.step(vote_yes(2, false)).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "append", "append", "sync"]);
    node.propose(Bytes::from_static(b"a")).unwrap();
    node.propose(Bytes::from_static(b"b")).unwrap();
    // The followers are probed with one append at a time, so this one waits for their replies.
    assert_eq!(turns(&mut node, &events), ["write", "sync"]);
}

#[test]
fn a_follower_replies_after_the_sync() {
    let (mut node, events) = watched(&[1, 2, 3], &[]);
    node.step(append(2, vec![entry(4, 2)])).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "sync", "append reply"]);
    let request = VoteRequest {
        to: 1,
        from: 3,
        term: 3,
        cluster_id: CLUSTER_ID,
        log_term: 2,
        index: 4,
        transfer: true,
        ..Default::default()
    };
    node.step_vote(&request).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "sync", "vote reply"]);
}

/// A sole voter elects itself within one turn: nothing it says may leave before its term is synced,
/// or after a crash it could say something else in the same term.
#[test]
fn a_self_elected_leader_syncs_its_term_before_it_speaks() {
    let (mut node, events) = watched(&[1], &[2]);
    assert_eq!(turns(&mut node, &events)[..2], ["write", "sync"]);
    assert_eq!(node.status().role, Role::Leader);
    assert_eq!(node.status().voters, [1]);
    assert_eq!(node.status().learners, [2]);
}

/// A leader that removed itself sent one more entry. The member that was left took it in the turn in
/// which it elected itself, and ended with a panic: what it had was not on its disk yet.
#[test]
fn the_last_voter_elects_itself_when_its_log_is_on_its_disk() {
    let (mut node, events) = watched(&[1, 2], &[]);
    let mut removal = ConfChange { node_id: Some(2), ..ConfChange::default() };
    removal.set_type(ConfChangeType::ConfChangeRemoveNode);
    node.apply_conf_change(&removal).unwrap();
    let last = Append { log_term: 1, index: 2, commit: 2, entries: vec![entry(3, 1)] };
    node.step(from_2(1, Body::Append(last))).unwrap();
    assert_eq!(turns(&mut node, &events)[..2], ["write", "sync"]);
    assert_eq!(node.status().role, Role::Follower);
    assert_eq!(turns(&mut node, &events)[..2], ["write", "sync"]);
    assert_eq!(node.status().role, Role::Leader);
    assert_eq!(node.last_index(), Index(4));
}

/// A commit index that moves alone is saved without a sync, by the next turn.
#[test]
fn commit_index_is_saved_without_a_sync() {
    let (mut node, events) = watched(&[1], &[]);
    turns(&mut node, &events);
    assert_eq!(node.log().hard_state().commit, 1);
    assert_eq!(turns(&mut node, &events), ["write"]);
    assert_eq!(node.log().hard_state().commit, 2);
    assert!(turns(&mut node, &events).is_empty());
}

#[test]
fn a_log_that_ends_before_what_is_applied_is_refused() {
    let start = |applied| {
        Node::new(config(1), log(1, &[1, 2, 3], &[]), Index(applied), conf_state(&[1, 2, 3], &[]))
    };
    let refused = start(4).err().unwrap();
    assert!(matches!(refused, Fatal::LogTooShort { last_index: 3, needed: 4 }), "{refused}");
    assert_eq!(start(3).unwrap().status().committed, 3);
}

/// The engine may have applied more than the hard state calls committed.
#[test]
fn applied_entries_are_committed_whatever_the_hard_state_says() {
    let mut log = log(1, &[1, 2, 3], &[]);
    log.append(&[entry(4, 1)], None).unwrap();
    let mut node = Node::new(config(1), log, Index(4), conf_state(&[1, 2, 3], &[])).unwrap();
    assert_eq!(node.status().committed, 4);
    assert!(node.poll(&mut Vec::new()).unwrap().is_empty());
    assert_eq!(node.log().hard_state().commit, 4);
}

/// A long backlog comes out in parts, in order, so that a turn stays short.
#[test]
fn a_backlog_comes_out_in_bounded_parts() {
    let data = vec![Bytes::from(vec![7; 1024 * 1024]); 20];
    let log = log(1, &[1, 2, 3], &data);
    let mut node = Node::new(config(1), log, Index(3), conf_state(&[1, 2, 3], &[])).unwrap();
    let (mut next, mut parts) = (4, 0);
    loop {
        let turn = node.poll(&mut Vec::new()).unwrap();
        if turn.committed.is_empty() {
            break;
        }
        let bytes: usize = turn.committed.iter().map(|entry| entry.data().len()).sum();
        assert!(bytes <= 2 * 4 * 1024 * 1024, "{bytes}");
        for entry in turn.committed {
            assert_eq!(entry.index(), next);
            next += 1;
        }
        parts += 1;
    }
    assert_eq!((next, parts), (24, 3));
}

/// A follower came back far behind. The crate's batching put everything up to the inflight limit
/// into one message, too long for any stream, which broke it again and again.
#[test]
fn a_follower_far_behind_gets_messages_of_bounded_size() {
    let data = vec![Bytes::from(vec![7; 500]); 1000];
    let mut config = config(1);
    config.max_size_per_msg_bytes = 2000;
    let log = log(1, &[1, 2], &data);
    let last = log.last_index();
    let mut node = Node::new(config.clone(), log, last, conf_state(&[1, 2], &[])).unwrap();
    let mut sent = Vec::new();
    node.campaign();
    for pre_vote in [true, false] {
        let _turn = node.poll(&mut sent).unwrap();
        node.step(vote_yes(2, pre_vote)).unwrap();
    }
    let _turn = node.poll(&mut sent).unwrap();
    assert!(node.is_leader());
    // It has the three bootstrap entries and nothing else.
    let refusal = AppendReply { index: last.0, reject: true, reject_hint: 3, ..Default::default() };
    node.step(from_2(2, Body::AppendReply(refusal))).unwrap();
    let _turn = node.poll(&mut sent).unwrap();
    sent.clear();
    let matched = AppendReply { index: 4, ..Default::default() };
    node.step(from_2(2, Body::AppendReply(matched))).unwrap();
    let _turn = node.poll(&mut sent).unwrap();

    let appends: Vec<usize> = sent
        .into_iter()
        .filter_map(|message| match message {
            Outgoing::Message(PeerMessage { body: Some(Body::Append(append)), .. }) => {
                Some(append.entries.iter().map(|entry| entry.data().len()).sum())
            }
            _ => None,
        })
        .collect();
    assert!((2..=config.inflight_max).contains(&appends.len()), "{} appends", appends.len());
    assert!(appends.iter().all(|bytes| *bytes <= 2000), "{appends:?}");
}

#[test]
fn messages_for_others_are_refused() {
    let (mut node, _events) = watched(&[1, 2, 3], &[]);
    let wrong_node = PeerMessage { to: 2, ..append(2, vec![]) };
    assert!(matches!(node.step(wrong_node), Err(StepError::WrongTarget { to: 2, .. })));
    let wrong_cluster = PeerMessage { cluster_id: 5, ..append(2, vec![]) };
    assert!(matches!(node.step(wrong_cluster), Err(StepError::WrongTarget { cluster_id: 5, .. })));
    let request = VoteRequest { to: 1, from: 2, term: 2, ..Default::default() };
    assert!(matches!(node.step_vote(&request), Err(StepError::WrongTarget { cluster_id: 0, .. })));
}

#[test]
fn nonsense_is_refused_without_a_panic() {
    let (mut node, events) = watched(&[1, 2, 3], &[]);
    let malformed = [
        PeerMessage { body: None, ..append(2, vec![]) },
        from_2(0, Body::Proposal(Proposal::default())),
        append(0, vec![]),
        append(2, vec![entry(5, 2)]),
        append(2, vec![entry(4, 3)]),
    ];
    for message in malformed {
        let refused = node.step(message.clone()).unwrap_err();
        assert!(matches!(refused, StepError::Malformed(_)), "{message:?}: {refused}");
    }
    assert!(turns(&mut node, &events).is_empty());
}

/// Each of these would panic inside the crate. It means that one side lost what it acknowledged.
#[test]
fn a_peer_that_contradicts_what_is_committed_stops_the_member() {
    let (mut node, _events) = watched(&[1, 2, 3], &[]);
    let beyond = from_2(2, Body::Heartbeat(Heartbeat { commit: 9, context: Bytes::new() }));
    let refused = node.step(beyond).unwrap_err();
    assert!(matches!(refused, StepError::Fatal(Fatal::Contradiction { from: 2, .. })), "{refused}");
}

/// Same seed, same calls: same election timeout, and another one in another term.
#[test]
fn election_timeouts_follow_the_seed() {
    let ticks_to_campaign = |seed| {
        let log = log(1, &[1, 2, 3], &[]);
        let config = Config { seed: Some(seed), ..Config::new(1) };
        let mut node = Node::new(config, log, Index(3), conf_state(&[1, 2, 3], &[])).unwrap();
        let mut ticks = 0;
        while node.status().role == Role::Follower {
            node.tick();
            ticks += 1;
        }
        ticks
    };
    let drawn: Vec<_> = (0..20).map(ticks_to_campaign).collect();
    assert_eq!(drawn, (0..20).map(ticks_to_campaign).collect::<Vec<_>>());
    assert!(drawn.iter().all(|ticks| (15..=30).contains(ticks)), "{drawn:?}");
    assert!(drawn.iter().any(|ticks| *ticks != drawn[0]), "{drawn:?}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_acknowledgement_skips_the_sync() {
    let (mut node, events) = watched(&[1, 2, 3], &[]);
    node.plant(rusd_raft::Plant::AcknowledgeBeforeSync { turns_per_sync: 2 });
    node.step(append(2, vec![entry(4, 2)])).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "append reply"]);
    node.step(append(2, vec![entry(4, 2), entry(5, 2)])).unwrap();
    assert_eq!(turns(&mut node, &events), ["write", "sync", "append reply"]);
}

/// A snapshot that comes late must not throw away entries that this node has acknowledged since.
#[test]
fn a_state_is_installed_only_where_the_log_does_not_lead() {
    let (mut node, events) = watched(&[1, 2, 3], &[]);
    node.step(append(2, vec![entry(4, 2), entry(5, 2)])).unwrap();
    turns(&mut node, &events);
    let conf_state = conf_state(&[1, 2, 3], &[]);
    let mark = |index, term| SnapshotMark {
        index: Index(index),
        term: Term(term),
        conf_state: conf_state.clone(),
    };
    assert!(!node.may_install(&mark(3, 1), Term(2)), "it is committed here");
    assert!(!node.may_install(&mark(5, 2), Term(2)), "the log leads there");
    assert!(!node.may_install(&mark(9, 1), Term(1)), "the leader is an old one");
    assert!(!node.may_install(&mark(9, 3), Term(2)), "no leader has entries of a later term");
    assert!(node.may_install(&mark(9, 2), Term(2)));
    assert!(node.may_install(&mark(5, 3), Term(3)), "the log has another entry there");
    let log = node.install(&mark(9, 2), Term(3)).unwrap();
    assert_eq!(events.take(), ["write", "sync"]);
    assert_eq!((log.first_index(), log.last_index()), (Index(10), Index(9)));
    let hard_state = HardState { term: 3, vote: 0, commit: 9 };
    assert_eq!(log.hard_state(), hard_state);
    let node = Node::new(config(1), log, Index(9), conf_state).unwrap();
    assert_eq!(node.committed(), Index(9));
}

/// A leader that does not hear what became of the state that it sent would send it again, and the
/// member would start over with each: in a simulation for as long as there was anything new.
#[test]
fn a_node_with_a_state_and_no_entries_tells_the_leader_how_far_it_goes() {
    let conf_state = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let mark = SnapshotMark { index: Index(7), term: Term(2), conf_state: conf_state.clone() };
    let mut log = MemoryLog::new(Metadata { node_id: 3, cluster_id: CLUSTER_ID });
    log.restart_after(&mark, HardState { term: 2, vote: 0, commit: 7 }).unwrap();
    let mut node = Node::new(Config::new(3), log, Index(7), conf_state).unwrap();
    let message =
        |body| PeerMessage { to: 3, from: 1, term: 2, cluster_id: CLUSTER_ID, body: Some(body) };
    let mut told = |body| {
        node.step(message(body)).unwrap();
        let mut sent = Vec::new();
        assert!(node.poll(&mut sent).unwrap().committed.is_empty());
        let reply = |outgoing| match outgoing {
            Outgoing::Message(PeerMessage { body: Some(Body::AppendReply(reply)), .. }) => {
                Some((reply.index, reply.reject))
            }
            _ => None,
        };
        sent.into_iter().filter_map(reply).collect::<Vec<_>>()
    };
    let heartbeat = || Body::Heartbeat(Heartbeat { commit: 7, ..Heartbeat::default() });
    assert_eq!(told(heartbeat()), [(7, false)]);
    let entries = vec![Entry { index: Some(8), term: Some(2), ..Entry::default() }];
    let append = Append { log_term: 2, index: 7, commit: 7, entries };
    assert_eq!(told(Body::Append(append)), [(8, false)]);
    assert_eq!(told(heartbeat()), [], "from now on entries tell");
}
