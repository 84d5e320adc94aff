//! The flags that a member is started with. They are etcd's; rusd has the same.

use std::path::Path;

use crate::workload::ClusterSpec;

/// Whether a member makes a cluster with others that are new too, or joins one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InitialState {
    New,
    Existing,
}

impl InitialState {
    fn name(self) -> &'static str {
        match self {
            InitialState::New => "new",
            InitialState::Existing => "existing",
        }
    }
}

/// Where a member is, and with whom.
pub(super) struct Addresses<'a> {
    pub(super) client: u16,
    pub(super) peer: u16,
    /// Where its peers find it.
    pub(super) advertised_peer: u16,
    /// Everyone's index and peer URL, its own among them.
    pub(super) initial: &'a [(u32, String)],
    pub(super) state: InitialState,
    pub(super) token: u16,
}

pub(super) fn of(spec: &ClusterSpec, member: u32, data: &Path, at: &Addresses<'_>) -> Vec<String> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let initial: Vec<String> =
        at.initial.iter().map(|(member, url)| format!("m{member}={url}")).collect();
    let mut args = Vec::new();
    let mut flag = |name: &str, value: String| args.push(format!("--{name}={value}"));
    flag("name", format!("m{member}"));
    flag("data-dir", data.display().to_string());
    flag("listen-client-urls", url(at.client));
    flag("advertise-client-urls", url(at.client));
    flag("listen-peer-urls", url(at.peer));
    flag("initial-advertise-peer-urls", url(at.advertised_peer));
    flag("initial-cluster", initial.join(","));
    flag("initial-cluster-state", at.state.name().to_owned());
    flag("initial-cluster-token", format!("loadgen-{}", at.token));
    for (name, interval) in [
        ("heartbeat-interval", spec.heartbeat_interval),
        ("election-timeout", spec.election_timeout),
    ] {
        if let Some(interval) = interval {
            flag(name, interval.as_millis().to_string());
        }
    }
    args.extend(spec.args.iter().cloned());
    args
}
