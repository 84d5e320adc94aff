//! The way to peers: plain, or secured if their URL says https. A simulation hands in a network of
//! its own, on which nothing is secured.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Error};

use super::{Identity, Tls, TlsError, provider};

/// Connects to peers. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// TCP of the system; secured by this if the URL says so.
    System(TlsConnector),
    /// Another network.
    Network(Arc<dyn Network>),
}

/// A network that is not the system's.
pub trait Network: Send + Sync {
    /// Connects to a port of a host, by its name.
    fn connect(&self, host: String, port: u16) -> Connecting<Box<dyn Duplex>>;
}

/// A connection under way.
pub type Connecting<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Tls {
    /// How peers are reached. They must show a certificate that is trusted, unless everyone makes
    /// his own.
    pub fn dialer(&self) -> Result<Dialer, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = if self.is_self_signed {
            let anybody = Arc::new(Anybody(provider()));
            builder.dangerous().with_custom_certificate_verifier(anybody)
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::<Identity>::clone(identity)),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Dialer { way: Way::System(Arc::new(config).into()) })
    }
}

impl Dialer {
    /// Connects over a network that is not the system's; nothing is secured there.
    pub fn over(network: Arc<dyn Network>) -> Dialer {
        Dialer { way: Way::Network(network) }
    }

    /// A connection to the peer at `endpoint`.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        match &self.way {
            Way::System(tls) if is_secured(endpoint.uri()) => {
                endpoint.connect_with_connector(Secured(tls.clone())).await
            }
            Way::System(_) => endpoint.connect().await,
            Way::Network(network) => {
                endpoint.connect_with_connector(Over(Arc::clone(network))).await
            }
        }
    }

    /// One that is made when it is first used, and again after it broke.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        match &self.way {
            Way::System(tls) if is_secured(endpoint.uri()) => {
                endpoint.connect_with_connector_lazy(Secured(tls.clone()))
            }
            Way::System(_) => endpoint.connect_lazy(),
            Way::Network(network) => {
                endpoint.connect_with_connector_lazy(Over(Arc::clone(network)))
            }
        }
    }
}

fn is_secured(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

/// Makes secured connections.
#[derive(Clone)]
struct Secured(TlsConnector);

impl tower::Service<Uri> for Secured {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting<Self::Response> {
        let tls = self.0.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            Ok(TokioIo::new(tls.connect(name, stream).await?))
        })
    }
}

/// Makes connections over a network that is not the system's.
#[derive(Clone)]
struct Over(Arc<dyn Network>);

impl tower::Service<Uri> for Over {
    type Response = TokioIo<Box<dyn Duplex>>;
    type Error = io::Error;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting<Self::Response> {
        let host = uri.host().unwrap_or_default().to_owned();
        let connecting = self.0.connect(host, uri.port_u16().unwrap_or(80));
        Box::pin(async move { Ok(TokioIo::new(connecting.await?)) })
    }
}

/// Takes every certificate; whoever has one has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
