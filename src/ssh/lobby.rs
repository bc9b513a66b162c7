//! Where connections stand until they have proved who they are. Three places, each with its bound:
//!
//! - *arriving*: not enough was heard yet. Honest clients leave within a round trip; where there are too
//!   many, the oldest goes.
//! - *waiting*: it has begun its key exchange, and all places are taken.
//! - *placed*: it is served. A few for each address, a few more for all together. One that came in silence,
//!   and is silent still, gives its place to one that waits.
//!
//! So many honest clients at once all come in, one after another, and silent ones keep nobody out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use autostack_base::tasks::Shutdown;
use tokio::sync::Notify;

use crate::limits::Limits;

/// A client that has sent this many bytes is in its key exchange; one that only says hello, or sends a
/// byte now and then, never comes that far.
pub(crate) const TALKING_BYTES_MIN: usize = 128;

/// The lobby of one server.
#[derive(Debug)]
pub(crate) struct Lobby {
    limits: Limits,
    crowd: Mutex<Crowd>,
    /// Told when a place becomes free.
    freed: Notify,
}

/// Each map by order of arrival.
#[derive(Debug, Default)]
struct Crowd {
    next_id: u64,
    arriving: BTreeMap<u64, Arriving>,
    waiting: usize,
    placed: BTreeMap<u64, Placed>,
}

#[derive(Debug)]
struct Arriving {
    address: IpAddr,
    leave: Shutdown,
}

#[derive(Debug)]
struct Placed {
    address: IpAddr,
    came_talking: bool,
    heard_bytes: Arc<AtomicUsize>,
    leave: Shutdown,
}

/// A connection that has arrived; dropped when it goes on or goes away.
#[derive(Debug)]
pub(crate) struct Arrival {
    lobby: Arc<Lobby>,
    id: u64,
    address: IpAddr,
    /// Cancelled when it has to make room.
    pub(crate) leave: Shutdown,
}

/// A connection's place; dropped when it has logged in or ended.
#[derive(Debug)]
pub(crate) struct Place {
    lobby: Arc<Lobby>,
    id: u64,
    /// Whoever reads from the connection counts here.
    pub(crate) heard_bytes: Arc<AtomicUsize>,
    /// Cancelled when the place goes to somebody else.
    pub(crate) leave: Shutdown,
}

impl Lobby {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, crowd: Mutex::default(), freed: Notify::new() })
    }

    /// Lets a connection arrive; where too many have, of its address or of all, the oldest leaves.
    pub(crate) fn arrive(self: &Arc<Self>, peer: IpAddr) -> Arrival {
        let address = neighbourhood(peer);
        let mut crowd = self.crowd();
        let neighbours = crowd.arriving.values().filter(|other| other.address == address).count();
        let oldest = if neighbours >= self.limits.arriving_per_address_max {
            crowd.arriving.iter().find(|(_, other)| other.address == address).map(|(id, _)| *id)
        } else if crowd.arriving.len() >= self.limits.arriving_max {
            crowd.arriving.keys().next().copied()
        } else {
            None
        };
        if let Some(pushed_out) = oldest.and_then(|id| crowd.arriving.remove(&id)) {
            pushed_out.leave.cancel();
        }
        let (id, leave) = (crowd.next_id(), Shutdown::new());
        crowd.arriving.insert(id, Arriving { address, leave: leave.clone() });
        Arrival { lobby: Arc::clone(self), id, address, leave }
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if one is free or, for one that talks, can be made free.
    fn place(self: &Arc<Self>, address: IpAddr, came_talking: bool) -> Option<Place> {
        let mut crowd = self.crowd();
        let neighbours = crowd.placed.values().filter(|other| other.address == address).count();
        let is_neighbourhood_full = neighbours >= self.limits.unauthenticated_per_address_max;
        if is_neighbourhood_full || crowd.placed.len() >= self.limits.unauthenticated_max {
            let among = |other: &Placed| !is_neighbourhood_full || other.address == address;
            let silent = crowd.placed.iter().find(|(_, other)| among(other) && other.is_silent());
            let id = silent.filter(|_| came_talking).map(|(id, _)| *id)?;
            crowd.placed.remove(&id)?.leave.cancel();
        }
        let (id, leave, heard_bytes) = (crowd.next_id(), Shutdown::new(), Arc::default());
        let placed =
            Placed { address, came_talking, heard_bytes: Arc::clone(&heard_bytes), leave: leave.clone() };
        crowd.placed.insert(id, placed);
        Some(Place { lobby: Arc::clone(self), id, heard_bytes, leave })
    }
}

