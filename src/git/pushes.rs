//! Stories of pushes and fetches with the real `git`, through a real child.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    Service, SpawnError, SpawnOptions, hooks, service,
    testing::{REMOTE, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_arrives_and_is_cloned_back_with_its_branch() {
    let world = World::new();
    world.write("index.html", "hello");
    let commit = world.commit("first words");
    let outcome = world.push(&[REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert!(outcome.screen.contains("remote: checking"), "{}", outcome.screen);
    let report = outcome.inspected.unwrap().unwrap();
    assert_eq!((report.files, report.bytes, report.subject.as_str()), (1, 5, "first words"));
    assert_eq!(world.head_of("refs/heads/main"), Some(commit));
    assert_eq!(world.head_of("refs/heads/other"), None);
    assert_eq!(world.quarantines(), Vec::<String>::new());

    let cloned = world.run(&["clone", "--quiet", REMOTE, "back"], &world.root()).await;
    assert!(cloned.accepted, "{}", cloned.screen);
    assert_eq!(fs::read_to_string(world.root().join("back/index.html")).unwrap(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clone_checks_out_the_branch_that_head_was_set_to() {
    let world = World::new();
    world.write("a", "a");
    world.commit("one");
    let outcome = world.push(&[REMOTE, "main:trunk"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    world.repositories.set_head(&world.app, &"refs/heads/trunk".parse().unwrap()).unwrap();
    world.run(&["clone", "--quiet", REMOTE, "back"], &world.root()).await;
    assert_eq!(world.client(&["branch", "--show-current"], &world.root().join("back")), "trunk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shallow_clone_may_push_and_a_full_one_after_it() {
    let world = World::new();
    for number in 0..4 {
        world.write("count", number.to_string());
        world.commit("count");
    }
    let origin = format!("file://{}", world.work().display());
    world.client(&["clone", "--quiet", "--depth", "1", &origin, "shallow"], &world.root());
    let shallow = world.root().join("shallow");
    let outcome = world.run(&["push", REMOTE, "main"], &shallow).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert_eq!(outcome.inspected.unwrap().unwrap().files, 1);

    // The next push from the shallow clone, then one from the full history.
    fs::write(shallow.join("count"), "shallow").unwrap();
    world.client(&["commit", "--quiet", "-am", "more"], &shallow);
    let outcome = world.run(&["push", REMOTE, "main"], &shallow).await;
    assert!(outcome.accepted, "{}", outcome.screen);

    world.write("count", "full");
    let full = world.commit("from the full history");
    let outcome = world.push(&["--force", REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert_eq!(world.head_of("refs/heads/main"), Some(full));
    world.commit("and on");
    let outcome = world.push(&[REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);

    let cloned = world.run(&["clone", "--quiet", REMOTE, "back"], &world.root()).await;
    assert!(cloned.accepted, "{}", cloned.screen);
    assert_eq!(fs::read_to_string(world.root().join("back/count")).unwrap(), "full");
    world.client(&["fsck", "--strict"], &world.bare());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn force_tags_branches_deletions_and_push_options_work() {
    let world = World::new();
    world.write("a", "1");
    world.commit("one");
    assert!(world.push(&[REMOTE, "main"]).await.accepted);
    world.git(&["commit", "--quiet", "--amend", "-m", "rewritten"]);
    assert!(!world.push(&[REMOTE, "main"]).await.accepted, "only a forced push rewrites");
    assert!(world.push(&["--force", REMOTE, "main"]).await.accepted);
    world.git(&["tag", "-a", "v1", "-m", "tagged"]);
    let outcome = world.push(&["-o", "ci.skip", REMOTE, "main:feature", "v1"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert!(world.head_of("refs/tags/v1").is_some());
    assert!(world.push(&[REMOTE, ":feature"]).await.accepted);
    assert_eq!(world.head_of("refs/heads/feature"), None);
    let outcome = world.push(&[REMOTE, "main"]).await;
    assert!(outcome.accepted && outcome.screen.contains("up-to-date"), "{}", outcome.screen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_the_hook_sees_an_allow_list_of_variables() {
    let world = World::new();
    world.write("a", "1");
    world.commit("one");
    let client = world.start(&["push", "-o", "hello", REMOTE, "main"]);
    let mut child = world.serve(&client).await;
    tokio::select! {
        () = client.pump(&mut child, u64::MAX) => panic!("the hook did not ask"),
        asked = client.asked() => assert!(asked.updates.ends_with(" refs/heads/main\n")),
    }
    child.kill_tree().await;
    let env = client.hook_env();
    for line in env.lines() {
        let name = line.split('=').next().unwrap();
        let allowed = name.starts_with("GIT_") || name.starts_with("AUTOSTACK_HOOK_");
        assert!(
            allowed || ["PATH", "HOME", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_cut_off_in_the_middle_of_its_pack_leaves_nothing() {
    let world = World::new();
    world.write("noise", noise(8 * 1024 * 1024));
    world.commit("large");
    let client = world.start(&["push", REMOTE, "main"]);
    let mut child = world.serve(&client).await;
    client.pump(&mut child, 4 * 1024 * 1024).await;
    assert_eq!(world.quarantines().len(), 1, "the pack is on its way");
    client.interrupt();
    let begun = Instant::now();
    child.kill_tree().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(world.quarantines(), Vec::<String>::new());
    assert_eq!(world.head_of("refs/heads/main"), None);
    assert!(world.push(&[REMOTE, "main"]).await.accepted, "the next push works");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_dropped_at_its_hook_leaves_nothing_and_the_other_push_goes_on() {
    let world = World::new();
    world.write("a", "1");
    world.commit("one");
    let staying = world.start(&["push", REMOTE, "main:stays"]);
    let mut stays = world.serve(&staying).await;
    let going = world.start(&["push", REMOTE, "main:goes"]);
    let mut goes = world.serve(&going).await;
    let stay = async {
        let pump = staying.pump(&mut stays, u64::MAX);
        tokio::pin!(pump);
        let asked = tokio::select! {
            () = &mut pump => panic!("the hook did not ask"),
            asked = staying.asked() => asked,
        };
        tokio::select! {
            () = going.pump(&mut goes, u64::MAX) => panic!("the hook did not ask"),
            _ = going.asked() => {}
        }
        assert_eq!(world.quarantines().len(), 2);
        let hook = processes_with(&going.hook_token());
        assert!(!hook.is_empty(), "the hook runs");
        drop(goes);
        until(|| processes_with(&going.hook_token()).is_empty()).await;
        assert!(asked.quarantine.unwrap().is_dir(), "the other push keeps its own");
        staying.verdict(true);
        pump.await;
    };
    stay.await;
    assert!(stays.wait().await.unwrap().success());
    assert!(world.head_of("refs/heads/stays").is_some());
    assert_eq!(world.head_of("refs/heads/goes"), None);
    assert_eq!(world.quarantines(), Vec::<String>::new(), "the last one sweeps for all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_agent_left_is_swept_at_start_but_not_under_a_push() {
    let world = World::new();
    world.write("a", "1");
    world.commit("one");
    let left = world.bare().join("objects/tmp_objdir-incoming-Abc123");
    let stale = world.bare().join("refs/heads/main.lock");
    let half_made = world.root().join("repos/.tmp-shop-1-1");
    fs::create_dir_all(left.join("pack")).unwrap();
    fs::write(&stale, "").unwrap();
    fs::create_dir(&half_made).unwrap();

    let client = world.start(&["push", REMOTE, "main:other"]);
    let mut child = world.serve(&client).await;
    tokio::select! {
        () = client.pump(&mut child, u64::MAX) => panic!("the hook did not ask"),
        _ = client.asked() => {}
    }
    assert_eq!(world.repositories.sweep_quarantines_of(&world.app).unwrap(), 0);
    assert_eq!(world.quarantines().len(), 2);
    child.kill_tree().await;

    fs::create_dir_all(left.join("pack")).unwrap();
    fs::write(&stale, "").unwrap();
    assert_eq!(world.repositories.sweep_quarantines().unwrap(), 3);
    assert!(!left.exists() && !stale.exists() && !half_made.exists());
    assert!(world.push(&[REMOTE, "main"]).await.accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_pack_that_claims_more_objects_than_memory_holds_is_refused() {
    let world = World::new();
    let mut child = service::spawn(Service::ReceivePack, &world.bare(), &SpawnOptions::default()).unwrap();
    let (mut stdin, mut stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let line = format!("{ZERO} {ONE} refs/heads/main\0report-status");
    let mut request = format!("{:04x}{line}0000PACK", line.len() + 4).into_bytes();
    request.extend_from_slice(&[0, 0, 0, 2, 0x10, 0, 0, 0]);
    tokio::io::AsyncWriteExt::write_all(&mut stdin, &request).await.unwrap();
    drop(stdin);
    let mut complaint = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut complaint).await.unwrap();
    child.wait().await.unwrap();
    assert!(complaint.contains("over limit"), "{complaint}");
    assert_eq!(world.quarantines(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_will_not_go_is_made_to() {
    let world = World::new();
    world.write("a", "1");
    world.commit("one");
    let client = world.start(&["push", REMOTE, "main"]);
    client.replace_hook("trap '' TERM\necho > asked.new\nmv asked.new asked\nwhile :; do sleep 0.1; done\n");
    let mut child = world.serve(&client).await;
    tokio::select! {
        () = client.pump(&mut child, u64::MAX) => panic!("the hook did not ask"),
        _ = client.asked() => {}
    }
    let begun = Instant::now();
    child.kill_tree().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    until(|| processes_with(&client.hook_token()).is_empty()).await;
    assert_eq!(world.quarantines(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_commit_is_a_source_without_files() {
    let world = World::new();
    world.commit("nothing");
    let outcome = world.push(&[REMOTE, "main"]).await;
    assert!(outcome.accepted, "{}", outcome.screen);
    assert_eq!(outcome.inspected.unwrap().unwrap().files, 0);
}

#[tokio::test]
async fn c3_only_variables_of_the_hooks_reach_a_child() {
    let world = World::new();
    let with = |name: &str| SpawnOptions {
        hook_env: vec![(name.to_owned(), "x".to_owned())],
        ..SpawnOptions::default()
    };
    for name in ["LD_PRELOAD", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "PATH", "BASH_ENV", "autostack_hook_x"]
    {
        let refused = service::spawn(Service::ReceivePack, &world.bare(), &with(name));
        assert!(matches!(refused, Err(SpawnError::ForeignVariable { .. })), "{name}");
    }
    let mut child = service::spawn(Service::ReceivePack, &world.bare(), &with(hooks::ENV_SOCKET)).unwrap();
    let environ = fs::read_to_string(format!("/proc/{}/environ", child.pid())).unwrap();
    for variable in environ.split_terminator('\0') {
        let name = variable.split('=').next().unwrap();
        let known = ["PATH", "HOME", "LC_ALL", hooks::ENV_SOCKET].contains(&name);
        assert!(known || name.starts_with("GIT_"), "{variable}");
    }
    child.kill_tree().await;
    child.kill_tree().await;
    for protocol in ["version=3", "version=2:x", "2", "", "version=-1"] {
        assert!(protocol.parse::<crate::GitProtocol>().is_err(), "{protocol:?}");
    }
    let nowhere = service::spawn(Service::ReceivePack, "/nonexistent".as_ref(), &SpawnOptions::default());
    assert!(matches!(nowhere, Err(SpawnError::Repository { .. })));
    let relative = service::spawn(Service::UploadPack, "-x".as_ref(), &SpawnOptions::default());
    assert!(matches!(relative, Err(SpawnError::NotAbsolute { .. })));
}

const ZERO: &str = "0000000000000000000000000000000000000000";
const ONE: &str = "1111111111111111111111111111111111111111";

/// Bytes that do not compress (xorshift).
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Process ids whose environment holds `marker`.
fn processes_with(marker: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.windows(marker.len()).any(|window| window == marker.as_bytes())
        })
        .collect()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::testing::PATIENCE, waited).await.unwrap();
}
