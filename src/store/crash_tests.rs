//! A disk that fails at the N-th operation, for every N, and a power cut at any moment: what was
//! acknowledged is there afterwards, and nothing is half done.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use autostack_domain::{
    App, Deployment, DeploymentState, EnvMap, Failure, FailureKind, Release, ReleaseNumber, SshKeyRecord,
    Stage, UnixMillis, User,
};
use redb::StorageBackend;

use crate::{
    Store, StoreError, open,
    seal::Sealer,
    tests::{app, app_name, deployment, deployment_id, env, main_branch, release, ssh_key, user},
};

/// Everything that a reader can see.
#[derive(Debug, Clone, PartialEq)]
struct Dump {
    users: Vec<User>,
    keys: Vec<SshKeyRecord>,
    apps: Vec<App>,
    unfinished: Vec<Deployment>,
    configs: Vec<EnvMap>,
    deployments: Vec<Vec<Deployment>>,
    releases: Vec<(Release, EnvMap)>,
}

fn dump(store: &Store) -> Result<Dump, StoreError> {
    let mut dump = Dump {
        users: store.users()?,
        keys: store.keys()?,
        apps: store.apps()?,
        unfinished: store.unfinished_deployments()?,
        configs: Vec::new(),
        deployments: Vec::new(),
        releases: Vec::new(),
    };
    for app in &dump.apps {
        dump.configs.push(store.config(&app.name)?);
        dump.deployments.push(store.deployments(&app.name, usize::MAX)?);
        for release in store.releases(&app.name)? {
            let config = store.release_config(&app.name, release.number)?;
            dump.releases.push((release, config));
        }
    }
    Ok(dump)
}

type Step = fn(&Store) -> Result<(), StoreError>;

/// A short life of a platform; each step is one acknowledged verb.
const SCENARIO: [Step; 15] = [
    |store| store.create_user(&user()),
    |store| store.add_key(&ssh_key("SHA256:x")),
    |store| store.create_app(&app("shop")),
    |store| store.create_app(&app("blog")),
    |store| store.set_config(&app_name("shop"), &env(&[("A", "1")])),
    |store| store.create_deployment(&deployment("shop", 1)).map(drop),
    |store| store.prepare_release(&release("shop", 1, 1), &env(&[("A", "1")]), &deployment_id(1), &[]),
    |store| commit(store, 1, 1),
    |store| store.create_deployment(&deployment("shop", 2)).map(drop),
    |store| store.prepare_release(&release("shop", 2, 2), &env(&[("A", "2")]), &deployment_id(2), &[]),
    |store| {
        let failure = Failure::new(Stage::Switch, FailureKind::Cancelled, "the pusher went away");
        let (app, id) = (app_name("shop"), deployment_id(2));
        let state = DeploymentState::Cancelled;
        store.discard_release(&app, ReleaseNumber(2), &id, &failure, state, UnixMillis(9))
    },
    |store| store.update_app(&app_name("blog"), |app| app.deploy_branch = Some("trunk".into())).map(drop),
    |store| store.rename_app(&app_name("shop"), &app_name("mall")).map(drop),
    |store| store.destroy_app(&app_name("mall")).map(drop),
    |store| store.remove_key("SHA256:x"),
];

fn commit(store: &Store, number: u32, deployment: u32) -> Result<(), StoreError> {
    let (app, id) = (app_name("shop"), deployment_id(deployment));
    store.commit_release(&app, ReleaseNumber(number), &id, main_branch(), UnixMillis(9))
}

/// A disk with a cache that a power cut loses, wholly or in part.
#[derive(Debug, Default)]
struct Disk {
    /// What a sync has made safe.
    safe: Vec<u8>,
    /// What reading shows.
    seen: Vec<u8>,
    /// What was changed since the last sync.
    unsynced: Vec<Change>,
    /// Operations until one fails; `None` for a disk in order.
    fails_after: Option<usize>,
    /// Whether every operation fails from then on.
    stays_broken: bool,
    operations: usize,
    /// The blocks that the file system has given to the file; writing to others needs space.
    blocks: BTreeSet<usize>,
    /// Whether there is no space for further blocks.
    is_full: bool,
}

