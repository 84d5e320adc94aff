//! What a command line means, and what is wrong with a bad one.

use super::*;

fn parsed(line: &str) -> Result<Config, String> {
    let arguments = std::iter::once("rusd").chain(line.split_whitespace()).map(OsString::from);
    match parse(arguments) {
        Ok(Ok(Invocation::Serve(config))) => Ok(*config),
        Ok(Ok(Invocation::Verify { data_dir })) => Err(format!("verify {}", data_dir.display())),
        Ok(Ok(Invocation::SnapshotStatus { file, format })) => {
            Err(format!("status {} {format:?}", file.display()))
        }
        Ok(Ok(Invocation::SnapshotRestore(options))) => {
            let RestoreOptions { file, name, data_dir, bump_revision, .. } = *options;
            let (file, data_dir) = (file.display(), data_dir.display());
            Err(format!("restore {file} as {name} into {data_dir}, {bump_revision:?}"))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(first.trim_start_matches("error: ").to_owned())
        }
    }
}

#[test]
fn no_flags_are_etcds_single_member() {
    let config = parsed("").unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.listen_client_urls[0].to_string(), "http://localhost:2379");
    assert_eq!(config.advertise_client_urls, ["http://localhost:2379"]);
    assert_eq!(config.listen_peer_urls[0].to_string(), "http://localhost:2380");
    let own = ("default".to_owned(), config.initial_advertise_peer_urls[0].clone());
    assert_eq!(config.initial_cluster, [own]);
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert_eq!(config.heartbeat_interval, Duration::from_millis(30));
    assert_eq!(config.election_timeout, Duration::from_millis(150));
    assert_eq!((config.max_txn_ops, config.max_request_bytes), (128, 1_572_864));
    assert_eq!(config.auto_compaction, None);
    assert_eq!(config.backend_cache_bytes, 268_435_456);
    assert_eq!((config.quota_backend_bytes, config.max_concurrent_streams), (0, u32::MAX));
    assert_eq!(config.watch_progress_notify_interval, Duration::from_mins(10));
    assert_eq!(config.features, Features::default());
}

#[test]
fn the_last_of_a_flag_counts() {
    let config = parsed("--name a --max-txn-ops 1 --name b").unwrap();
    assert_eq!((config.name.as_str(), config.max_txn_ops), ("b", 1));
}

#[test]
fn the_least_time_to_live_of_a_lease_is_that_of_an_etcd_with_these_flags() {
    for (flags, expected) in [
        ("", 2),
        ("--heartbeat-interval 100 --election-timeout 1000", 2),
        ("--heartbeat-interval 500 --election-timeout 5000", 8),
        // Eleven whole heartbeats an election.
        ("--heartbeat-interval 450 --election-timeout 5000", 8),
        ("--heartbeat-interval 1000 --election-timeout 5000", 7),
        ("--heartbeat-interval 1000 --election-timeout 50000", 75),
    ] {
        assert_eq!(parsed(flags).unwrap().lease_ttl_seconds_min(), expected, "{flags}");
    }
}

#[test]
fn a_cluster_and_single_dashes() {
    let config = parsed(
        "-name b -initial-cluster=a=http://10.0.0.1:2380,b=http://10.0.0.2:2380 \
         --initial-advertise-peer-urls http://10.0.0.2:2380 --election-timeout 1000 \
         --heartbeat-interval=100 --listen-peer-urls http://0.0.0.0:2380 --log-level debug",
    )
    .unwrap();
    let names: Vec<&str> = config.initial_cluster.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.data_dir, PathBuf::from("b.etcd"));
    assert_eq!(config.log_level, LogLevel::Debug);
    let peers = &config.listen_peer_urls[0];
    assert_eq!((peers.bind_host(), peers.port()), (Some([0, 0, 0, 0].into()), 2380));
    let v6: Url = "http://[::1]:2379".parse().unwrap();
    assert_eq!((v6.host(), v6.bind_host()), ("::1", Some("::1".parse().unwrap())));
}

#[test]
fn limits() {
    let config =
        parsed("--quota-backend-bytes -1 --max-concurrent-streams 7 --warning-apply-duration=0s");
    let config = config.unwrap();
    assert_eq!((config.quota_backend_bytes, config.max_concurrent_streams), (-1, 7));
    assert_eq!(parsed("--max-concurrent-streams 0").unwrap().max_concurrent_streams, u32::MAX);
}

#[test]
fn links_are_secured_by_flags_and_urls() {
    let config = parsed(
        "--listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://a:2379 \
         --cert-file c --key-file=k --trusted-ca-file t --client-cert-auth --peer-auto-tls=true",
    )
    .unwrap();
    assert!(config.listen_client_urls[0].is_https() && !config.listen_peer_urls[0].is_https());
    assert_eq!(config.listen_client_urls[0].host(), "127.0.0.1");
    let clients = TlsOptions {
        cert_file: Some("c".into()),
        key_file: Some("k".into()),
        trusted_ca_file: Some("t".into()),
        client_cert_auth: true,
        is_automatic: false,
    };
    assert_eq!(config.client_tls, clients);
    assert_eq!(config.peer_tls, TlsOptions { is_automatic: true, ..TlsOptions::default() });
    assert_eq!(parsed("--client-cert-auth=false").unwrap().client_tls, TlsOptions::default());
}

