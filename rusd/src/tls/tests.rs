//! Files that cannot be used, and certificates that are made.

use std::fs;

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn pair(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key);
    (certificate.unwrap().pem(), key.serialize_pem())
}

/// The files of a certificate of "a", the key of another one, and one that holds neither.
fn files() -> (tempfile::TempDir, [PathBuf; 4]) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = pair("a");
    let files = [
        ("cert.pem", certificate),
        ("key.pem", key),
        ("other.pem", pair("b").1),
        ("text.pem", "text".to_owned()),
    ];
    let paths = files.map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    });
    (folder, paths)
}

fn refused(cert: Option<&Path>, key: Option<&Path>, ca: Option<&Path>) -> String {
    let options = TlsOptions {
        cert_file: cert.map(Path::to_owned),
        key_file: key.map(Path::to_owned),
        trusted_ca_file: ca.map(Path::to_owned),
        ..TlsOptions::default()
    };
    let opened = Tls::open(&options, Path::new("/nowhere"), &[], 1);
    opened.and_then(|tls| tls.acceptor(NameCheck::Anywhere)).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_told_with_the_file() {
    let (folder, [cert, key, other, text]) = files();
    let missing = folder.path().join("missing.pem");
    let shown = |path: &Path| path.display().to_string();
    for (found, expected) in [
        (
            refused(Some(&cert), None, None),
            format!("KeyFile and CertFile must both be present[key: , cert: {}]", shown(&cert)),
        ),
        (
            refused(Some(&missing), Some(&key), None),
            format!(
                "cannot use the certificate of {}: No such file or directory (os error 2)",
                shown(&missing)
            ),
        ),
        (
            refused(Some(&cert), Some(&text), None),
            format!("cannot use the key of {}: there is none in it", shown(&text)),
        ),
        (
            refused(Some(&text), Some(&key), None),
            format!("cannot use the certificate of {}: there is none in it", shown(&text)),
        ),
        (
            refused(Some(&cert), Some(&other), None),
            format!("cannot use the key of {}: it is not that of {}", shown(&other), shown(&cert)),
        ),
        (
            refused(Some(&cert), Some(&key), Some(&other)),
            format!(
                "cannot use the trusted certificates of {}: there is none in it",
                shown(&other)
            ),
        ),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_certificate_is_made_once_and_only_if_none_is_given() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let fixtures = folder.path().join("fixtures/client");
    let automatic = TlsOptions { is_automatic: true, ..TlsOptions::default() };
    let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let read = || {
        let tls = Tls::open(&automatic, &fixtures, &hosts, 1).unwrap();
        assert!(tls.is_self_signed && tls.acceptor(NameCheck::Anywhere).unwrap().is_some());
        fs::read_to_string(fixtures.join("cert.pem")).unwrap()
    };
    assert_eq!(read(), read());
    let key = fs::metadata(fixtures.join("key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    let (_kept, [cert, key, ..]) = files();
    let given = TlsOptions { cert_file: Some(cert), key_file: Some(key), ..automatic };
    let unused = folder.path().join("unused");
    assert!(!Tls::open(&given, &unused, &hosts, 1).unwrap().is_self_signed);
    assert!(!unused.exists());
}

#[test]
fn nobody_is_trusted_to_sign_unless_the_flags_or_the_system_say_so() {
    let (_kept, [cert, key, ..]) = files();
    let options = TlsOptions {
        cert_file: Some(cert.clone()),
        key_file: Some(key),
        trusted_ca_file: Some(cert),
        ..TlsOptions::default()
    };
    let tls = Tls::open(&options, Path::new("/nowhere"), &[], 1).unwrap();
    assert_eq!(tls.roots().unwrap().len(), 1);
}
