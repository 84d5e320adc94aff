//! TLS on the links to clients and to peers, by etcd's flags.
//!
//! ```text
//!   flags --> Tls::open --+--> Acceptor  for listeners whose URL is https
//!                         '--> Dialer    for the way to peers whose URL is https
//! ```
//!
//! As in etcd, certificate and key are read again for each handshake, so that renewed files need no
//! restart; what is trusted is read once. One file of certificates and one of the key, in PEM;
//! `ring` signs, which knows RSA, P-256, P-384 and Ed25519.
//!
//! Left out: revocation lists, names that clients must have, a choice of ciphers, and the other
//! certificate that etcd can show as a client.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

mod acceptor;
mod dialer;
mod identity;
mod self_signed;

pub use acceptor::{Acceptor, NameCheck};
pub use dialer::{Connecting, Dialer, Duplex, Network};

use identity::Identity;

/// What the flags say about one kind of link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `--cert-file`
    pub cert_file: Option<PathBuf>,
    /// `--key-file`
    pub key_file: Option<PathBuf>,
    /// `--trusted-ca-file`: who may sign the other side's certificate. Given, the other side must
    /// have one.
    pub trusted_ca_file: Option<PathBuf>,
    /// `--client-cert-auth`: the other side must have a certificate.
    pub client_cert_auth: bool,
    /// `--auto-tls`: make a certificate if none is given.
    pub is_automatic: bool,
}

impl TlsOptions {
    /// Whether there is no certificate, neither given nor made.
    pub fn is_empty(&self) -> bool {
        !self.is_given() && !self.is_automatic
    }

    fn is_given(&self) -> bool {
        self.cert_file.is_some() || self.key_file.is_some()
    }
}

/// Why TLS cannot be used as the flags want it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of two.
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]")]
    Half {
        /// `--key-file`
        key: String,
        /// `--cert-file`
        cert: String,
    },
    /// A file cannot be read, or holds something else.
    #[error("cannot use {what} of {path}: {reason}")]
    File {
        /// What should be in it.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Nobody is trusted, so nobody could be verified.
    #[error("no certificate authority is trusted: {0}")]
    NobodyTrusted(#[from] rustls::server::VerifierBuilderError),
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

impl TlsError {
    fn file(what: &'static str, path: &Path, reason: impl ToString) -> TlsError {
        TlsError::File { what, path: path.to_owned(), reason: reason.to_string() }
    }

    fn pem(what: &'static str, path: &Path) -> impl Fn(pem::Error) -> TlsError {
        move |error| match error {
            pem::Error::Io(error) => TlsError::file(what, path, error),
            pem::Error::NoItemsFound => TlsError::file(what, path, "there is none in it"),
            error => TlsError::file(what, path, error),
        }
    }
}

/// What one kind of link is secured with.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    identity: Option<Arc<Identity>>,
    trusted_ca_file: Option<PathBuf>,
    client_cert_auth: bool,
    /// Certificates are made by each member for itself, so nobody can verify them.
    is_self_signed: bool,
}

impl Tls {
    /// Reads what the flags name; with `--auto-tls`, makes a certificate in `folder` for `hosts`
    /// unless there is one.
    pub fn open(
        options: &TlsOptions,
        folder: &Path,
        hosts: &[String],
        validity_years: u32,
    ) -> Result<Tls, TlsError> {
        if options.is_automatic && !options.is_given() {
            let identity = self_signed::identity(folder, hosts, validity_years)?;
            // As in etcd, the other flags do not count then.
            return Ok(Tls {
                identity: Some(Arc::new(identity)),
                is_self_signed: true,
                ..Tls::default()
            });
        }
        let identity = match (&options.cert_file, &options.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let identity = Identity { cert_file: cert.clone(), key_file: key.clone() };
                identity.read()?;
                Some(Arc::new(identity))
            }
            (cert, key) => {
                let shown = |path: &Option<PathBuf>| {
                    path.as_deref().unwrap_or(Path::new("")).display().to_string()
                };
                return Err(TlsError::Half { key: shown(key), cert: shown(cert) });
            }
        };
        Ok(Tls {
            identity,
            trusted_ca_file: options.trusted_ca_file.clone(),
            client_cert_auth: options.client_cert_auth,
            is_self_signed: false,
        })
    }

    /// Whose certificates are taken: those that the flag names, else the system's.
    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.trusted_ca_file else {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            return Ok(roots);
        };
        for certificate in certificates("the trusted certificates", path)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::file("the trusted certificates", path, error))?;
        }
        Ok(roots)
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(TlsError::pem(what, path))?;
    if certificates.is_empty() {
        return Err(TlsError::pem(what, path)(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests;
