//! Which member made a connection: the kernel's table of sockets tells its inode, and the process
//! that has it open is the member's.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::Network;

/// How often the maker of a connection is looked for: the kernel's table may be read while it
/// changes.
const LOOKUPS_MAX: usize = 5;
/// Pause between two of them.
const LOOKUP_PAUSE: Duration = Duration::from_millis(5);

impl Network {
    /// The member whose process made the connection from `source` to `proxy`. Blocks.
    pub(super) fn maker(&self, source: SocketAddr, proxy: SocketAddr) -> Option<u32> {
        (0..LOOKUPS_MAX).find_map(|attempt| {
            if attempt > 0 {
                std::thread::sleep(LOOKUP_PAUSE);
            }
            self.member_of(source, proxy)
        })
    }

    fn member_of(&self, source: SocketAddr, proxy: SocketAddr) -> Option<u32> {
        let inode = socket_inode(&fs::read_to_string("/proc/net/tcp").ok()?, source, proxy)?;
        let pids = self.pids.lock().expect("no holder panics").clone();
        pids.iter().find(|(_, pid)| has_socket(**pid, inode)).map(|(member, _)| *member)
    }
}

/// The inode of the socket with this local and remote address, from the text of `/proc/net/tcp`.
fn socket_inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (hexadecimal(local)?, hexadecimal(remote)?);
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        if columns.next()? != local || columns.next()? != remote {
            return None;
        }
        // After the two addresses: state, queues, timer, retransmits, uid, timeout, inode.
        columns.nth(6)?.parse().ok()
    })
}

/// An address as `/proc/net/tcp` has it: the bytes of the address as a number of the machine's
/// byte order, then the port.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let octets = address.ip().octets();
    let number = if cfg!(target_endian = "little") {
        u32::from_le_bytes(octets)
    } else {
        u32::from_be_bytes(octets)
    };
    Some(format!("{number:08X}:{:04X}", address.port()))
}

fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&wanted)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn sockets_are_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
            1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
            2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(socket_inode(table, at(50_000), at(8080)), Some(222));
        assert_eq!(socket_inode(table, at(8080), at(50_000)), Some(333));
        assert_eq!(socket_inode(table, at(8080), at(1)), None);
    }
}
