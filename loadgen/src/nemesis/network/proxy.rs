//! Listens in a member's place, and passes on to where it listens, as the rules in force let it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::line::{Line, Sent};
use super::rule::{self, Doom, End, Flow, Weather};
use super::{InForce, Leak, Network};

const BUFFER_BYTES: usize = 64 << 10;

/// Who connects to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// Other members.
    Peers,
    /// Clients.
    Clients,
}

/// Listens where a member is advertised, and passes on to where it listens.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    _stop: DropGuard,
}

impl Proxy {
    /// Starts a proxy of a member that listens on the loopback port `target`.
    pub async fn start(
        network: &Network,
        serves: Serves,
        member: u32,
        target: u16,
    ) -> io::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let stop = CancellationToken::new();
        let place = Place { network: network.clone(), serves, member, target };
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, place, stop.clone())));
        Ok(Proxy { port, _stop: stop.drop_guard() })
    }

    /// The port that peers or clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// In whose place we listen.
#[derive(Debug, Clone)]
struct Place {
    network: Network,
    serves: Serves,
    member: u32,
    target: u16,
}

impl Place {
    async fn maker(&self, inbound: &TcpStream, source: SocketAddr) -> io::Result<End> {
        if self.serves == Serves::Clients {
            return Ok(End::Client);
        }
        let (network, proxy) = (self.network.clone(), inbound.local_addr()?);
        let maker = tokio::task::spawn_blocking(move || network.maker(source, proxy)).await?;
        Ok(maker.map_or(End::Unknown, End::Member))
    }
}

async fn accept(listener: TcpListener, place: Place, stop: CancellationToken) {
    loop {
        // An error here is about one connection that went away before we took it.
        let Ok((inbound, source)) = listener.accept().await else { continue };
        let place = place.clone();
        let carry = async move {
            // The end of a connection, however it ends, is no error of ours.
            drop(carry(inbound, source, &place).await);
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(carry));
    }
}

async fn carry(mut inbound: TcpStream, source: SocketAddr, place: &Place) -> io::Result<()> {
    let maker = place.maker(&inbound, source).await?;
    let flow = Flow { from: maker, to: End::Member(place.member) };
    let network = &place.network;
    let (in_force, leak) = (network.in_force.subscribe(), Arc::clone(&network.leak));
    let mut gate = Gate { in_force, flow, to: place.member, leak };
    if let Some(doom) = gate.connects().await {
        return gate.end(doom, inbound).await;
    }
    let open = network.open(flow);
    let mut outbound = TcpStream::connect((Ipv4Addr::LOCALHOST, place.target)).await?;
    inbound.set_nodelay(true)?;
    outbound.set_nodelay(true)?;
    let seed = u64::from(source.port());
    let doom = {
        let (inbound_read, inbound_write) = inbound.split();
        let (outbound_read, outbound_write) = outbound.split();
        let there = pump(inbound_read, outbound_write, gate.clone(), seed);
        let back = pump(outbound_read, inbound_write, gate.back(), seed + 1);
        let mut doomed = gate.clone();
        tokio::select! {
            result = async { tokio::try_join!(there, back) } => return result.map(drop),
            doom = doomed.doomed() => doom,
            () = open.end.cancelled() => Doom::Reset,
        }
    };
    // Who sees the end may ask at once how many connections there are.
    drop(open);
    match doom {
        Doom::Reset => reset(outbound)?,
        Doom::HalfOpen => drop(outbound),
    }
    gate.end(doom, inbound).await
}

/// Closes a connection so that the other end sees a reset.
fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Passes bytes on, in one direction, as the rules let it.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut gate: Gate,
    seed: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut line = Line::new(Instant::now(), seed);
    loop {
        let weather = gate.weather();
        let room = line.room(&weather).min(buffer.len());
        let next = line.next().filter(|_| !weather.is_held);
        // Each branch is cancel-safe: nothing is read or taken off the line before it is chosen.
        tokio::select! {
            biased;
            () = gate.changed() => if gate.weather().is_clear() {
                line.clear_up(Instant::now());
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                match line.arrive() {
                    Some(Sent::Bytes(bytes)) => {
                        gate.note_leak();
                        to.write_all(&bytes).await?;
                    }
                    Some(Sent::End) => return to.shutdown().await,
                    None => {}
                }
            }
            read = from.read(&mut buffer[..room]), if room > 0 => {
                // By the rules of now: they may have changed while we waited.
                line.send(Instant::now(), &gate.weather(), &buffer[..read?]);
            }
        }
    }
}

/// What the rules in force make of one direction of a connection.
#[derive(Debug, Clone)]
struct Gate {
    in_force: watch::Receiver<InForce>,
    flow: Flow,
    /// The member that the connection leads to.
    to: u32,
    leak: Arc<Mutex<Option<Leak>>>,
}

impl Gate {
    fn back(&self) -> Gate {
        Gate { flow: self.flow.back(), ..self.clone() }
    }

    /// Leaves it to [`Gate::changed`] to see that the rules changed.
    fn weather(&self) -> Weather {
        Weather::of(self.flow, &self.in_force.borrow().rules)
    }

    /// Waits until other rules are in force.
    async fn changed(&mut self) {
        if self.in_force.changed().await.is_err() {
            // The cluster is gone, and with it the proxy: somebody else ends us.
            std::future::pending::<()>().await;
        }
    }

    /// Waits while connections cannot come about. Says what becomes of this one otherwise.
    async fn connects(&mut self) -> Option<Doom> {
        let flow = self.flow;
        let decided = |in_force: &InForce| {
            rule::doom(flow, &in_force.rules).is_some() || rule::is_passable(flow, &in_force.rules)
        };
        match self.in_force.wait_for(decided).await {
            Ok(in_force) => rule::doom(flow, &in_force.rules),
            // The cluster is gone.
            Err(_) => Some(Doom::Reset),
        }
    }

    /// Waits until the connection cannot go on.
    async fn doomed(&mut self) -> Doom {
        let flow = self.flow;
        match self.in_force.wait_for(|now| rule::doom(flow, &now.rules).is_some()).await {
            Ok(now) => rule::doom(flow, &now.rules).unwrap_or(Doom::Reset),
            Err(_) => Doom::Reset,
        }
    }

    /// Ends a connection as it must end. One that is half open is kept, and what comes on it lost,
    /// until it is mended; then it is reset, as by a host that knows nothing of it.
    async fn end(&mut self, doom: Doom, mut inbound: TcpStream) -> io::Result<()> {
        if doom == Doom::HalfOpen {
            let flow = self.flow;
            let is_over = |now: &InForce| rule::doom(flow, &now.rules) != Some(Doom::HalfOpen);
            let mut lost = vec![0; BUFFER_BYTES];
            let lose = async { while !matches!(inbound.read(&mut lost).await, Ok(0) | Err(_)) {} };
            tokio::select! {
                _ = self.in_force.wait_for(is_over) => {}
                () = lose => {}
            }
        }
        reset(inbound)
    }

    /// Notes that bytes pass, if perhaps they should not.
    fn note_leak(&self) {
        if rule::is_leak(self.flow, &self.in_force.borrow().rules) {
            let leak = Leak { to: self.to };
            self.leak.lock().expect("no holder panics").get_or_insert(leak);
        }
    }
}
