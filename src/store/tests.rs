//! The verbs, against real files.

use std::path::PathBuf;

use autostack_domain::{
    App, AppName, Deployment, DeploymentId, DeploymentState, EnvMap, Failure, FailureKind, RegistryLogin,
    Release, ReleaseNumber, ReleaseSource, Source, SshKeyRecord, Stage, StageRecord, UnixMillis, User,
    UserId, limits, permission::Role, release::ConfigBrought,
};

use crate::{GoingLive, Store, StoreError};

pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store.redb")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path("keys/store.key")
    }

    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.store(), &self.key())
    }
}

pub(crate) fn app_name(name: &str) -> AppName {
    name.parse().unwrap()
}

/// As after a push to `main`.
pub(crate) fn main_branch() -> GoingLive<'static> {
    GoingLive { deploy_branch: Some("main"), ..GoingLive::default() }
}

pub(crate) fn user_id() -> UserId {
    "00000000-0000-7000-8000-000000000001".parse().unwrap()
}

pub(crate) fn app(name: &str) -> App {
    App::new(app_name(name), user_id(), UnixMillis(1))
}

pub(crate) fn user() -> User {
    User {
        id: user_id(),
        email: "ada@example.com".into(),
        is_admin: false,
        created_at: UnixMillis(1),
        name: None,
        email_verified_at: None,
    }
}

pub(crate) fn ssh_key(fingerprint: &str) -> SshKeyRecord {
    SshKeyRecord {
        fingerprint: fingerprint.into(),
        user: user_id(),
        name: "laptop".into(),
        public_key: "ssh-ed25519 AAAA".into(),
        created_at: UnixMillis(2),
    }
}

pub(crate) fn env(pairs: &[(&str, &str)]) -> EnvMap {
    let mut env = EnvMap::new();
    for (name, value) in pairs {
        env.set(name, *value).unwrap();
    }
    env
}

pub(crate) fn deployment_id(number: u32) -> DeploymentId {
    format!("00000000-0000-7000-8000-{number:012x}").parse().unwrap()
}

pub(crate) fn deployment(app: &str, number: u32) -> Deployment {
    Deployment {
        id: deployment_id(number),
        app: app_name(app),
        user: user_id(),
        source: Source::Commit {
            commit: "3f9c2a13f9c2a13f9c2a13f9c2a13f9c2a13f9c2".parse().unwrap(),
            git_ref: "refs/heads/main".parse().unwrap(),
        },
        state: DeploymentState::Running,
        stages: Vec::new(),
        release: None,
        failure: None,
        created_at: UnixMillis(i64::from(number)),
        ended_at: None,
    }
}

pub(crate) fn release(app: &str, number: u32, deployment: u32) -> Release {
    let artifact = serde_json::json!({
        "kind": "directory",
        "built_by": deployment_id(deployment),
        "launch": {"path": [], "vars": {}},
        "static_site": null,
    });
    Release {
        cron: Vec::new(),
        brings: ConfigBrought::default(),
        rev_env_var: None,
        app: app_name(app),
        number: ReleaseNumber(number),
        artifact: serde_json::from_value(artifact).unwrap(),
        source: ReleaseSource::Commit { commit: "3f9c2a13f9c2a13f9c2a13f9c2a13f9c2a13f9c2".parse().unwrap() },
        processes: [("web".parse().unwrap(), Some("node .".to_owned()))].into(),
        formation: Default::default(),
        checks: Default::default(),
        description: "Deploy 3f9c2a1".into(),
        again: None,
        deployment: deployment_id(deployment),
        created_at: UnixMillis(3),
    }
}

fn stages() -> Vec<StageRecord> {
    vec![StageRecord { stage: Stage::Build, started_at: UnixMillis(4), ended_at: Some(UnixMillis(5)) }]
}

fn failure() -> Failure {
    Failure::new(Stage::Health, FailureKind::NotListening, "the app does not listen")
}

fn is_conflict(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict { .. }))
}

