//! An app under another name, its twin, the host's config, and who is a member: against real files.

use autostack_domain::{EnvMap, RegistryLogin, ReleaseNumber, UnixMillis, User, permission::Role};

use crate::{
    Store, StoreError,
    tests::{Home, app, app_name, deployment, deployment_id, env, main_branch, release, user},
};

fn bob() -> User {
    let id = "00000000-0000-7000-8000-000000000002".parse().unwrap();
    User { id, email: "bob@example.com".into(), ..user() }
}

fn login() -> RegistryLogin {
    RegistryLogin::new("ghcr.io".parse().unwrap(), "ada", "hunter2").unwrap()
}

/// `shop` with something in every table, and `shop-2`, whose name sorts right behind it.
fn two_shops() -> (Home, Store) {
    let home = Home::new();
    let store = home.open().unwrap();
    store.create_user(&user()).unwrap();
    store.create_user(&bob()).unwrap();
    for (name, number) in [("shop", 1), ("shop-2", 2)] {
        let (name, id) = (app_name(name), deployment_id(number));
        store.create_app(&app(name.as_str())).unwrap();
        store.set_role(&name, &bob().id, Some(Role::Viewer)).unwrap();
        store.set_config(&name, &env(&[("A", name.as_str())])).unwrap();
        store.set_registry_login(Some(&name), &login()).unwrap();
        store.create_deployment(&deployment(name.as_str(), number)).unwrap();
        store.prepare_release(&release(name.as_str(), 1, number), &env(&[("A", "1")]), &id, &[]).unwrap();
        store.commit_release(&name, ReleaseNumber(1), &id, main_branch(), UnixMillis(9)).unwrap();
    }
    (home, store)
}

#[test]
fn a_renamed_app_takes_everything_along_and_its_neighbour_keeps_its_own() {
    let (_home, store) = two_shops();
    let (shop, mall, neighbour) = (app_name("shop"), app_name("mall"), app_name("shop-2"));
    store.rename_app(&shop, &mall).unwrap();
    assert_eq!(store.unfinished_renames().unwrap(), [(shop.clone(), mall.clone())]);

    assert_eq!(store.app(&shop).unwrap(), None);
    let renamed = store.app(&mall).unwrap().unwrap();
    assert_eq!((renamed.name, renamed.current_release), (mall.clone(), Some(ReleaseNumber(1))));
    assert_eq!(store.config(&mall).unwrap(), env(&[("A", "shop")]));
    assert_eq!(store.registry_logins(Some(&mall)).unwrap(), [login()]);
    assert_eq!(store.role(&mall, &bob().id).unwrap(), Some(Role::Viewer));
    let releases = store.releases(&mall).unwrap();
    assert_eq!(releases.iter().map(|release| &release.app).collect::<Vec<_>>(), [&mall]);
    assert_eq!(store.release_config(&mall, ReleaseNumber(1)).unwrap(), env(&[("A", "1")]));
    let deployments = store.deployments(&mall, 9).unwrap();
    assert_eq!((deployments.len(), &deployments[0].app), (1, &mall));
    assert_eq!(store.deployment(&deployment_id(1)).unwrap().unwrap().app, mall);

    assert_eq!(store.config(&neighbour).unwrap(), env(&[("A", "shop-2")]));
    assert_eq!(store.deployments(&neighbour, 9).unwrap().len(), 1);
    assert_eq!(store.releases(&neighbour).unwrap().len(), 1);

    // The old name finds nothing of it, once it may be given away again.
    let too_early = store.create_app(&app("shop"));
    assert!(matches!(too_early, Err(StoreError::Conflict { .. })), "{too_early:?}");
    assert!(matches!(store.rename_app(&neighbour, &shop), Err(StoreError::Conflict { .. })));
    store.finish_rename(&mall).unwrap();
    store.create_app(&app("shop")).unwrap();
    assert_eq!(store.config(&shop).unwrap(), EnvMap::new());
    assert_eq!(store.registry_logins(Some(&shop)).unwrap(), []);
    assert_eq!(store.role(&shop, &bob().id).unwrap(), None);
    assert_eq!(store.releases(&shop).unwrap(), []);
    assert_eq!(store.deployments(&shop, 9).unwrap(), []);
}

