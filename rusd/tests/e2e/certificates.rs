//! An authority that signs certificates, and files of them.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rusd::tls::TlsOptions;

/// Signs certificates; its own is in a file.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Where its own certificate is.
    pub(crate) file: PathBuf,
}

/// A certificate and its key in two files.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
}

impl Authority {
    /// A new one, whose certificate is in `folder`.
    pub(crate) fn new(folder: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).unwrap();
        Authority { issuer, file }
    }

    /// A certificate of a machine, for servers and clients, in `folder`. One that was there before
    /// is replaced.
    pub(crate) fn sign(&self, folder: &Path, name: &str, host: &str) -> Certificate {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = Certificate {
            cert_file: folder.join(format!("{name}.cert.pem")),
            key_file: folder.join(format!("{name}.key.pem")),
        };
        fs::write(&files.cert_file, certificate.pem()).unwrap();
        fs::write(&files.key_file, key.serialize_pem()).unwrap();
        files
    }
}

/// What a client is told: whom it trusts, and what it shows.
pub(crate) fn options(trusted: &Authority, shown: Option<&Certificate>) -> TlsOptions {
    TlsOptions {
        cert_file: shown.map(|shown| shown.cert_file.clone()),
        key_file: shown.map(|shown| shown.key_file.clone()),
        trusted_ca_file: Some(trusted.file.clone()),
        ..TlsOptions::default()
    }
}

/// Flags of a server, `--` or `--peer-`.
pub(crate) fn flags(prefix: &str, shown: &Certificate, trusted: Option<&Authority>) -> Vec<String> {
    let flag = |name: &str, path: &Path| format!("{prefix}{name}={}", path.display());
    let mut flags = vec![flag("cert-file", &shown.cert_file), flag("key-file", &shown.key_file)];
    flags.extend(trusted.map(|authority| flag("trusted-ca-file", &authority.file)));
    flags
}
