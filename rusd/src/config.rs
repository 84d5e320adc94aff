//! Configuration: etcd's flags and `ETCD_*` variables, checked.
//!
//! A flag wins over its variable. What is wrong is told in one line, in etcd's words where etcd has
//! words for it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::snapshot::{RestoreOptions, StatusFormat};
use crate::storage::BackendKind;
use crate::tls::TlsOptions;
use crate::version;

mod auto_compaction;
mod cluster;
mod corruption;
mod features;
mod snapshot;
mod tls;

pub use auto_compaction::AutoCompaction;
pub use cluster::{LogKeeping, Membership};
pub use corruption::CheckTimes;
pub use features::{Features, FeaturesError};

use corruption::CorruptionFlags;
use snapshot::SnapshotCommand;
use tls::TlsFlags;

/// Longest election timeout that etcd accepts.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);
/// Shortest interval of progress notifications that etcd accepts.
const PROGRESS_NOTIFY_INTERVAL_MIN: Duration = Duration::from_millis(100);
const DEFAULT_CLIENT_URL: &str = "http://localhost:2379";
const DEFAULT_PEER_URL: &str = "http://localhost:2380";

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Serve.
    Serve(Box<Config>),
    /// Check the data directory of a member that does not run.
    Verify {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// Tell what is in a snapshot.
    SnapshotStatus {
        /// The snapshot.
        file: PathBuf,
        /// How.
        format: StatusFormat,
    },
    /// Make a data directory from a snapshot.
    SnapshotRestore(Box<RestoreOptions>),
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `--name`
    pub name: String,
    /// `--data-dir`
    pub data_dir: PathBuf,
    /// `--listen-client-urls`
    pub listen_client_urls: Vec<Url>,
    /// `--advertise-client-urls`
    pub advertise_client_urls: Vec<String>,
    /// `--listen-peer-urls`
    pub listen_peer_urls: Vec<Url>,
    /// `--initial-advertise-peer-urls`
    pub initial_advertise_peer_urls: Vec<Url>,
    /// `--initial-cluster`: names and peer URLs, in order. Invariant: has this member.
    pub initial_cluster: Vec<(String, Url)>,
    /// `--initial-cluster-state`
    pub initial_cluster_state: ClusterState,
    /// `--initial-cluster-token`
    pub initial_cluster_token: String,
    /// `--heartbeat-interval`
    pub heartbeat_interval: Duration,
    /// `--election-timeout`. Invariant: at least five heartbeat intervals.
    pub election_timeout: Duration,
    /// `--log-level`
    pub log_level: LogLevel,
    /// `--log-format`
    pub log_format: LogFormat,
    /// `--backend`
    pub backend: BackendKind,
    /// `--backend-cache-bytes`
    pub backend_cache_bytes: usize,
    /// `--max-txn-ops`
    pub max_txn_ops: usize,
    /// `--max-request-bytes`
    pub max_request_bytes: usize,
    /// `--auto-compaction-mode` and `--auto-compaction-retention`
    pub auto_compaction: Option<AutoCompaction>,
    /// `--max-concurrent-streams`. Invariant: not 0.
    pub max_concurrent_streams: u32,
    /// `--quota-backend-bytes`; 0 is the default, less is no limit.
    pub quota_backend_bytes: i64,
    /// `--watch-progress-notify-interval`
    pub watch_progress_notify_interval: Duration,
    /// `--feature-gates`
    pub features: Features,
    /// `--cert-file` and those around it. Invariant: not empty if a client URL to listen on is of
    /// https.
    pub client_tls: TlsOptions,
    /// The same with `--peer-`.
    pub peer_tls: TlsOptions,
    /// `--self-signed-cert-validity`, in years.
    pub self_signed_cert_years: u32,
    /// `--corrupt-check-time`, `--compact-hash-check-time`
    pub corruption_checks: CheckTimes,
    /// `--strict-reconfig-check`, `--force-new-cluster`, `--max-learners`
    pub membership: Membership,
    /// `--snapshot-count`, `--snapshot-catchup-entries`, `--max-wals`
    pub log_keeping: LogKeeping,
}

/// The least time to live of a lease, in seconds, that etcd's default flags come to.
const LEASE_TTL_SECONDS_MIN: i64 = 2;

impl Config {
    /// The least time to live of a lease, in seconds. As in etcd, a lease outlives an election, but
    /// fast elections make no shorter leases than etcd's defaults do.
    pub fn lease_ttl_seconds_min(&self) -> i64 {
        let heartbeat = self.heartbeat_interval.as_millis();
        let heartbeats = 3 * (self.election_timeout.as_millis() / heartbeat) / 2;
        let seconds = (heartbeats * heartbeat).div_ceil(1000);
        i64::try_from(seconds).unwrap_or(i64::MAX).max(LEASE_TTL_SECONDS_MIN)
    }
}