#[test]
fn a_secured_link_needs_a_certificate() {
    for (line, message) in [
        (
            "--listen-peer-urls https://127.0.0.1:1",
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
        (
            "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1",
            "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            "--auto-tls --self-signed-cert-validity 0",
            "selfSignedCertValidity is invalid,it should be greater than 0",
        ),
    ] {
        assert_eq!(parsed(line), Err(message.to_owned()), "{line}");
    }
}

#[test]
fn what_is_wrong_is_told_in_one_line() {
    for (line, message) in [
        (
            "--listen-client-urls http://127.0.0.1:1",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--listen-peer-urls unix://127.0.0.1:1",
            "URL scheme must be http or https, other schemes are not supported: unix://127.0.0.1:1",
        ),
        (
            "--listen-peer-urls http://127.0.0.1",
            "URL address does not have the form \"host:port\": http://127.0.0.1",
        ),
        (
            "--listen-peer-urls http://127.0.0.1:99999",
            "URL address does not have the form \"host:port\": http://127.0.0.1:99999",
        ),
        (
            "--listen-peer-urls http://127.0.0.1:1/x",
            "URL must not contain a path: http://127.0.0.1:1/x",
        ),
        (
            "--listen-peer-urls http://example.com:1",
            "expected IP in URL for binding (http://example.com:1)",
        ),
        ("--listen-peer-urls ,", "--listen-peer-urls: no valid URLs given"),
        (
            "--initial-advertise-peer-urls http://:1",
            "--initial-advertise-peer-urls http://:1 must be \"host:port\" (unexpected empty host)",
        ),
        (
            "--initial-cluster a=http://127.0.0.1:1",
            "couldn't find local name \"default\" in the initial cluster configuration",
        ),
        ("--initial-cluster a", "--initial-cluster must be a list of name=URL, but has \"a\""),
        (
            "--initial-cluster default=http://127.0.0.1:1,b=http://127.0.0.1:1",
            "initial cluster default=http://127.0.0.1:1,b=http://127.0.0.1:1 has duplicate url",
        ),
        (
            "--initial-cluster default=http://127.0.0.1:1",
            "--initial-cluster has default=http://127.0.0.1:1 but --initial-advertise-peer-urls has http://localhost:2380 for it",
        ),
        ("--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"),
        ("--election-timeout 0", "--election-timeout must be >0 (set to 0ms)"),
        (
            "--election-timeout 149",
            "--election-timeout[149ms] should be at least as 5 times as --heartbeat-interval[30ms]",
        ),
        (
            "--election-timeout 50001",
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (
            "--watch-progress-notify-interval 5",
            "bad duration \"5\": write a number and a unit (ms, s, m, h)",
        ),
        (
            "--warning-apply-duration 5",
            "bad duration \"5\": write a number and a unit (ms, s, m, h)",
        ),
        ("--name=", "--name must not be empty"),
        ("--no-such-flag", "unexpected argument '--no-such-flag' found"),
        (
            "--initial-cluster-state old",
            "invalid value 'old' for '--initial-cluster-state <STATE>'",
        ),
    ] {
        assert_eq!(parsed(line), Err(message.to_owned()), "{line}");
    }
}

#[test]
fn verify_and_version() {
    assert_eq!(parsed("verify some/dir"), Err("verify some/dir".to_owned()));
    let arguments = ["rusd", "--version"].map(OsString::from);
    let text = parse(arguments).unwrap_err().to_string();
    assert!(text.starts_with("etcd Version: 3.7.3\nrusd Version: "), "{text}");
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    for bad in ["", "0s", "5", "s", "5d", "99999999999s"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn snapshots_have_etcdutls_flags() {
    let said = |line: &str| parsed(&format!("snapshot {line}")).unwrap_err();
    assert_eq!(said("status file"), "status file Simple");
    assert_eq!(said("status file -w json"), "status file Json");
    assert_eq!(said("status file --write-out=table"), "status file Table");
    assert_eq!(said("restore file"), "restore file as default into default.etcd, None");
    let cluster = "--initial-cluster m1=http://a:1 --initial-advertise-peer-urls http://a:1";
    assert_eq!(
        said(&format!("restore file --name m1 {cluster} --data-dir d --wal-dir d/member/wal")),
        "restore file as m1 into d, None"
    );
    assert_eq!(
        said("restore file --bump-revision 7 --mark-compacted"),
        "restore file as default into default.etcd, Some(7)"
    );
    for line in ["restore file --bump-revision 7", "restore file --mark-compacted"] {
        assert_eq!(said(line), "--mark-compacted required if --revision-bump > 0");
    }
    assert!(said("restore file --name m1").starts_with("couldn't find local name \"m1\""));
    assert!(said("restore file --backend memory").starts_with("--backend memory: nothing"));
}
