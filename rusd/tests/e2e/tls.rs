//! Secured links: who is let in, who is believed, and what happens when certificates are renewed.
//!
//! With `RUSD_E2E_BINARY` set the same is expected of that server: so it was compared with etcd.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rusd::tls::{Tls, TlsOptions};
use rusd_proto::etcdserverpb::RangeRequest;
use rusd_proto::etcdserverpb::kv_client::KvClient;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::certificates::{Authority, Certificate, flags, options};
use crate::process::{Member, Scheme, put, start_three_at};

const LOCAL: &str = "127.0.0.1";

fn program() -> String {
    std::env::var("RUSD_E2E_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_rusd").to_owned())
}

fn start(flags: &[String]) -> Member {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Member::start_at(&program(), Scheme::Https, &flags)
}

/// A channel to a member, as its peers would make it.
async fn connect(endpoint: &str, options: &TlsOptions) -> Result<Channel, String> {
    let tls = Tls::open(options, Path::new("/nowhere"), &[], 1).unwrap();
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    let channel = tls.dialer().unwrap().connect(&endpoint).await.map_err(|error| told(&error))?;
    // Whether our certificate was taken is only known once something has come back.
    let request = RangeRequest { key: "a".into(), serializable: true, ..RangeRequest::default() };
    let answer = KvClient::new(channel.clone()).range(request).await;
    answer.map_err(|error| told(&error)).map(|_found| channel)
}

fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The answer to a request of HTTP/1 over a secured connection.
async fn http(
    endpoint: &str,
    trusted: &Authority,
    shown: Option<&Certificate>,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&trusted.file).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_file(&shown.cert_file).unwrap()];
            let key = PrivateKeyDer::from_pem_file(&shown.key_file).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let address = endpoint.strip_prefix("https://").unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(LOCAL).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!("GET /version HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_server_is_believed_if_an_authority_that_is_trusted_says_so() {
    let folder = TempDir::new().unwrap();
    let (ca, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let member = start(&flags("--", &ca.sign(folder.path(), "server", LOCAL), None));
    let channel = connect(&member.endpoint, &options(&ca, None)).await.unwrap();
    put(&mut KvClient::new(channel), "a", "1").await;
    let answer = http(&member.endpoint, &ca, None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("etcdserver"), "{answer}");

    let unknown = connect(&member.endpoint, &options(&other, None)).await.unwrap_err();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let plain = member.endpoint.replace("https", "http");
    let unsecured = connect(&plain, &options(&ca, None)).await;
    assert!(unsecured.is_err(), "an unsecured connection is not served");
}

#[tokio::test]
async fn a_server_that_names_another_machine_is_not_believed() {
    let folder = TempDir::new().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let member = start(&flags("--", &ca.sign(folder.path(), "server", "10.1.2.3"), None));
    let refused = connect(&member.endpoint, &options(&ca, None)).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_client_needs_a_certificate_where_one_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let (ca, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let server = ca.sign(folder.path(), "server", LOCAL);
    // A client may come from anywhere, whatever its certificate names.
    let client = ca.sign(folder.path(), "client", "10.1.2.3");
    let foreign = other.sign(folder.path(), "foreign", LOCAL);
    let mut flags = flags("--", &server, Some(&ca));
    flags.push("--client-cert-auth".to_owned());
    let member = start(&flags);
    connect(&member.endpoint, &options(&ca, Some(&client))).await.unwrap();
    http(&member.endpoint, &ca, Some(&client)).await.unwrap();
    for shown in [None, Some(&foreign)] {
        assert!(connect(&member.endpoint, &options(&ca, shown)).await.is_err());
        assert!(http(&member.endpoint, &ca, shown).await.is_err());
    }
}

#[tokio::test]
async fn renewed_certificates_are_shown_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (Authority::new(folder.path(), "old"), Authority::new(folder.path(), "new"));
    let files = old.sign(folder.path(), "server", LOCAL);
    let member = start(&flags("--", &files, None));
    let before = connect(&member.endpoint, &options(&old, None)).await.unwrap();

    new.sign(folder.path(), "server", LOCAL);
    let renewed = connect(&member.endpoint, &options(&old, None)).await.unwrap_err();
    assert!(renewed.contains("UnknownIssuer"), "{renewed}");
    connect(&member.endpoint, &options(&new, None)).await.unwrap();
    put(&mut KvClient::new(before.clone()), "a", "1").await;

    fs::write(&files.cert_file, "half a certificate").unwrap();
    assert!(connect(&member.endpoint, &options(&new, None)).await.is_err());
    put(&mut KvClient::new(before), "a", "2").await;
    new.sign(folder.path(), "server", LOCAL);
    connect(&member.endpoint, &options(&new, None)).await.unwrap();
}

#[tokio::test]
async fn a_member_makes_a_certificate_for_itself() {
    let folder = TempDir::new().unwrap();
    let foreign = Authority::new(folder.path(), "foreign");
    let member = start(&["--auto-tls".to_owned()]);
    let automatic = TlsOptions { is_automatic: true, ..TlsOptions::default() };
    let tls = Tls::open(&automatic, folder.path(), &[], 1).unwrap();
    let endpoint = Endpoint::from_shared(member.endpoint.clone()).unwrap();
    let connected = tls.dialer().unwrap().connect(&endpoint).await;
    // etcd signs with P-521, which our client does not know.
    if std::env::var("RUSD_E2E_BINARY").is_err() {
        put(&mut KvClient::new(connected.unwrap()), "a", "1").await;
    }
    assert!(connect(&member.endpoint, &options(&foreign, None)).await.is_err());
    for name in ["cert.pem", "key.pem"] {
        assert!(member.data_dir().join("fixtures/client").join(name).exists(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_have_certificates() {
    let folder = TempDir::new().unwrap();
    let (ca, other) = (Authority::new(folder.path(), "ca"), Authority::new(folder.path(), "other"));
    let own = ca.sign(folder.path(), "peer", LOCAL);
    let mut flags = flags("--peer-", &own, Some(&ca));
    flags.push("--peer-client-cert-auth=true".to_owned());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let members = start_three_at(&program(), Scheme::HttpsPeers, &flags);
    for member in &members {
        put(&mut member.kv().await, "a", "1").await;
    }
    let peer = &members[0].peer;
    let elsewhere = ca.sign(folder.path(), "elsewhere", "10.1.2.3");
    let foreign = other.sign(folder.path(), "foreign", LOCAL);
    http(peer, &ca, Some(&own)).await.unwrap();
    for (shown, what) in [
        (None, "no certificate"),
        (Some(&foreign), "one of another authority"),
        (Some(&elsewhere), "one of another machine"),
    ] {
        assert!(http(peer, &ca, shown).await.is_err(), "{what}");
    }
    // A name is looked up.
    let named = ca.sign(folder.path(), "named", "localhost");
    http(peer, &ca, Some(&named)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_make_certificates_for_themselves() {
    let members = start_three_at(&program(), Scheme::HttpsPeers, &["--peer-auto-tls"]);
    for member in &members {
        put(&mut member.kv().await, "a", "1").await;
        assert!(member.data_dir().join("fixtures/peer/cert.pem").exists());
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing.pem");
    let output = Command::new(program())
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--listen-client-urls=https://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0"])
        .arg("--advertise-client-urls=https://127.0.0.1:1")
        .arg(format!("--cert-file={}", missing.display()))
        .arg(format!("--key-file={}", missing.display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(text.contains("missing.pem") && text.contains("no such file"), "{text}");
}