/// How a member comes into its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClusterState {
    /// All members start together.
    New,
    /// The member was added to a cluster that runs.
    Existing,
}

/// The least important log line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Tab-separated.
    Console,
}

/// `http://host:port`, or https. Shown as it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    text: String,
    host_start: usize,
    host_length: usize,
    port: u16,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConfigError {
    #[error("URL scheme must be http or https, other schemes are not supported: {0}")]
    UrlScheme(String),
    #[error("URL address does not have the form \"host:port\": {0}")]
    UrlHostPort(String),
    #[error("URL must not contain a path: {0}")]
    UrlPath(String),
    #[error("expected IP in URL for binding ({0})")]
    BindingHost(Url),
    #[error("{flag}: no valid URLs given")]
    NoUrls { flag: &'static str },
    #[error("{flag} {url} must be \"host:port\" (unexpected empty host)")]
    EmptyHost { flag: &'static str, url: Url },
    #[error("--initial-cluster must be a list of name=URL, but has {0:?}")]
    ClusterEntry(String),
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NoLocalName(String),
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    #[error(
        "--initial-cluster has {cluster} but --initial-advertise-peer-urls has {advertised} for it"
    )]
    AdvertisedDiffers { cluster: String, advertised: String },
    #[error("{flag} must be >0 (set to 0ms)")]
    ZeroInterval { flag: &'static str },
    #[error(
        "--election-timeout[{election_ms}ms] should be at least as 5 times as \
         --heartbeat-interval[{heartbeat_ms}ms]"
    )]
    ElectionTooShort { election_ms: u64, heartbeat_ms: u64 },
    #[error("--election-timeout[{0}ms] is too long, and should be set less than 50000ms")]
    ElectionTooLong(u64),
    #[error("--advertise-client-urls is required when --listen-client-urls is set explicitly")]
    AdvertiseClientUnset,
    #[error("unknown auto-compaction-mode {0:?}")]
    AutoCompactionMode(String),
    #[error("--auto-compaction-retention must be a number of revisions, but is {0:?}")]
    RetainedRevisions(String),
    #[error("bad duration {0:?}: write a number and a unit (ms, s, m, h)")]
    Duration(String),
    #[error("--name must not be empty")]
    NoName,
    #[error("--feature-gates: {0}")]
    Features(#[from] FeaturesError),
    #[error(
        "TLS key/cert (--cert-file, --key-file) must be provided for client url {0} with HTTPS \
         scheme"
    )]
    ClientWithoutCertificate(Url),
    #[error("cannot listen on TLS for {0}: KeyFile and CertFile are not presented")]
    PeerWithoutCertificate(String),
    #[error("--compact-hash-check-time must be >0 (set to 0s)")]
    ZeroCompactHashCheckTime,
    #[error("--mark-compacted required if --revision-bump > 0")]
    BumpWithoutMark,
    #[error("--bump-revision: {0} is beyond all revisions")]
    BumpTooLarge(u64),
    #[error("--wal-dir {0:?}: a member looks for its log in its data directory")]
    WalElsewhere(PathBuf),
    #[error("--backend memory: nothing would be left of what is restored")]
    RestoreIntoMemory,
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    CertificateOfNoTime,
}

/// Reads a command line (its first item is the program) and the environment. A text to print and
/// end with, such as help, comes back as clap's error.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Result<Invocation, ConfigError>, clap::Error> {
    let line = CommandLine::try_parse_from(arguments.into_iter().map(double_dashed))?;
    Ok(match line.command {
        Some(Command::Verify { data_dir }) => Ok(Invocation::Verify { data_dir }),
        Some(Command::Snapshot { what: SnapshotCommand::Status { file, write_out: format } }) => {
            Ok(Invocation::SnapshotStatus { file, format })
        }
        Some(Command::Snapshot { what: SnapshotCommand::Restore(flags) }) => {
            flags.try_into().map(|options| Invocation::SnapshotRestore(Box::new(options)))
        }
        None => Config::try_from(line.flags).map(|config| Invocation::Serve(Box::new(config))),
    })
}

