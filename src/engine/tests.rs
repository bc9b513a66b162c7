//! The connection: with the real engine, with none, and with engines that fail in every way that is known.

use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    process::Command,
    time::{Duration, Instant},
};

use autostack_domain::FailureKind;
use tokio_util::sync::CancellationToken;

use crate::{
    AgentMark, Engine, EngineError, EngineHost, Product, PullRefusal, host,
    testing::{Answer, FakeEngine, PrivateEngine},
};

fn engine_at(host: EngineHost) -> Engine {
    Engine::new(host, AgentMark::random().unwrap())
}

fn socket(path: &std::path::Path) -> EngineHost {
    EngineHost::Unix(path.to_owned())
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let engine = engine_at(host::find().expect("an engine runs on this machine"));
    let about = engine.about().await.unwrap();
    assert_eq!(about.product, Product::Docker, "{about:?}");
    assert!(about.has_buildkit && about.is_local && !about.is_rootless, "{about:?}");
    assert!(about.limits_memory && about.limits_pids, "{about:?}");
    assert_eq!(engine.ping().await.unwrap(), about);
}

#[tokio::test]
async fn no_engine_is_said_with_the_address_that_was_tried() {
    let engine = engine_at("unix:///nowhere/docker.sock".parse().unwrap());
    let error = engine.about().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::EngineUnavailable);
    assert_eq!(
        error.to_string(),
        "no container engine answers at unix:///nowhere/docker.sock: the socket does not exist"
    );
    let usual = EngineError::Unreachable { host: host::docker_default(), why: String::new() };
    assert!(usual.hint().contains("systemctl start docker"), "{}", usual.hint());
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    drop(UnixListener::bind(&path).unwrap());
    let error = engine_at(socket(&path)).about().await.unwrap_err();
    assert!(error.to_string().ends_with("nobody listens on the socket"), "{error}");
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let error = engine_at(EngineHost::Tcp(port)).about().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no container engine answers at tcp://{port}: nobody listens on the port")
    );
}

const SOCKET_OF_CHILD: &str = "AUTOSTACK_TEST_SOCKET";

/// Rights are those of a process, so another one asks: as nobody, where this one is root.
#[tokio::test]
async fn a_socket_without_the_right_to_it_says_who_lacks_it_and_which_group_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    mode(&path, 0o660);
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        mode(&path, 0);
    }
    // Where nobody may read the folder of the tests, it runs a copy.
    let program = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    mode(&program, 0o755);
    let mut child = Command::new(program);
    child.args(["--exact", "tests::asks_as_another_user", "--ignored", "--nocapture"]);
    child.env(SOCKET_OF_CHILD, &path).current_dir("/");
    if is_root {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    if is_root {
        let sentence = format!(
            "user nobody may not use the container engine at unix://{}, which belongs to group root",
            path.display()
        );
        assert!(said.contains(&sentence), "{said}");
        assert!(said.contains("usermod -aG root nobody, then restart autostack"), "{said}");
    }
}