#[test]
fn a_renaming_that_cannot_be_changes_nothing() {
    let (_home, store) = two_shops();
    let (shop, neighbour) = (app_name("shop"), app_name("shop-2"));
    assert!(matches!(store.rename_app(&shop, &neighbour), Err(StoreError::Exists { .. })));
    assert!(matches!(store.rename_app(&app_name("none"), &app_name("x")), Err(StoreError::NotFound { .. })));
    store.create_deployment(&deployment("shop", 3)).unwrap();
    let busy = store.rename_app(&shop, &app_name("mall"));
    assert!(matches!(busy, Err(StoreError::Conflict { .. })), "{busy:?}");
    assert_eq!(store.app(&app_name("mall")).unwrap(), None);
    assert_eq!(store.config(&shop).unwrap(), env(&[("A", "shop")]));
    assert!(store.unfinished_renames().unwrap().is_empty());
}

#[test]
fn a_twin_has_the_config_and_logins_but_neither_releases_nor_members() {
    let (_home, store) = two_shops();
    let (shop, twin) = (app_name("shop"), app_name("twin"));
    store.create_twin(&shop, &app("twin"), None).unwrap();
    assert_eq!(store.config(&twin).unwrap(), env(&[("A", "shop")]));
    assert_eq!(store.registry_logins(Some(&twin)).unwrap(), [login()]);
    assert_eq!(store.releases(&twin).unwrap(), []);
    assert_eq!(store.role(&twin, &bob().id).unwrap(), None);
    assert_eq!(store.config(&shop).unwrap(), env(&[("A", "shop")]), "its own stays");
    let mut live = store.release(&shop, ReleaseNumber(1)).unwrap().unwrap();
    let third = app_name("third");
    store.create_twin(&shop, &app("third"), Some(&live)).unwrap();
    assert_eq!(store.app(&third).unwrap().unwrap().current_release, Some(ReleaseNumber(1)));
    assert_eq!(store.release_config(&third, ReleaseNumber(1)).unwrap(), env(&[("A", "1")]));
    assert_eq!(store.next_release_number(&third).unwrap(), ReleaseNumber(2));
    live.number = ReleaseNumber(7);
    let gone = store.create_twin(&shop, &app("fourth"), Some(&live));
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    assert_eq!(store.app(&app_name("fourth")).unwrap(), None);
    assert!(matches!(store.create_twin(&shop, &app("shop-2"), None), Err(StoreError::Exists { .. })));
    assert!(matches!(
        store.create_twin(&app_name("none"), &app("x"), None),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn the_hosts_config_stands_beneath_that_of_every_app() {
    let (_home, store) = two_shops();
    let shop = app_name("shop");
    let set = |env: &mut EnvMap| env.set("A", "host").and_then(|()| env.set("B", "host")).unwrap();
    assert!(store.update_config(None, set).unwrap());
    assert!(!store.update_config(None, set).unwrap(), "the second time nothing changes");
    assert_eq!(store.host_config().unwrap(), env(&[("A", "host"), ("B", "host")]));
    assert_eq!(store.config(&shop).unwrap(), env(&[("A", "shop")]));
    assert_eq!(store.merged_config(&shop).unwrap(), env(&[("A", "shop"), ("B", "host")]));
    assert!(store.update_config(Some(&shop), |env| *env = EnvMap::new()).unwrap());
    assert_eq!(store.merged_config(&shop).unwrap(), env(&[("A", "host"), ("B", "host")]));
}

#[test]
fn members_are_the_owner_and_who_was_granted_a_role() {
    let (_home, store) = two_shops();
    let shop = app_name("shop");
    let roles = |store: &Store| -> Vec<(String, Role)> {
        store.members(&shop).unwrap().into_iter().map(|(user, role)| (user.email, role)).collect()
    };
    let ada = (user().email, Role::Admin);
    assert_eq!(roles(&store), [ada.clone(), (bob().email, Role::Viewer)]);
    store.set_role(&shop, &bob().id, Some(Role::Deployer)).unwrap();
    assert_eq!(roles(&store), [ada.clone(), (bob().email, Role::Deployer)]);
    store.set_role(&shop, &bob().id, None).unwrap();
    assert_eq!(roles(&store), [ada]);
    assert!(store.members(&app_name("none")).is_err());
}