/// A store with the user ada and the app shop.
fn shop() -> (Home, Store) {
    let home = Home::new();
    let store = home.open().unwrap();
    store.create_user(&user()).unwrap();
    store.create_app(&app("shop")).unwrap();
    (home, store)
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let (home, store) = shop();
    store.add_key(&ssh_key("SHA256:x")).unwrap();
    store.set_config(&app_name("shop"), &env(&[("A", "1")])).unwrap();
    store.create_deployment(&deployment("shop", 1)).unwrap();
    store.prepare_release(&release("shop", 1, 1), &env(&[("A", "1")]), &deployment_id(1), &stages()).unwrap();
    drop(store);

    let store = home.open().unwrap();
    assert_eq!(store.users().unwrap(), [user()]);
    assert_eq!(store.user_by_email("ADA@example.com").unwrap(), Some(user()));
    assert_eq!(store.key("SHA256:x").unwrap(), Some(ssh_key("SHA256:x")));
    assert_eq!(store.config(&app_name("shop")).unwrap(), env(&[("A", "1")]));
    assert_eq!(store.release(&app_name("shop"), ReleaseNumber(1)).unwrap(), Some(release("shop", 1, 1)));
    assert_eq!(store.release_config(&app_name("shop"), ReleaseNumber(1)).unwrap(), env(&[("A", "1")]));
    let unfinished = store.unfinished_deployments().unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(unfinished[0].state, DeploymentState::Prepared);
    assert_eq!(unfinished[0].stages, stages());
}

