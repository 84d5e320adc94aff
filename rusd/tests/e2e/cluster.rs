//! Three members in this process.

use std::ffi::OsString;

use rusd::config::{self, Invocation};
use rusd::server::Server;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::process::free_port;

fn local_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// A cluster of three; stopped when dropped.
pub(crate) struct Cluster {
    /// Where clients reach its members.
    pub(crate) endpoints: [String; 3],
    servers: Vec<Server>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts three members with etcd's own timings, which keep a leader on a slow machine too, and
    /// waits until all are ready.
    pub(crate) fn start() -> Cluster {
        let dir = TempDir::new().unwrap();
        let endpoints = [0, 1, 2].map(|_| local_url());
        let peers = [0, 1, 2].map(|_| local_url());
        let [a, b, c] = &peers;
        let cluster = format!("m0={a},m1={b},m2={c}");
        let starting = [0, 1, 2].map(|number| {
            let (client, peer) = (&endpoints[number], &peers[number]);
            let data_dir = dir.path().join(number.to_string());
            let line = format!(
                "rusd --name=m{number} --data-dir={} --initial-cluster={cluster} \
                 --listen-client-urls={client} --advertise-client-urls={client} \
                 --listen-peer-urls={peer} --initial-advertise-peer-urls={peer} \
                 --heartbeat-interval=100 --election-timeout=1000",
                data_dir.display()
            );
            std::thread::spawn(move || start(&line))
        });
        let servers = starting.map(|starting| starting.join().unwrap());
        Cluster { endpoints, servers: servers.into(), _dir: dir }
    }
}

fn start(line: &str) -> Server {
    let Ok(Ok(Invocation::Serve(config))) = config::parse(line.split(' ').map(OsString::from))
    else {
        panic!("bad flags: {line}");
    };
    Server::start(&config, &CancellationToken::new()).unwrap()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stopping: Vec<_> = self
            .servers
            .drain(..)
            .map(|server| std::thread::spawn(move || server.stop()))
            .collect();
        for stopping in stopping {
            // What went wrong is in the log; a failing test must not panic twice.
            drop(stopping.join());
        }
    }
}
