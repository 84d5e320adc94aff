//! Does with etcd-client what programs do with it, and prints one line per thing done.
//!
//! Usage: `etcd-client-script HOST:PORT`. Against two servers that behave the same, the output is
//! the same, line by line: what a server chooses (lease ids, terms) is never printed, and whatever
//! runs beside something else is waited for before the next line. A section that cannot go on says
//! so, and the next one begins.

use std::time::Duration;

use etcd_client::{Client, Error, KeyValue, ResponseHeader};

mod coordination;
mod kv;
mod lease;
mod maintenance;
mod watch;

/// How long all of it may take.
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).ok_or("usage: etcd-client-script HOST:PORT")?;
    let client = Client::connect([address], None).await?;
    let is_whole = tokio::time::timeout(TIMEOUT, run(client)).await?;
    if is_whole { Ok(()) } else { Err("not every section ran to its end".into()) }
}

/// Runs every section; whether all of them came to their end.
async fn run(client: Client) -> bool {
    let mut is_whole = true;
    let mut ended = |section: &str, result: Result<(), Error>| {
        if let Err(error) = result {
            println!("{section}: UNEXPECTED {error}");
            is_whole = false;
        }
    };
    ended("kv", kv::kv(client.clone()).await);
    ended("stream", kv::stream(client.clone()).await);
    ended("txn", kv::txn(client.clone()).await);
    ended("namespace", kv::namespace(client.clone()).await);
    ended("watch", watch::watch(client.clone()).await);
    ended("lease", lease::lease(client.clone()).await);
    ended("lock", coordination::lock(client.clone()).await);
    ended("election", coordination::election(client.clone()).await);
    ended("maintenance", maintenance::maintenance(client).await);
    is_whole
}

/// Prints the error that a call ends with.
fn refused<T>(what: &str, result: Result<T, Error>) {
    match result {
        Ok(_) => println!("{what}: no error"),
        Err(Error::GRpcStatus(status)) => {
            println!("{what}: {:?} {}", status.code(), status.message());
        }
        Err(error) => println!("{what}: {error}"),
    }
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, ResponseHeader::revision)
}

/// Every number of a key that two servers must agree on.
fn shown(kv: &KeyValue) -> String {
    format!(
        "{}={} create {} mod {} version {} leased {}",
        String::from_utf8_lossy(kv.key()),
        String::from_utf8_lossy(kv.value()),
        kv.create_revision(),
        kv.mod_revision(),
        kv.version(),
        kv.lease() != 0
    )
}

fn all_shown(kvs: &[KeyValue]) -> String {
    kvs.iter().map(shown).collect::<Vec<_>>().join("; ")
}
