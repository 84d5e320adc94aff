//! The server's side of a handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::{Identity, Tls, TlsError, provider};

/// Longest handshake, as in etcd.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Whether a certificate must be that of the machine that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameCheck {
    /// Whoever has a certificate may come from anywhere: clients.
    Anywhere,
    /// If the certificate names machines, one of them must be where the connection comes from:
    /// peers.
    FromNamed,
}

/// Secures connections. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    names: NameCheck,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Acceptor").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Tls {
    /// What listeners whose URL is https are served with; `None` if there is no certificate.
    pub fn acceptor(&self, names: NameCheck) -> Result<Option<Acceptor>, TlsError> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?;
        let builder = if self.trusted_ca_file.is_some() || self.client_cert_auth {
            let roots = Arc::new(self.roots()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.build()?)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::<Identity>::clone(identity));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(Acceptor { tls: Arc::new(config).into(), names }))
    }
}

impl Acceptor {
    /// Does the handshake.
    pub(crate) async fn accept<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: T,
        from: SocketAddr,
    ) -> io::Result<TlsStream<T>> {
        let stream = tokio::time::timeout(HANDSHAKE_MAX, self.tls.accept(stream)).await??;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if let Some(certificate) = shown.filter(|_| self.names == NameCheck::FromNamed) {
            check_names(certificate, from.ip()).await.map_err(io::Error::other)?;
        }
        Ok(stream)
    }
}

/// Whether one of the machines that a certificate names, if it names any, is at `from`.
async fn check_names(certificate: &CertificateDer<'_>, from: IpAddr) -> Result<(), String> {
    let certificate = EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    let from = from.to_canonical();
    let at = ServerName::from(from);
    let Err(refused) = certificate.verify_is_valid_for_subject_name(&at) else { return Ok(()) };
    let names: Vec<&str> = certificate.valid_dns_names().collect();
    for name in &names {
        let found = tokio::net::lookup_host((*name, 0)).await;
        if found.is_ok_and(|mut addresses| addresses.any(|address| address.ip() == from)) {
            return Ok(());
        }
    }
    match refused {
        _ if !names.is_empty() => {
            Err(format!("tls: \"{from}\" does not match any of DNSNames {names:?}"))
        }
        webpki::Error::CertNotValidForName(context) if context.presented.is_empty() => Ok(()),
        _ => Err(format!("x509: certificate is not valid for {from}")),
    }
}
