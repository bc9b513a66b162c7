//! The route table: an immutable snapshot, replaced whole.
//!
//! A change copies the maps (a few pointers for each app), carries over every endpoint whose address stays,
//! with its connections and its count, and retires the rest.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use autostack_domain::{
    Address, AppName, Rules,
    route::{AppRoute, Target},
};

use crate::{
    claim::{Claim, FilesClaim, InFlight, Retired},
    directory::{At, Directory},
    lambda::{Function, Turn},
    upstream::Endpoint,
};

/// Address → what answers. Never changed once published.
#[derive(Debug, Default, Clone)]
pub(crate) struct RouteTable {
    apps: BTreeMap<AppName, Arc<Route>>,
    directory: Directory<Way>,
}

/// Where one address leads.
#[derive(Debug, Clone)]
struct Way {
    route: Arc<Route>,
    /// What is taken off paths.
    strip: Option<Arc<str>>,
}

/// One app's route, as it is in the table.
#[derive(Debug)]
pub(crate) struct Route {
    app: Arc<AppName>,
    addresses: Vec<Address>,
    target: Answerer,
    /// None where there is nothing to do.
    rules: Option<Arc<Rules>>,
}

/// What is known of a request's way before anything is claimed there.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Whose the address is.
    pub(crate) app: Arc<AppName>,
    /// What happens before the app is asked.
    pub(crate) rules: Option<Arc<Rules>>,
    /// What the app does not see of the path.
    pub(crate) strip: Option<Arc<str>>,
}

#[derive(Debug)]
enum Answerer {
    Endpoints { all: Vec<Arc<Endpoint>>, next: AtomicUsize },
    Function { all: Vec<Arc<Endpoint>>, next: AtomicUsize, function: Arc<Function> },
    Files { site: Arc<Site>, in_flight: Arc<InFlight> },
}

/// A folder of files.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    pub(crate) not_found: Option<String>,
    pub(crate) single_page: bool,
}

/// What a look-up gave: a place to send the request to, or why there is none.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// An endpoint, claimed.
    Endpoint(Claim),
    /// A folder, claimed.
    Files(Arc<Site>, FilesClaim),
    /// A function. Nothing is claimed yet: see [`RouteTable::take_turn`].
    Function(Arc<Function>),
    /// The host belongs to nobody.
    NoApp,
    /// The app has no instance that is ready.
    NoInstance,
    /// Every instance of the app was tried.
    Exhausted,
    /// What was found has been retired since: look up in the new table.
    Outdated,
}

/// What asking for a turn on a function gave.
#[derive(Debug)]
pub(crate) enum Turned {
    /// An instance that does nothing else, claimed.
    Taken(Turn),
    /// Every instance is at work.
    Busy,
    /// There is no function at this host (any more), or no instance of it; the look-up says which.
    Gone,
    /// Every instance was tried.
    Exhausted,
    /// What was found has been retired since: look up in the new table.
    Outdated,
}

impl RouteTable {
    /// Whose an address is, and what happens before the app is asked.
    pub(crate) fn find(&self, at: At<'_>) -> Option<Found> {
        let Way { route, strip } = self.directory.find(at)?;
        Some(Found { app: Arc::clone(&route.app), rules: route.rules.clone(), strip: strip.clone() })
    }

    /// Finds who answers at an address and claims a place there, passing over the endpoints already `tried`.
    pub(crate) fn claim(&self, at: At<'_>, tried: &[Arc<Endpoint>]) -> Claimed {
        let Some(way) = self.directory.find(at) else {
            return Claimed::NoApp;
        };
        match &way.route.target {
            Answerer::Files { site, in_flight } => match FilesClaim::on(in_flight) {
                Some(claim) => Claimed::Files(Arc::clone(site), claim),
                None => Claimed::Outdated,
            },
            Answerer::Endpoints { all, .. } | Answerer::Function { all, .. } if all.is_empty() => {
                Claimed::NoInstance
            }
            Answerer::Function { function, .. } => Claimed::Function(Arc::clone(function)),
            Answerer::Endpoints { all, next } => match choose(all, next, tried) {
                Some(endpoint) => Claim::on(endpoint).map_or(Claimed::Outdated, Claimed::Endpoint),
                None => Claimed::Exhausted,
            },
        }
    }

