//! How servers are reached: plain, or secured, with etcdctl's options.
//!
//! A URL says which by its scheme; an address without one is secured if an option is given. The
//! options are the process's, since all servers it speaks to belong together: [`install`] them
//! before anything connects.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint, Error};

/// etcdctl's options.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Secured connections")]
pub struct Options {
    /// Who may sign the servers' certificates, in PEM [default: whom the system trusts].
    #[arg(long, env = "ETCDCTL_CACERT", value_name = "FILE", global = true)]
    pub cacert: Option<PathBuf>,
    /// Certificate that servers are shown, in PEM.
    #[arg(long, env = "ETCDCTL_CERT", value_name = "FILE", requires = "key", global = true)]
    pub cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "ETCDCTL_KEY", value_name = "FILE", requires = "cert", global = true)]
    pub key: Option<PathBuf>,
    /// Take any certificate.
    #[arg(long, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY", global = true)]
    pub insecure_skip_tls_verify: bool,
}

/// Why connections cannot be secured so.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{path}: {reason}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

fn in_file<E: ToString>(path: &Path) -> impl Fn(E) -> TlsError {
    move |error| TlsError::File { path: path.to_owned(), reason: error.to_string() }
}

/// What all connections are made with.
struct Dialer {
    connector: TlsConnector,
    /// Options were given, so an address without a scheme is secured.
    is_wanted: bool,
}

static DIALER: OnceLock<Dialer> = OnceLock::new();

/// Sets how connections are secured.
///
/// # Panics
/// The second time.
pub fn install(options: &Options) -> Result<(), TlsError> {
    let dialer = dialer(options)?;
    assert!(DIALER.set(dialer).is_ok(), "the options are set once, before anything connects");
    Ok(())
}

fn dialer(options: &Options) -> Result<Dialer, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = if options.insecure_skip_tls_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody))
    } else {
        builder.with_root_certificates(roots(options.cacert.as_deref())?)
    };
    let mut config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let read = PrivateKeyDer::from_pem_file(key).map_err(in_file(key))?;
            builder.with_client_auth_cert(certificates(cert)?, read)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let is_wanted =
        options.insecure_skip_tls_verify || options.cacert.is_some() || options.cert.is_some();
    Ok(Dialer { connector: Arc::new(config).into(), is_wanted })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read.map_err(in_file(path))? {
        none if none.is_empty() => Err(in_file(path)(pem::Error::NoItemsFound)),
        certificates => Ok(certificates),
    }
}

fn roots(cacert: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match cacert {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(in_file(path))?;
            }
        }
    }
    Ok(roots)
}

/// A server's URL: `http://host:port`, `https://host:port`, or without the scheme.
pub fn url(address: &str) -> String {
    let is_secured = DIALER.get().is_some_and(|dialer| dialer.is_wanted);
    match address.contains("://") {
        true => address.to_owned(),
        false if is_secured => format!("https://{address}"),
        false => format!("http://{address}"),
    }
}

/// Connects to a server.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, Error> {
    match DIALER.get().filter(|_| endpoint.uri().scheme_str() == Some("https")) {
        Some(dialer) => endpoint.connect_with_connector(Secured(dialer.connector.clone())).await,
        None => endpoint.connect().await,
    }
}

/// Connects to the server of a URL, and secures the connection.
pub(crate) async fn secured(uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let dialer = DIALER.get().ok_or_else(|| io::Error::other("no options for it were set"))?;
    secure(&dialer.connector, uri).await
}

/// Host of a URL, without the brackets of an address.
pub(crate) fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned()
}

async fn secure(connector: &TlsConnector, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let host = host(uri);
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    connector.connect(name, stream).await
}

/// Makes secured connections.
#[derive(Clone)]
struct Secured(TlsConnector);

type Connecting = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;
type Stream = hyper_util::rt::TokioIo<TlsStream<TcpStream>>;

impl tower::Service<Uri> for Secured {
    type Response = Stream;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let connector = self.0.clone();
        Box::pin(async move { Ok(Stream::new(secure(&connector, &uri).await?)) })
    }
}

/// Takes every certificate, even one whose signature it cannot verify, such as those that etcd
/// makes for itself.
#[derive(Debug)]
struct Anybody;

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
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes =
            ring::default_provider().signature_verification_algorithms.supported_schemes();
        schemes.push(SignatureScheme::ECDSA_NISTP521_SHA512);
        schemes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let text = |options: &Options| dialer(options).err().map(|error| error.to_string());
        let options = Options { cacert: Some(path.clone()), ..Options::default() };
        let missing = text(&options).unwrap();
        assert!(missing.starts_with(path.to_str().unwrap()), "{missing}");
        assert!(missing.contains("No such file"), "{missing}");
        std::fs::write(&path, "no certificate").unwrap();
        let other = text(&options).unwrap();
        assert!(other.contains("no items found"), "{other}");
        assert_eq!(text(&Options::default()), None);
    }
}
