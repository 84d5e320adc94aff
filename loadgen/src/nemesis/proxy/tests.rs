//! Real sockets on the loopback; what must *not* arrive is shown by what arrives first after the
//! link is mended.

use super::*;

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
    let net = PeerNet::default();
    let proxy = Proxy::start(&net, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"hello").await, b"hello");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_held_link_keeps_bytes_and_new_connections_until_it_is_mended() {
    let net = PeerNet::default();
    let proxy = Proxy::start(&net, 0, echo_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(round_trip(&mut old, b"before").await, b"before");
    net.cut(&[0], CutMode::Hold);
    let mut new = connect(&proxy).await;
    old.write_all(b"held").await.unwrap();
    new.write_all(b"new").await.unwrap();
    tokio::task::yield_now().await;
    assert!(old.try_read(&mut [0; 8]).is_err(), "nothing passes while cut");
    net.heal(&[0]).unwrap();
    let mut answer = [0; 4];
    old.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"held");
    new.read_exact(&mut answer[..3]).await.unwrap();
    assert_eq!(&answer[..3], b"new");
}

#[tokio::test]
async fn a_reset_link_ends_connections_and_refuses_new_ones() {
    let net = PeerNet::default();
    let proxy = Proxy::start(&net, 0, echo_server().await).await.unwrap();
    let mut old = connect(&proxy).await;
    assert_eq!(round_trip(&mut old, b"before").await, b"before");
    net.cut(&[0], CutMode::Reset);
    assert!(matches!(old.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let mut new = connect(&proxy).await;
    assert!(matches!(new.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    net.heal(&[0]).unwrap();
    let mut after = connect(&proxy).await;
    assert_eq!(round_trip(&mut after, b"after").await, b"after");
}

/// The connections that a member *makes* are cut too: here "member 1" is this very process, and
/// the proxy is the one of member 0.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_cut_member_cannot_reach_others_either() {
    let net = PeerNet::default();
    net.set_pid(1, Some(std::process::id()));
    let proxy = Proxy::start(&net, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"before").await, b"before");
    net.cut(&[1], CutMode::Reset);
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

/// Nobody knows who made this connection; it may be the one that is cut off.
#[tokio::test]
async fn a_cut_that_a_connection_of_unknown_origin_goes_around_is_not_whole() {
    let net = PeerNet::default();
    let proxy = Proxy::start(&net, 0, echo_server().await).await.unwrap();
    let mut stream = connect(&proxy).await;
    assert_eq!(round_trip(&mut stream, b"before").await, b"before");
    net.cut(&[1], CutMode::Hold);
    assert_eq!(net.heal(&[1]), Ok(()), "nothing passed");
    net.cut(&[1], CutMode::Hold);
    assert_eq!(round_trip(&mut stream, b"through").await, b"through");
    assert_eq!(net.heal(&[1]), Err(Leak { to: 0, cut: vec![1] }));
    assert_eq!(net.heal(&[1]), Ok(()), "it is told once");
}

#[test]
fn links_are_cut_when_either_end_is() {
    let cuts = Cuts::from([(1, CutMode::Hold), (2, CutMode::Reset)]);
    for (ends, expected) in [
        ([Some(0), Some(3)], None),
        ([Some(0), None], None),
        ([Some(1), Some(0)], Some(CutMode::Hold)),
        ([Some(0), Some(1)], Some(CutMode::Hold)),
        ([Some(1), Some(2)], Some(CutMode::Reset)),
        ([Some(2), Some(1)], Some(CutMode::Reset)),
    ] {
        assert_eq!(link(ends, &cuts), expected, "{ends:?}");
    }
}

#[cfg(target_endian = "little")]
#[test]
fn sockets_are_found_in_the_kernels_table() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
        1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
        2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(socket_inode(table, at(50_000), at(8080)), Some(222));
    assert_eq!(socket_inode(table, at(8080), at(50_000)), Some(333));
    assert_eq!(socket_inode(table, at(8080), at(1)), None);
}
