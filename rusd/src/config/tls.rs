//! The flags of TLS, of both kinds of links.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::{ConfigError, Url};
use crate::tls::TlsOptions;

/// As etcd has them.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct TlsFlags {
    /// Certificate that clients are shown, in PEM.
    #[arg(long, env = "ETCD_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "ETCD_KEY_FILE", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Who may sign clients' certificates; clients must then have one.
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE", value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,
    /// Clients must have a certificate.
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    client_cert_auth: bool,
    /// Make a certificate for clients to see, unless one is given.
    #[arg(long, env = "ETCD_AUTO_TLS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    auto_tls: bool,
    /// Certificate that peers are shown, in PEM.
    #[arg(long, env = "ETCD_PEER_CERT_FILE", value_name = "FILE")]
    peer_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "ETCD_PEER_KEY_FILE", value_name = "FILE")]
    peer_key_file: Option<PathBuf>,
    /// Who may sign peers' certificates; peers must then have one.
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE", value_name = "FILE")]
    peer_trusted_ca_file: Option<PathBuf>,
    /// Peers must have a certificate.
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_AUTH", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    peer_client_cert_auth: bool,
    /// Make a certificate for peers to see, unless one is given.
    #[arg(long, env = "ETCD_PEER_AUTO_TLS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    peer_auto_tls: bool,
    /// How many years certificates that are made are valid.
    #[arg(long, env = "ETCD_SELF_SIGNED_CERT_VALIDITY", value_name = "YEARS")]
    #[arg(default_value_t = 1)]
    pub(super) self_signed_cert_validity: u32,
}

impl TlsFlags {
    /// What they say about links to clients and to peers that are listened for on these URLs.
    pub(super) fn checked(
        &self,
        client_urls: &[Url],
        peer_urls: &[Url],
    ) -> Result<(TlsOptions, TlsOptions), ConfigError> {
        let (clients, peers) = (self.clients(), self.peers());
        if self.self_signed_cert_validity == 0 && (self.auto_tls || self.peer_auto_tls) {
            return Err(ConfigError::CertificateOfNoTime);
        }
        if let Some(url) = peer_urls.iter().find(|url| url.is_https() && peers.is_empty()) {
            let address = format!("{}:{}", url.host(), url.port());
            return Err(ConfigError::PeerWithoutCertificate(address));
        }
        if let Some(url) = client_urls.iter().find(|url| url.is_https() && clients.is_empty()) {
            return Err(ConfigError::ClientWithoutCertificate(url.clone()));
        }
        Ok((clients, peers))
    }

    fn clients(&self) -> TlsOptions {
        TlsOptions {
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            trusted_ca_file: self.trusted_ca_file.clone(),
            client_cert_auth: self.client_cert_auth,
            is_automatic: self.auto_tls,
        }
    }

    fn peers(&self) -> TlsOptions {
        TlsOptions {
            cert_file: self.peer_cert_file.clone(),
            key_file: self.peer_key_file.clone(),
            trusted_ca_file: self.peer_trusted_ca_file.clone(),
            client_cert_auth: self.peer_client_cert_auth,
            is_automatic: self.peer_auto_tls,
        }
    }
}