impl Crowd {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Placed {
    fn is_silent(&self) -> bool {
        !self.came_talking && self.heard_bytes.load(Ordering::Relaxed) < TALKING_BYTES_MIN
    }
}

impl Arrival {
    /// For one that talks: a place, as soon as there is one. `None` where too many wait.
    pub(crate) async fn wait_for_place(self) -> Option<Place> {
        let (lobby, address) = (Arc::clone(&self.lobby), self.address);
        drop(self);
        let mut waiting = None;
        loop {
            let mut freed = pin!(lobby.freed.notified());
            // Registered before the look, so that a place freed between look and wait is not missed.
            freed.as_mut().enable();
            if let Some(place) = lobby.place(address, true) {
                return Some(place);
            }
            if waiting.is_none() {
                waiting = Some(Waiting::begin(&lobby)?);
            }
            freed.await;
        }
    }

    /// For one that is silent: a place if one is free now.
    pub(crate) fn take_free_place(self) -> Option<Place> {
        self.lobby.place(self.address, false)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.lobby.crowd().arriving.remove(&self.id);
    }
}

/// Counts as one that waits, until dropped.
struct Waiting<'a>(&'a Lobby);

impl<'a> Waiting<'a> {
    fn begin(lobby: &'a Lobby) -> Option<Self> {
        let mut crowd = lobby.crowd();
        let fits = crowd.waiting < lobby.limits.waiting_max;
        fits.then(|| {
            crowd.waiting += 1;
            Self(lobby)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.crowd().waiting -= 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.crowd().placed.remove(&self.id);
        self.lobby.freed.notify_waiters();
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
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn lobby(total: usize, per_address: usize) -> Arc<Lobby> {
        Lobby::new(Limits {
            unauthenticated_max: total,
            unauthenticated_per_address_max: per_address,
            arriving_max: 4,
            arriving_per_address_max: 2,
            waiting_max: 1,
            ..Limits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[tokio::test]
    async fn a_silent_one_gives_its_place_to_one_that_speaks() {
        let lobby = lobby(10, 2);
        let talking = lobby.arrive(address(1)).take_free_place().unwrap();
        talking.heard_bytes.store(TALKING_BYTES_MIN, Ordering::Relaxed);
        let silent = lobby.arrive(address(1)).take_free_place().unwrap();
        assert!(lobby.arrive(address(1)).take_free_place().is_none());
        assert!(!silent.leave.is_cancelled());
        let honest = lobby.arrive(address(1)).wait_for_place().await.unwrap();
        assert!(silent.leave.is_cancelled() && !talking.leave.is_cancelled() && !honest.leave.is_cancelled());
        drop(silent);
        assert_eq!(lobby.crowd().placed.len(), 2);
    }

    #[tokio::test]
    async fn those_that_speak_wait_for_one_another() {
        let lobby = lobby(10, 1);
        let first = lobby.arrive(address(1)).wait_for_place().await.unwrap();
        let second = lobby.arrive(address(1)).wait_for_place();
        let mut second = std::pin::pin!(second);
        assert!(timeout(Duration::from_millis(20), &mut second).await.is_err());
        assert!(lobby.arrive(address(1)).wait_for_place().await.is_none(), "one may wait, not two");
        assert!(lobby.arrive(address(2)).wait_for_place().await.is_some());
        drop(first);
        assert!(second.await.is_some());
        assert_eq!(lobby.crowd().waiting, 0);
    }

    #[tokio::test]
    async fn the_total_is_kept_over_all_addresses() {
        let lobby = lobby(3, 2);
        let places: Vec<_> = (0..20).map(|n| lobby.arrive(address(n)).take_free_place()).collect();
        assert_eq!(places.iter().flatten().count(), 3);
        assert_eq!(lobby.crowd().placed.len(), 3);
    }

    #[test]
    fn of_too_many_that_arrive_the_oldest_leaves() {
        let lobby = lobby(10, 2);
        let here = [lobby.arrive(address(1)), lobby.arrive(address(1)), lobby.arrive(address(1))];
        let left: Vec<bool> = here.iter().map(|arrival| arrival.leave.is_cancelled()).collect();
        assert_eq!(left, [true, false, false]);
        let others: Vec<_> = (2..5).map(|n| lobby.arrive(address(n))).collect();
        assert!(here[1].leave.is_cancelled() && !here[2].leave.is_cancelled());
        drop((here, others));
        assert!(lobby.crowd().arriving.is_empty());
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        let same = |a: &str, b: &str| neighbourhood(a.parse().unwrap()) == neighbourhood(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
    }
}
