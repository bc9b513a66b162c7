//! However a build ends, nothing of it is left, not even what ran away from it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use autostack_domain::{EnvMap, FailureKind};
use nix::unistd::Pid;

use super::{Workshop, plan_of};

/// Five ways to run away: into the background; into a session of its own; that with an emptied environment;
/// that deaf to polite signals, in another folder; and with nothing left of its own but its parent.
const RUNAWAYS: &str = "\
    sleep 1000 & echo $! >> pids\n\
    setsid sh -c 'echo $$ >> pids; exec sleep 1000' &\n\
    env -i setsid sh -c 'echo $$ >> pids; exec sleep 1000' &\n\
    setsid sh -c 'echo $$ >> pids; cd /; (trap \"\" TERM HUP; sleep 1000; sleep 1000)' &\n\
    env -i setsid sh -c 'cd /; echo $$ >> \"$0\"; exec sleep 1000' \"$PWD/pids\" &\n\
    while test $(wc -l < pids) -lt 5; do sleep 0.01; done\n\
    touch begun\n";

fn is_alive(process: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

async fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{} did not come", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn assert_all_gone(artifact: &Path) {
    let pids = std::fs::read_to_string(artifact.join("pids")).unwrap();
    let pids: Vec<Pid> = pids.lines().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect();
    assert_eq!(pids.len(), 5);
    let alive: Vec<_> = pids.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert!(alive.is_empty(), "still alive: {alive:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_whole_within_a_second() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let plan = plan_of(&format!("{RUNAWAYS} sleep 1000"));
    let env = EnvMap::new();
    let build = workshop.build(&artifact, &plan, &env);
    let canceller = async {
        wait_for(&artifact.join("begun")).await;
        workshop.cancel.cancel();
        Instant::now()
    };
    let (ended, cancelled_at) = tokio::join!(build, canceller);
    assert!(cancelled_at.elapsed() < Duration::from_secs(1), "{:?}", cancelled_at.elapsed());
    assert_eq!(ended.unwrap_err().kind, FailureKind::Cancelled);
    assert_all_gone(&artifact);
}

#[tokio::test(flavor = "multi_thread")]
async fn e2_a_build_that_never_ends_is_ended_at_its_timeout() {
    let workshop = Workshop::with_settings("timeout = \"4s\"");
    let artifact = workshop.empty_artifact();
    let plan = plan_of(&format!("echo thinking; {RUNAWAYS} yes > /dev/null"));
    let began = Instant::now();
    let failure = workshop.build(&artifact, &plan, &EnvMap::new()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(failure.kind, FailureKind::TimedOut);
    assert!(failure.cause.contains("longer than 4 s (build.timeout)"), "{}", failure.cause);
    assert_eq!(failure.evidence, ["thinking"]);
    assert_all_gone(&artifact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ends_well_leaves_nothing_running_and_is_not_waited_for() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let began = Instant::now();
    workshop.build(&artifact, &plan_of(RUNAWAYS), &EnvMap::new()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_all_gone(&artifact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_future_is_dropped_ends_too() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let plan = plan_of(&format!("{RUNAWAYS} sleep 1000"));
    let (env, begun) = (EnvMap::new(), artifact.join("begun"));
    tokio::select! {
        _ = workshop.build(&artifact, &plan, &env) => panic!("it sleeps"),
        () = wait_for(&begun) => {}
    }
    assert_all_gone(&artifact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_prints_without_end_can_be_cancelled() {
    let workshop = Workshop::new();
    let artifact = workshop.empty_artifact();
    let plan = plan_of("touch begun; yes");
    let env = EnvMap::new();
    let canceller = async {
        wait_for(&artifact.join("begun")).await;
        workshop.cancel.cancel();
        Instant::now()
    };
    let (ended, cancelled_at) = tokio::join!(workshop.build(&artifact, &plan, &env), canceller);
    assert_eq!(ended.unwrap_err().kind, FailureKind::Cancelled);
    assert!(cancelled_at.elapsed() < Duration::from_secs(2), "{:?}", cancelled_at.elapsed());
}
