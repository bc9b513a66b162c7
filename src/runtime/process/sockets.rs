//! What the processes of an instance listen on.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::procfs::{Stat, descendants, processes};

/// All addresses on which descendants of `shim` accept connections, sorted.
pub(crate) fn listening(shim: i32) -> io::Result<Vec<SocketAddr>> {
    let tree = descendants(shim, &processes()?);
    let sockets: HashSet<u64> = tree.iter().flat_map(sockets_of).collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // The table of the tree's own network namespace, which one day may not be ours.
        let tables =
            tree.iter().find_map(|stat| fs::read_to_string(format!("/proc/{}/net/{table}", stat.pid)).ok());
        let rows = tables.iter().flat_map(|text| text.lines()).filter_map(listener);
        found.extend(rows.filter(|(inode, _)| sockets.contains(inode)).map(|(_, address)| address));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The inodes of the sockets that a process has open; none where it has just ended.
fn sockets_of(stat: &Stat) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", stat.pid)) else { return Vec::new() };
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// Inode and local address of a row that listens.
pub(crate) fn listener(row: &str) -> Option<(u64, SocketAddr)> {
    const LISTEN: &str = "0A";
    let mut fields = row.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (state == LISTEN).then_some((inode, SocketAddr::new(ip(address)?, port)))
}

/// The kernel prints each group of four bytes as a number of the host's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (four, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                four.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_listen_are_read() {
        let row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0";
        assert_eq!(listener(row), Some((12345, "127.0.0.1:8080".parse().unwrap())));
        let row = "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0";
        assert_eq!(listener(row), Some((7, "[::1]:8080".parse().unwrap())));
        assert_eq!(listener(&row.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"), None);
    }
}
