//! Certificates that a member makes for itself (`--auto-tls`, `--peer-auto-tls`): they encrypt, and
//! prove nothing.
//!
//! Where etcd has them, and kept over restarts as there. Unlike etcd's, they say of themselves that
//! they sign no others, so that clients of every library can be told to trust them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::TlsError;
use super::identity::Identity;

const YEAR: Duration = Duration::from_hours(365 * 24);

/// The certificate in `folder`; made, if there is none.
pub(super) fn identity(
    folder: &Path,
    hosts: &[String],
    validity_years: u32,
) -> Result<Identity, TlsError> {
    let identity =
        Identity { cert_file: folder.join("cert.pem"), key_file: folder.join("key.pem") };
    if !(identity.cert_file.exists() && identity.key_file.exists()) {
        let made = make(hosts, validity_years)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Write { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        write(&identity.cert_file, &made.certificate).map_err(failed(&identity.cert_file))?;
        write(&identity.key_file, &made.key).map_err(failed(&identity.key_file))?;
        tracing::warn!(folder = %folder.display(), "automatically generate certificates");
    }
    identity.read()?;
    Ok(identity)
}

/// Both in PEM.
struct Made {
    certificate: String,
    key: String,
}

fn make(hosts: &[String], validity_years: u32) -> Result<Made, TlsError> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now;
    params.not_after = params.not_before + YEAR * validity_years;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Nobody else may read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