#[tokio::test]
#[ignore = "the child of the test above"]
async fn asks_as_another_user() {
    let path = std::env::var_os(SOCKET_OF_CHILD).unwrap();
    let error = engine_at(socket(path.as_ref())).about().await.unwrap_err();
    assert!(matches!(error, EngineError::Denied { .. }), "{error:?}");
    println!("{error}\n{}", error.hint());
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_named() {
    let fake = FakeEngine::start(|request| match request {
        "GET /version" => {
            Answer::Json(200, r#"{"Version":"19.03.15","ApiVersion":"1.40","Os":"linux"}"#.into())
        }
        _ => Answer::Json(404, r#"{"message":"page not found"}"#.into()),
    });
    let error = engine_at(fake.host()).about().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the container engine (Docker 19.03.15) offers API 1.40, and 1.41 is needed"
    );
    assert!(error.hint().contains("Docker 20.10"), "{}", error.hint());
}

#[tokio::test]
async fn something_else_on_the_socket_is_no_engine() {
    let fake = FakeEngine::start(|_| Answer::Json(200, r#"{"hello":"world"}"#.into()));
    let error = engine_at(fake.host()).about().await.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
    let fake = FakeEngine::start(|_| Answer::Json(200, "<html>".into()));
    let error = engine_at(fake.host()).about().await.unwrap_err();
    assert!(matches!(error, EngineError::Unexpected { .. }), "{error:?}");
}

#[tokio::test]
async fn an_engine_that_hangs_is_an_error_in_time() {
    let fake = FakeEngine::docker(|_| Answer::Hang);
    let engine = engine_at(fake.host());
    let began = Instant::now();
    let within = Duration::from_millis(300);
    let asked = engine.call_within(within, "list images", |docker| async move {
        docker.list_images(None::<bollard::query_parameters::ListImagesOptions>).await
    });
    let error = asked.await.unwrap_err();
    assert!(matches!(error, EngineError::TimedOut { operation: "list images", .. }), "{error:?}");
    assert!(error.is_away() && began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_engine_without_space_is_named_in_answers_and_in_streams() {
    let full = "write /var/lib/docker/tmp/x: no space left on device";
    let fake = FakeEngine::docker(move |request| match request {
        "POST /images/create" => {
            Answer::Stream(vec![format!(r#"{{"errorDetail":{{"message":"{full}"}},"error":"{full}"}}"#)])
        }
        request if request.starts_with("GET /distribution/") => {
            Answer::Json(500, r#"{"message":"not supported"}"#.into())
        }
        request if request.starts_with("GET /images/") => {
            Answer::Json(404, r#"{"message":"no such image"}"#.into())
        }
        _ => Answer::Json(500, format!(r#"{{"message":"{full}"}}"#)),
    });
    let engine = engine_at(fake.host());
    let reference = "r.example.com/a:1".parse().unwrap();
    let pulled = engine.pull(&reference, None, &|_| {}, &CancellationToken::new()).await.unwrap_err();
    let tagged = engine.tag(&format!("sha256:{}", "0".repeat(64)).parse().unwrap(), "a:1").await.unwrap_err();
    for error in [pulled, tagged] {
        assert!(matches!(error, EngineError::NoSpace { .. }), "{error:?}");
        assert_eq!((error.kind(), error.evidence()), (FailureKind::DiskFull, Some(full)));
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_in_the_middle_of_a_pull_is_told_from_a_registry_that_does() {
    let progress = r#"{"status":"Downloading","id":"a","progressDetail":{"current":1,"total":9}}"#;
    let fake = FakeEngine::docker(move |request| match request {
        "POST /images/create" => Answer::Cut(vec![progress.into()]),
        request if request.starts_with("GET /distribution/") => {
            Answer::Json(500, r#"{"message":"not supported"}"#.into())
        }
        _ => Answer::Json(404, r#"{"message":"no such image"}"#.into()),
    });
    let reference = "r.example.com/a:1".parse().unwrap();
    let pull = |fake: &FakeEngine| {
        let engine = engine_at(fake.host());
        let reference = &reference;
        async move { engine.pull(reference, None, &|_| {}, &CancellationToken::new()).await.unwrap_err() }
    };
    let error = pull(&fake).await;
    assert!(matches!(error, EngineError::Gone { .. }), "{error:?}");

    let fake = FakeEngine::docker(|request| match request {
        request if request.starts_with("GET /distribution/") => Answer::Json(
            429,
            r#"{"message":"toomanyrequests: You have reached your pull rate limit."}"#.into(),
        ),
        _ => Answer::Json(404, r#"{"message":"no such image"}"#.into()),
    });
    let error = pull(&fake).await;
    assert!(matches!(error, EngineError::PullFailed { why: PullRefusal::RateLimited, .. }), "{error:?}");
    assert!(error.hint().contains("log in to r.example.com"), "{}", error.hint());
}

#[tokio::test]
async fn a_silent_stream_ends_soon_after_it_is_cancelled() {
    let fake = FakeEngine::docker(|request| match request {
        "POST /images/create" => Answer::Silent(vec![r#"{"status":"Waiting","id":"a"}"#.into()]),
        request if request.starts_with("GET /distribution/") => {
            Answer::Json(500, r#"{"message":"not supported"}"#.into())
        }
        _ => Answer::Json(404, r#"{"message":"no such image"}"#.into()),
    });
    let (engine, cancel) = (engine_at(fake.host()), CancellationToken::new());
    let reference = "r.example.com/a:1".parse().unwrap();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
        Instant::now()
    };
    let (pulled, at) = tokio::join!(engine.pull(&reference, None, &|_| {}, &cancel), cancelling);
    assert!(matches!(pulled, Err(EngineError::Cancelled)), "{pulled:?}");
    assert!(at.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_engine_that_was_killed_is_used_again_once_it_is_back() {
    let mut private = PrivateEngine::start(&[]).await;
    let engine = engine_at(private.host());
    let about = engine.about().await.unwrap();
    private.kill();
    let error = engine.inspect_image("autostack-test/busybox:1").await.unwrap_err();
    assert!(error.is_away(), "{error:?}");
    assert!(engine.about().await.is_err(), "nothing is remembered of an engine that is away");
    private.start_again().await;
    assert_eq!(engine.inspect_image("autostack-test/busybox:1").await.unwrap(), None);
    assert_eq!(engine.about().await.unwrap().version, about.version);
}
