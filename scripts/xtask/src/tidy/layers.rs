//! Who may depend on whom. Data only; [`manifests`](super::manifests) and
//! [`imports`](super::imports) hold the repository to it.

/// A package of the workspace.
pub(super) struct Package {
    /// Its name in Cargo.toml.
    pub(super) name: &'static str,
    /// Its folder, from the root.
    pub(super) folder: &'static str,
    /// The packages of the workspace it may depend on, in any dependency table.
    pub(super) may_use: &'static [&'static str],
    /// Same entries in, same state out: no clock, no sockets, no runtime.
    pub(super) is_pure: bool,
    /// Its modules, from the top layer down. A module may import what is below it or beside it,
    /// never what is above. Empty: the modules are not layered.
    pub(super) tiers: &'static [&'static [&'static str]],
}

/// Folders of packages that are no part of the workspace: they know a server by its address, and use
/// none of its packages.
pub(super) const OUTSIDE: &[&str] = &["scripts/clients/"];

/// Every package. A new one must be placed here before `check` passes.
pub(super) const PACKAGES: &[Package] = &[
    Package { name: "rusd-proto", folder: "rusd/proto", may_use: &[], is_pure: false, tiers: &[] },
    Package {
        name: "rusd-failpoint",
        folder: "rusd/failpoint",
        may_use: &[],
        is_pure: false,
        tiers: &[],
    },
    Package { name: "rusd-bbolt", folder: "rusd/bbolt", may_use: &[], is_pure: true, tiers: &[] },
    Package {
        name: "rusd-raft",
        folder: "rusd/raft",
        may_use: &["rusd-failpoint", "rusd-proto"],
        is_pure: true,
        tiers: &[
            &["node"],
            &["storage"],
            &["convert"],
            &["read_index", "ready"],
            &["log"],
            &["conf_change"],
            &["error", "types"],
        ],
    },
    Package {
        name: "rusd-state",
        folder: "rusd/state",
        may_use: &["rusd-failpoint", "rusd-proto"],
        is_pure: true,
        tiers: &[
            &["etcd"],
            &["apply", "recovery"],
            &["view"],
            &["txn"],
            &["alarm", "error", "event", "hash", "lease", "members", "mvcc", "shared"],
            &["storage"],
            &["command", "options", "planted", "quota"],
        ],
    },
    Package {
        name: "rusd",
        folder: "rusd",
        may_use: &["rusd-bbolt", "rusd-failpoint", "rusd-proto", "rusd-raft", "rusd-state"],
        is_pure: false,
        tiers: &[
            &["main"],
            &["server"],
            &["bootstrap"],
            &["net"],
            &["api"],
            &["assembly"],
            &["member", "metrics"],
            &["background"],
            &["verify", "config", "logging"],
            &["snapshot"],
            &["consensus"],
            &["applier"],
            &["watch"],
            &["hasher", "quota"],
            &["engine", "storage"],
            &["blocking", "plant", "tls", "version"],
        ],
    },
    Package {
        name: "rusd-checker",
        folder: "checker",
        may_use: &["rusd-proto"],
        is_pure: false,
        tiers: &[
            &["calls_command", "main", "stream_command"],
            &["cli"],
            &["shrink", "stream"],
            &["check", "synthetic", "synthetic_calls", "timeline_page"],
            &["elle", "finals", "linear", "watch"],
            &["formats", "render", "report"],
            &["findings", "model", "search"],
            &["verdict"],
            &["history"],
            &["hashing", "threads"],
        ],
    },
    Package {
        name: "rusd-loadgen",
        folder: "loadgen",
        may_use: &["rusd-proto", "rusd-checker"],
        is_pure: false,
        tiers: &[],
    },
    Package {
        name: "rusd-sim",
        folder: "rusd/sim",
        may_use: &["rusd", "rusd-proto", "rusd-raft", "rusd-state", "rusd-checker", "rusd-loadgen"],
        is_pure: false,
        tiers: &[
            &["main"],
            &["shrink", "whole"],
            &["schedule"],
            &["clients"],
            &["world"],
            &["operator", "streams"],
            &["host"],
            &["doors", "faults", "invariants"],
            &["plan"],
            &["snapshots"],
            &["plants"],
            &["disk", "network", "trace"],
            &["shelf"],
            &["engine"],
        ],
    },
    Package {
        name: "xtask",
        folder: "scripts/xtask",
        may_use: &["rusd-proto"],
        is_pure: false,
        tiers: &[],
    },
];

/// Paths that a lower module may import from an upper one, each with its reason.
pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        package: "rusd-state",
        path: "crate::mvcc::revision",
        reason: "the revision is the key of storage; a plain value without behaviour",
    },
    Exception {
        package: "rusd-checker",
        path: "crate::check::Options",
        reason: "how much search is allowed: a plain value",
    },
    Exception {
        package: "rusd",
        path: "crate::consensus::proposer::Waiters",
        reason: "the reply channel of those who proposed: answers go back through it",
    },
    Exception {
        package: "rusd",
        path: "crate::consensus::read_barrier::ProvenReads",
        reason: "the reply channel of those who wait to read",
    },
    Exception {
        package: "rusd",
        path: "crate::consensus::progress::Progress",
        reason: "how far things are; each part is written by one thread and read by all",
    },
    Exception {
        package: "rusd",
        path: "crate::consensus::membership::InitialCluster",
        reason: "the members as the flags name them: a plain value",
    },
    Exception {
        package: "rusd",
        path: "crate::config::ClusterState",
        reason: "whether the flags say new or existing: a plain value",
    },
    Exception {
        package: "rusd",
        path: "crate::background::lease_clock::LeaseClock",
        reason: "deadlines of leases; the applier feeds it, the background reads it",
    },
];

/// One entry of [`EXCEPTIONS`].
pub(super) struct Exception {
    /// The package it holds for.
    pub(super) package: &'static str,
    /// The import, or what it begins with.
    pub(super) path: &'static str,
    /// Why it does no harm.
    pub(super) reason: &'static str,
}

/// Packages that bring threads, sockets, a clock or an executor with them.
pub(super) const RUNTIMES: &[&str] = &[
    "async-std",
    "axum",
    "futures",
    "futures-util",
    "hyper",
    "hyper-util",
    "mio",
    "smol",
    "socket2",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tonic-health",
    "tower",
];

/// An engine, and the only file that may name it.
pub(super) const ENGINES: &[(&str, &str)] =
    &[("sled", "rusd/state/src/storage/sled.rs"), ("fjall", "rusd/state/src/storage/fjall.rs")];

impl Package {
    /// The package that owns a file: the one with the longest folder above it.
    pub(super) fn of(path: &str) -> Option<&'static Self> {
        PACKAGES
            .iter()
            .filter(|package| {
                path.strip_prefix(package.folder).is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(|package| package.folder.len())
    }

    /// Its name as Rust code writes it.
    pub(super) fn crate_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// How deep a module lies; 0 is the top.
    pub(super) fn tier(&self, module: &str) -> Option<usize> {
        self.tiers.iter().position(|tier| tier.contains(&module))
    }
}
