//! What a member has used: CPU, memory, bytes written, syncs of its log.
//!
//! Of a process that we started the system tells (`/proc`); of one that was there before us only
//! what its `/metrics` say, under the names that etcd and Prometheus' client libraries give them.
//! What nobody tells is `None`, never 0.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Cluster;
use super::process::Process;

/// Longest wait for a member's metrics.
const METRICS_MAX: Duration = Duration::from_secs(2);
/// Metrics that are longer are cut.
const METRICS_BYTES_MAX: u64 = 4 << 20;

/// What one process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// The process; `None` if we did not start it.
    pub pid: Option<u32>,
    /// CPU time, in seconds.
    pub cpu_s: Option<f64>,
    /// Memory that it holds, in bytes.
    pub rss_bytes: Option<u64>,
    /// Bytes that it had written to storage.
    pub written_bytes: Option<u64>,
    /// How often its log was synced.
    pub syncs: Option<u64>,
}

impl Cluster {
    /// What a member's process has used, as the system tells; nothing but `None` if it is down or
    /// not ours.
    pub fn usage(&self, member: u32) -> Usage {
        let members = self.members.lock().expect("no holder panics");
        let index = usize::try_from(member).expect("members are few");
        let Some(member) = members.get(index) else { return Usage::default() };
        let running = member.running.lock().expect("no holder panics");
        running.as_ref().map_or_else(Usage::default, of_process)
    }

    /// The same, and what the member's metrics add.
    pub async fn usage_with_metrics(&self, member: u32) -> Usage {
        let usage = self.usage(member);
        let told = tokio::time::timeout(METRICS_MAX, metrics(&self.direct(member))).await;
        match told {
            Ok(Some(text)) => usage.with_metrics(&text),
            Ok(None) | Err(_) => usage,
        }
    }
}

fn of_process(process: &Process) -> Usage {
    let pid = process.pid();
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    Usage {
        pid: Some(pid),
        cpu_s: process.cpu_seconds(),
        rss_bytes: read("status").and_then(|text| rss_bytes(&text)),
        written_bytes: read("io").and_then(|text| written_bytes(&text)),
        syncs: None,
    }
}

impl Usage {
    fn with_metrics(self, text: &str) -> Usage {
        let read = |name: &str| metric(text, name);
        let whole = |name: &str| metric(text, name).and_then(whole);
        Usage {
            pid: self.pid,
            cpu_s: self.cpu_s.or_else(|| read("process_cpu_seconds_total")),
            rss_bytes: self.rss_bytes.or_else(|| whole("process_resident_memory_bytes")),
            written_bytes: self.written_bytes,
            syncs: whole("etcd_disk_wal_fsync_duration_seconds_count"),
        }
    }
}

/// `VmRSS` of `/proc/<pid>/status`, which counts in KiB.
fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// `write_bytes` of `/proc/<pid>/io`: what was sent on its way to a disk. Nothing on a file system
/// in memory.
fn written_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// The sample without labels of this name, in the text form of Prometheus.
fn metric(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// A count that was written as a float.
fn whole(value: f64) -> Option<u64> {
    (value.is_finite() && value >= 0.0).then(|| format!("{value:.0}").parse().ok())?
}

/// The metrics of the member at a plain address. Members behind TLS are not asked: that is one more
/// handshake in the middle of a measurement.
async fn metrics(endpoint: &str) -> Option<String> {
    let address = match endpoint.split_once("://") {
        None => endpoint,
        Some(("http", address)) => address.trim_end_matches('/'),
        Some(_) => return None,
    };
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(METRICS_BYTES_MAX).read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).is_some_and(|code| code == "200").then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::cluster::tests::scripted;

    #[test]
    fn what_the_system_tells_is_read() {
        let status = "Name:\ta\nVmHWM:\t  9000 kB\nVmRSS:\t    5120 kB\nThreads:\t3\n";
        assert_eq!(rss_bytes(status), Some(5120 * 1024));
        let io =
            "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 40960\ncancelled_write_bytes: 7\n";
        assert_eq!(written_bytes(io), Some(40_960));
        assert_eq!((rss_bytes("nothing"), written_bytes("nothing")), (None, None));
    }

    #[test]
    fn metrics_are_told_apart_by_their_whole_name() {
        let text = "# TYPE a_count counter\na_count_total 7\na_count{le=\"1\"} 8\na_count 9.0\n\
                    b 1.5e+06\nc NaN\n";
        assert_eq!(metric(text, "a_count"), Some(9.0));
        assert_eq!(metric(text, "b").and_then(whole), Some(1_500_000));
        assert_eq!(metric(text, "c").and_then(whole), None);
        assert_eq!(metric(text, "d"), None);
    }

    async fn answered(scheme: &str, answer: &'static str) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{scheme}{}", listener.local_addr().unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let count = stream.read(&mut request).await.unwrap();
            assert!(request[..count].starts_with(b"GET /metrics HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(metrics(&address), serve).0
    }

    #[tokio::test]
    async fn only_an_answer_that_is_well_is_read() {
        let well = "HTTP/1.0 200 OK\r\nA: b\r\n\r\nc 1\n";
        for scheme in ["http://", ""] {
            assert_eq!(answered(scheme, well).await.as_deref(), Some("c 1\n"));
        }
        assert_eq!(answered("", "HTTP/1.0 404 Not Found\r\n\r\nc 1\n").await, None);
        assert_eq!(answered("", "HTTP/1.1 200 OK\r\n").await, None);
        assert_eq!(metrics("https://127.0.0.1:1").await, None, "nobody is asked behind TLS");
    }

    #[tokio::test]
    async fn a_member_that_runs_uses_something_and_one_that_is_gone_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = scripted(1, "stays.sh", folder.path()).await;
        let usage = cluster.usage(0);
        assert!(usage.pid.is_some() && usage.cpu_s.is_some(), "{usage:?}");
        assert!(usage.rss_bytes.is_some_and(|bytes| bytes > 0), "{usage:?}");
        cluster.kill(0).await.unwrap();
        assert_eq!(cluster.usage(0), Usage::default());
        assert_eq!(cluster.usage(7), Usage::default());
    }
}
