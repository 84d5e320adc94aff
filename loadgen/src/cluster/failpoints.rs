//! Places in a server's code at which it can be made to wait, fail or end, by gofail's protocol:
//! rusd with the feature `failpoints`, or an etcd that was built with gofail.
//!
//! A member listens for it at the address in `GOFAIL_HTTP`, if its build has such places at all.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Cluster, ClusterError};

/// Where a member is told to listen.
pub(super) const VARIABLE: &str = "GOFAIL_HTTP";
/// Longest wait for an answer, which needs no disk and no peer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Sets what happens at a place, in gofail's words: `sleep(50)`, `return("no space")`, `panic`.
pub async fn set(
    cluster: &Cluster,
    member: u32,
    place: &str,
    terms: &str,
) -> Result<(), ClusterError> {
    ask(cluster, member, "PUT", place, terms).await.map(drop)
}

/// Lets nothing more happen at a place.
pub async fn remove(cluster: &Cluster, member: u32, place: &str) -> Result<(), ClusterError> {
    ask(cluster, member, "DELETE", place, "").await.map(drop)
}

/// The places that a member has, a line each: `NAME=TERMS`.
pub async fn places(cluster: &Cluster, member: u32) -> Result<String, ClusterError> {
    ask(cluster, member, "GET", "", "").await
}

async fn ask(
    cluster: &Cluster,
    member: u32,
    method: &str,
    path: &str,
    body: &str,
) -> Result<String, ClusterError> {
    let refused = |reason: String| ClusterError::NotDone { member, reason };
    let Some(port) = cluster.failpoint_port(member) else {
        return Err(refused("it was started without failpoints".to_owned()));
    };
    let answer = tokio::time::timeout(ANSWER_MAX, exchange(port, method, path, body)).await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(refused(format!("no failpoints at port {port}: {error}"))),
        Err(_) => return Err(refused(format!("no answer from failpoints in {ANSWER_MAX:?}"))),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let line = head.lines().next().unwrap_or_default();
    if line.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        return Ok(body.to_owned());
    }
    Err(refused(format!("{method} /{path} was answered by {line}: {body}")))
}

/// One request on a connection of its own, which the server closes.
async fn exchange(port: u16, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let length = body.len();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
