//! Metrics in the text form of Prometheus, under etcd's names where etcd has one.

#[cfg(target_os = "linux")]
mod process;

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusd_state::storage::History;
use rusd_state::view::View;

use crate::consensus::progress::Progress;
use crate::engine::EngineMeter;
use crate::version;

/// What is measured, read when asked for.
#[derive(Debug)]
pub struct Metrics {
    /// The history and its engine.
    pub history: Arc<History>,
    /// The state.
    pub view: View,
    /// How far the member is.
    pub progress: Arc<Progress>,
    /// What the engine takes, and what its work costs.
    pub engine: Arc<EngineMeter>,
    /// How often the log was synced.
    pub log_syncs: Arc<AtomicU64>,
}

/// What is counted of watches.
#[derive(Debug, Clone, Copy)]
pub struct WatchCounts {
    /// Watchers there are.
    pub watchers: usize,
    /// How often a watcher was too slow and had to catch up from the history.
    pub times_lost: u64,
}

impl Metrics {
    /// Bytes that the engine takes.
    pub fn engine_bytes(&self) -> i64 {
        i64::try_from(self.engine.bytes()).unwrap_or(i64::MAX)
    }

    /// Bytes of those that are in use.
    pub fn engine_bytes_in_use(&self) -> i64 {
        i64::try_from(self.engine.bytes_in_use()).unwrap_or(i64::MAX)
    }

    /// All metrics.
    pub fn render(&self, watches: WatchCounts) -> String {
        let progress = &self.progress;
        let durable = self.history.durable();
        let mut text = Text::default();
        let version = format!("{{server_version=\"{}\"}}", version::ETCD_VERSION);
        text.labelled("etcd_server_version", "gauge", &version, 1);
        let rusd_version = format!("{{version=\"{}\"}}", version::RUSD_VERSION);
        text.labelled("rusd_version", "gauge", &rusd_version, 1);
        let has_leader = u8::from(progress.leader() != 0);
        text.gauge("etcd_server_has_leader", has_leader);
        text.gauge("etcd_server_is_leader", u8::from(progress.is_leader()));
        text.gauge("etcd_server_is_learner", u8::from(progress.is_learner()));
        text.gauge("etcd_server_proposals_committed_total", progress.committed());
        text.gauge("etcd_server_proposals_applied_total", progress.applied());
        text.gauge("rusd_raft_term", progress.term());
        text.gauge("rusd_raft_last_index", progress.last_index());
        // Of etcd's histogram the count alone: nobody measures here how long each takes.
        let syncs = self.log_syncs.load(Ordering::Relaxed);
        text.counter("etcd_disk_wal_fsync_duration_seconds_count", syncs);
        text.gauge("etcd_debugging_mvcc_current_revision", self.view.revision());
        text.gauge("etcd_debugging_mvcc_compact_revision", self.view.compact_revision());
        text.gauge("etcd_debugging_mvcc_keys_total", self.view.keys_indexed());
        text.gauge("etcd_mvcc_db_total_size_in_bytes", self.engine_bytes());
        let in_use = self.engine_bytes_in_use();
        text.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", in_use);
        text.gauge("rusd_engine_pending_bytes", self.history.pending_bytes());
        text.gauge("rusd_engine_durable_index", durable.applied_index);
        text.gauge("rusd_engine_fold_revision", self.engine.fold_revision());
        text.counter("rusd_engine_fold_seconds_total", self.engine.fold_cpu().as_secs_f64());
        text.gauge("etcd_debugging_mvcc_watcher_total", watches.watchers);
        text.counter("rusd_watch_lost_total", watches.times_lost);
        #[cfg(target_os = "linux")]
        text.process();
        text.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, value: impl Display) {
        self.labelled(name, "gauge", "", value);
    }

    fn counter(&mut self, name: &str, value: impl Display) {
        self.labelled(name, "counter", "", value);
    }

    /// As Prometheus' client libraries have it. Of what the system does not tell there is nothing.
    #[cfg(target_os = "linux")]
    fn process(&mut self) {
        let used = match process::ProcessUse::now() {
            Ok(used) => used,
            Err(error) => return tracing::warn!(%error, "the system does not tell what is used"),
        };
        self.counter("process_cpu_seconds_total", used.cpu.as_secs_f64());
        self.gauge("process_open_fds", used.open_fds);
        if let Some(most) = used.max_fds {
            self.gauge("process_max_fds", most);
        }
        self.gauge("process_resident_memory_bytes", used.resident_bytes);
        self.gauge("process_virtual_memory_bytes", used.virtual_bytes);
        self.gauge("process_start_time_seconds", used.started.as_secs_f64());
    }

    fn labelled(&mut self, name: &str, kind: &str, labels: &str, value: impl Display) {
        writeln!(self.0, "# TYPE {name} {kind}\n{name}{labels} {value}")
            .expect("a string takes everything");
    }
}
