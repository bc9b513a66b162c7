//! Stored records of every version, in `tests/fixtures/records/NAME.vN`: one stored value a line, byte for
//! byte as it stands in the store.
//!
//! A test below fails as soon as the present shape of a record differs from the file of its version. Where
//! that version has been released, keep the file and raise the version (`record.rs`); where it has not, or
//! for the file of a new version, write the file anew: `BLESS=1 cargo test -p autostack-store golden`.

use std::{collections::BTreeMap, fmt::Debug, fs, path::PathBuf, time::Duration};

use autostack_domain::{
    App, Artifact, Deployment, DeploymentState, EnvMap, Failure, FailureKind, Formation, InstanceId, OneOff,
    OneOffNumber, ProcessType, Release, ReleaseNumber, ReleaseSource, Source, SshKeyRecord, Stage,
    StageRecord, UnixMillis, User,
    account::{
        ApiKey, Credentials, Invitation, KeptKey, LinkPurpose, LinkedAccount, Provider, SecretDigest, Totp,
    },
    health::{CheckKind, HealthCheck, Probe},
    permission::Role,
    release::{ConfigBrought, LaunchEnv, StaticSite},
};

use crate::{
    account_tests::{api_key, invitation, kept_answer, link, linked, session},
    record::{Record, decode, encode},
    tests::{app, deployment, env, release, ssh_key, user},
};

fn file(name: &str, version: u16) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/records");
    PathBuf::from(folder).join(format!("{name}.v{version}"))
}

/// Holds the samples against the file of the present version, and reads the files of all earlier ones.
fn check<R: Record + PartialEq + Debug>(name: &str, samples: &[R]) {
    let present: Vec<u8> =
        samples.iter().flat_map(|sample| [encode(sample).unwrap(), b"\n".to_vec()].concat()).collect();
    let path = file(name, R::VERSION);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &present).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let same = golden == present;
    assert!(same, "the shape of {name} has changed: see the top of {}\n{}", file!(), text(&present));
    for (stored, sample) in lines(&golden).zip(samples) {
        assert_eq!(&decode::<R>(stored).unwrap(), sample);
    }
    for version in 1..R::VERSION {
        let old = fs::read(file(name, version)).unwrap();
        assert!(lines(&old).count() > 0);
        for stored in lines(&old) {
            decode::<R>(stored).unwrap_or_else(|error| panic!("{name} v{version}: {error}"));
        }
    }
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn formation() -> Formation {
    Formation([("web".parse().unwrap(), 2), ("worker".parse().unwrap(), 0)].into())
}

#[test]
fn golden_app() {
    let used = App {
        deploy_branch: Some("main".into()),
        current_release: Some(ReleaseNumber(3)),
        last_release: 4,
        formation: formation(),
        ..app("shop")
    };
    let operated = App { is_stopped: true, rounds: [("web".parse().unwrap(), 2)].into(), ..used.clone() };
    check("app", &[app("shop"), used, operated]);
}

#[test]
fn golden_member() {
    check("member", &[Role::Viewer, Role::Deployer, Role::Admin]);
}

#[test]
fn golden_user() {
    let known = User { name: Some("Ada".into()), email_verified_at: Some(UnixMillis(5)), ..user() };
    check("user", &[user(), User { is_admin: true, ..user() }, known]);
}

#[test]
fn golden_session() {
    check("session", &[session(1, 7)]);
}

#[test]
fn golden_api_key() {
    let used = ApiKey { expires_at: Some(UnixMillis(9)), used_at: Some(UnixMillis(8)), ..api_key(2) };
    check("api_key", &[api_key(1), used]);
}

#[test]
fn golden_invitation() {
    let plain = Invitation { is_admin: true, role: None, ..invitation(2, "eve@example.com") };
    check("invitation", &[invitation(1, "bob@example.com"), plain]);
}

#[test]
fn golden_mailed_link() {
    check("mailed_link", &[link(1, LinkPurpose::ResetPassword), link(2, LinkPurpose::VerifyEmail)]);
}

#[test]
fn golden_linked_account() {
    check("linked_account", &[linked("42"), LinkedAccount { provider: Provider::Google, ..linked("43") }]);
}

#[test]
fn golden_credentials() {
    let recovery = vec![SecretDigest("ab".into())];
    let totp = Some(Totp { secret: "GEZDGNBV".into(), last_step: 60_000_000, recovery });
    let full =
        Credentials { password: Some("$argon2id$…".into()), totp, totp_offered: Some("GEZD".into()) };
    check("credentials", &[Credentials::default(), full]);
}

#[test]
fn golden_signing_keys() {
    check("signing_keys", &[vec![KeptKey { pkcs8: "TUMT".into(), created_at: UnixMillis(1) }]]);
}

#[test]
fn golden_ssh_key() {
    check::<SshKeyRecord>("ssh_key", &[ssh_key("SHA256:x")]);
}

#[test]
fn golden_config() {
    let mut bytes = EnvMap::new();
    bytes.set("BYTES", vec![1, 10, 127, 128, 255]).unwrap();
    check("config", &[env(&[]), env(&[("A", ""), ("DATABASE_URL", "postgres://ä")]), bytes]);
}

