//! An agent that is killed at any moment, while its instances print: every line is in the log once.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use autostack_base::tasks::Tasks;

use super::world::{SOON, marked, open_backend, open_logs, spec};
use crate::{Backend, contract::lines_of, process::output::OutputLimits};

const DIR: &str = "AUTOSTACK_TEST_AGENT_DIR";
/// Small, so that files begin and end all the time.
const LIMITS: OutputLimits = OutputLimits { file_bytes_max: 20_000, bytes_max: 1 << 30 };
const LINES: usize = 30_000;
const INSTANCES: usize = 3;

/// An agent in a process of its own, which [`a_killed_agent_loses_and_repeats_no_line`] starts and kills.
#[test]
#[ignore = "the child process of another test"]
fn agent() {
    let dir = PathBuf::from(env::var_os(DIR).unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (logs, tasks) = (open_logs(&dir), Tasks::new());
        let _backend = open_backend(&dir, &logs, &tasks, LIMITS).await;
        println!("open");
        tasks.wait(Duration::from_secs(600)).await;
    });
}

fn start_agent(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["process::tests::crash::agent", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_agent_loses_and_repeats_no_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("app")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Slow enough to print through all that follows.
    let command = format!(
        "i=1; while [ $i -le {LINES} ]; do echo line $i; [ $((i % 50)) = 0 ] && sleep 0.003; i=$((i+1)); done"
    );
    let specs: Vec<_> = (0..INSTANCES).map(|_| spec(dir.path(), &command)).collect();
    runtime.block_on(async {
        let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
        let backend = open_backend(dir.path(), &logs, &tasks, LIMITS).await;
        for spec in &specs {
            backend.start(spec).await.unwrap();
        }
        drop(backend);
        assert!(tasks.wait(SOON).await.is_empty());
    });
    for kill_after_ms in [80, 130, 55, 210, 95, 170, 60, 145] {
        let mut agent = start_agent(dir.path());
        thread::sleep(Duration::from_millis(kill_after_ms));
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    let moved: usize = specs.iter().map(|spec| lines_of(&open_logs(dir.path()), spec).unwrap().len()).sum();
    assert!(moved > 1_000 && moved < INSTANCES * LINES, "the agents were killed in the middle: {moved}");
    runtime.block_on(async {
        let (logs, tasks) = (open_logs(dir.path()), Tasks::new());
        let backend = open_backend(dir.path(), &logs, &tasks, LIMITS).await;
        for spec in &specs {
            tokio::time::timeout(3 * SOON, backend.wait(&spec.id)).await.unwrap().unwrap();
            let found: Vec<String> =
                lines_of(&logs, spec).unwrap().into_iter().map(|(_, line)| line).collect();
            let wrong = found.iter().enumerate().find(|(at, line)| **line != format!("line {}", at + 1));
            assert_eq!(wrong, None, "{}", spec.id);
            assert_eq!(found.len(), LINES, "{}", spec.id);
            backend.stop(&spec.id, Duration::ZERO).await.unwrap();
            assert!(marked(&spec.id).is_empty());
        }
    });
}
