//! The first start, and every way in which a later one is refused.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use autostack_domain::{DeploymentId, ReleaseNumber};
use redb::{Database, ReadableDatabase, ReadableTable};

use crate::{
    Store, StoreError,
    tables::{CONFIG, LAYOUT, META, RELEASE_CONFIG, UNFINISHED},
    tests::{Home, app, app_name, deployment, deployment_id, env, release, user},
};

const SECRET: &str = "hunter2-correct-horse-battery-staple";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn refusal(result: Result<Store, StoreError>) -> StoreError {
    match result {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// A home whose store holds two apps with config and releases, closed.
fn lived_in() -> Home {
    let home = Home::new();
    let store = home.open().unwrap();
    store.create_user(&user()).unwrap();
    for (name, number) in [("shop", 1), ("blog", 2)] {
        store.create_app(&app(name)).unwrap();
        store.set_config(&app_name(name), &env(&[("PASSWORD", SECRET)])).unwrap();
        store.create_deployment(&deployment(name, number)).unwrap();
        let config = env(&[("PASSWORD", SECRET)]);
        store.prepare_release(&release(name, 1, number), &config, &deployment_id(number), &[]).unwrap();
    }
    home
}

#[test]
fn the_first_start_makes_a_key_and_a_store_that_only_the_owner_can_read() {
    let home = Home::new();
    let (store, key) = (home.path("data/store.redb"), home.path("data/keys/store.key"));
    drop(Store::open(&store, &key).unwrap());
    for file in [&store, &key] {
        assert_eq!(mode(file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700, "{}", file.display());
    }
    let first = fs::read(&key).unwrap();
    assert_eq!(first.len(), 32);
    Store::open(&store, &key).unwrap();
    assert_eq!(fs::read(&key).unwrap(), first, "the key is never replaced");
    let other = Home::new();
    other.open().unwrap();
    assert_ne!(fs::read(other.key()).unwrap(), first, "no two stores share a key");
}

#[test]
fn a_first_start_that_was_cut_off_is_taken_up() {
    let home = lived_in();
    // The key was renamed into place, the store not yet; both `.new` files may hold anything.
    fs::remove_file(home.store()).unwrap();
    for leftover in ["store.redb.new", "keys/store.key.new"] {
        fs::write(home.path(leftover), "half").unwrap();
    }
    let key = fs::read(home.key()).unwrap();
    assert!(home.open().unwrap().apps().unwrap().is_empty());
    assert_eq!(fs::read(home.key()).unwrap(), key);
    assert!(!home.path("store.redb.new").exists());
}

#[test]
fn a_missing_key_file_is_not_made_anew() {
    let home = lived_in();
    let kept = fs::read(home.key()).unwrap();
    fs::remove_file(home.key()).unwrap();
    let refused = refusal(home.open());
    assert!(matches!(refused, StoreError::KeyMissing { .. }));
    assert!(refused.to_string().contains("restore it from a backup"), "{refused}");
    assert!(!home.key().exists());
    fs::write(home.key(), kept).unwrap();
    fs::set_permissions(home.key(), fs::Permissions::from_mode(0o600)).unwrap();
    home.open().unwrap();
}

#[test]
fn a_key_file_of_the_wrong_size_is_refused() {
    let home = lived_in();
    for size in [0, 31, 33, 64] {
        fs::write(home.key(), vec![1; size]).unwrap();
        let refused = refusal(home.open());
        assert!(matches!(refused, StoreError::KeyWrongSize { found, .. } if found == size as u64));
    }
}

#[test]
fn the_key_of_another_store_is_refused() {
    let home = lived_in();
    fs::write(home.key(), [1; 32]).unwrap();
    let refused = refusal(home.open());
    assert!(matches!(refused, StoreError::KeyForeign { .. }));
    assert!(refused.to_string().contains("restore the one that does"), "{refused}");
}

#[test]
fn a_key_file_that_others_can_use_is_refused_with_the_cure() {
    let home = lived_in();
    for exposed in [0o640, 0o604, 0o620, 0o601, 0o644] {
        fs::set_permissions(home.key(), fs::Permissions::from_mode(exposed)).unwrap();
        let refused = refusal(home.open()).to_string();
        let cure = format!("run chmod 600 {}", home.key().display());
        assert!(refused.contains(&cure) && refused.contains(&format!("{exposed:04o}")), "{refused}");
    }
    fs::set_permissions(home.key(), fs::Permissions::from_mode(0o400)).unwrap();
    home.open().unwrap();
}

#[test]
fn a_second_agent_is_kept_out() {
    let home = lived_in();
    let first = home.open().unwrap();
    let refused = refusal(home.open()).to_string();
    assert!(refused.starts_with("another agent uses"), "{refused}");
    assert_eq!(first.apps().unwrap().len(), 2, "the first one goes on");
    drop(first);
    home.open().unwrap();
}

#[test]
fn something_else_than_a_store_is_refused_and_left_as_it_is() {
    let home = lived_in();
    let store = fs::read(home.store()).unwrap();
    let not_ours = home.path("other.redb");
    drop(Database::create(&not_ours).unwrap());
    let contents: [Vec<u8>; 5] = [
        Vec::new(),
        b"not a store".to_vec(),
        vec![0; 1 << 20],
        store[..store.len() / 2].to_vec(),
        fs::read(&not_ours).unwrap(),
    ];
    for content in contents {
        fs::write(home.store(), &content).unwrap();
        let refused = refusal(home.open());
        assert!(matches!(refused, StoreError::Damaged { .. }), "{} bytes: {refused:?}", content.len());
        assert!(refused.to_string().contains("restore it from a backup"), "{refused}");
    }
}

/// Bit rot anywhere in the file: either it hit what nobody reads, or the store is refused.
#[test]
fn damage_is_reported_and_never_built_upon() {
    let home = lived_in();
    let store = home.open().unwrap();
    store.update_app(&app_name("shop"), |app| app.deploy_branch = Some("last".into())).unwrap();
    let of_a_killed_agent = fs::read(home.store()).unwrap();
    drop(store);
    let closed = fs::read(home.store()).unwrap();
    assert_ne!(closed, of_a_killed_agent);
    for whole in [closed, of_a_killed_agent] {
        damage_anywhere(&home, &whole);
    }
}

fn damage_anywhere(home: &Home, whole: &[u8]) {
    let mut refused = 0;
    for offset in (0..whole.len()).step_by(509) {
        let mut damaged = whole.to_vec();
        damaged[offset] ^= 0x5a;
        fs::write(home.store(), &damaged).unwrap();
        match home.open() {
            Ok(store) => {
                let shop = store.app(&app_name("shop")).unwrap().unwrap();
                assert_eq!(shop.deploy_branch.as_deref(), Some("last"), "byte {offset}");
                assert_eq!(store.apps().unwrap().len(), 2, "byte {offset}");
                assert_eq!(store.unfinished_deployments().unwrap().len(), 2, "byte {offset}");
                let config = store.release_config(&app_name("blog"), ReleaseNumber(1)).unwrap();
                assert_eq!(config, env(&[("PASSWORD", SECRET)]), "byte {offset}");
            }
            Err(StoreError::Damaged { .. }) => {
                assert!(fs::read(home.store()).unwrap() == damaged, "byte {offset}: the file was changed");
                refused += 1;
            }
            Err(other) => panic!("byte {offset}: {other:?}"),
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_store_of_a_newer_agent_is_refused() {
    let home = lived_in();
    change(&home, |database| {
        let txn = database.begin_write().unwrap();
        let newer = (LAYOUT + 1).to_be_bytes();
        txn.open_table(META).unwrap().insert("layout", newer.as_slice()).unwrap();
        txn.commit().unwrap();
    });
    assert!(matches!(refusal(home.open()), StoreError::TooNew { found, .. } if found == LAYOUT + 1));
}

#[test]
fn a_store_from_before_a_table_was_added_is_completed() {
    let home = lived_in();
    change(&home, |database| {
        let txn = database.begin_write().unwrap();
        assert!(txn.delete_table(UNFINISHED).unwrap());
        txn.commit().unwrap();
    });
    assert!(home.open().unwrap().unfinished_deployments().unwrap().is_empty());
}

/// Changes the closed store behind its back.
fn change(home: &Home, change: impl FnOnce(&Database)) {
    change(&Database::open(home.store()).unwrap());
}

#[test]
fn config_that_was_moved_to_another_app_does_not_open() {
    let home = lived_in();
    change(&home, |database| {
        let txn = database.begin_write().unwrap();
        {
            let mut config = txn.open_table(CONFIG).unwrap();
            let of_shop = config.get("shop").unwrap().unwrap().value().to_vec();
            config.insert("blog", of_shop.as_slice()).unwrap();
            let mut releases = txn.open_table(RELEASE_CONFIG).unwrap();
            let of_shop_v1 = releases.get(("shop", 1)).unwrap().unwrap().value().to_vec();
            releases.insert(("blog", 1), of_shop_v1.as_slice()).unwrap();
            releases.insert(("shop", 2), of_shop_v1.as_slice()).unwrap();
            releases.insert(("shop", 1), of_shop.as_slice()).unwrap();
        }
        txn.commit().unwrap();
    });
    let store = home.open().unwrap();
    let refused = |result: Result<_, StoreError>| matches!(result, Err(StoreError::Unsealable { .. }));
    assert!(refused(store.config(&app_name("blog"))), "another app's");
    assert!(refused(store.release_config(&app_name("blog"), ReleaseNumber(1))), "another app's release's");
    assert!(refused(store.release_config(&app_name("shop"), ReleaseNumber(2))), "another release's");
    assert!(refused(store.release_config(&app_name("shop"), ReleaseNumber(1))), "of another purpose");
    assert_eq!(store.config(&app_name("shop")).unwrap(), env(&[("PASSWORD", SECRET)]));
}

#[test]
fn sealed_config_that_was_changed_or_cut_does_not_open() {
    let home = lived_in();
    let mut sealed = Vec::new();
    change(&home, |database| {
        let txn = database.begin_read().unwrap();
        sealed = txn.open_table(CONFIG).unwrap().get("shop").unwrap().unwrap().value().to_vec();
    });
    let flipped = (0..sealed.len()).map(|at| {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        changed
    });
    let cut = (0..sealed.len()).step_by(7).map(|length| sealed[..length].to_vec());
    let key: [u8; 32] = fs::read(home.key()).unwrap().try_into().unwrap();
    let sealer = crate::seal::Sealer::new(&key).unwrap();
    let shop = app_name("shop");
    let belonging = crate::seal::Belonging::Config(&shop);
    assert!(sealer.open_env(belonging, &sealed).is_ok());
    for changed in flipped.chain(cut) {
        assert!(matches!(sealer.open_env(belonging, &changed), Err(StoreError::Unsealable { .. })));
    }
}

#[test]
fn secrets_are_not_in_the_file_and_equal_ones_do_not_look_equal() {
    let home = lived_in();
    let file = fs::read(home.store()).unwrap();
    let holds = |needle: &[u8]| file.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"shop"), "the search works");
    let as_json = serde_json::to_string(SECRET.as_bytes()).unwrap();
    for needle in [SECRET.as_bytes(), &as_json.as_bytes()[1..40], b"PASSWORD"] {
        assert!(!holds(needle));
    }
    assert!(!holds(&fs::read(home.key()).unwrap()), "nor is the key");
    change(&home, |database| {
        let txn = database.begin_read().unwrap();
        let config = txn.open_table(CONFIG).unwrap();
        let sealed = |app| config.get(app).unwrap().unwrap().value().to_vec();
        let (shop, blog) = (sealed("shop"), sealed("blog"));
        assert_eq!(shop.len(), blog.len());
        let same = shop.iter().zip(&blog).filter(|(one, other)| one == other).count();
        assert!(same < shop.len() / 4, "{same} of {} bytes are equal", shop.len());
    });
}

#[test]
fn errors_and_debug_output_hold_no_secret() {
    let home = lived_in();
    let store = home.open().unwrap();
    let unknown: DeploymentId = deployment_id(99);
    let config = env(&[("PASSWORD", SECRET)]);
    let refused = store.prepare_release(&release("shop", 2, 9), &config, &unknown, &[]).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains(SECRET));
}