const BLOCK_BYTES: usize = 4096;

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Length(length) => image.resize(*length, 0),
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fails_after {
            Some(left) if left > 0 => self.fails_after = Some(left - 1),
            Some(_) => {
                if !self.stays_broken {
                    self.fails_after = None;
                }
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            None => {}
        }
        Ok(())
    }

    /// Finds space for a write, as file systems do that overwrite in place: growing the file costs nothing.
    fn allocate(&mut self, offset: usize, length: usize) -> io::Result<()> {
        for block in offset / BLOCK_BYTES..(offset + length).div_ceil(BLOCK_BYTES) {
            if self.is_full && !self.blocks.contains(&block) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.blocks.insert(block);
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        if let Change::Write(offset, data) = &change {
            self.allocate(*offset, data.len())?;
        }
        let result = self.operate();
        // A write that fails may have got half of its bytes down.
        let change = match (&result, change) {
            (Ok(()), change) => change,
            (Err(_), Change::Write(offset, data)) => Change::Write(offset, data[..data.len() / 2].to_vec()),
            (Err(_), Change::Length(_)) => return result,
        };
        change.apply(&mut self.seen);
        self.unsynced.push(change);
        result
    }

    /// The disk after a power cut of which these unsynced changes survived.
    fn after_power_cut(&self, survives: impl Fn(usize) -> Survival) -> Disk {
        let mut image = self.safe.clone();
        for (at, change) in self.unsynced.iter().enumerate() {
            match (survives(at), change) {
                (Survival::Whole, change) => change.apply(&mut image),
                (Survival::Torn, Change::Write(offset, data)) => {
                    Change::Write(*offset, data[..data.len() / 2].to_vec()).apply(&mut image);
                }
                (Survival::Torn, Change::Length(_)) | (Survival::Lost, _) => {}
            }
        }
        Disk { safe: image.clone(), seen: image, ..Disk::default() }
    }
}

#[derive(Clone, Copy)]
enum Survival {
    Whole,
    Torn,
    Lost,
}

#[derive(Debug, Clone)]
struct Plug(Arc<Mutex<Disk>>);

impl StorageBackend for Plug {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let found = disk.seen.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Length(usize::try_from(length).unwrap()))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.operate()?;
        disk.safe = disk.seen.clone();
        disk.unsynced.clear();
        Ok(())
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; 32]).unwrap()
}

fn open_on(disk: &Arc<Mutex<Disk>>) -> Result<Store, StoreError> {
    let plug = Plug(Arc::clone(disk));
    let reopen = move || {
        let opened = open::builder().create_with_backend(plug.clone());
        opened.map_err(|error| open::opening_error(error, Path::new("disk")))
    };
    let database = reopen()?;
    Ok(Store::new(database, sealer(), Box::new(reopen)))
}

/// An empty store on a disk in order.
fn fresh_disk() -> Disk {
    let disk = Arc::new(Mutex::new(Disk::default()));
    let database = open::builder().create_with_backend(Plug(Arc::clone(&disk))).unwrap();
    open::initialise(&database, &sealer()).unwrap();
    drop(database);
    let image = disk.lock().unwrap().seen.clone();
    Disk { safe: image.clone(), seen: image, ..Disk::default() }
}

fn plugged(disk: Disk) -> Arc<Mutex<Disk>> {
    Arc::new(Mutex::new(disk))
}

/// What is there before the first step and after each; and how many operations the disk did for all.
fn undisturbed() -> (Vec<Dump>, usize) {
    let disk = plugged(fresh_disk());
    let store = open_on(&disk).unwrap();
    let mut dumps = vec![dump(&store).unwrap()];
    for step in SCENARIO {
        step(&store).unwrap();
        dumps.push(dump(&store).unwrap());
    }
    drop(store);
    let operations = disk.lock().unwrap().operations;
    (dumps, operations)
}

/// Runs the scenario up to its first error. Returns how many steps were acknowledged, and how many may be
/// there.
fn run_until_error(disk: &Arc<Mutex<Disk>>) -> (usize, usize) {
    let Ok(store) = open_on(disk) else { return (0, 0) };
    for (done, step) in SCENARIO.iter().enumerate() {
        match step(&store) {
            Ok(()) => {}
            Err(StoreError::OutcomeUnknown(_)) => return (done, done + 1),
            Err(StoreError::Unusable(_)) => return (done, done),
            Err(other) => panic!("step {done}: {other}"),
        }
    }
    (SCENARIO.len(), SCENARIO.len())
}

/// Reproducible dice.
fn die(seed: usize, at: usize) -> usize {
    let mixed = (seed * 1_000_003 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 33) % 3
}

