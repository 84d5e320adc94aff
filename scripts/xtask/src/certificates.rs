//! Certificates for servers and clients that are compared over secured links: an authority and what
//! it signed, and another authority with the same.
//!
//! ```text
//! ca.pem      server.pem server.key     client.pem client.key
//! other.pem                             foreign.pem foreign.key
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Makes all of them in `folder`.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let ca = authority(folder, "ca")?;
    sign(&ca, folder, "server", ExtendedKeyUsagePurpose::ServerAuth)?;
    sign(&ca, folder, "client", ExtendedKeyUsagePurpose::ClientAuth)?;
    let other = authority(folder, "other")?;
    sign(&other, folder, "foreign", ExtendedKeyUsagePurpose::ClientAuth)
}

fn authority(folder: &Path, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = named(name)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write(folder, &format!("{name}.pem"), &issuer.pem())?;
    Ok(issuer)
}

fn sign(
    authority: &CertifiedIssuer<'static, KeyPair>,
    folder: &Path,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> Result<()> {
    let mut params = named(name)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    write(folder, &format!("{name}.pem"), &certificate.pem())?;
    write(folder, &format!("{name}.key"), &key.serialize_pem())
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
