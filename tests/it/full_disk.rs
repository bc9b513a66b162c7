//! A full disk, on a small file system of the story's own: nothing is lost, apps keep serving, and when there is space
//! again all goes on.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::geteuid,
};

use crate::world::{Options, World, apps, soon};

/// More than the agent keeps in reserve, so that there is room to push.
const SIZE: &str = "size=160m";

/// A small file system, gone when dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(folder: &Path) -> Self {
        let mounted = mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(SIZE));
        mounted.unwrap_or_else(|error| panic!("a small file system cannot be mounted: {error}"));
        Self(folder.to_owned())
    }

    /// Fills it up, leaving this many MiB.
    fn fill(&self, leave_mib: usize) {
        let mut file = File::create(self.0.join("ballast")).unwrap();
        let block = vec![0_u8; 1024 * 1024];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(leave_mib as u64 * 1024 * 1024)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_refuses_pushes_and_nothing_else() {
    if !geteuid().is_root() {
        return as_root_of_a_namespace("full_disk::a_full_disk_refuses_pushes_and_nothing_else");
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = TinyDisk::mount(folder.path());
    {
        let world = Options::default().data_dir(&folder.path().join("data")).start();
        story(&disk, &world);
    }
    drop(disk);
}

/// Only root mounts; whoever is not tells the story where they are root, in a user namespace.
fn as_root_of_a_namespace(story: &str) {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]).arg(env::current_exe().unwrap());
    let told = unshare.args(["--exact", story]).status().unwrap();
    assert!(told.success(), "without root this needs user namespaces (kernel.unprivileged_userns_clone=1)");
}

fn story(disk: &TinyDisk, world: &World) {
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");

    disk.fill(20);
    repo.write("server.js", &repo.read("server.js").replace("\"web\"", "\"later\"")).commit();
    repo.push("shop").rejected(&["disk is full", "Next: free space on the host"]);
    world.assert_nothing_left("shop", &before);
    disk.free();

    // There is room at the beginning; the build takes it all.
    let package =
        r#"{ "scripts": { "build": "dd if=/dev/zero of=big bs=1M count=400", "start": "node server.js" } }"#;
    let good = repo.read("package.json");
    repo.write("package.json", package).commit();
    repo.push("shop").rejected_at("build", &["the disk of the host is full", "make room"]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");

    disk.fill(0);
    assert_eq!(world.get("shop", "/").body, "web", "visitors do not notice");
    assert!(ada.ssh(&["apps:list"]).ok().contains("shop"), "reading goes on");
    let created = ada.ssh(&["apps:create", "other"]);
    assert_eq!(created.code, Some(1), "{created}");
    assert!(created.stderr.contains("disk is full"), "{created}");
    world.kill9();
    disk.free();
    world.start();
    assert_eq!(world.get("shop", "/").body, "web", "adopted");

    repo.write("package.json", &good).commit();
    repo.push("shop").accepted();
    soon("the new release", || (world.get("shop", "/").body == "later").then_some(()));
}
