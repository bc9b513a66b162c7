//! A full disk: nothing half-written is left, and the log goes on when there is space again.

use std::{fs, path::Path, process::Command, sync::Arc};

use super::{app, said, texts};
use crate::{BuildLog, Filter, LogLimits, Logs, Offset};

const FOLDER: &str = "AUTOSTACK_TEST_TINY_DISK";

/// The story of the child: its folder is on a disk of 256 KiB, half of it taken by a file.
#[test]
#[ignore = "needs a tiny disk; `a_full_disk_costs_only_what_did_not_fit` gives it one"]
fn on_a_tiny_disk() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let folder = Path::new(&folder);
    fs::write(folder.join("ballast"), vec![1; 128 * 1024]).unwrap();
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

    fs::remove_file(folder.join("ballast")).unwrap();
    let end = stream.append(&[said("space again")]).unwrap();
    kept.push("space again".into());
    assert_eq!(texts(&super::all(&stream)), kept);
    assert_eq!(super::tail_texts(&stream, 1, &Filter::all()), ["space again"]);
    assert!(super::drain(&mut stream.reader(end)).is_empty() && end > Offset::START);
    println!("tiny disk: {} lines kept", kept.len());
}

/// Mounts a tiny disk where only the child sees it, as root or in a user namespace.
#[test]
fn a_full_disk_costs_only_what_did_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=256k none \"$0\" || exit 99; exec \"$@\"";
    let run = |namespaces: &[&str]| {
        Command::new("unshare")
            .args(namespaces)
            .args(["/bin/sh", "-c", script])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "tests::no_space::on_a_tiny_disk", "--ignored", "--nocapture"])
            .env(FOLDER, dir.path())
            .output()
            .unwrap()
    };
    let is_root = nix::unistd::Uid::effective().is_root();
    let namespaces: &[&str] = if is_root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let child = run(namespaces);
    let output = String::from_utf8_lossy(&child.stdout);
    let trouble = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}\n{output}\n{trouble}", child.status);
    assert!(output.contains("tiny disk: "), "the story was told: {output}");
}