/// etcd's flags may be written with one dash.
fn double_dashed(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text)
            if text.len() > 2
                && text.starts_with('-')
                && text[1..].starts_with(|c: char| c.is_ascii_lowercase()) =>
        {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

// The display name is the first word of what `--version` prints, and shows nowhere else.
/// An etcd v3 server.
#[derive(Debug, Parser)]
#[command(name = "rusd", display_name = "etcd", version = version::after_name())]
#[command(disable_version_flag = true)]
#[command(args_conflicts_with_subcommands = true, args_override_self = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
    /// Print the versions and exit.
    #[arg(long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the data directory of a member that does not run.
    Verify {
        /// The member's data directory.
        data_dir: PathBuf,
    },
    /// Look into a snapshot, or make a member from it.
    Snapshot {
        #[command(subcommand)]
        what: SnapshotCommand,
    },
}

#[derive(Debug, Args)]
struct Flags {
    /// Human-readable name of this member.
    #[arg(long, env = "ETCD_NAME", default_value = "default")]
    name: String,
    /// Data directory [default: NAME.etcd].
    #[arg(long, env = "ETCD_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// URLs to listen on for clients [default: `http://localhost:2379`].
    #[arg(long, env = "ETCD_LISTEN_CLIENT_URLS", value_name = "URLS")]
    listen_client_urls: Option<String>,
    /// Client URLs that the cluster tells clients [default: `http://localhost:2379`].
    #[arg(long, env = "ETCD_ADVERTISE_CLIENT_URLS", value_name = "URLS")]
    advertise_client_urls: Option<String>,
    /// URLs to listen on for peers.
    #[arg(long, env = "ETCD_LISTEN_PEER_URLS", value_name = "URLS")]
    #[arg(default_value = DEFAULT_PEER_URL)]
    listen_peer_urls: String,
    /// Peer URLs that the other members use.
    #[arg(long, env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", value_name = "URLS")]
    #[arg(default_value = DEFAULT_PEER_URL)]
    initial_advertise_peer_urls: String,
    /// All members, as NAME=URL,... [default: this member alone].
    #[arg(long, env = "ETCD_INITIAL_CLUSTER", value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// Whether the cluster is made now or exists.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_STATE", default_value = "new", value_name = "STATE")]
    initial_cluster_state: ClusterState,
    /// Keeps clusters with the same members apart.
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", default_value = "etcd-cluster")]
    #[arg(value_name = "TOKEN")]
    initial_cluster_token: String,
    /// Time between heartbeats, in milliseconds.
    #[arg(long, env = "ETCD_HEARTBEAT_INTERVAL", default_value_t = 30, value_name = "MS")]
    heartbeat_interval: u64,
    /// Time without a heartbeat before an election, in milliseconds. Twice as long at the most.
    #[arg(long, env = "ETCD_ELECTION_TIMEOUT", default_value_t = 150, value_name = "MS")]
    election_timeout: u64,
    /// Least important log line to write.
    #[arg(long, env = "ETCD_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    log_level: LogLevel,
    /// Shape of log lines.
    #[arg(long, env = "ETCD_LOG_FORMAT", default_value = "json", value_name = "FORMAT")]
    log_format: LogFormat,
    /// Engine that keeps the state.
    #[arg(long, env = "ETCD_BACKEND", default_value = "sled", value_name = "ENGINE")]
    backend: BackendKind,
    /// Memory for the latest values, in bytes.
    #[arg(long, env = "ETCD_BACKEND_CACHE_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = 256 * 1024 * 1024)]
    backend_cache_bytes: usize,
    /// Most operations in one transaction.
    #[arg(long, env = "ETCD_MAX_TXN_OPS", default_value_t = 128, value_name = "N")]
    max_txn_ops: usize,
    /// What --auto-compaction-retention counts: periodic (time, in hours without a unit), revision.
    #[arg(
        long,
        env = "ETCD_AUTO_COMPACTION_MODE",
        default_value = "periodic",
        value_name = "MODE"
    )]
    auto_compaction_mode: String,
    /// How much history is kept: 5m, or a number of revisions; 0 is all.
    #[arg(long, env = "ETCD_AUTO_COMPACTION_RETENTION", default_value = "0")]
    #[arg(value_name = "RETENTION")]
    auto_compaction_retention: String,
    /// Longest client request, in bytes.
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", value_name = "BYTES")]
    #[arg(default_value_t = 1536 * 1024)]
    max_request_bytes: usize,
    /// Most requests that a client may have open on one connection.
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", value_name = "N")]
    #[arg(default_value_t = u32::MAX)]
    max_concurrent_streams: u32,
    /// Taken and not heeded: nothing is told about requests that take long.
    #[arg(long, env = "ETCD_WARNING_APPLY_DURATION", value_name = "DURATION")]
    #[arg(default_value = "100ms")]
    warning_apply_duration: String,
    /// Bytes that the engine may take before writes are refused: 0 is 2 GiB, less is no limit.
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", default_value_t = 0, value_name = "BYTES")]
    #[arg(allow_negative_numbers = true)]
    quota_backend_bytes: i64,
    /// Time between progress notifications of watches that asked for them.
    #[arg(long, env = "ETCD_WATCH_PROGRESS_NOTIFY_INTERVAL", default_value = "10m")]
    #[arg(value_name = "DURATION")]
    watch_progress_notify_interval: String,
    /// Features to switch on or off, as NAME=BOOL,...
    #[arg(long, env = "ETCD_FEATURE_GATES", default_value = "", value_name = "FEATURES")]
    feature_gates: String,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(flatten)]
    membership: Membership,
    #[command(flatten)]
    log_keeping: LogKeeping,
    #[command(flatten)]
    corruption: CorruptionFlags,
}