    /// Claims an instance of the function at an address that is not at work, passing over those already `tried`.
    pub(crate) fn take_turn(&self, at: At<'_>, tried: &[Arc<Endpoint>]) -> Turned {
        let Some(Answerer::Function { all, next, function }) =
            self.directory.find(at).map(|way| &way.route.target)
        else {
            return Turned::Gone;
        };
        if all.is_empty() {
            return Turned::Gone;
        }
        let first = next.fetch_add(1, Ordering::Relaxed);
        let mut untried = in_turn(all, first, tried).peekable();
        if untried.peek().is_none() {
            return Turned::Exhausted;
        }
        match untried.find_map(|endpoint| Turn::on(endpoint, function)) {
            Some(Ok(turn)) => Turned::Taken(turn),
            Some(Err(_retired)) => Turned::Outdated,
            None => Turned::Busy,
        }
    }

    /// The routes, by app.
    pub(crate) fn routes(&self) -> Vec<AppRoute> {
        self.apps.values().map(|route| route.described()).collect()
    }

    /// The table with `given` in place of what its app had, and what is no longer reachable through it.
    pub(crate) fn with(&self, given: AppRoute) -> (RouteTable, Replaced) {
        let (mut table, old) = self.take_out(&given.app);
        let old = old.as_deref();
        let AppRoute { app, mut addresses, target, dynos, rules } = given;
        let target = match target {
            Target::Endpoints(addresses) => {
                Answerer::Endpoints { all: endpoints(old, addresses, &dynos), next: AtomicUsize::new(0) }
            }
            Target::Lambda(addresses) => Answerer::Function {
                all: endpoints(old, addresses, &dynos),
                next: AtomicUsize::new(0),
                // Who waits for the function goes on waiting in the same line.
                function: old.and_then(Route::function).unwrap_or_else(|| Function::new(app.clone())),
            },
            Target::Static { root, not_found, single_page } => Answerer::Files {
                site: Arc::new(Site { root, not_found, single_page }),
                in_flight: Arc::new(InFlight::default()),
            },
        };
        // An address has one owner. The platform decides who; a second claim is not let in by the back door.
        addresses.retain(|address| {
            let free = table.is_free(address);
            if !free {
                tracing::warn!(%app, %address, "address belongs to another app; not routed");
            }
            free
        });
        let rules = (!rules.is_empty()).then(|| Arc::new(rules));
        let route = Arc::new(Route { app: Arc::new(app), addresses, target, rules });
        let replaced = Replaced::between(old, Some(&route));
        for address in &route.addresses {
            let strip = address.strip_prefix && !address.prefix.is_root();
            let strip = strip.then(|| Arc::from(address.prefix.as_str()));
            // One that is given twice is in there already.
            let _is_first = table.directory.add(address, Way { route: Arc::clone(&route), strip });
        }
        table.apps.insert(AppName::clone(&route.app), route);
        (table, replaced)
    }

    /// As [`RouteTable::with`], for an app that was `old` before: addresses that the two share lead to `given` from
    /// now on. What `old` has beside them stays.
    pub(crate) fn with_in_place_of(&self, given: AppRoute, old: &AppName) -> (RouteTable, Replaced) {
        let Some(route) = self.apps.get(old) else { return self.with(given) };
        let is_shared = |address: &Address| given.addresses.iter().any(|taken| taken.is_same_place(address));
        let (shared, left): (Vec<_>, Vec<_>) = route.addresses.iter().cloned().partition(is_shared);
        let left = Arc::new(Route {
            app: Arc::clone(&route.app),
            addresses: left,
            target: route.target.again(),
            rules: route.rules.clone(),
        });
        let mut table = self.clone();
        for address in &shared {
            table.directory.remove(address);
        }
        table.apps.insert(old.clone(), left);
        table.with(given)
    }

    fn is_free(&self, address: &Address) -> bool {
        !self.apps.values().any(|route| route.addresses.iter().any(|known| known.is_same_place(address)))
    }

