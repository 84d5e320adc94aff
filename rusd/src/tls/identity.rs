//! A certificate and its key, in two files that are read again for each handshake.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{TlsError, certificates, provider};

/// Where a certificate and its key are.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
}

impl Identity {
    /// What is there now.
    pub(super) fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates("the certificate", &self.cert_file)?;
        let what = "the key";
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(TlsError::pem(what, &self.key_file))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let of = format!("it is not that of {}", self.cert_file.display());
                TlsError::file(what, &self.key_file, of)
            }
            error => TlsError::file(what, &self.key_file, error),
        })
    }

    /// The same for a handshake, which fails without it.
    fn shown(&self) -> Option<Arc<CertifiedKey>> {
        let read = self.read();
        read.inspect_err(|error| tracing::warn!(%error, "a connection cannot be secured"))
            .ok()
            .map(Arc::new)
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown()
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.shown()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
