//! Free ports on the loopback, below the range from which the system takes ports for outgoing
//! connections: a port from that range could be taken by one while a killed member is down.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Finds `count` ports that nobody listens on, and that are not in `taken`. They are not reserved.
pub(super) fn free(count: usize, taken: &[u16]) -> io::Result<Vec<u16>> {
    // Differs between processes, so that runs side by side seldom meet.
    let offset = RandomState::new().hash_one(std::process::id()) % u64::from(COUNT);
    let offset = u16::try_from(offset).expect("below COUNT");
    let candidates = (0..COUNT).map(|step| FIRST + (offset + step) % COUNT);
    let is_free = |port: &u16| !taken.contains(port) && is_free(*port);
    let free: Vec<u16> = candidates.filter(is_free).take(count).collect();
    if free.len() == count {
        return Ok(free);
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("none from {FIRST} on")))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_free() {
        let held: Vec<TcpListener> = free(3, &[])
            .unwrap()
            .into_iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap())
            .collect();
        for listener in held {
            assert!(!is_free(listener.local_addr().unwrap().port()));
        }
    }

    /// A member that is down wants its ports back.
    #[test]
    fn a_port_that_is_taken_is_not_given_again() {
        let taken: Vec<u16> = (FIRST..FIRST + COUNT - 40).collect();
        let free = free(2, &taken).unwrap();
        assert!(free.iter().all(|port| !taken.contains(port)), "{free:?}");
    }
}