    /// The table without `app`, and what is no longer reachable through it.
    pub(crate) fn without(&self, app: &AppName) -> (RouteTable, Replaced) {
        let (table, old) = self.take_out(app);
        let replaced = Replaced::between(old.as_deref(), None);
        (table, replaced)
    }

    fn take_out(&self, app: &AppName) -> (RouteTable, Option<Arc<Route>>) {
        let mut table = self.clone();
        let old = table.apps.remove(app);
        for address in old.iter().flat_map(|old| &old.addresses) {
            table.directory.remove(address);
        }
        (table, old)
    }
}

impl Answerer {
    /// The same, for another route.
    fn again(&self) -> Answerer {
        match self {
            Answerer::Endpoints { all, next } => {
                Answerer::Endpoints { all: all.clone(), next: AtomicUsize::new(next.load(Ordering::Relaxed)) }
            }
            Answerer::Function { all, next, function } => Answerer::Function {
                all: all.clone(),
                next: AtomicUsize::new(next.load(Ordering::Relaxed)),
                function: Arc::clone(function),
            },
            Answerer::Files { site, in_flight } => {
                Answerer::Files { site: Arc::clone(site), in_flight: Arc::clone(in_flight) }
            }
        }
    }
}

impl Route {
    fn endpoint(&self, address: &SocketAddr) -> Option<Arc<Endpoint>> {
        match &self.target {
            Answerer::Endpoints { all, .. } | Answerer::Function { all, .. } => {
                all.iter().find(|endpoint| endpoint.address == *address).map(Arc::clone)
            }
            Answerer::Files { .. } => None,
        }
    }

    fn function(&self) -> Option<Arc<Function>> {
        match &self.target {
            Answerer::Function { function, .. } => Some(Arc::clone(function)),
            Answerer::Endpoints { .. } | Answerer::Files { .. } => None,
        }
    }

    fn described(&self) -> AppRoute {
        let addresses = |all: &[Arc<Endpoint>]| all.iter().map(|endpoint| endpoint.address).collect();
        let target = match &self.target {
            Answerer::Endpoints { all, .. } => Target::Endpoints(addresses(all)),
            Answerer::Function { all, .. } => Target::Lambda(addresses(all)),
            Answerer::Files { site, .. } => Target::Static {
                root: site.root.clone(),
                not_found: site.not_found.clone(),
                single_page: site.single_page,
            },
        };
        AppRoute {
            app: AppName::clone(&self.app),
            addresses: self.addresses.clone(),
            target,
            dynos: self.dynos(),
            rules: self.rules.as_deref().cloned().unwrap_or_default(),
        }
    }

    fn dynos(&self) -> BTreeMap<SocketAddr, String> {
        match &self.target {
            Answerer::Endpoints { all, .. } | Answerer::Function { all, .. } => all
                .iter()
                .filter_map(|endpoint| Some((endpoint.address, endpoint.dyno.as_deref()?.to_owned())))
                .collect(),
            Answerer::Files { .. } => BTreeMap::new(),
        }
    }
}

/// An endpoint for each address, once; those that the app has already, with their connections and counts.
fn endpoints(
    old: Option<&Route>,
    addresses: Vec<SocketAddr>,
    dynos: &BTreeMap<SocketAddr, String>,
) -> Vec<Arc<Endpoint>> {
    let known = |address: &_| old.and_then(|old| old.endpoint(address));
    let mut all: Vec<Arc<Endpoint>> = Vec::with_capacity(addresses.len());
    for address in addresses {
        if all.iter().all(|endpoint| endpoint.address != address) {
            let dyno = || dynos.get(&address).map(|dyno| Arc::from(dyno.as_str()));
            all.push(known(&address).unwrap_or_else(|| Arc::new(Endpoint::new(address, dyno()))));
        }
    }
    all
}

/// All that were not tried, beginning with the one whose turn it is.
fn in_turn<'a>(
    all: &'a [Arc<Endpoint>],
    first: usize,
    tried: &'a [Arc<Endpoint>],
) -> impl Iterator<Item = &'a Arc<Endpoint>> + Clone {
    let is_new = |endpoint: &&Arc<Endpoint>| !tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint));
    (0..all.len()).map(move |step| &all[first.wrapping_add(step) % all.len()]).filter(is_new)
}