#[test]
fn a_power_cut_at_any_operation_keeps_what_was_acknowledged_and_nothing_half_done() {
    let (dumps, operations) = undisturbed();
    assert!(operations > 2 * SCENARIO.len(), "each step must reach the disk");
    let mut in_between = 0;
    for fails_after in 0..operations {
        let broken = Disk { fails_after: Some(fails_after), stays_broken: true, ..fresh_disk() };
        let disk = plugged(broken);
        let (acknowledged, possible) = run_until_error(&disk);
        in_between += usize::from(acknowledged < SCENARIO.len());
        for fate in 0..6 {
            let after =
                disk.lock().unwrap().after_power_cut(|at| match (fate, die(fails_after + fate, at)) {
                    (0, _) => Survival::Lost,
                    (1, _) | (_, 0) => Survival::Whole,
                    (_, 1) => Survival::Torn,
                    _ => Survival::Lost,
                });
            let store = open_on(&plugged(after)).unwrap();
            let found = dump(&store).unwrap();
            let allowed = &dumps[acknowledged..=possible];
            assert!(
                allowed.contains(&found),
                "cut at operation {fails_after}, fate {fate}: {acknowledged} steps acknowledged, {possible} possible, \
                 found those of step {:?}",
                dumps.iter().position(|dump| *dump == found)
            );
        }
    }
    assert!(in_between > SCENARIO.len(), "most cuts must hit the scenario, not its ends");
}

#[test]
fn a_disk_that_is_full_for_a_moment_costs_one_verb_and_no_restart() {
    let (dumps, operations) = undisturbed();
    let mut failures = 0;
    for fails_after in 0..operations {
        let disk = plugged(fresh_disk());
        let store = open_on(&disk).unwrap();
        disk.lock().unwrap().fails_after = Some(fails_after);
        let mut done = 0;
        while let Some(step) = SCENARIO.get(done) {
            let Err(error) = step(&store) else {
                done += 1;
                continue;
            };
            failures += 1;
            assert!(error.is_no_space(), "operation {fails_after}: {error:?}");
            let found = dump(&store).unwrap();
            let is_done = found == dumps[done + 1];
            assert!(is_done || found == dumps[done], "operation {fails_after}: half done");
            let may_be_done = matches!(error, StoreError::OutcomeUnknown(_));
            assert!(may_be_done || !is_done, "operation {fails_after}: {error:?} yet it is there");
            done += usize::from(is_done);
        }
        assert_eq!(dump(&store).unwrap(), dumps[SCENARIO.len()]);
        drop(store);
        let after = disk.lock().unwrap().after_power_cut(|_| Survival::Lost);
        assert_eq!(dump(&open_on(&plugged(after)).unwrap()).unwrap(), dumps[SCENARIO.len()]);
    }
    assert!(failures > 2 * SCENARIO.len());
}

#[test]
fn a_full_disk_stops_writing_but_not_reading_and_ends_when_there_is_space() {
    let disk = plugged(Disk::default());
    let database = open::builder().create_with_backend(Plug(Arc::clone(&disk))).unwrap();
    open::initialise(&database, &sealer()).unwrap();
    drop(database);
    let store = open_on(&disk).unwrap();
    store.create_user(&user()).unwrap();
    store.create_app(&app("shop")).unwrap();
    disk.lock().unwrap().is_full = true;
    let mut kept = 0;
    let refused = loop {
        assert!(kept < 1000, "the disk never gets full");
        let config = env(&[("A", &"x".repeat(5_000))]);
        let result = store.create_app(&app(&format!("app-{kept:04}")));
        if let Err(error) =
            result.and_then(|()| store.set_config(&app_name(&format!("app-{kept:04}")), &config))
        {
            break error;
        }
        kept += 1;
    };
    assert!(refused.is_no_space(), "{refused:?}");
    for _ in 0..10 {
        assert_eq!(store.users().unwrap(), [user()], "people can still log in");
        assert!(store.apps().unwrap().len() > kept);
        let again = store.set_config(&app_name("shop"), &env(&[("A", &"x".repeat(60_000))]));
        assert!(again.unwrap_err().is_no_space());
    }
    disk.lock().unwrap().is_full = false;
    store.set_config(&app_name("shop"), &env(&[("A", "1")])).unwrap();
    assert_eq!(store.config(&app_name("shop")).unwrap(), env(&[("A", "1")]));
}
