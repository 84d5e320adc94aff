//! Connections over the simulated network: what members and clients are handed in place of TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rusd::net::Listen;
use rusd::tls::{Connecting, Dialer, Duplex, Network};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use turmoil::net::{TcpListener, TcpStream};

use crate::doors::{Door, Knock};

/// How long a client's connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Port for clients, on every member.
pub(super) const CLIENT_PORT: u16 = 2379;
/// Port for peers, on every member.
pub(super) const PEER_PORT: u16 = 2380;

/// What a member is called on the network.
pub(super) fn name(member: usize) -> String {
    format!("m{member}")
}

/// Connects to hosts by their names.
struct Simulated;

impl Network for Simulated {
    fn connect(&self, host: String, port: u16) -> Connecting<Box<dyn Duplex>> {
        Box::pin(async move {
            let stream: Box<dyn Duplex> = Box::new(TcpStream::connect((host, port)).await?);
            Ok(stream)
        })
    }
}

/// Connects over the simulated network.
pub(super) fn dialer() -> Dialer {
    Dialer::over(Arc::new(Simulated))
}

/// Connects clients to members, as the load generator does: first there is a connection, then
/// requests are sent.
pub(super) fn knock() -> Knock {
    Arc::new(|member| {
        Box::pin(async move {
            let url = format!("http://{}:{CLIENT_PORT}", name(member));
            let endpoint = Endpoint::from_shared(url).expect("a name and a port are a URL");
            let channel =
                dialer().connect(&endpoint.connect_timeout(CONNECT_TIMEOUT)).await.ok()?;
            Some(Door::new(channel, CancellationToken::new()))
        })
    })
}

/// A port of the host that this runs on.
pub(super) struct Port(TcpListener);

impl Port {
    /// Binds it.
    pub(super) async fn bind(port: u16) -> io::Result<Port> {
        Ok(Port(TcpListener::bind(("0.0.0.0", port)).await?))
    }
}

impl Listen for Port {
    type Stream = TcpStream;

    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send {
        self.0.accept()
    }
}