impl TryFrom<Flags> for Config {
    type Error = ConfigError;

    fn try_from(flags: Flags) -> Result<Config, ConfigError> {
        if flags.listen_client_urls.is_some() && flags.advertise_client_urls.is_none() {
            return Err(ConfigError::AdvertiseClientUnset);
        }
        if flags.name.is_empty() {
            return Err(ConfigError::NoName);
        }
        let or_default =
            |given: &Option<String>| given.clone().unwrap_or(DEFAULT_CLIENT_URL.into());
        let listen_client_urls =
            listening("--listen-client-urls", &or_default(&flags.listen_client_urls))?;
        let advertise_client_urls =
            advertised("--advertise-client-urls", &or_default(&flags.advertise_client_urls))?;
        let listen_peer_urls = listening("--listen-peer-urls", &flags.listen_peer_urls)?;
        let peer_urls =
            advertised("--initial-advertise-peer-urls", &flags.initial_advertise_peer_urls)?;
        let initial_cluster = initial_cluster(
            flags.initial_cluster.as_deref(),
            &flags.name,
            &peer_urls,
            flags.initial_cluster_state,
        )?;
        let (heartbeat_interval, election_timeout) = intervals(&flags)?;
        let auto_compaction =
            auto_compaction::parse(&flags.auto_compaction_mode, &flags.auto_compaction_retention)?;
        let progress_interval = duration(&flags.watch_progress_notify_interval)?;
        let features = flags.feature_gates.parse()?;
        let corruption_checks = flags.corruption.checked(features)?;
        let (client_tls, peer_tls) = flags.tls.checked(&listen_client_urls, &listen_peer_urls)?;
        duration_or_none(&flags.warning_apply_duration)?;
        let data_dir = flags.data_dir.unwrap_or_else(|| format!("{}.etcd", flags.name).into());
        Ok(Config {
            data_dir,
            listen_client_urls,
            advertise_client_urls: shown(&advertise_client_urls),
            listen_peer_urls,
            initial_advertise_peer_urls: peer_urls,
            initial_cluster,
            initial_cluster_state: flags.initial_cluster_state,
            initial_cluster_token: flags.initial_cluster_token,
            heartbeat_interval,
            election_timeout,
            log_level: flags.log_level,
            log_format: flags.log_format,
            backend: flags.backend,
            backend_cache_bytes: flags.backend_cache_bytes,
            max_txn_ops: flags.max_txn_ops,
            auto_compaction,
            max_request_bytes: flags.max_request_bytes,
            // As in etcd, none is no limit.
            max_concurrent_streams: match flags.max_concurrent_streams {
                0 => u32::MAX,
                max => max,
            },
            quota_backend_bytes: flags.quota_backend_bytes,
            watch_progress_notify_interval: progress_interval.max(PROGRESS_NOTIFY_INTERVAL_MIN),
            features,
            corruption_checks,
            client_tls,
            peer_tls,
            self_signed_cert_years: flags.tls.self_signed_cert_validity,
            membership: flags.membership,
            log_keeping: flags.log_keeping,
            name: flags.name,
        })
    }
}

fn intervals(flags: &Flags) -> Result<(Duration, Duration), ConfigError> {
    let (heartbeat_ms, election_ms) = (flags.heartbeat_interval, flags.election_timeout);
    let election = Duration::from_millis(election_ms);
    if heartbeat_ms == 0 {
        Err(ConfigError::ZeroInterval { flag: "--heartbeat-interval" })
    } else if election_ms == 0 {
        Err(ConfigError::ZeroInterval { flag: "--election-timeout" })
    } else if heartbeat_ms.saturating_mul(5) > election_ms {
        Err(ConfigError::ElectionTooShort { election_ms, heartbeat_ms })
    } else if election > ELECTION_TIMEOUT_MAX {
        Err(ConfigError::ElectionTooLong(election_ms))
    } else {
        Ok((Duration::from_millis(heartbeat_ms), election))
    }
}

