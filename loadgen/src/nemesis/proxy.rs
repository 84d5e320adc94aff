//! The links between members, which pass through us and can be cut.
//!
//! Each member advertises the address of a [`Proxy`] of ours as its peer address, so that every
//! connection to it passes through that proxy. To cut a member off, also the connections *it*
//! makes must be cut: for each accepted connection we look up (in `/proc`) which member's process
//! made it. Whoever made a connection of which that is not known may be the one that is cut off:
//! when such a connection carries bytes meanwhile, the cut has a [`Leak`], which is told when it
//! ends. So where there is no `/proc`, no cut is whole.
//!
//! Invariant: bytes are never lost or reordered within a connection. A held link keeps them, as a
//! network that is cut keeps them in the sender's buffers; a reset one ends the connection.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::workload::CutMode;

const BUFFER_BYTES: usize = 64 << 10;
/// How often the maker of a connection is looked for: the kernel's table may be read while it
/// changes.
const LOOKUPS_MAX: usize = 5;
/// Pause between two of them.
const LOOKUP_PAUSE: Duration = Duration::from_millis(5);

/// Which members are cut off, and how.
type Cuts = BTreeMap<u32, CutMode>;

/// Bytes got through a cut, perhaps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a connection to m{to}, made by nobody knows whom, carried bytes while {cut:?} were cut off"
)]
pub struct Leak {
    /// The member that the connection led to.
    pub to: u32,
    /// The members that were cut off.
    pub cut: Vec<u32>,
}

/// The links between the members of a cluster.
#[derive(Debug, Clone, Default)]
pub struct PeerNet {
    cuts: watch::Sender<Cuts>,
    /// Process ids of the members that run.
    pids: Arc<Mutex<BTreeMap<u32, u32>>>,
    /// The first leak of a cut that has not been told yet.
    leak: Arc<Mutex<Option<Leak>>>,
}

impl PeerNet {
    /// Tells which process a member is; `None` if it does not run.
    pub fn set_pid(&self, member: u32, pid: Option<u32>) {
        let mut pids = self.pids.lock().expect("no holder panics");
        match pid {
            Some(pid) => pids.insert(member, pid),
            None => pids.remove(&member),
        };
    }

    /// Cuts each of the members off from all others.
    pub fn cut(&self, members: &[u32], mode: CutMode) {
        self.cuts.send_modify(|cuts| {
            for &member in members {
                cuts.insert(member, mode);
            }
        });
    }

    /// Ends the cuts of the members. The error says that a cut was not whole.
    pub fn heal(&self, members: &[u32]) -> Result<(), Leak> {
        self.cuts.send_modify(|cuts| {
            for &member in members {
                cuts.remove(&member);
            }
        });
        self.leak.lock().expect("no holder panics").take().map_or(Ok(()), Err)
    }

    /// The member whose process made the connection from `source` to `proxy`. Blocks.
    fn maker(&self, source: SocketAddr, proxy: SocketAddr) -> Option<u32> {
        (0..LOOKUPS_MAX).find_map(|attempt| {
            if attempt > 0 {
                std::thread::sleep(LOOKUP_PAUSE);
            }
            self.member_of(source, proxy)
        })
    }

    fn member_of(&self, source: SocketAddr, proxy: SocketAddr) -> Option<u32> {
        let inode = socket_inode(&fs::read_to_string("/proc/net/tcp").ok()?, source, proxy)?;
        let pids = self.pids.lock().expect("no holder panics").clone();
        pids.iter().find(|(_, pid)| has_socket(**pid, inode)).map(|(member, _)| *member)
    }
}

/// Listens where a member is advertised to its peers, and passes on to where it listens.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    _stop: DropGuard,
}

impl Proxy {
    /// Starts the proxy of a member that listens on the loopback port `target`.
    pub async fn start(net: &PeerNet, member: u32, target: u16) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            net.clone(),
            member,
            target,
            stop.clone(),
        )));
        Ok(Proxy { port, _stop: stop.drop_guard() })
    }

    /// The port that peers connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(
    listener: TcpListener,
    net: PeerNet,
    member: u32,
    target: u16,
    stop: CancellationToken,
) {
    loop {
        // An error here is about one connection that went away before we took it.
        let Ok((inbound, source)) = listener.accept().await else { continue };
        let net = net.clone();
        let carry = async move {
            // The end of a connection, however it ends, is no error of ours.
            drop(carry(inbound, source, &net, member, target).await);
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(carry));
    }
}

