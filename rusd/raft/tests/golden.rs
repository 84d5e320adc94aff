//! Golden scripts: a cluster in memory, what it is told, and everything it says and does.
//!
//! A file is a sequence of blocks, separated by blank lines: commands, `---`, expected output.
//! `UPDATE_GOLDEN=1` rewrites the output; read the diff before keeping it. Commands:
//!
//! ```text
//! preset N T/I:DATA ...   entries that node N's log holds before the start, after the bootstrap
//! start N ...             a new cluster of these voters; everyone applies the bootstrap entries
//! join N                  a node with an empty log, which knows of no member
//! tick N [TIMES]          campaign N          propose N DATA        transfer N TO
//! conf N KIND ID          KIND is add, learner, remove, update, as etcd has them
//! read N CONTEXT          asks for a read index
//! cut N KEEP              marks the log where everything is applied, and keeps so many entries
//! isolate N               from now on all messages from and to N are lost;  heal ends it
//! drop A B                loses what is on its way from A to B
//! deliver [COUNT]         prints and delivers messages, by default until none is on its way
//! settle                  the same, printing only what nodes do
//! restart N               after a crash that loses everything not synced
//! status                  prints every node
//! @COMMAND                the same, without output
//! ```

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use prost::Message as _;
use rusd_proto::raftpb::{ConfChange, ConfChangeType, EntryType};
use rusd_proto::rusdpeerpb::PeerMessage;
use rusd_proto::rusdpeerpb::peer_message::Body;
use rusd_raft::log::{LogStore as _, MemoryLog, SnapshotMark};
use rusd_raft::{
    BootstrapMember, ConfState, Config, Entry, HardState, Index, Metadata, Node, NodeStatus,
    Outgoing, SnapshotOrder, bootstrap,
};

const CLUSTER_ID: u64 = 0xc1;

#[test]
fn node() {
    run_all("node");
}

fn run_all(area: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(area);
    let mut paths: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", dir.display());
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let actual = run(&script);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &actual).unwrap();
            continue;
        }
        assert!(actual == script, "{} differs; what happened:\n{actual}", path.display());
    }
}

/// The script with its output as it is now.
fn run(script: &str) -> String {
    let mut cluster = Cluster::default();
    let mut result = Vec::new();
    for block in script.trim_end().split("\n\n") {
        let commands: Vec<_> = block.lines().take_while(|line| *line != "---").collect();
        cluster.output.clear();
        for command in &commands {
            let before = cluster.output.len();
            if let Some(command) = command.strip_prefix('@') {
                cluster.command(command);
                cluster.output.truncate(before);
            } else if !command.starts_with('#') {
                cluster.command(command);
            }
        }
        let mut text = commands.join("\n");
        if commands.iter().any(|line| !line.starts_with(['#', '@'])) {
            write!(text, "\n---\n{}", cluster.output).unwrap();
        }
        result.push(text.trim_end().to_owned());
    }
    result.join("\n\n") + "\n"
}

/// What survives a crash of a member, besides its log.
#[derive(Clone, Default)]
struct Engine {
    applied: Index,
    conf_state: ConfState,
}

#[derive(Default)]
struct Cluster {
    presets: BTreeMap<u64, Vec<Entry>>,
    nodes: BTreeMap<u64, Node<MemoryLog>>,
    engines: BTreeMap<u64, Engine>,
    last_seen: BTreeMap<u64, NodeStatus>,
    network: VecDeque<Outgoing>,
    isolated: BTreeSet<u64>,
    output: String,
}