fn initial_cluster(
    text: Option<&str>,
    own_name: &str,
    own_urls: &[Url],
    state: ClusterState,
) -> Result<Vec<(String, Url)>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(own_urls.iter().map(|url| (own_name.to_owned(), url.clone())).collect());
    };
    let mut cluster = Vec::new();
    for entry in text.split(',') {
        let Some((name, url)) = entry.trim().split_once('=') else {
            return Err(ConfigError::ClusterEntry(entry.to_owned()));
        };
        cluster.push((name.to_owned(), url.parse::<Url>()?));
    }
    cluster.sort();
    let distinct: BTreeSet<&Url> = cluster.iter().map(|(_, url)| url).collect();
    if distinct.len() != cluster.len() {
        return Err(ConfigError::DuplicateUrl(text.to_owned()));
    }
    let own = cluster.iter().filter(|(name, _)| name == own_name);
    let listed: Vec<Url> = own.map(|(_, url)| url.clone()).collect();
    if listed.is_empty() {
        return Err(ConfigError::NoLocalName(own_name.to_owned()));
    }
    if listed != own_urls && state == ClusterState::New {
        return Err(ConfigError::AdvertisedDiffers {
            cluster: format!("{own_name}={}", shown(&listed).join(",")),
            advertised: shown(own_urls).join(","),
        });
    }
    Ok(cluster)
}

fn shown(urls: &[Url]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

fn urls(flag: &'static str, text: &str) -> Result<Vec<Url>, ConfigError> {
    let given = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    let mut urls = given.map(str::parse).collect::<Result<Vec<Url>, _>>()?;
    if urls.is_empty() {
        return Err(ConfigError::NoUrls { flag });
    }
    urls.sort();
    Ok(urls)
}

fn listening(flag: &'static str, text: &str) -> Result<Vec<Url>, ConfigError> {
    let urls = urls(flag, text)?;
    match urls.iter().find(|url| url.bind_host().is_none()) {
        Some(named) => Err(ConfigError::BindingHost(named.clone())),
        None => Ok(urls),
    }
}

fn advertised(flag: &'static str, text: &str) -> Result<Vec<Url>, ConfigError> {
    let urls = urls(flag, text)?;
    match urls.iter().find(|url| url.host().is_empty()) {
        Some(url) => Err(ConfigError::EmptyHost { flag, url: url.clone() }),
        None => Ok(urls),
    }
}

/// A duration, of which 0 is none.
fn duration_or_none(text: &str) -> Result<Option<Duration>, ConfigError> {
    if matches!(text, "0" | "0s") { Ok(None) } else { duration(text).map(Some) }
}

/// A duration as Go writes it, with one or more units: `10m`, `1h30m`, `500ms`.
fn duration(text: &str) -> Result<Duration, ConfigError> {
    let bad = || ConfigError::Duration(text.to_owned());
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let number: u32 = number.parse().map_err(|_not_a_number| bad())?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let one = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(bad()),
        };
        total = total.checked_add(one * number).ok_or_else(bad)?;
        rest = after;
    }
    if total.is_zero() { Err(bad()) } else { Ok(total) }
}

impl Url {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.text[self.host_start..][..self.host_length].trim_matches(['[', ']'])
    }

    /// Whether what goes there is secured.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https")
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address to bind: as etcd, IP addresses and `localhost` only; an empty host is every
    /// address.
    pub fn bind_host(&self) -> Option<IpAddr> {
        match self.host() {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            host => host.parse().ok(),
        }
    }
}

impl FromStr for Url {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Url, ConfigError> {
        let text = text.trim();
        let without_scheme = text.strip_prefix("http://").or(text.strip_prefix("https://"));
        let Some(address) = without_scheme else {
            return Err(ConfigError::UrlScheme(text.to_owned()));
        };
        if address.contains(['/', '?', '#', '@']) {
            return Err(ConfigError::UrlPath(text.to_owned()));
        }
        let bad = || ConfigError::UrlHostPort(text.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains([':', '[', ']']) && !is_bracketed {
            return Err(bad());
        }
        let port = port.parse().map_err(|_not_a_port| bad())?;
        let host_start = text.len() - address.len();
        Ok(Url { text: text.to_owned(), host_start, host_length: host.len(), port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
