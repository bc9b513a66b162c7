//! [`Limits`]: how often somebody may ask. Who is known has a share of their own, and each of their API keys one within it;
//! who is not known shares one with everybody at the same address.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use autostack_domain::{TokenId, UserId};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
    middleware::StateInformationMiddleware,
    state::keyed::HashMapStateStore,
};

use crate::{
    caller::{Caller, Proof},
    error::ApiError,
};

/// Requests that a share holds when it is whole.
pub(crate) const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// Requests that are left of it.
pub(crate) const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// Seconds until it is whole again.
pub(crate) const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Requests a second of one address that nobody is known at, and how many may come at once.
const OF_ADDRESS: (u32, u32) = (20, 120);
/// Those of one user, by whatever they come with.
const OF_USER: (u32, u32) = (300, 600);
/// Those of one API key.
const OF_KEY: (u32, u32) = (200, 400);
/// Requests after which shares that are whole again are forgotten.
const FORGET_EVERY: u32 = 4096;

type Shares<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// Everybody's shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Inner>);

struct Inner {
    addresses: Shares<IpAddr>,
    users: Shares<UserId>,
    keys: Shares<TokenId>,
    clock: DefaultClock,
    asked: AtomicU32,
}

/// What is left of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Requests that may come at once.
    limit: u32,
    /// Those that still may.
    remaining: u32,
    /// Until the share is whole again.
    reset: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Inner {
            addresses: shares(OF_ADDRESS),
            users: shares(OF_USER),
            keys: shares(OF_KEY),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }))
    }
}

impl Limits {
    /// Takes one request from the share of who asks; what is left of the smallest. [`Left::refusal`] where nothing was.
    pub(crate) fn take(
        &self,
        caller: Option<&Caller>,
        address: Option<IpAddr>,
    ) -> Result<Left, (Left, ApiError)> {
        let Inner { addresses, users, keys, clock, asked } = &*self.0;
        if asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            addresses.retain_recent();
            users.retain_recent();
            keys.retain_recent();
        }
        let Some(caller) = caller else {
            // Without an address everybody shares one.
            let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), neighbourhood);
            return take(addresses, &address, OF_ADDRESS, clock);
        };
        let of_user = take(users, &caller.actor.user, OF_USER, clock)?;
        match &caller.proof {
            Proof::Session(_) => Ok(of_user),
            Proof::Key(key) => {
                let of_key = take(keys, key, OF_KEY, clock)?;
                Ok(if of_key.remaining < of_user.remaining { of_key } else { of_user })
            }
        }
    }
}

impl Left {
    /// Tells the client.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let told = [
            (LIMIT, u64::from(self.limit)),
            (REMAINING, u64::from(self.remaining)),
            (RESET, seconds(self.reset)),
        ];
        for (name, value) in told {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

fn shares<K: Hash + Eq + Clone>((per_second, at_once): (u32, u32)) -> Shares<K> {
    let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(at_once));
    RateLimiter::hashmap_with_clock(quota, DefaultClock::default()).with_middleware()
}

/// One IPv6 client has a whole network of addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

fn take<K: Hash + Eq + Clone>(
    shares: &Shares<K>,
    key: &K,
    (per_second, limit): (u32, u32),
    clock: &DefaultClock,
) -> Result<Left, (Left, ApiError)> {
    let left = |remaining: u32| {
        let missing = limit.saturating_sub(remaining);
        Left { limit, remaining, reset: Duration::from_secs(1) * missing / per_second }
    };
    match shares.check_key(key) {
        Ok(state) => Ok(left(state.remaining_burst_capacity())),
        Err(until) => Err((left(0), refusal(&until, clock))),
    }
}

fn refusal(until: &NotUntil<QuantaInstant>, clock: &DefaultClock) -> ApiError {
    let wait = seconds(until.wait_time_from(clock.now())).max(1);
    let message = format!("too many requests; ask again in {wait} s");
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
    ApiError { retry_after: Some(wait), ..error }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use autostack_domain::{account::Reach, permission::Actor};

    use super::*;

    fn caller(user: u32, key: Option<u32>) -> Caller {
        let id = |number: u32| format!("00000000-0000-7000-8000-{number:012}");
        let actor = Actor {
            user: id(user).parse().unwrap(),
            is_admin: false,
            name: "ada".into(),
            from: None,
            reach: Reach::Full,
        };
        let proof = match key {
            Some(key) => Proof::Key(id(key).parse().unwrap()),
            None => Proof::Session(id(1).parse().unwrap()),
        };
        Caller { actor, proof }
    }

    /// How many requests are let in at once.
    fn let_in(limits: &Limits, caller: Option<&Caller>, address: Option<&str>) -> u32 {
        let address = address.map(|address| address.parse().unwrap());
        (0..).find(|_| limits.take(caller, address).is_err()).unwrap()
    }

    #[test]
    fn each_has_a_share_of_their_own() {
        let limits = Limits::default();
        let near = |count: u32, share: u32| (share..share * 2).contains(&count);
        assert!(near(let_in(&limits, None, Some("192.0.2.1")), OF_ADDRESS.1));
        assert!(near(let_in(&limits, None, Some("192.0.2.2")), OF_ADDRESS.1));
        assert!(near(let_in(&limits, None, Some("2001:db8::1")), OF_ADDRESS.1));
        assert!(let_in(&limits, None, Some("2001:db8::2")) < OF_ADDRESS.1 / 2, "the same network");
        assert!(near(let_in(&limits, Some(&caller(1, Some(1))), None), OF_KEY.1));
        // The other key of the same user gets what the user has left.
        let left = let_in(&limits, Some(&caller(1, Some(2))), None);
        assert!(near(left, OF_USER.1 - OF_KEY.1 - 1), "{left}");
        assert!(let_in(&limits, Some(&caller(1, None)), None) < OF_USER.1 / 2);
        assert!(near(let_in(&limits, Some(&caller(2, None)), None), OF_USER.1));
    }

    #[test]
    fn a_refusal_says_when_to_ask_again() {
        let limits = Limits::default();
        let before = limits.take(None, None).unwrap();
        assert_eq!((before.limit, before.remaining), (OF_ADDRESS.1, OF_ADDRESS.1 - 1));
        let (left, refusal) = (0..).find_map(|_| limits.take(None, None).err()).unwrap();
        assert_eq!((left.remaining, refusal.code, refusal.retry_after), (0, "too_many_requests", Some(1)));
        let mut headers = HeaderMap::new();
        left.tell(&mut headers);
        assert_eq!(headers["ratelimit-limit"], "120");
        assert_eq!(headers["ratelimit-reset"], "6");
    }
}
