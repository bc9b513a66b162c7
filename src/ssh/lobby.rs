//! Where connections stand until they have proved who they are: a few at once, a few for each address, and
//! those that say nothing make room for those that do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use autostack_base::tasks::Shutdown;

use crate::limits::Limits;

/// A client that has sent this many bytes is in its key exchange; one that is silent, or sends a byte now
/// and then, never comes that far.
const TALKING_BYTES_MIN: u64 = 256;

/// The lobby of one server.
#[derive(Debug)]
pub(crate) struct Lobby {
    total_max: usize,
    per_address_max: usize,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    next_id: u64,
    /// By order of arrival.
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    address: IpAddr,
    heard_bytes: Arc<AtomicU64>,
    leave: Shutdown,
}

/// A connection's place in the lobby; dropped when it has logged in or ended.
#[derive(Debug)]
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    id: u64,
    /// Whoever reads from the connection counts here.
    pub(crate) heard_bytes: Arc<AtomicU64>,
    /// Cancelled when the place goes to somebody else.
    pub(crate) leave: Shutdown,
}

impl Lobby {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total_max: limits.unauthenticated_max,
            per_address_max: limits.unauthenticated_per_address_max,
            standing: Mutex::default(),
        })
    }

    /// A place for a new connection. Where its address, or everybody together, has as many as allowed, the
    /// one that has been silent for longest leaves; `None` where all of them talk.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = neighbourhood(peer);
        let mut standing = self.standing();
        let of_address = standing.guests.values().filter(|guest| guest.address == address).count();
        if of_address >= self.per_address_max {
            standing.send_away_the_silent(|guest| guest.address == address)?;
        } else if standing.guests.len() >= self.total_max {
            standing.send_away_the_silent(|_| true)?;
        }
        let id = standing.next_id;
        standing.next_id += 1;
        let (heard_bytes, leave) = (Arc::new(AtomicU64::new(0)), Shutdown::new());
        let guest = Guest { address, heard_bytes: Arc::clone(&heard_bytes), leave: leave.clone() };
        standing.guests.insert(id, guest);
        Some(Place { lobby: Arc::clone(self), id, heard_bytes, leave })
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn send_away_the_silent(&mut self, among: impl Fn(&Guest) -> bool) -> Option<()> {
        let silent = |guest: &Guest| guest.heard_bytes.load(Ordering::Relaxed) < TALKING_BYTES_MIN;
        let id = *self.guests.iter().find(|(_, guest)| among(guest) && silent(guest))?.0;
        self.guests.remove(&id)?.leave.cancel();
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.standing().guests.remove(&self.id);
    }
}

/// What counts as one address: an IPv4 address, or the IPv6 network that one customer gets.
fn neighbourhood(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lobby(total: usize, per_address: usize) -> Arc<Lobby> {
        Lobby::new(&Limits {
            unauthenticated_max: total,
            unauthenticated_per_address_max: per_address,
            ..Limits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn talks(place: &Place) {
        place.heard_bytes.store(TALKING_BYTES_MIN, Ordering::Relaxed);
    }

    #[test]
    fn the_longest_silent_makes_room() {
        let lobby = lobby(10, 2);
        let first = lobby.enter(address(1)).unwrap();
        talks(&first);
        let second = lobby.enter(address(1)).unwrap();
        let third = lobby.enter(address(1)).unwrap();
        assert!(!first.leave.is_cancelled() && second.leave.is_cancelled() && !third.leave.is_cancelled());
        drop(second);
        assert_eq!(lobby.standing().guests.len(), 2);
    }

    #[test]
    fn those_that_talk_stay_and_the_next_is_refused() {
        let lobby = lobby(10, 2);
        let places = [lobby.enter(address(1)).unwrap(), lobby.enter(address(1)).unwrap()];
        places.iter().for_each(talks);
        assert!(lobby.enter(address(1)).is_none());
        assert!(lobby.enter(address(2)).is_some());
        drop(places);
        assert!(lobby.enter(address(1)).is_some());
    }

    #[test]
    fn the_total_is_kept_over_all_addresses() {
        let lobby = lobby(3, 2);
        let places: Vec<_> = (0..20).map(|n| lobby.enter(address(n))).collect();
        assert_eq!(lobby.standing().guests.len(), 3);
        assert_eq!(places.iter().flatten().filter(|place| !place.leave.is_cancelled()).count(), 3);
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        let same = |a: &str, b: &str| neighbourhood(a.parse().unwrap()) == neighbourhood(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
    }
}
