//! A base image of one static program.

use std::{fs, io, path::Path, process::Command};

use autostack_domain::Digest;
use bytes::Bytes;
use nix::fcntl::{Flock, FlockArg};
use tar::{Builder, EntryType, Header};

use crate::Engine;

/// The name under which [`busybox`] is kept.
pub const BUSYBOX: &str = "autostack-test/busybox:1";

/// The static busybox of this machine (Debian: `busybox-static`).
const PROGRAM: &str = "/bin/busybox";

/// The image [`BUSYBOX`]: busybox with a link for each of its applets in `/bin`, which is the `PATH`. Made where
/// the engine does not have it, and left there for the next test.
pub async fn busybox(engine: &Engine) -> Digest {
    if let Some(facts) = engine.inspect_image(BUSYBOX).await.unwrap() {
        return facts.id;
    }
    // Tests run side by side, and each may be the first.
    let lock = fs::File::create(std::env::temp_dir().join("autostack-test-busybox.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    if let Some(facts) = engine.inspect_image(BUSYBOX).await.unwrap() {
        return facts.id;
    }
    let changes = ["ENV PATH=/bin", "CMD [\"sh\"]", "LABEL autostack.test=1"].map(str::to_owned);
    let tar = futures_util::stream::iter([Ok(Bytes::from(root()))]);
    engine.import(tar, BUSYBOX, &changes).await.unwrap()
}

/// A tar of files: a name and its content each.
pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, content) in files {
        file(&mut tar, path, content, 0o644);
    }
    tar.into_inner().unwrap()
}

fn root() -> Vec<u8> {
    let program = fs::read(PROGRAM).unwrap_or_else(|error| {
        panic!("{PROGRAM}: {error}; the tests need a static busybox: apt-get install busybox-static")
    });
    let mut tar = Builder::new(Vec::new());
    for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("home", 0o755)]
    {
        let mut header = header(EntryType::Directory, 0, mode);
        tar.append_data(&mut header, folder, io::empty()).unwrap();
    }
    file(&mut tar, "bin/busybox", &program, 0o755);
    for applet in applets() {
        let mut header = header(EntryType::Symlink, 0, 0o777);
        tar.append_link(&mut header, Path::new("bin").join(applet), "busybox").unwrap();
    }
    file(
        &mut tar,
        "etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        0o644,
    );
    file(&mut tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644);
    tar.into_inner().unwrap()
}

fn applets() -> Vec<String> {
    let listed = Command::new(PROGRAM).arg("--list").output().expect("busybox lists its applets");
    let names = String::from_utf8(listed.stdout).unwrap();
    names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) {
    let mut header = header(EntryType::Regular, content.len() as u64, mode);
    tar.append_data(&mut header, path, content).unwrap();
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header
}
