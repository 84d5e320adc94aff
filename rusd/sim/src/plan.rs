//! What a seed decides before a schedule begins.

use std::ffi::OsString;
use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusd::config::{self, Config, Invocation};
use rusd::consensus::membership::InitialCluster;
use rusd_loadgen::workload::Workload;
use rusd_raft::BootstrapMember;

use crate::snapshots::Pace;

/// Who is in the cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Id of the cluster.
    pub id: u64,
    /// Ids of all members that there ever were, by index.
    pub ids: Vec<u64>,
    /// What every log begins with.
    pub bootstrap: Vec<BootstrapMember>,
}

impl Cluster {
    /// Of so many members.
    pub fn new(members: usize) -> Cluster {
        let url = |index: usize| (format!("m{index}"), format!("http://m{index}:2380"));
        let initial = InitialCluster::new((0..members).map(url), "sim");
        let id_of = |index| initial.id_of(&format!("m{index}")).expect("it is one of them");
        let bootstrap = initial.contexts().into_iter();
        Cluster {
            id: initial.cluster_id(),
            ids: (0..members).map(id_of).collect(),
            bootstrap: bootstrap.map(|(id, context)| BootstrapMember { id, context }).collect(),
        }
    }

    /// The index of a member.
    pub fn index_of(&self, id: u64) -> Option<usize> {
        self.ids.iter().position(|other| *other == id)
    }
}

/// What a schedule is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// Members that found the cluster.
    pub members: usize,
    /// Members that may be added.
    pub newcomers: usize,
    /// Clients.
    pub clients: usize,
    /// How long there is load, in milliseconds.
    pub load_ms: u64,
    /// Longest pause of a client between two operations, in milliseconds.
    pub think_ms: u64,
    /// Most time without a fault, in milliseconds.
    pub calm_ms_max: u64,
    /// No leader lasts: each is cut off or stopped soon after its election.
    pub has_unrest: bool,
    /// Bytes of entries in one message between members, if not as many as usual.
    pub message_bytes_max: Option<u64>,
    /// How snapshots are sent.
    pub pace: Pace,
    /// The settings of every member.
    pub config: Arc<Config>,
    /// What clients ask.
    pub workload: Workload,
}

/// Mixes of operations; each is good at showing something else.
const MIXES: [&str; 4] = [
    "put = 6, get = 6, txn_cas = 2, txn_read_modify_write = 2",
    "put = 4, get = 4, range = 2, range_limit = 1, delete = 2, delete_range = 1, txn_multi = 3, \
     range_historical = 1, compact = 1",
    "put = 3, get = 4, lease_grant = 3, put_lease = 4, lease_keep_alive = 6, lease_revoke = 1",
    "put = 5, get = 5, get_serializable = 1, range = 1, range_historical = 1, delete = 1, \
     txn_cas = 2, txn_multi = 1, lease_grant = 1, put_lease = 2, lease_keep_alive = 2, compact = 1",
];

/// How many plans have unrest.
const UNREST: f64 = 0.2;
/// Of the seed's numbers, for [`Plan::has_unrest`] and what comes of it.
pub(crate) const UNREST_STREAM: u64 = 102;

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let members = *[1, 3, 3, 3, 3, 5].choose(&mut rng).expect("not empty");
        let keys = rng.random_range(1..12);
        let mix = MIXES.choose(&mut rng).expect("not empty");
        let text = format!(
            "name = \"sim\"\nduration = \"10s\"\nclients = 1\nkeys = {{ count = {keys} }}\n\
             values = {{ size = \"16B\" }}\nmix = {{ {mix} }}\n\
             leases = {{ ttl = \"2s\", per_client = 2 }}\ncompaction = {{ keep = 40 }}\n"
        );
        let workload = Workload::parse("sim", &text).expect("it is a good one");
        let has_unrest = {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(UNREST_STREAM);
            rng.random_bool(UNREST)
        };
        Plan {
            seed,
            members,
            newcomers: *[0, 2, 4].choose(&mut rng).expect("not empty"),
            clients: rng.random_range(2..8),
            load_ms: rng.random_range(10_000..34_000),
            think_ms: *[10, 40, 120, 400].choose(&mut rng).expect("not empty"),
            calm_ms_max: *[6000, 2500, 2500, 800, 200].choose(&mut rng).expect("not empty"),
            has_unrest,
            // Where leaders do not last, what one has sent before it goes matters entry by entry.
            message_bytes_max: *[None, None, Some(1), Some(300)]
                .choose(&mut rng)
                .filter(|_| !has_unrest)
                .unwrap_or(&Some(1)),
            pace: Pace {
                chunk_bytes: *[50, 300, 2000, 20_000].choose(&mut rng).expect("not empty"),
                chunk_ms_max: *[0, 3, 20, 100].choose(&mut rng).expect("not empty"),
            },
            config: config(&mut rng),
            workload,
        }
    }

    /// Members that there may ever be.
    pub fn capacity(&self) -> usize {
        self.members + self.newcomers
    }
}

/// Settings of a server with few flags: how much of the log is kept.
fn config(rng: &mut ChaCha8Rng) -> Arc<Config> {
    let count = *[1, 4, 20, 60, 250, u64::MAX].choose(rng).expect("not empty");
    let catch_up = *[1, 5, 30, 120].choose(rng).expect("not empty");
    let flags = [
        "rusd".to_owned(),
        format!("--snapshot-count={count}"),
        format!("--snapshot-catchup-entries={catch_up}"),
    ];
    let parsed = config::parse(flags.map(OsString::from)).map(|parsed| parsed.map_err(drop));
    match parsed {
        Ok(Ok(Invocation::Serve(config))) => Arc::new(*config),
        _ => unreachable!("the flags are good ones"),
    }
}
