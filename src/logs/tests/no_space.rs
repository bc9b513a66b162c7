//! A full disk: nothing half-written is left, and the log goes on when there is space again.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{app, said, texts};
use crate::{BuildLog, Filter, LogLimits, Logs, Offset};

const FOLDER: &str = "AUTOSTACK_TEST_TINY_DISK";
/// What takes half of the tiny disk, until it is removed.
const BALLAST: &str = "ballast";

/// The story of the child: in its folder there is soon no space, until it makes some.
#[test]
#[ignore = "needs a tiny disk; the tests below give it one"]
fn on_a_tiny_disk() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    let limits = LogLimits { segment_bytes_max: 32 * 1024, ..LogLimits::default() };
    let logs = Logs::open(folder.join("logs"), limits).unwrap();
    let stream = logs.app(&app()).unwrap();

    let mut kept = Vec::new();
    let refused = loop {
        let batch = [said(format!("line {}", kept.len())), said("x".repeat(500))];
        match stream.append(&batch) {
            Ok(_) => kept.extend(texts(&batch)),
            Err(error) => break error,
        }
        assert!(kept.len() < 2_000, "the disk is not tiny");
    };
    assert!(refused.is_no_space(), "{refused:?}");
    let pen = BuildLog::new(Arc::clone(&stream), 1_000_000);
    for _ in 0..10 {
        assert!(stream.append(&[said("y".repeat(5_000))]).unwrap_err().is_no_space());
        pen.raw("z".repeat(5_000).as_bytes());
        pen.flush();
    }
    assert_eq!(texts(&super::all(&stream)), kept, "what was acknowledged, and nothing else");
    assert_eq!(pen.lost(), 10);
    drop((pen, stream, logs));
    let stream = Logs::open(folder.join("logs"), limits).unwrap().app(&app()).unwrap();
    assert_eq!(texts(&super::all(&stream)), kept, "a start on a full disk finds the same");
    assert!(stream.append(&[said("y".repeat(5_000))]).unwrap_err().is_no_space());

    make_space(folder);
    let end = stream.append(&[said("space again")]).unwrap();
    kept.push("space again".into());
    assert_eq!(texts(&super::all(&stream)), kept);
    assert_eq!(super::tail_texts(&stream, 1, &Filter::all()), ["space again"]);
    assert!(super::drain(&mut stream.reader(end)).is_empty() && end > Offset::START);
    println!("tiny disk: {} lines kept", kept.len());
}

fn make_space(folder: &Path) {
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    let _ = fs::remove_file(folder.join(BALLAST));
}

/// Tells the story behind a shell that prepares the folder, `$0`, and then runs `"$@"`.
fn tell(wrapper: &[&str], prepare: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let shell = ["/bin/sh", "-c", &format!("{prepare} && exec \"$@\"")].map(str::to_owned);
    let mut words = wrapper.iter().map(|word| (*word).to_owned()).chain(shell);
    Command::new(words.next().unwrap())
        .args(words)
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::no_space::on_a_tiny_disk", "--ignored", "--nocapture"])
        .env(FOLDER, dir.path())
        .output()
        .unwrap()
}

fn assert_told(child: &Output) {
    let output = String::from_utf8_lossy(&child.stdout);
    let trouble = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}\n{output}\n{trouble}", child.status);
    assert!(output.contains("tiny disk: "), "the story was told: {output}");
}

/// Mounts a disk of 256 KiB where only the child sees it, as root or in a user namespace.
#[test]
fn a_full_disk_costs_only_what_did_not_fit() {
    let is_root = nix::unistd::Uid::effective().is_root();
    let alone: &[&str] = if is_root { &["unshare", "-m"] } else { &["unshare", "-U", "-r", "-m"] };
    let mount = "mount -t tmpfs -o size=256k none \"$0\"";
    if !tell(alone, &format!("{mount} && exit 0")).status.success() {
        println!("no right to mount here; the file size limit tells the same story");
        return;
    }
    assert_told(&tell(alone, &format!("{mount} && head -c 131072 /dev/zero > \"$0/{BALLAST}\"")));
}

/// No file may have more than 20 KiB until the child raises its limit.
#[test]
fn a_file_size_limit_costs_only_what_did_not_fit() {
    assert_told(&tell(&["env"], "trap '' XFSZ && ulimit -S -f 40"));
}