#[test]
fn names_are_taken_once() {
    let (_home, store) = shop();
    assert!(matches!(store.create_app(&app("shop")), Err(StoreError::Exists { .. })));
    assert!(matches!(store.create_user(&user()), Err(StoreError::Exists { .. })));
    let same_address = User {
        id: "00000000-0000-7000-8000-000000000002".parse().unwrap(),
        email: "ADA@example.com".into(),
        ..user()
    };
    assert!(matches!(store.create_user(&same_address), Err(StoreError::Exists { .. })));
    store.add_key(&ssh_key("SHA256:x")).unwrap();
    assert!(matches!(store.add_key(&ssh_key("SHA256:x")), Err(StoreError::Exists { .. })));
    store.remove_key("SHA256:x").unwrap();
    assert!(matches!(store.remove_key("SHA256:x"), Err(StoreError::NotFound { .. })));
    let stranger = SshKeyRecord { user: same_address.id, ..ssh_key("SHA256:y") };
    assert!(matches!(store.add_key(&stranger), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_failed_change_leaves_nothing() {
    let (_home, store) = shop();
    let renamed = store.update_app(&app_name("shop"), |app| app.name = app_name("other"));
    assert!(matches!(renamed, Err(StoreError::Conflict { .. })));
    assert_eq!(store.apps().unwrap(), [app("shop")]);
    let changed = store.update_app(&app_name("shop"), |app| app.deploy_branch = Some("main".into())).unwrap();
    assert_eq!(store.app(&app_name("shop")).unwrap(), Some(changed));
    assert!(matches!(store.update_app(&app_name("none"), |_| ()), Err(StoreError::NotFound { .. })));
}

#[test]
fn the_owner_may_do_everything_and_others_what_was_granted() {
    let (_home, store) = shop();
    let other = User {
        id: "00000000-0000-7000-8000-000000000002".parse().unwrap(),
        email: "bob@example.com".into(),
        ..user()
    };
    let shop = app_name("shop");
    assert_eq!(store.role(&shop, &user_id()).unwrap(), Some(Role::Admin));
    assert_eq!(store.role(&shop, &other.id).unwrap(), None);
    assert!(store.set_role(&shop, &other.id, Some(Role::Viewer)).is_err(), "there is no such user yet");
    store.create_user(&other).unwrap();
    store.set_role(&shop, &other.id, Some(Role::Viewer)).unwrap();
    assert_eq!(store.role(&shop, &other.id).unwrap(), Some(Role::Viewer));
    store.set_role(&shop, &user_id(), Some(Role::Viewer)).unwrap();
    assert_eq!(store.role(&shop, &user_id()).unwrap(), Some(Role::Admin));
    store.set_role(&shop, &other.id, None).unwrap();
    assert_eq!(store.role(&shop, &other.id).unwrap(), None);
    assert_eq!(store.role(&app_name("none"), &user_id()).unwrap(), None);
}

#[test]
fn a_release_goes_live_in_one_step_and_only_once() {
    let (_home, store) = shop();
    let (shop, id) = (app_name("shop"), deployment_id(1));
    store.create_deployment(&deployment("shop", 1)).unwrap();
    let commit = |number, id: &DeploymentId| {
        store.commit_release(&shop, ReleaseNumber(number), id, main_branch(), UnixMillis(9))
    };
    assert!(is_conflict(&commit(1, &id)), "nothing is prepared yet");

    assert_eq!(store.next_release_number(&shop).unwrap(), ReleaseNumber(1));
    let prepare = |number, id: &DeploymentId| {
        store.prepare_release(&release("shop", number, 1), &env(&[]), id, &stages())
    };
    assert!(is_conflict(&prepare(2, &id)), "v1 comes first");
    prepare(1, &id).unwrap();
    assert!(is_conflict(&prepare(1, &id)) && is_conflict(&prepare(2, &id)), "it is prepared already");
    assert_eq!(store.app(&shop).unwrap().unwrap().current_release, None);

    commit(1, &id).unwrap();
    let app = store.app(&shop).unwrap().unwrap();
    assert_eq!(app.current_release, Some(ReleaseNumber(1)));
    assert_eq!(app.deploy_branch.as_deref(), Some("main"));
    let done = store.deployment(&id).unwrap().unwrap();
    assert_eq!((done.state, done.ended_at), (DeploymentState::Success, Some(UnixMillis(9))));
    assert!(store.unfinished_deployments().unwrap().is_empty());

    // A second release goes live; repeating the first commit must not bring v1 back.
    store.create_deployment(&deployment("shop", 2)).unwrap();
    prepare(2, &deployment_id(2)).unwrap();
    commit(2, &deployment_id(2)).unwrap();
    commit(1, &id).unwrap();
    assert_eq!(store.app(&shop).unwrap().unwrap().current_release, Some(ReleaseNumber(2)));
    assert!(is_conflict(&commit(2, &id)), "v2 is another deployment's");
}

#[test]
fn old_releases_make_room_but_neither_the_live_one_nor_a_prepared_one() {
    let (_home, store) = shop();
    let shop = app_name("shop");
    let make = |number: u32, artifact: u32, is_live: bool| {
        let id = deployment_id(number);
        store.create_deployment(&deployment("shop", number)).unwrap();
        store.prepare_release(&release("shop", number, artifact), &env(&[]), &id, &stages()).unwrap();
        if is_live {
            store.commit_release(&shop, ReleaseNumber(number), &id, main_branch(), UnixMillis(9)).unwrap();
        }
    };
    // v3 runs the artifact of v1 again, as after a rollback; v5 is prepared.
    for (number, artifact, is_live) in [(1, 1, true), (2, 2, true), (3, 1, true), (4, 4, true), (5, 5, false)]
    {
        make(number, artifact, is_live);
    }
    assert_eq!(
        store.prune_releases(&shop, 3).unwrap(),
        [deployment_id(2)],
        "v3 still names the artifact of v1"
    );
    let left: Vec<u32> = store.releases(&shop).unwrap().iter().map(|release| release.number.0).collect();
    assert_eq!(left, [3, 4, 5]);
    assert!(store.release_config(&shop, ReleaseNumber(1)).is_err());
    assert_eq!(store.prune_releases(&shop, 1).unwrap(), [deployment_id(1)]);
    assert_eq!(store.releases(&shop).unwrap().len(), 2, "the live one and the prepared one stay");
    assert!(store.prune_releases(&shop, 0).unwrap().is_empty());
}

#[test]
fn a_discarded_release_is_gone_but_its_number_stays_used() {
    let (_home, store) = shop();
    let (shop, id) = (app_name("shop"), deployment_id(1));
    store.create_deployment(&deployment("shop", 1)).unwrap();
    store.prepare_release(&release("shop", 1, 1), &env(&[("A", "1")]), &id, &stages()).unwrap();
    let discard =
        |state| store.discard_release(&shop, ReleaseNumber(1), &id, &failure(), state, UnixMillis(9));
    assert!(is_conflict(&discard(DeploymentState::Success)));
    discard(DeploymentState::Failed).unwrap();
    discard(DeploymentState::Failed).unwrap();
    assert!(is_conflict(&discard(DeploymentState::Cancelled)), "it has failed, not been cancelled");
    assert_eq!(store.releases(&shop).unwrap(), []);
    assert!(store.release_config(&shop, ReleaseNumber(1)).is_err());
    let ended = store.deployment(&id).unwrap().unwrap();
    assert_eq!((ended.state, ended.release), (DeploymentState::Failed, None));
    assert_eq!(ended.failure, Some(failure()));
    assert!(store.unfinished_deployments().unwrap().is_empty());
    assert_eq!(store.next_release_number(&shop).unwrap(), ReleaseNumber(2));
    assert!(store.commit_release(&shop, ReleaseNumber(1), &id, main_branch(), UnixMillis(9)).is_err());
}

#[test]
fn a_release_of_one_app_is_never_made_by_a_deployment_of_another() {
    let (_home, store) = shop();
    store.create_app(&app("blog")).unwrap();
    store.create_deployment(&deployment("blog", 1)).unwrap();
    let prepared = store.prepare_release(&release("shop", 1, 1), &env(&[]), &deployment_id(1), &[]);
    assert!(is_conflict(&prepared));
    assert_eq!(store.next_release_number(&app_name("shop")).unwrap(), ReleaseNumber(1));
}

#[test]
fn deployments_are_listed_newest_first_and_by_app() {
    let (_home, store) = shop();
    // `shop-2` sorts right behind `shop`, where a careless range would run into it.
    store.create_app(&app("shop-2")).unwrap();
    for number in [2, 3, 1] {
        store.create_deployment(&deployment("shop", number)).unwrap();
    }
    store.create_deployment(&deployment("shop-2", 9)).unwrap();
    let ids = |app, limit| -> Vec<_> {
        store.deployments(&app_name(app), limit).unwrap().into_iter().map(|found| found.id).collect()
    };
    assert_eq!(ids("shop", 10), [deployment_id(3), deployment_id(2), deployment_id(1)]);
    assert_eq!(ids("shop", 1), [deployment_id(3)]);
    assert_eq!(ids("none", 1), []);
    let unknown = store.create_deployment(&deployment("none", 4));
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

#[test]
fn an_ended_deployment_stays_ended_but_may_gain_stages() {
    let (_home, store) = shop();
    let id = deployment_id(1);
    store.create_deployment(&deployment("shop", 1)).unwrap();
    store.update_deployment(&id, |found| found.state = DeploymentState::Cancelled).unwrap();
    assert!(store.unfinished_deployments().unwrap().is_empty());
    store.update_deployment(&id, |found| found.stages = stages()).unwrap();
    let revived = store.update_deployment(&id, |found| found.state = DeploymentState::Running);
    assert!(matches!(revived, Err(StoreError::Conflict { .. })));
    let moved = store.update_deployment(&id, |found| found.created_at = UnixMillis(77));
    assert!(matches!(moved, Err(StoreError::Conflict { .. })));
    assert_eq!(store.deployment(&id).unwrap().unwrap().stages, stages());
}

#[test]
fn old_deployments_go_but_the_live_and_the_unfinished_stay() {
    let (_home, store) = shop();
    let shop = app_name("shop");
    store.create_deployment(&deployment("shop", 1)).unwrap();
    store.prepare_release(&release("shop", 1, 1), &env(&[]), &deployment_id(1), &[]).unwrap();
    store.commit_release(&shop, ReleaseNumber(1), &deployment_id(1), main_branch(), UnixMillis(2)).unwrap();
    store.create_deployment(&deployment("shop", 2)).unwrap();
    let mut removed = Vec::new();
    let most = u32::try_from(limits::FINISHED_DEPLOYMENTS_PER_APP_MAX).unwrap();
    for number in 3..most + 5 {
        let failed = Deployment { state: DeploymentState::Failed, ..deployment("shop", number) };
        removed.extend(store.create_deployment(&failed).unwrap());
    }
    assert_eq!(removed, [deployment_id(3), deployment_id(4)]);
    assert!(store.deployment(&deployment_id(1)).unwrap().is_some(), "the live one");
    assert!(store.deployment(&deployment_id(2)).unwrap().is_some(), "the unfinished one");
    assert_eq!(store.deployment(&deployment_id(3)).unwrap(), None);
    assert_eq!(store.deployments(&shop, usize::MAX).unwrap().len(), most as usize + 2);
}

#[test]
fn a_destroyed_app_leaves_nothing_and_its_neighbour_everything() {
    let (_home, store) = shop();
    let shop = app_name("shop");
    for (name, number) in [("shop", 1), ("shop-2", 2)] {
        if name != "shop" {
            store.create_app(&app(name)).unwrap();
        }
        let other = User {
            id: format!("00000000-0000-7000-8000-0000000000{number:02}").parse().unwrap(),
            email: format!("{name}@example.com"),
            ..user()
        };
        if number == 2 {
            store.create_user(&other).unwrap();
        }
        store.set_role(&app_name(name), &other.id, Some(Role::Viewer)).unwrap();
        store.set_config(&app_name(name), &env(&[("A", name)])).unwrap();
        store.create_deployment(&deployment(name, number)).unwrap();
        store.prepare_release(&release(name, 1, number), &env(&[]), &deployment_id(number), &[]).unwrap();
    }
    assert_eq!(store.destroy_app(&shop).unwrap(), [deployment_id(1)]);
    assert!(matches!(store.destroy_app(&shop), Err(StoreError::NotFound { .. })));

    // Made anew under the same name, it must not find anything of its predecessor.
    store.create_app(&app("shop")).unwrap();
    assert_eq!(store.config(&shop).unwrap(), EnvMap::new());
    assert_eq!(store.releases(&shop).unwrap(), []);
    assert!(store.release_config(&shop, ReleaseNumber(1)).is_err());
    assert_eq!(store.deployments(&shop, 10).unwrap(), []);

    let neighbour = app_name("shop-2");
    assert_eq!(store.config(&neighbour).unwrap(), env(&[("A", "shop-2")]));
    assert_eq!(store.releases(&neighbour).unwrap().len(), 1);
    assert_eq!(store.deployments(&neighbour, 10).unwrap().len(), 1);
    assert_eq!(store.unfinished_deployments().unwrap().len(), 1);
    let bob = "00000000-0000-7000-8000-000000000002".parse().unwrap();
    assert_eq!(store.role(&neighbour, &bob).unwrap(), Some(Role::Viewer));
}

#[tokio::test]
async fn verbs_are_called_from_async_code() {
    let (_home, store) = shop();
    let apps = store.call(|store| store.apps()).await.unwrap();
    assert_eq!(apps, [app("shop")]);
}

#[test]
fn an_app_logs_in_with_its_own_login_before_the_hosts() {
    let (_home, store) = shop();
    let (shop, registry) = (app_name("shop"), "ghcr.io".parse().unwrap());
    let login = |username: &str| RegistryLogin::new("ghcr.io".parse().unwrap(), username, "hunter2").unwrap();
    assert_eq!(store.registry_login(&shop, &registry).unwrap(), None);
    store.set_registry_login(None, &login("host")).unwrap();
    assert_eq!(store.registry_login(&shop, &registry).unwrap(), Some(login("host")));
    store.set_registry_login(Some(&shop), &login("ada")).unwrap();
    store.set_registry_login(Some(&shop), &login("bob")).unwrap();
    assert_eq!(store.registry_login(&shop, &registry).unwrap(), Some(login("bob")));
    assert_eq!(store.registry_logins(Some(&shop)).unwrap(), [login("bob")]);
    assert_eq!(store.registry_logins(None).unwrap(), [login("host")]);
    assert!(store.set_registry_login(Some(&app_name("other")), &login("x")).is_err());

    store.destroy_app(&shop).unwrap();
    store.create_app(&app("shop")).unwrap();
    assert_eq!(store.registry_logins(Some(&shop)).unwrap(), [], "the next app of that name has no login");
    assert!(store.remove_registry_login(None, &registry).unwrap());
    assert!(!store.remove_registry_login(None, &registry).unwrap());
}

#[test]
fn a_login_stands_in_the_store_sealed() {
    let (home, store) = shop();
    let login = RegistryLogin::new("ghcr.io".parse().unwrap(), "ada", "correct horse battery").unwrap();
    store.set_registry_login(None, &login).unwrap();
    drop(store);
    let stored = std::fs::read(home.store()).unwrap();
    assert!(!stored.windows(13).any(|part| part == b"correct horse"));
}

#[test]
fn a_config_is_changed_as_one_and_stays_within_its_limit() {
    let home = Home::new();
    let store = home.open().unwrap();
    store.create_app(&app("shop")).unwrap();
    let shop = app_name("shop");
    store.change_config(&shop, &env(&[("A", "1"), ("B", "2")]), &[]).unwrap();
    store.change_config(&shop, &env(&[("B", "3")]), &["A".into(), "NONE".into()]).unwrap();
    assert_eq!(store.config(&shop).unwrap(), env(&[("B", "3")]));

    let value = "x".repeat(limits::CONFIG_VALUE_BYTES_MAX);
    let names: Vec<String> = (0..=16).map(|number| format!("V{number}")).collect();
    let large: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let refused = store.change_config(&shop, &env(&large), &[]).unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { what: "config", .. }), "{refused:?}");
    assert_eq!(store.config(&shop).unwrap(), env(&[("B", "3")]), "nothing was changed");
    assert!(store.change_config(&app_name("other"), &env(&[]), &[]).is_err());
}

#[test]
fn logins_at_registries_are_bounded() {
    let home = Home::new();
    let store = home.open().unwrap();
    let login = |host: usize| {
        RegistryLogin::new(format!("r{host}.example.com").parse().unwrap(), "ada", "secret").unwrap()
    };
    for host in 0..limits::REGISTRY_LOGINS_MAX {
        store.set_registry_login(None, &login(host)).unwrap();
    }
    let refused = store.set_registry_login(None, &login(limits::REGISTRY_LOGINS_MAX)).unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused:?}");
    assert_eq!(store.registry_logins(None).unwrap().len(), limits::REGISTRY_LOGINS_MAX);
    store.set_registry_login(None, &login(0)).unwrap();
}