/// Least loaded of two. The first is taken in turn, so that equal ones get equal shares; the second is
/// another one, in turn as well.
fn choose<'a>(
    all: &'a [Arc<Endpoint>],
    next: &AtomicUsize,
    tried: &'a [Arc<Endpoint>],
) -> Option<&'a Arc<Endpoint>> {
    if let [only] = all
        && tried.is_empty()
    {
        return Some(only);
    }
    let turn = next.fetch_add(1, Ordering::Relaxed);
    let mut in_turn = in_turn(all, turn, tried);
    let first = in_turn.next()?;
    let others = in_turn.clone().count();
    let second = if others == 0 { None } else { in_turn.nth((turn / all.len()) % others) };
    Some(match second {
        Some(second) if second.requests.count() < first.requests.count() => second,
        _ => first,
    })
}

/// What a change took out of the table, not yet turned away: that happens after the swap.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    retired: Retired,
    /// Those who wait for these look again: there may be more instances now, or others.
    functions: Vec<Arc<Function>>,
}

impl Replaced {
    fn between(old: Option<&Route>, new: Option<&Route>) -> Replaced {
        let mut retired = Retired::default();
        let functions = old.and_then(Route::function).into_iter().collect();
        match old.map(|old| &old.target) {
            Some(Answerer::Endpoints { all, .. } | Answerer::Function { all, .. }) => {
                let is_gone = |endpoint: &&Arc<Endpoint>| {
                    new.is_none_or(|new| new.endpoint(&endpoint.address).is_none())
                };
                retired.endpoints.extend(all.iter().filter(is_gone).map(Arc::clone));
            }
            Some(Answerer::Files { in_flight, .. }) => retired.files.push(Arc::clone(in_flight)),
            None => {}
        }
        Replaced { retired, functions }
    }

    pub(crate) fn join(&mut self, other: Replaced) {
        self.retired.endpoints.extend(other.retired.endpoints);
        self.retired.files.extend(other.retired.files);
        self.functions.extend(other.functions);
    }

    /// Turns new requests away from what was taken out. Only after the new table is in place: a request
    /// that is turned away looks there.
    pub(crate) fn retire(self) -> Retired {
        for endpoint in &self.retired.endpoints {
            endpoint.retire();
        }
        for files in &self.retired.files {
            files.retire();
        }
        for function in &self.functions {
            function.changed();
        }
        self.retired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(app: &str, ports: &[u16]) -> AppRoute {
        let target = Target::Endpoints(ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect());
        AppRoute::new(app.parse().unwrap(), vec![format!("{app}.localhost").parse().unwrap()], target)
    }

    fn at(host: &str) -> At<'_> {
        At { host, path: "/" }
    }