async fn carry(
    inbound: TcpStream,
    source: SocketAddr,
    net: &PeerNet,
    member: u32,
    target: u16,
) -> io::Result<()> {
    let proxy = inbound.local_addr()?;
    let lookup = net.clone();
    let maker = tokio::task::spawn_blocking(move || lookup.maker(source, proxy)).await?;
    let (cuts, leak) = (net.cuts.subscribe(), Arc::clone(&net.leak));
    let mut gate = Gate { cuts, member, maker, leak };
    if gate.open().await == Passage::Reset {
        return Ok(());
    }
    let outbound = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    inbound.set_nodelay(true)?;
    outbound.set_nodelay(true)?;
    let mut reset = gate.clone();
    let (inbound_read, inbound_write) = inbound.into_split();
    let (outbound_read, outbound_write) = outbound.into_split();
    let there = pump(inbound_read, outbound_write, gate.clone());
    let back = pump(outbound_read, inbound_write, gate);
    tokio::select! {
        result = async { tokio::try_join!(there, back) } => result.map(drop),
        () = reset.is_reset() => Ok(()),
    }
}

/// Passes bytes on while the link is open.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: Gate) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        // Read before the cut or after it: nothing passes until it is healed, not even the end.
        if gate.open().await == Passage::Reset {
            return Ok(());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        gate.note_leak();
        to.write_all(&buffer[..read]).await?;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Passage {
    Open,
    Reset,
}

/// Whether the link between two members is open.
#[derive(Debug, Clone)]
struct Gate {
    cuts: watch::Receiver<Cuts>,
    member: u32,
    maker: Option<u32>,
    leak: Arc<Mutex<Option<Leak>>>,
}

impl Gate {
    /// Waits while the link is held.
    async fn open(&mut self) -> Passage {
        let ends = [Some(self.member), self.maker];
        let passable = |cuts: &Cuts| link(ends, cuts) != Some(CutMode::Hold);
        match self.cuts.wait_for(passable).await {
            Ok(cuts) if link(ends, &cuts).is_none() => Passage::Open,
            // Reset, or the cluster is gone.
            Ok(_) | Err(_) => Passage::Reset,
        }
    }

    /// Notes that bytes pass, if perhaps they should not.
    fn note_leak(&self) {
        let cuts = self.cuts.borrow();
        if self.maker.is_none() && !cuts.is_empty() {
            let leak = Leak { to: self.member, cut: cuts.keys().copied().collect() };
            self.leak.lock().expect("no holder panics").get_or_insert(leak);
        }
    }

    /// Waits until the link is reset.
    async fn is_reset(&mut self) {
        let ends = [Some(self.member), self.maker];
        // An error means that the cluster is gone.
        drop(self.cuts.wait_for(|cuts| link(ends, cuts) == Some(CutMode::Reset)).await);
    }
}

/// How a link is cut, if it is. Reset wins over hold.
fn link(ends: [Option<u32>; 2], cuts: &Cuts) -> Option<CutMode> {
    let modes = ends.iter().flatten().filter_map(|member| cuts.get(member));
    modes.copied().max_by_key(|mode| *mode == CutMode::Reset)
}

/// The inode of the socket with this local and remote address, from the text of `/proc/net/tcp`.
fn socket_inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (hexadecimal(local)?, hexadecimal(remote)?);
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        if columns.next()? != local || columns.next()? != remote {
            return None;
        }
        // After the two addresses: state, queues, timer, retransmits, uid, timeout, inode.
        columns.nth(6)?.parse().ok()
    })
}

/// An address as `/proc/net/tcp` has it: the bytes of the address as a number of the machine's
/// byte order, then the port.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let octets = address.ip().octets();
    let number = if cfg!(target_endian = "little") {
        u32::from_le_bytes(octets)
    } else {
        u32::from_be_bytes(octets)
    };
    Some(format!("{number:08X}:{:04X}", address.port()))
}

fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&wanted)))
}

#[cfg(test)]
mod tests;