impl Cluster {
    fn command(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "preset" => {
                let entries = words[2..].iter().map(|word| parse_entry(word)).collect();
                self.presets.insert(number(1), entries);
            }
            "start" => self.start(&(1..words.len()).map(number).collect::<Vec<_>>()),
            "join" => {
                let metadata = Metadata { node_id: number(1), cluster_id: CLUSTER_ID };
                self.engines.insert(number(1), Engine::default());
                self.boot(number(1), MemoryLog::new(metadata));
            }
            "tick" => {
                for _ in 0..words.get(2).map_or(1, |_| number(2)) {
                    self.nodes.get_mut(&number(1)).unwrap().tick();
                    self.poll(number(1));
                }
            }
            "campaign" => self.nodes.get_mut(&number(1)).unwrap().campaign(),
            "propose" => {
                let data = words[2].as_bytes().to_vec().into();
                let proposed = self.nodes.get_mut(&number(1)).unwrap().propose(data);
                self.refused(number(1), proposed);
            }
            "conf" => {
                let change = ConfChange {
                    r#type: Some(conf_kind(words[2]).into()),
                    node_id: Some(number(3)),
                    ..Default::default()
                };
                let proposed = self.nodes.get_mut(&number(1)).unwrap().propose_conf_change(&change);
                self.refused(number(1), proposed);
            }
            "read" => {
                if !self.nodes.get_mut(&number(1)).unwrap().read_index(number(2)) {
                    writeln!(self.output, "{}: read {} cannot be answered", words[1], words[2])
                        .unwrap();
                }
            }
            "cut" => {
                let engine = &self.engines[&number(1)];
                let node = self.nodes.get_mut(&number(1)).unwrap();
                node.mark(engine.applied, engine.conf_state.clone()).unwrap();
                node.forget(Index(engine.applied.0 - number(2))).unwrap();
            }
            "transfer" => self.nodes.get_mut(&number(1)).unwrap().transfer_leader(number(2)),
            "isolate" => {
                self.isolated.insert(number(1));
            }
            "heal" => self.isolated.clear(),
            "drop" => self.network.retain(|message| {
                let (from, to) = ends(message);
                (from, to) != (number(1), number(2))
            }),
            "deliver" => {
                let count = words.get(1).map_or(u64::MAX, |_| number(1));
                self.deliver(true, count);
            }
            "settle" => self.deliver(false, u64::MAX),
            "restart" => self.restart(number(1)),
            "status" => self.status(),
            other => panic!("unknown command {other}"),
        }
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        for id in ids {
            self.poll(id);
        }
    }

    fn refused<E: std::fmt::Display>(&mut self, id: u64, result: Result<(), E>) {
        if let Err(error) = result {
            writeln!(self.output, "{id}: refused: {error}").unwrap();
        }
    }

    fn start(&mut self, ids: &[u64]) {
        let members: Vec<_> =
            ids.iter().map(|id| BootstrapMember { id: *id, context: "{}".into() }).collect();
        let (entries, hard_state) = bootstrap(&members);
        for id in ids {
            let mut log = MemoryLog::new(Metadata { node_id: *id, cluster_id: CLUSTER_ID });
            let preset = self.presets.remove(id).unwrap_or_default();
            let term = preset.last().map_or(1, Entry::term);
            log.append(&entries, None).unwrap();
            log.append(&preset, Some(HardState { term, ..hard_state })).unwrap();
            log.sync().unwrap();
            self.engines.insert(*id, Engine::default());
            self.boot(*id, log);
        }
    }

    fn boot(&mut self, id: u64, log: MemoryLog) {
        let config =
            Config { election_ticks: 10, heartbeat_ticks: 2, seed: Some(7), ..Config::new(id) };
        let engine = &self.engines[&id];
        let node = Node::new(config, log, engine.applied, engine.conf_state.clone()).unwrap();
        self.nodes.insert(id, node);
        self.last_seen.remove(&id);
        self.poll(id);
    }

    fn restart(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        let log = node.log().crashed();
        drop(node);
        self.boot(id, log);
    }

    /// Turns until the node has nothing more to do, then tells what has changed.
    fn poll(&mut self, id: u64) {
        let mut outbox = Vec::new();
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            let before = outbox.len();
            let turn = node.poll(&mut outbox).unwrap();
            let is_idle = turn.is_empty() && outbox.len() == before;
            for entry in &turn.committed {
                self.apply(id, entry);
            }
            for read in turn.reads {
                writeln!(self.output, "{id}: read {} waits for {}", read.context, read.index)
                    .unwrap();
            }
            if is_idle {
                break;
            }
        }
        self.network.extend(outbox);
        let status = self.nodes[&id].status();
        let seen = |status: &NodeStatus| (status.role, status.term, status.leader_id);
        if self.last_seen.get(&id).map(seen) != Some(seen(&status)) {
            let NodeStatus { role, term, leader_id, .. } = status;
            writeln!(self.output, "{id}: {role:?} in term {term}, leader {leader_id}").unwrap();
        }
        self.last_seen.insert(id, status);
    }

    fn apply(&mut self, id: u64, entry: &Entry) {
        let engine = self.engines.get_mut(&id).unwrap();
        assert_eq!(entry.index(), engine.applied.0 + 1);
        engine.applied = Index(entry.index());
        write!(self.output, "{id}: applies {}", describe_entry(entry)).unwrap();
        if entry.r#type() == EntryType::EntryConfChange {
            let change = ConfChange::decode(entry.data()).unwrap();
            let node = self.nodes.get_mut(&id).unwrap();
            engine.conf_state = node.apply_conf_change(&change).unwrap();
            let ConfState { voters, learners, .. } = &engine.conf_state;
            write!(self.output, ", voters {voters:?} learners {learners:?}").unwrap();
        }
        self.output.push('\n');
    }

    fn deliver(&mut self, is_shown: bool, count: u64) {
        for _ in 0..count {
            let Some(message) = self.network.pop_front() else { return };
            let (from, to) = ends(&message);
            let is_lost = self.isolated.contains(&from)
                || self.isolated.contains(&to)
                || !self.nodes.contains_key(&to);
            if is_shown {
                let lost = if is_lost { " LOST" } else { "" };
                writeln!(self.output, "{from}->{to} {}{lost}", describe(&message)).unwrap();
            }
            if is_lost {
                continue;
            }
            let node = self.nodes.get_mut(&to).unwrap();
            let stepped = match message {
                Outgoing::Message(message) => node.step(message),
                Outgoing::Vote(request) => node.step_vote(&request),
                Outgoing::Snapshot(order) => {
                    self.install(order);
                    continue;
                }
            };
            self.refused(to, stepped);
            self.poll(to);
        }
    }

    /// The state of the leader goes to another node, which starts anew with it.
    fn install(&mut self, order: SnapshotOrder) {
        let SnapshotOrder { to, from, term, .. } = order;
        let Engine { applied, conf_state } = self.engines[&from].clone();
        let mark = SnapshotMark {
            index: applied,
            term: self.nodes[&from].log().term(applied).unwrap(),
            conf_state: conf_state.clone(),
        };
        let place = format!("{}/{}", mark.term, mark.index);
        if self.nodes[&to].may_install(&mark, term) {
            writeln!(self.output, "{to}: installs the state at {place}").unwrap();
            let node = self.nodes.remove(&to).unwrap();
            let log = node.install(&mark, term).unwrap();
            self.engines.insert(to, Engine { applied, conf_state });
            self.boot(to, log);
        } else {
            writeln!(self.output, "{to}: does not install the state at {place}").unwrap();
        }
        self.nodes.get_mut(&from).unwrap().report_snapshot(to, true);
        self.poll(from);
    }

    fn status(&mut self) {
        for (id, node) in &self.nodes {
            let status = node.status();
            let entries: Vec<_> = node
                .entries(node.log().first_index(), Index(status.last_index + 1), u64::MAX)
                .unwrap()
                .iter()
                .map(|entry| format!("{}/{}", entry.term(), entry.index()))
                .collect();
            writeln!(
                self.output,
                "{id}: {:?} term {} leader {} committed {} log {}",
                status.role,
                status.term,
                status.leader_id,
                status.committed,
                entries.join(" ")
            )
            .unwrap();
        }
    }
}

