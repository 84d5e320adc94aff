//! Versions that rusd presents.

/// The etcd version whose API is served, as clients and Kubernetes read it: they choose their calls
/// by it.
pub const ETCD_VERSION: &str = "3.7.3";

/// The storage version that belongs to it.
pub const STORAGE_VERSION: &str = "3.7.0";

/// rusd's own version.
pub const RUSD_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first two numbers of the etcd version.
pub(crate) fn major_minor() -> (u64, u64) {
    let mut numbers = ETCD_VERSION.split('.').flat_map(str::parse);
    let (major, minor) = (numbers.next(), numbers.next());
    major.zip(minor).expect("the version has two numbers")
}

/// What `--version` prints after the word `etcd`. Tools parse the first line.
pub(crate) fn after_name() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("Version: {ETCD_VERSION}\nrusd Version: {RUSD_VERSION}\nOS/Arch: {os}/{arch}")
}
