//! Which port an instance gets.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt::ReuseAddr,
};

/// The ports of `runtime.port_range` and who has them.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    /// What the kernel gives to outgoing connections: taken last, as one of those may be faster.
    ephemeral: RangeInclusive<u16>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    claimed: HashSet<u16>,
    /// How far from the start of the range the search begins: behind the last one given, so that a port
    /// rests as long as possible.
    next: u16,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>, seed: u16) -> Arc<Self> {
        let held = Mutex::new(Held { claimed: HashSet::new(), next: seed });
        Arc::new(Self { range, ephemeral: ephemeral_range(), held })
    }

    /// The first port of the range.
    pub(crate) fn first(&self) -> u16 {
        *self.range.start()
    }

    /// The last port of the range.
    pub(crate) fn last(&self) -> u16 {
        *self.range.end()
    }

    /// Claims a port that nobody has; `None` where there is none.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<PortClaim> {
        let mut held = self.held();
        let length = u32::from(self.last()) - u32::from(self.first()) + 1;
        for ephemeral in [false, true] {
            for step in 0..length {
                let offset = (u32::from(held.next) + step) % length;
                let port = u16::try_from(u32::from(self.first()) + offset).unwrap_or_default();
                if self.ephemeral.contains(&port) == ephemeral
                    && !held.claimed.contains(&port)
                    && is_free(port)
                {
                    held.claimed.insert(port);
                    held.next = u16::try_from(offset).unwrap_or_default().wrapping_add(1);
                    return Some(PortClaim { ports: Arc::clone(self), port });
                }
            }
        }
        None
    }

    /// Claims the port of an instance that was found.
    pub(crate) fn reclaim(self: &Arc<Self>, port: u16) -> PortClaim {
        self.held().claimed.insert(port);
        PortClaim { ports: Arc::clone(self), port }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port that no other instance gets until this is dropped.
#[derive(Debug)]
pub(crate) struct PortClaim {
    ports: Arc<Ports>,
    port: u16,
}

impl PortClaim {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        self.ports.held().claimed.remove(&self.port);
    }
}

/// Whether an app could bind the port on any address that apps bind. Bound without listening, so that no
/// visitor is ever accepted here.
fn is_free(port: u16) -> bool {
    let addresses =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    addresses.into_iter().all(|address| can_bind(SocketAddr::new(address, port)))
}

fn can_bind(address: SocketAddr) -> bool {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let Ok(bound) = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) else {
        // A host without IPv6.
        return address.is_ipv6();
    };
    // As servers do: what is left of closed connections does not count.
    let reuse = setsockopt(&bound, ReuseAddr, &true);
    let outcome =
        reuse.and_then(|()| bind(std::os::fd::AsRawFd::as_raw_fd(&bound), &SockaddrStorage::from(address)));
    match outcome {
        Ok(()) => true,
        Err(error) => address.is_ipv6() && error == nix::errno::Errno::EADDRNOTAVAIL,
    }
}

fn ephemeral_range() -> RangeInclusive<u16> {
    let read = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut bounds = text.split_ascii_whitespace().map(str::parse::<u16>);
        Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
    };
    // The kernel's default.
    read().unwrap_or(32768..=60999)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Three ports in a row that were free a moment ago.
    fn some_range() -> RangeInclusive<u16> {
        let ports = Ports::new(20_000..=29_000, u16::try_from(std::process::id() % 9_000).unwrap());
        loop {
            let first = ports.claim().unwrap().port();
            if first <= 28_990 && (first..=first + 2).all(is_free) {
                return first..=first + 2;
            }
        }
    }

    #[test]
    fn ports_are_given_once_and_come_back() {
        let range = some_range();
        let ports = Ports::new(range.clone(), 2);
        let claims: Vec<_> = (0..3).map(|_| ports.claim().unwrap()).collect();
        let mut given: Vec<u16> = claims.iter().map(PortClaim::port).collect();
        assert_eq!(given[0], range.start() + 2);
        given.sort_unstable();
        assert_eq!(given, range.clone().collect::<Vec<_>>());
        assert!(ports.claim().is_none());
        drop(claims);
        assert!(ports.claim().is_some());
        let all: Vec<_> = range.map(|port| ports.reclaim(port)).collect();
        assert!(ports.claim().is_none());
        drop(all);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_skipped() {
        for address in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
            let range = some_range();
            let taken = *range.start();
            let Ok(listener) = TcpListener::bind((address, taken)) else { continue };
            let ports = Ports::new(range, 0);
            let given = [ports.claim().unwrap(), ports.claim().unwrap()];
            assert!(given.iter().all(|claim| claim.port() != taken), "{address}");
            assert!(ports.claim().is_none(), "{address}");
            drop(listener);
            drop(given);
        }
    }
}