    fn claimed_port(table: &RouteTable, host: &str) -> u16 {
        match table.claim(at(host), &[]) {
            Claimed::Endpoint(claim) => claim.endpoint().address.port(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_that_stays_keeps_its_endpoint() {
        let (one, _) = RouteTable::default().with(route("a", &[1, 2]));
        let Claimed::Endpoint(claim) = one.claim(at("a.localhost"), &[]) else { panic!() };
        assert_eq!(claim.endpoint().address.port(), 1);
        let (two, replaced) = one.with(route("a", &[1, 3]));
        let retired = replaced.retire();
        assert_eq!(retired.endpoints.iter().map(|e| e.address.port()).collect::<Vec<_>>(), [2]);
        assert!(Arc::ptr_eq(
            &two.apps.values().next().unwrap().endpoint(&claim.endpoint().address).unwrap(),
            claim.endpoint()
        ));
        assert_eq!(two.routes(), [route("a", &[1, 3])]);
    }

    #[test]
    fn who_comes_in_place_of_another_gets_what_both_have() {
        let own: Address = "example.test".parse().unwrap();
        let named = |app: &str, port| {
            let mut route = route(app, &[port]);
            route.addresses.push(own.clone());
            route
        };
        let shop = "shop".parse().unwrap();
        let (one, _) = RouteTable::default().with(named("shop", 1));
        let (refused, _) = one.with(named("mall", 2));
        assert_eq!(claimed_port(&refused, "example.test"), 1, "nobody else gets it");
        let (two, replaced) = one.with_in_place_of(named("mall", 2), &shop);
        assert!(replaced.retire().endpoints.is_empty(), "the old one goes on");
        assert_eq!(claimed_port(&two, "example.test"), 2);
        assert_eq!((claimed_port(&two, "shop.localhost"), claimed_port(&two, "mall.localhost")), (1, 2));
        let (three, _) = two.without(&shop);
        assert_eq!(claimed_port(&three, "example.test"), 2);
        assert!(matches!(three.claim(at("shop.localhost"), &[]), Claimed::NoApp));
        let (four, _) = three.with_in_place_of(named("mall", 3), &shop);
        assert_eq!(claimed_port(&four, "example.test"), 3);
    }

    #[test]
    fn the_old_table_sends_on_to_the_new_one() {
        let (one, _) = RouteTable::default().with(route("a", &[1]));
        let (two, replaced) = one.with(route("a", &[2]));
        assert_eq!(claimed_port(&one, "a.localhost"), 1);
        let _retired = replaced.retire();
        assert!(matches!(one.claim(at("a.localhost"), &[]), Claimed::Outdated));
        assert_eq!(claimed_port(&two, "a.localhost"), 2);
        let (three, _) = two.without(&"a".parse().unwrap());
        assert!(matches!(three.claim(at("a.localhost"), &[]), Claimed::NoApp));
    }

    #[test]
    fn equal_endpoints_get_equal_shares_and_a_busy_one_less() {
        let (table, _) = RouteTable::default().with(route("a", &[1, 2, 3]));
        let mut seen = [0; 4];
        for _ in 0..300 {
            seen[usize::from(claimed_port(&table, "a.localhost"))] += 1;
        }
        assert_eq!(seen, [0, 100, 100, 100]);
        let Claimed::Endpoint(busy) = table.claim(at("a.localhost"), &[]) else { panic!() };
        let busy_port = busy.endpoint().address.port();
        let to_busy = (0..300).filter(|_| claimed_port(&table, "a.localhost") == busy_port).count();
        assert_eq!(to_busy, 0, "an idle one is always among the two");
    }

    #[test]
    fn a_tried_endpoint_is_passed_over() {
        let (table, _) = RouteTable::default().with(route("a", &[1, 2]));
        let Claimed::Endpoint(first) = table.claim(at("a.localhost"), &[]) else { panic!() };
        let mut tried = vec![Arc::clone(first.endpoint())];
        for _ in 0..4 {
            let Claimed::Endpoint(second) = table.claim(at("a.localhost"), &tried) else { panic!() };
            assert_ne!(second.endpoint().address, first.endpoint().address);
        }
        let Claimed::Endpoint(second) = table.claim(at("a.localhost"), &tried) else { panic!() };
        tried.push(Arc::clone(second.endpoint()));
        assert!(matches!(table.claim(at("a.localhost"), &tried), Claimed::Exhausted));
    }

    #[test]
    fn d3_a_host_of_another_app_is_not_taken_over() {
        let (table, _) = RouteTable::default().with(route("a", &[1]));
        let mut thief = route("b", &[2]);
        thief.addresses.push("a.localhost".parse().unwrap());
        let (table, _) = table.with(thief);
        assert_eq!(claimed_port(&table, "a.localhost"), 1);
        assert_eq!(claimed_port(&table, "b.localhost"), 2);
        let (table, _) = table.without(&"b".parse().unwrap());
        assert_eq!(claimed_port(&table, "a.localhost"), 1);
    }

    #[test]
    fn no_instance_is_not_no_app() {
        let (table, _) = RouteTable::default().with(route("a", &[]));
        assert!(matches!(table.claim(at("a.localhost"), &[]), Claimed::NoInstance));
        assert!(matches!(table.claim(at("b.localhost"), &[]), Claimed::NoApp));
    }
}
