//! Stories of exports: what a commit looks like on disk.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Barrier,
};

use tokio_util::sync::CancellationToken;

use crate::{
    Source, SourceError, SourceLimits, SourceReport, Submodule,
    pushes::noise,
    testing::{REMOTE, World},
};

async fn pushed(world: &World) -> SourceReport {
    world.commit("export me");
    let outcome = world.push(&[REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    outcome.inspected.unwrap().unwrap()
}

fn export(world: &World, report: &SourceReport, dest: &Path) -> Result<(), SourceError> {
    Source::open(&world.bare(), None).unwrap().export(report, dest, &CancellationToken::new())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_links_and_modes_come_out_as_they_were_meant() {
    let world = World::new();
    world.write("bin/start", "#!/bin/sh\n");
    fs::set_permissions(world.work().join("bin/start"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write("deep/er/file", [0, 159, 146, 150]);
    world.write("large", noise(5 * 1024 * 1024));
    world.write("larger", noise(9 * 1024 * 1024));
    world.write("empty", "");
    symlink("../bin/start", world.work().join("deep/start")).unwrap();
    symlink("nowhere", world.work().join("dangling")).unwrap();
    let report = pushed(&world).await;
    assert_eq!(report.files, 7);
    let dest = world.root().join("out");
    export(&world, &report, &dest).unwrap();

    let diff = ["diff", "--no-index", "--quiet", "work/large", "out/large"];
    world.client(&diff, &world.root());
    assert_eq!(fs::read(dest.join("larger")).unwrap(), noise(9 * 1024 * 1024));
    assert_eq!(fs::read(dest.join("deep/er/file")).unwrap(), [0, 159, 146, 150]);
    assert_eq!(fs::read(dest.join("empty")).unwrap(), b"");
    assert_eq!((mode(&dest), mode(&dest.join("deep/er"))), (0o755, 0o755));
    assert_eq!((mode(&dest.join("bin/start")), mode(&dest.join("large"))), (0o755, 0o644));
    assert_eq!(fs::read_link(dest.join("deep/start")).unwrap(), Path::new("../bin/start"));
    assert_eq!(fs::read_link(dest.join("dangling")).unwrap(), Path::new("nowhere"));
    assert!(!dest.join(".git").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_reads_the_quarantine_large_files_too() {
    let world = World::new();
    world.write("large", noise(5 * 1024 * 1024));
    world.write("small", "small");
    let commit = world.commit("one");
    let client = world.start(&["push", REMOTE, "main"]);
    let mut child = world.serve(&client).await;
    let asked = tokio::select! {
        () = client.pump(&mut child, u64::MAX) => panic!("the hook did not ask"),
        asked = client.asked() => asked,
    };
    let quarantine = asked.quarantine.unwrap();
    assert!(Source::open(&world.bare(), None).unwrap().inspect(&commit, &SourceLimits::default()).is_err());
    let source = Source::open(&world.bare(), Some(&quarantine)).unwrap();
    let report = source.inspect(&commit, &SourceLimits::default()).unwrap();
    let dest = world.root().join("out");
    source.export(&report, &dest, &CancellationToken::new()).unwrap();
    assert_eq!(fs::read(dest.join("large")).unwrap(), noise(5 * 1024 * 1024));
    assert_eq!(fs::read(dest.join("small")).unwrap(), b"small");
    child.kill_tree().await;
}

#[test]
fn only_a_quarantine_of_the_repository_is_opened() {
    let world = World::new();
    let elsewhere = world.root().join("tmp_objdir-incoming-Abc123");
    fs::create_dir(&elsewhere).unwrap();
    let linked = world.bare().join("objects/tmp_objdir-incoming-Def456");
    symlink("/etc", &linked).unwrap();
    let renamed = world.bare().join("objects/pack");
    for path in [&elsewhere, &linked, &renamed] {
        let refused = Source::open(&world.bare(), Some(path));
        assert!(matches!(refused, Err(SourceError::ForeignQuarantine { .. })), "{path:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c9_wild_modes_become_tame_ones() {
    let world = World::new();
    let blob = world.object("blob", b"x");
    let tree = world.tree(&[("100777", b"a", &blob), ("104755", b"b", &blob), ("100666", b"c", &blob)]);
    let commit = world.commit_of(&tree);
    let outcome = world.push(&[REMOTE, &format!("{commit}:refs/heads/main")]).await;
    let report = outcome.inspected.unwrap().unwrap();
    let dest = world.root().join("out");
    export(&world, &report, &dest).unwrap();
    assert_eq!([mode(&dest.join("a")), mode(&dest.join("b")), mode(&dest.join("c"))], [0o755, 0o755, 0o644]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn submodules_and_lfs_pointers_are_named() {
    let world = World::new();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 123456\n", "ab".repeat(32));
    let blob = world.object("blob", pointer.as_bytes());
    let inner = world.commit("inner");
    let modules = world.object("blob", b"[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib.git\n");
    let tree = world.tree(&[
        ("100644", b".gitmodules", &modules),
        ("160000", b"lib", inner.as_str()),
        ("160000", b"lost", inner.as_str()),
        ("100644", b"model.bin", &blob),
    ]);
    let commit = world.commit_of(&tree);
    let outcome = world.push(&[REMOTE, &format!("{commit}:refs/heads/main")]).await;
    let report = outcome.inspected.unwrap().unwrap();
    let lib = Submodule { path: "lib".into(), commit: inner, url: "../lib.git".into() };
    assert_eq!(report.submodules, [lib]);
    assert!(report.notes[0].contains("model.bin is a pointer"), "{:?}", report.notes);
    assert!(report.notes[1].starts_with("Submodule lost is not fetched"), "{:?}", report.notes);
    let dest = world.root().join("out");
    export(&world, &report, &dest).unwrap();
    assert!(dest.join("lib").is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_writes_only_into_a_new_or_empty_folder_and_cleans_up() {
    let world = World::new();
    world.write("a", "a");
    let report = pushed(&world).await;
    let dest = world.root().join("out");
    fs::create_dir(&dest).unwrap();
    export(&world, &report, &dest).unwrap();
    assert!(matches!(export(&world, &report, &dest), Err(SourceError::NotEmpty { .. })));
    assert!(dest.join("a").is_file(), "what was there stays");

    let linked = world.root().join("linked");
    fs::create_dir(world.root().join("target")).unwrap();
    symlink("target", &linked).unwrap();
    assert!(matches!(export(&world, &report, &linked), Err(SourceError::Write { .. })));
    assert_eq!(fs::read_dir(world.root().join("target")).unwrap().count(), 0);

    let cancel = CancellationToken::new();
    cancel.cancel();
    let dest = world.root().join("cancelled");
    let source = Source::open(&world.bare(), None).unwrap();
    assert!(matches!(source.export(&report, &dest, &cancel), Err(SourceError::Cancelled)));
    assert!(!dest.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_is_held() {
    let world = World::new();
    world.write("a/b", "12345");
    world.write("c", "67");
    let commit = pushed(&world).await.commit;
    let source = Source::open(&world.bare(), None).unwrap();
    let fits =
        SourceLimits { files_max: 2, bytes_max: 7, file_bytes_max: 5, path_bytes_max: 4, depth_max: 1 };
    source.inspect(&commit, &fits).unwrap();
    let broken = [
        SourceLimits { files_max: 1, ..fits.clone() },
        SourceLimits { bytes_max: 6, ..fits.clone() },
        SourceLimits { file_bytes_max: 4, ..fits.clone() },
        SourceLimits { path_bytes_max: 2, ..fits.clone() },
        SourceLimits { depth_max: 0, ..fits },
    ];
    for limits in broken {
        let refused = source.inspect(&commit, &limits);
        assert!(matches!(refused, Err(SourceError::OverLimit { .. })), "{limits:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_annotated_tag_stands_for_its_commit() {
    let world = World::new();
    world.write("a", "tagged");
    let commit = world.commit("one");
    world.git(&["tag", "-a", "v1", "-m", "the first"]);
    let tag = world.git(&["rev-parse", "v1"]);
    assert_ne!(tag, commit.as_str(), "it is an object of its own");
    let outcome = world.push(&["--follow-tags", REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert_eq!(world.head_of("refs/tags/v1").unwrap().as_str(), tag);
    let report = world.inspect(&tag.parse().unwrap()).unwrap();
    assert_eq!((&report.commit, report.subject.as_str()), (&commit, "one"));
    let dest = world.root().join("out");
    export(&world, &report, &dest).unwrap();
    assert_eq!(fs::read_to_string(dest.join("a")).unwrap(), "tagged");

    // From the quarantine too: this push brings nothing but the tag.
    world.git(&["tag", "-a", "v2", "-m", "the second"]);
    let outcome = world.push(&[REMOTE, "v2"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert_eq!(outcome.inspected.unwrap().unwrap().commit, commit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_leads_to_no_commit_is_refused_in_plain_words() {
    let world = World::new();
    world.write("a", "a");
    world.commit("one");
    assert!(world.push(&[REMOTE, "main"]).await.accepted);
    for (name, what) in [("HEAD^{tree}", "it names a folder"), ("HEAD:a", "it names a file")] {
        world.git(&["tag", "-f", "-a", "odd", name, "-m", "odd"]);
        let outcome = world.push(&["--force", REMOTE, "odd"]).await;
        let error = outcome.inspected.expect("git itself lets it pass").unwrap_err();
        assert!(matches!(error, SourceError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(!outcome.accepted && world.head_of("refs/tags/odd").is_none());
    }
    let mut inner = "HEAD".to_owned();
    for depth in 1..=6 {
        let name = format!("deep{depth}");
        world.git(&["tag", "-a", &name, &inner, "-m", "deep"]);
        inner = name;
    }
    assert!(world.push(&[REMOTE, "deep5"]).await.accepted);
    let error = world.push(&[REMOTE, "deep6"]).await.inspected.unwrap().unwrap_err().to_string();
    assert!(error.contains("leads to no commit within 5 steps"), "{error}");
}

/// A commit that takes long to look through: folders with many entries, each of which is read.
fn wide_commit(world: &World) -> autostack_domain::CommitId {
    let blob = world.object("blob", b"x");
    let folders: Vec<(String, String)> = (0..50)
        .map(|folder| {
            let names: Vec<String> = (0..1900).map(|file| format!("{folder:02}-{file:04}")).collect();
            let lines: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect();
            (format!("{folder:02}"), world.tree(&lines))
        })
        .collect();
    let lines: Vec<_> = folders.iter().map(|(name, id)| ("40000", name.as_bytes(), id.as_str())).collect();
    world.commit_of(&world.tree(&lines))
}

#[test]
fn an_inspection_ends_when_nobody_waits_for_it() {
    let world = World::new();
    let commit = wide_commit(&world);
    let source = Source::open(&world.work().join(".git"), None).unwrap();
    let limits = SourceLimits::default();
    let cancel = CancellationToken::new();
    assert_eq!(source.inspect_until(&commit, &limits, &cancel).unwrap().files, 95_000);

    // While it goes on; as often as the other thread takes to come to it.
    let begun = Barrier::new(2);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            cancel.cancel();
        });
        begun.wait();
        (0..100).find_map(|_| source.inspect_until(&commit, &limits, &cancel).err())
    });
    assert!(matches!(ended, Some(SourceError::Cancelled)), "{ended:?}");
    let refused = source.inspect_until(&commit, &limits, &cancel);
    assert!(matches!(refused, Err(SourceError::Cancelled)), "{refused:?}");
    assert_eq!(source.inspect(&commit, &limits).unwrap().files, 95_000, "which asks no token");
}

#[test]
fn what_is_not_a_commit_is_not_exported() {
    let world = World::new();
    world.write("a", "a");
    world.commit("one");
    let tree = world.git(&["rev-parse", "HEAD^{tree}"]);
    let origin = world.work().join(".git");
    let source = Source::open(&origin, None).unwrap();
    let refused = source.inspect(&tree.parse().unwrap(), &SourceLimits::default()).unwrap_err();
    assert!(matches!(refused, SourceError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().contains("it is a folder"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_git_folder_has_the_history_and_nothing_of_the_repository() {
    let world = World::new();
    world.write("a", "a");
    world.commit("one");
    world.write("b/c", "c");
    let report = pushed(&world).await;
    fs::write(world.bare().join("hooks-of-the-repository"), "x").unwrap();
    let dest = world.root().join("out");
    export(&world, &report, &dest).unwrap();
    let source = Source::open(&world.bare(), None).unwrap();
    source.add_git_dir(&report, &dest, &CancellationToken::new()).unwrap();
    let git = |args: &[&str]| world.client(args, &dest);
    assert_eq!(git(&["rev-parse", "HEAD"]), report.commit.as_str());
    assert_eq!(git(&["rev-list", "--count", "HEAD"]), "2");
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert_eq!(git(&["remote"]), "");
    git(&["fsck", "--strict"]);
    assert!(!dest.join(".git/hooks").exists());
}