fn conf_kind(word: &str) -> ConfChangeType {
    match word {
        "add" => ConfChangeType::ConfChangeAddNode,
        "learner" => ConfChangeType::ConfChangeAddLearnerNode,
        "remove" => ConfChangeType::ConfChangeRemoveNode,
        "update" => ConfChangeType::ConfChangeUpdateNode,
        other => panic!("unknown change {other}"),
    }
}

fn parse_entry(word: &str) -> Entry {
    let (place, data) = word.split_once(':').unwrap();
    let (term, index) = place.split_once('/').unwrap();
    Entry {
        term: Some(term.parse().unwrap()),
        index: Some(index.parse().unwrap()),
        r#type: Some(EntryType::EntryNormal.into()),
        data: Some(data.as_bytes().to_vec().into()),
    }
}

fn ends(message: &Outgoing) -> (u64, u64) {
    match message {
        Outgoing::Message(message) => (message.from, message.to),
        Outgoing::Vote(request) => (request.from, request.to),
        Outgoing::Snapshot(order) => (order.from, order.to),
    }
}

fn describe_entry(entry: &Entry) -> String {
    let place = format!("{}/{}", entry.term(), entry.index());
    match entry.r#type() {
        EntryType::EntryNormal if entry.data().is_empty() => format!("{place} empty"),
        EntryType::EntryNormal => format!("{place} {}", String::from_utf8_lossy(entry.data())),
        EntryType::EntryConfChange => {
            let change = ConfChange::decode(entry.data()).unwrap();
            format!("{place} {}({})", change.r#type().as_str_name(), change.node_id())
        }
        EntryType::EntryConfChangeV2 => format!("{place} ConfChangeV2"),
    }
}

