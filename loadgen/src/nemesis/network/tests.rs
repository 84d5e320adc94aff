//! Real sockets on the loopback; what must *not* arrive is shown by what arrives first after the
//! link is mended.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use std::time::Duration;

use super::proxy::{Proxy, Serves};
use super::rule::{Between, Effect};
use super::*;
use crate::workload::{Direction, Links};

async fn echo_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    port
}

fn around(member: u32, effect: Effect) -> Rule {
    let between = Between::Around([member].into(), Direction::Both);
    Rule { links: Links::Peers, between, effect }
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
}

async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    stream.write_all(text).await.unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn an_open_link_carries_bytes_and_the_end() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"hello").await, b"hello");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_held_link_keeps_bytes_and_new_connections_until_it_is_mended() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(round_trip(&mut old, b"before").await, b"before");
    let cut = net.impose(around(0, Effect::Hold));
    let mut new = connect(&proxy).await;
    old.write_all(b"held").await.unwrap();
    new.write_all(b"new").await.unwrap();
    tokio::task::yield_now().await;
    assert!(old.try_read(&mut [0; 8]).is_err(), "nothing passes while cut");
    net.lift(cut).unwrap();
    let mut answer = [0; 4];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"held");
    new.read_exact(&mut answer[..3]).await.unwrap();
    assert_eq!(&answer[..3], b"new");
}

#[tokio::test]
async fn a_reset_link_ends_connections_and_refuses_new_ones() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(round_trip(&mut old, b"before").await, b"before");
    let cut = net.impose(around(0, Effect::Reset));
    assert!(matches!(old.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let mut new = connect(&proxy).await;
    assert!(matches!(new.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    net.lift(cut).unwrap();
    let mut after = connect(&proxy).await;
    assert_eq!(round_trip(&mut after, b"after").await, b"after");
}

/// The connections that a member *makes* are cut too: here "member 1" is this very process, and
/// the proxy is the one of member 0.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cut_member_cannot_reach_others_either() {
    let net = Network::default();
    net.set_pid(1, Some(std::process::id()));
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"before").await, b"before");
    net.impose(around(1, Effect::Reset));
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

/// Nobody knows who made this connection; it may be the one that is cut off.
#[tokio::test]
async fn a_cut_that_a_connection_of_unknown_origin_goes_around_is_not_whole() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"before").await, b"before");
    let cut = net.impose(around(1, Effect::Hold));
    assert_eq!(net.lift(cut), Ok(()), "nothing passed");
    let cut = net.impose(around(1, Effect::Hold));
    assert_eq!(round_trip(&mut stream, b"through").await, b"through");
    assert_eq!(net.lift(cut), Err(Leak { to: 0 }));
    let cut = net.impose(around(1, Effect::Hold));
    assert_eq!(net.lift(cut), Ok(()), "it is told once");
}

/// Of the connection that "member 1", which is this process, made.
#[cfg(target_os = "linux")]
async fn from_member_1(net: &Network) -> (Proxy, TcpStream) {
    net.set_pid(1, Some(std::process::id()));
    let proxy = Proxy::start(net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"before").await, b"before");
    (proxy, stream)
}

/// The echo comes back when only the other direction is cut, and does not when its own is.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_one_way_cut_lets_the_other_way_through() {
    let net = Network::default();
    let (_proxy, mut stream) = from_member_1(&net).await;
    let one_way = |direction| Rule {
        links: Links::Peers,
        between: Between::Around([1].into(), direction),
        effect: Effect::Hold,
    };
    // What m1 sends is held, so nothing is echoed.
    let cut = net.impose(one_way(Direction::From));
    stream.write_all(b"one").await.unwrap();
    tokio::task::yield_now().await;
    assert!(stream.try_read(&mut [0; 8]).is_err());
    net.lift(cut).unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"one");
    // What m1 sends passes; the echo is held.
    let cut = net.impose(one_way(Direction::To));
    stream.write_all(b"two").await.unwrap();
    tokio::task::yield_now().await;
    assert!(stream.try_read(&mut [0; 8]).is_err());
    net.lift(cut).unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"two");
}

#[tokio::test]
async fn a_delayed_link_takes_its_time_in_each_direction() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    let by = Duration::from_millis(60);
    let slow = net.impose(around(0, Effect::Delay { by, spread: Duration::ZERO }));
    let start = Instant::now();
    assert_eq!(round_trip(&mut stream, b"slow").await, b"slow");
    assert!(start.elapsed() >= 2 * by, "a lower bound holds on any machine");
    net.lift(slow).unwrap();
    assert_eq!(round_trip(&mut stream, b"after").await, b"after");
}

#[tokio::test]
async fn a_narrow_link_takes_its_time_for_many_bytes() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    net.impose(around(0, Effect::Bandwidth { bytes_per_s: 100_000 }));
    let start = Instant::now();
    let text = vec![7; 20_000];
    assert_eq!(round_trip(&mut stream, &text).await, text);
    assert!(start.elapsed() >= Duration::from_millis(200), "a lower bound holds on any machine");
}

#[tokio::test]
async fn a_reset_ends_what_is_there_and_nothing_that_comes() {
    let net = Network::default();
    let proxy = Proxy::start(&net, Serves::Peers, 0, echo_server().await).await.unwrap();
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    for stream in [&mut first, &mut second] {
        assert_eq!(round_trip(stream, b"before").await, b"before");
    }
    assert_eq!(net.reset(&around(5, Effect::Reset)), 0);
    assert_eq!(net.reset(&around(0, Effect::Reset)), 2);
    for stream in [&mut first, &mut second] {
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let mut third = connect(&proxy).await;
    assert_eq!(round_trip(&mut third, b"after").await, b"after");
    assert_eq!(net.reset(&around(0, Effect::Reset)), 1, "those that ended are forgotten");
}

/// The server sees the end; who made the connection keeps it, until it is mended.
#[tokio::test]
async fn a_half_open_connection_stays_and_is_reset_when_it_is_mended() {
    let net = Network::default();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let proxy = Proxy::start(&net, Serves::Peers, 0, port).await.unwrap();
    let mut stream = connect(&proxy).await;
    let (mut served, _) = server.accept().await.unwrap();
    let broken = net.impose(around(0, Effect::HalfOpen));
    assert!(matches!(served.read(&mut [0; 8]).await, Ok(0) | Err(_)), "it ends for the server");
    stream.write_all(b"lost").await.unwrap();
    let answer = stream.try_read(&mut [0; 8]).unwrap_err();
    assert_eq!(answer.kind(), std::io::ErrorKind::WouldBlock, "it goes on for who made it");
    net.lift(broken).unwrap();
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn rules_on_clients_leave_peers_alone() {
    let net = Network::default();
    let server = echo_server().await;
    let peers = Proxy::start(&net, Serves::Peers, 0, server).await.unwrap();
    let clients = Proxy::start(&net, Serves::Clients, 0, server).await.unwrap();
    let (mut peer, mut client) = (connect(&peers).await, connect(&clients).await);
    for stream in [&mut peer, &mut client] {
        assert_eq!(round_trip(stream, b"before").await, b"before");
    }
    net.impose(Rule { links: Links::Clients, ..around(0, Effect::Reset) });
    assert!(matches!(client.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    assert_eq!(round_trip(&mut peer, b"after").await, b"after");
}