fn probes() -> Vec<HealthCheck> {
    let probes = [
        Probe::Http { path: "/up?x=1".into(), content: None, headers: vec![] },
        Probe::Http {
            path: "/".into(),
            content: Some("ok".into()),
            headers: vec![("x-check".into(), "1".into())],
        },
        Probe::Command(vec!["bin/check".into(), "--fast".into()]),
        Probe::Listening,
        Probe::Uptime { seconds: 10 },
    ];
    let kinds = [CheckKind::Startup, CheckKind::Readiness, CheckKind::Liveness];
    let check = |(at, probe): (usize, Probe)| HealthCheck {
        name: format!("check {at}"),
        kind: kinds[at % kinds.len()],
        probe,
        attempts: 3,
        wait: Duration::from_millis(1500),
        timeout: Duration::from_secs(5),
        initial_delay: Duration::ZERO,
    };
    probes.into_iter().enumerate().map(check).collect()
}

#[test]
fn golden_release() {
    let plain = release("shop", 1, 1);
    let site = |not_found: Option<&str>, single_page| Release {
        cron: Vec::new(),
        brings: ConfigBrought::default(),
        rev_env_var: None,
        artifact: Artifact::Directory {
            built_by: plain.deployment.clone(),
            launch: LaunchEnv {
                path: vec!["node_modules/.bin".into()],
                vars: BTreeMap::from([("NODE_ENV".into(), "production".into())]),
            },
            static_site: Some(StaticSite {
                root: "dist".into(),
                not_found: not_found.map(Into::into),
                single_page,
            }),
        },
        formation: formation(),
        checks: [("web".parse().unwrap(), probes())].into(),
        ..plain.clone()
    };
    let digest = format!("sha256:{}", "3f9c2a1b".repeat(8));
    let image = Release {
        cron: Vec::new(),
        brings: ConfigBrought::default(),
        rev_env_var: None,
        artifact: Artifact::Image {
            built_by: plain.deployment.clone(),
            image: digest.parse().unwrap(),
            ports: vec![80, 8080],
            is_lambda: true,
            static_site: None,
        },
        source: ReleaseSource::Image {
            reference: format!("registry.example.com/team/shop:1@{digest}").parse().unwrap(),
        },
        processes: [("web".parse().unwrap(), None)].into(),
        ..plain.clone()
    };
    let again =
        Release { description: "Rollback to v1".into(), again: Some(ReleaseNumber(1)), ..plain.clone() };
    check("release", &[plain.clone(), site(Some("404.html"), false), site(None, true), image, again]);
}

const STATES: [DeploymentState; 6] = [
    DeploymentState::Queued,
    DeploymentState::Running,
    DeploymentState::Prepared,
    DeploymentState::Success,
    DeploymentState::Failed,
    DeploymentState::Cancelled,
];

const STAGES: [Stage; 8] = [
    Stage::Source,
    Stage::Detect,
    Stage::Build,
    Stage::Release,
    Stage::Start,
    Stage::Health,
    Stage::Switch,
    Stage::Drain,
];

const FAILURES: [FailureKind; 20] = [
    FailureKind::Cancelled,
    FailureKind::Interrupted,
    FailureKind::BadSource,
    FailureKind::BadAppFile,
    FailureKind::NoRecipe,
    FailureKind::MissingTool,
    FailureKind::BuildFailed,
    FailureKind::TimedOut,
    FailureKind::ReleaseCommandFailed,
    FailureKind::InstanceExited,
    FailureKind::ListensElsewhere,
    FailureKind::NotListening,
    FailureKind::CheckFailed,
    FailureKind::EngineUnavailable,
    FailureKind::ImageUnavailable,
    FailureKind::OutOfMemory,
    FailureKind::DiskFull,
    FailureKind::NoPort,
    FailureKind::OverLimit,
    FailureKind::Internal,
];

#[test]
fn golden_deployment() {
    let at_work = STATES.map(|state| Deployment { state, ..deployment("shop", 1) });
    let stages = STAGES.into_iter().enumerate().map(|(at, stage)| StageRecord {
        stage,
        started_at: UnixMillis(10),
        ended_at: (at % 2 == 0).then_some(UnixMillis(20)),
    });
    let live = Deployment {
        state: DeploymentState::Success,
        stages: stages.collect(),
        release: Some(ReleaseNumber(3)),
        ended_at: Some(UnixMillis(20)),
        ..deployment("shop", 2)
    };
    let failed = FAILURES.map(|kind| Deployment {
        state: DeploymentState::Failed,
        failure: Some(
            Failure::new(Stage::Health, kind, "it \"failed\"").evidence(["exit code 1"]).hint("try again"),
        ),
        ended_at: Some(UnixMillis(20)),
        ..deployment("shop", 3)
    });
    let image = Deployment {
        source: Source::Image { reference: "registry.example.com/team/shop:1".parse().unwrap() },
        ..deployment("shop", 4)
    };
    check("deployment", &[at_work.as_slice(), &[live], &failed, &[image]].concat());
}

#[test]
fn golden_kept_answer() {
    check("kept_answer", &[kept_answer(3, None), kept_answer(4, Some(201))]);
}

#[test]
fn golden_one_off() {
    let app: autostack_domain::AppName = "shop".parse().unwrap();
    let one_off = |command: Option<&str>, is_attached| OneOff {
        app: app.clone(),
        number: OneOffNumber(3),
        instance: InstanceId::compose(&app, &ProcessType::run(), 3, 0xbeef),
        release: ReleaseNumber(7),
        command: command.map(str::to_owned),
        started_by: "ada@example.test (laptop)".into(),
        started_at: UnixMillis(20),
        is_attached,
        cron: None,
    };
    check("one_off", &[one_off(Some("rake \"db:migrate\""), true), one_off(None, false)]);
}
