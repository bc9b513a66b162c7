//! Verbs of how apps are reached: whose which host is, decided over all apps at once, and the domains of the host.

use std::collections::HashSet;

use autostack_domain::{App, AppName, Host, Invalid, Traffic, limits, traffic::check_free};
use redb::{ReadableTable, ReadableTableMetadata};

use crate::{
    apps,
    error::StoreError,
    store::Store,
    tables::{APPS, GLOBAL_DOMAINS},
};

impl Store {
    /// Changes how an app is reached, unless what it claims afterwards is another app's: then nothing is written, and
    /// the reason comes back inside. `ours` are the apps that the same hand operates, which may share a domain with it.
    pub fn change_traffic<T, E: From<Invalid>>(
        &self,
        name: &AppName,
        ours: &HashSet<AppName>,
        change: impl FnOnce(&mut Traffic) -> Result<T, E>,
    ) -> Result<Result<(App, T), E>, StoreError> {
        self.write(|txn| {
            let mut app = apps::get(txn, name)?;
            let before: Vec<_> = app.settings.traffic.claims().collect();
            let said = match change(&mut app.settings.traffic) {
                Ok(said) => said,
                Err(refused) => return Ok(Err(refused)),
            };
            let is_new = |address: &_| !before.contains(address);
            let wanted: Vec<_> = app.settings.traffic.claims().filter(is_new).collect();
            let mut rows = APPS.write(txn)?;
            if !wanted.is_empty() {
                let all = rows.range::<&str>(..)?;
                let others = all.iter().filter(|other| other.name != *name);
                let others =
                    others.map(|other| (&other.name, &other.settings.traffic, ours.contains(&other.name)));
                if let Err(why) = check_free(&wanted, others) {
                    let first = wanted.first().map(ToString::to_string).unwrap_or_default();
                    return Ok(Err(Invalid::new("domain", &first, why).into()));
                }
            }
            rows.put(name.as_str(), &app)?;
            Ok(Ok((app, said)))
        })
    }

    /// The domains below which every app has a name, the first the one that people are shown; none where the settings
    /// of the agent decide.
    pub fn global_domains(&self) -> Result<Vec<Host>, StoreError> {
        self.read(|txn| {
            let mut found = Vec::new();
            for row in txn.open_table(GLOBAL_DOMAINS)?.iter()? {
                // Only names that parsed were ever stored.
                found.extend(row?.1.value().parse::<Host>());
            }
            Ok(found)
        })
    }

    /// Sets the domains of the host; none leaves it to the settings of the agent.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for too many, or for one that an app has claimed, or has claimed a part of.
    pub fn set_global_domains(&self, domains: &[Host]) -> Result<(), StoreError> {
        self.write(|txn| {
            let conflict = |name: &Host, why: String| StoreError::Conflict {
                what: "global domain",
                name: name.to_string(),
                why,
            };
            for app in APPS.write(txn)?.range::<&str>(..)? {
                for claim in app.settings.traffic.claims() {
                    let (host, own) = (claim.host.host(), &app.name);
                    let taken = domains.iter().find(|domain| {
                        let of_app = Host::of_app(own, domain);
                        let is_own = *host == of_app || host.is_below(&of_app);
                        claim.host.matches(domain) || host == *domain || (host.is_below(domain) && !is_own)
                    });
                    if let Some(domain) = taken {
                        return Err(conflict(domain, format!("{claim} belongs to the app {own}")));
                    }
                }
            }
            let mut table = txn.open_table(GLOBAL_DOMAINS)?;
            table.retain(|_, _| false)?;
            for (at, domain) in (0..).zip(domains) {
                table.insert(at, domain.as_str())?;
            }
            if table.len()? > limits::GLOBAL_DOMAINS_MAX as u64
                && let Some(last) = domains.last()
            {
                let why = format!("a host has {} at most", limits::GLOBAL_DOMAINS_MAX);
                return Err(conflict(last, why));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use autostack_domain::{Address, UnixMillis};

    use super::*;

    fn store(dir: &tempfile::TempDir, apps: &[&str]) -> Store {
        let store = Store::open(&dir.path().join("store"), &dir.path().join("key")).unwrap();
        let owner: autostack_domain::UserId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        for app in apps {
            store.create_app(&App::new(app.parse().unwrap(), owner.clone(), UnixMillis(0))).unwrap();
        }
        store
    }

    fn add(store: &Store, app: &str, ours: &[&str], addresses: &[&str]) -> Result<(), Invalid> {
        let app: AppName = app.parse().unwrap();
        let ours = ours.iter().map(|app| app.parse().unwrap()).collect();
        let change = |traffic: &mut Traffic| -> Result<(), Invalid> {
            for address in addresses {
                traffic.add(&app, &[], address.parse::<Address>().unwrap())?;
            }
            Ok(())
        };
        store.change_traffic(&app, &ours, change).unwrap().map(|_| ())
    }

    #[test]
    fn d3_two_apps_never_have_one_host() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir, &["shop", "blog"]);
        add(&store, "shop", &[], &["example.com"]).unwrap();
        let refused = add(&store, "blog", &[], &["free.test", "www.example.com"]).unwrap_err();
        assert!(refused.to_string().contains("belongs to another app"), "{refused}");
        let blog = store.app(&"blog".parse().unwrap()).unwrap().unwrap();
        assert!(blog.settings.traffic.own.is_empty(), "all or nothing");
        add(&store, "blog", &["shop"], &["example.com/blog", "www.example.com"]).unwrap();
        add(&store, "shop", &[], &["example.com/shop"]).unwrap_err();
        assert!(
            add(&store, "shop", &[], &["free.test"]).is_ok(),
            "what it has already is not asked about again"
        );
    }

    #[test]
    fn many_at_once_and_only_one_gets_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..8).map(|number| format!("app-{number}")).collect();
        let store = store(&dir, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let won = std::thread::scope(|scope| {
            let race = |name: &String| {
                let (store, name) = (store.clone(), name.clone());
                scope.spawn(move || add(&store, &name, &[], &["example.com"]).is_ok())
            };
            let racers: Vec<_> = names.iter().map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }

    #[test]
    fn global_domains_keep_their_order_and_leave_apps_what_is_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir, &["shop"]);
        let hosts = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Host>>();
        assert!(store.global_domains().unwrap().is_empty());
        store.set_global_domains(&hosts(&["z.test", "a.test"])).unwrap();
        assert_eq!(store.global_domains().unwrap(), hosts(&["z.test", "a.test"]));
        add(&store, "shop", &[], &["www.example.com", "shop.apps.test"]).unwrap();
        for taken in ["example.com", "www.example.com"] {
            assert!(store.set_global_domains(&hosts(&[taken])).is_err(), "{taken}");
        }
        let many: Vec<String> =
            (0..=limits::GLOBAL_DOMAINS_MAX).map(|number| format!("d{number}.test")).collect();
        assert!(
            store.set_global_domains(&hosts(&many.iter().map(String::as_str).collect::<Vec<_>>())).is_err()
        );
        assert_eq!(
            store.global_domains().unwrap(),
            hosts(&["z.test", "a.test"]),
            "a refusal changes nothing"
        );
        store.set_global_domains(&hosts(&["apps.test"])).unwrap();
        store.set_global_domains(&[]).unwrap();
        assert!(store.global_domains().unwrap().is_empty());
    }
}