fn describe(message: &Outgoing) -> String {
    match message {
        Outgoing::Snapshot(order) => format!("Snapshot term={} from={}", order.term, order.index),
        Outgoing::Vote(request) => format!(
            "{} term={} last={}/{}{}",
            if request.pre_vote { "PreVote" } else { "Vote" },
            request.term,
            request.log_term,
            request.index,
            if request.transfer { " transfer" } else { "" }
        ),
        Outgoing::Message(message) => describe_message(message),
    }
}

fn describe_message(message: &PeerMessage) -> String {
    let term = message.term;
    let reads = |context: &[u8]| {
        let context = context.get(8..).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        context.map_or(String::new(), |context| format!(" read={context}"))
    };
    let list =
        |entries: &[Entry]| entries.iter().map(describe_entry).collect::<Vec<_>>().join(", ");
    match message.body.as_ref().unwrap() {
        Body::Append(append) => format!(
            "Append term={term} after={}/{} commit={} [{}]",
            append.log_term,
            append.index,
            append.commit,
            list(&append.entries)
        ),
        Body::AppendReply(reply) if reply.reject => format!(
            "AppendReply term={term} reject={} hint={}/{}",
            reply.index, reply.log_term, reply.reject_hint
        ),
        Body::AppendReply(reply) => format!("AppendReply term={term} matched={}", reply.index),
        Body::Heartbeat(beat) => {
            format!("Heartbeat term={term} commit={}{}", beat.commit, reads(&beat.context))
        }
        Body::HeartbeatReply(reply) => {
            format!("HeartbeatReply term={term}{}", reads(&reply.context))
        }
        Body::VoteReply(reply) => format!(
            "{} term={term} {}",
            if reply.pre_vote { "PreVoteReply" } else { "VoteReply" },
            if reply.reject { "no" } else { "yes" }
        ),
        Body::Proposal(proposal) => format!("Proposal [{}]", list(&proposal.entries)),
        Body::ReadIndex(read) => format!("ReadIndex{}", reads(&read.context)),
        Body::ReadIndexReply(reply) => {
            format!("ReadIndexReply term={term} index={}{}", reply.index, reads(&reply.context))
        }
        Body::TimeoutNow(_) => format!("TimeoutNow term={term}"),
        other => format!("{other:?}"),
    }
}
