//! Images on the real engine, from a real registry.

use std::{
    io,
    net::TcpListener,
    sync::Mutex,
    time::{Duration, Instant},
};

use autostack_domain::{AppName, DeploymentId, Digest, ImageReference, RegistryLogin, Secret};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    Engine, EngineError, ImageFacts, Output, PullRefusal,
    testing::{BUSYBOX, Registry, TestEngine, busybox, tar_of},
};

const DEPLOYMENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// What was said, as lines.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn note(&self, output: Output<'_>) {
        let line = match output {
            Output::Step(line) | Output::Detail(line) => line.to_owned(),
            Output::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn pull(
    engine: &Engine,
    reference: &ImageReference,
    auth: Option<&RegistryLogin>,
) -> Result<ImageFacts, EngineError> {
    engine.pull(reference, auth, &|_| {}, &CancellationToken::new()).await
}

fn why(result: Result<ImageFacts, EngineError>) -> PullRefusal {
    match result {
        Err(EngineError::PullFailed { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// An image that no other test has.
async fn unique_image(engine: &TestEngine, changes: &[&str]) -> Digest {
    let name = format!("autostack-{}/unique:1", engine.mark());
    let tar = tar_of(&[("unique", engine.mark().as_str().as_bytes())]);
    let mut all = vec![format!("LABEL autostack.agent={}", engine.mark())];
    all.extend(changes.iter().map(|&change| change.to_owned()));
    engine.import(stream::iter([Ok(Bytes::from(tar))]), &name, &all).await.unwrap()
}

async fn names_of(engine: &Engine, id: &Digest) -> Vec<String> {
    let facts = engine.inspect_image(id.as_str()).await.unwrap();
    facts.map(|facts| [facts.tags, facts.repo_digests].concat()).unwrap_or_default()
}

#[tokio::test]
async fn an_image_is_pulled_by_its_digest_and_adopted() {
    let engine = TestEngine::find();
    let registry = Registry::start(None);
    let id = unique_image(&engine, &["EXPOSE 8080 53/udp", "CMD [\"/unique\", \"a b\"]", "USER 1000"]).await;
    let reference = registry.push(&engine, &id, "team/unique:1").await;
    engine.remove_image(&format!("autostack-{}/unique:1", engine.mark())).await.unwrap();
    assert_eq!(engine.inspect_image(id.as_str()).await.unwrap(), None, "gone before the pull");

    let heard = Heard::default();
    let facts = engine.pull(&reference, None, &|it| heard.note(it), &CancellationToken::new()).await.unwrap();
    assert_eq!(facts.id, id);
    assert_eq!((&*facts.ports, &*facts.user), (&[8080][..], "1000"));
    assert_eq!(facts.cmd, ["/unique", "a b"]);
    let digest = facts.digest_for(&reference).unwrap();
    assert_eq!(facts.tags, [] as [&str; 0], "no tag was made");
    assert_eq!(facts.brought, [format!("{}@{digest}", reference.repository())]);
    let lines = heard.lines();
    assert_eq!(lines[0], format!("Pulling {reference}"));
    assert_eq!(lines.last().unwrap(), &format!("Digest {digest}"));

    let again = pull(&engine, &reference, None).await.unwrap();
    assert_eq!((again.id, again.brought.len()), (id.clone(), 0));
    let pinned = pull(&engine, &reference.with_digest(digest), None).await.unwrap();
    assert_eq!(pinned.id, id);

    let (app, deployment): (AppName, DeploymentId) = ("shop".parse().unwrap(), DEPLOYMENT.parse().unwrap());
    let name = engine.image_name(&app, &deployment);
    engine.adopt(&facts, &name).await.unwrap();
    assert_eq!(names_of(&engine, &id).await, [name.as_str()]);
    let ours = engine.images_of_agent(Some(&app)).await.unwrap();
    assert_eq!(ours.iter().map(|image| &image.id).collect::<Vec<_>>(), [&id]);
    assert!(engine.remove_image(&name).await.unwrap());
    assert_eq!(engine.inspect_image(id.as_str()).await.unwrap(), None, "it went with our name");
    assert!(!engine.remove_image(&name).await.unwrap());
}

#[tokio::test]
async fn a_login_goes_to_its_registry_and_to_no_other() {
    let engine = TestEngine::find();
    // Its base64 has both characters in which the two alphabets differ.
    let password = "~~~???>>>ÿÿ+/";
    let registry = Registry::start(Some(("anna", password)));
    let id = unique_image(&engine, &[]).await;
    let reference = registry.push(&engine, &id, "private:1").await;
    let auth = registry.auth().unwrap();
    assert_eq!(pull(&engine, &reference, Some(&auth)).await.unwrap().id, id);

    // It is here by now, and still nobody gets it without the login.
    assert_eq!(why(pull(&engine, &reference, None).await), PullRefusal::Denied);
    let wrong = RegistryLogin { password: Secret::new("wrong".into()), ..auth.clone() };
    assert_eq!(why(pull(&engine, &reference, Some(&wrong)).await), PullRefusal::Denied);
    let elsewhere = RegistryLogin { registry: "127.0.0.2:1".parse().unwrap(), ..auth };
    assert_eq!(why(pull(&engine, &reference, Some(&elsewhere)).await), PullRefusal::Denied);
    let facts = engine.inspect_image(id.as_str()).await.unwrap().unwrap();
    engine.also_remove(facts.repo_digests[0].clone());
}

#[tokio::test]
async fn reasons_why_an_image_cannot_be_pulled_are_told_apart() {
    let engine = TestEngine::find();
    let registry = Registry::start(None);
    let id = unique_image(&engine, &[]).await;
    registry.push(&engine, &id, "there:1").await;
    for missing in ["there:2", "nowhere:1"] {
        let error = pull(&engine, &registry.reference(missing), None).await.unwrap_err();
        assert!(matches!(error, EngineError::PullFailed { why: PullRefusal::NotFound, .. }), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.ends_with("cannot be pulled: the registry does not have it"), "{sentence}");
    }
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let refusal = |name: String| {
        let engine = &engine;
        async move { why(pull(engine, &name.parse().unwrap(), None).await) }
    };
    assert_eq!(refusal(format!("{closed}/a:1")).await, PullRefusal::Unreachable);
    assert_eq!(refusal("registry.invalid/a:1".into()).await, PullRefusal::UnknownHost);
}

#[tokio::test]
async fn an_image_for_another_processor_is_refused() {
    let engine = TestEngine::find();
    let registry = Registry::start(None);
    let foreign = load(&engine, vec![Ok(image_for("s390x", engine.mark().as_str()).into())]).await.unwrap();
    let id = foreign[0].id.clone();
    let reference = registry.push(&engine, &id, "foreign:1").await;
    engine.remove_image(id.as_str()).await.unwrap();
    let error = pull(&engine, &reference, None).await.unwrap_err();
    assert!(matches!(error, EngineError::PullFailed { why: PullRefusal::WrongPlatform, .. }), "{error:?}");
    assert!(error.evidence().unwrap().contains("s390x"), "{error:?}");
    assert_eq!(engine.inspect_image(id.as_str()).await.unwrap(), None, "it was not even fetched");
}

/// What `docker save` would write of an image for another processor.
fn image_for(arch: &str, content: &str) -> Vec<u8> {
    let layer = tar_of(&[("unique", content.as_bytes())]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &layer);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!(
        r#"{{"architecture":"{arch}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    let manifest = br#"[{"Config":"config.json","RepoTags":null,"Layers":["layer.tar"]}]"#;
    tar_of(&[("config.json", config.as_bytes()), ("layer.tar", &layer), ("manifest.json", manifest)])
}

#[tokio::test]
async fn a_pull_ends_soon_after_it_is_cancelled() {
    let engine = TestEngine::find();
    // Takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/a:1", listener.local_addr().unwrap()).parse().unwrap();
    let cancel = CancellationToken::new();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
        Instant::now()
    };
    let (result, cancelled_at) = tokio::join!(engine.pull(&reference, None, &|_| {}, &cancel), cancelling);
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    assert!(cancelled_at.elapsed() < Duration::from_secs(1));
}

/// What `docker save` would write.
async fn saved(engine: &Engine, name: &str) -> Vec<Bytes> {
    let docker = engine.docker().await.unwrap();
    docker.export_image(name).try_collect().await.unwrap()
}

async fn load(engine: &Engine, pieces: Vec<io::Result<Bytes>>) -> Result<Vec<ImageFacts>, EngineError> {
    engine.load(stream::iter(pieces), &|_| {}, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_loaded_image_takes_no_name_away() {
    let engine = TestEngine::find();
    let evil = unique_image(&engine, &[]).await;
    let theirs = format!("autostack-{}/theirs:1", engine.mark());
    engine.tag(&evil, &theirs).await.unwrap();
    let archive = saved(&engine, &theirs).await;
    engine.remove_image(&theirs).await.unwrap();
    engine.remove_image(&format!("autostack-{}/unique:1", engine.mark())).await.unwrap();
    let good = busybox(&engine).await;
    engine.tag(&good, &theirs).await.unwrap();

    let loaded = load(&engine, archive.into_iter().map(Ok).collect()).await.unwrap();
    assert_eq!(loaded.iter().map(|facts| &facts.id).collect::<Vec<_>>(), [&evil]);
    assert_eq!(loaded[0].tags, [] as [&str; 0]);
    assert_eq!(engine.inspect_image(&theirs).await.unwrap().unwrap().id, good, "still whose it was");
    let name = format!("autostack-{}/shop:1", engine.mark());
    engine.adopt(&loaded[0], &name).await.unwrap();
    assert_eq!(names_of(&engine, &evil).await, [name]);
}

#[tokio::test]
async fn an_archive_that_is_none_is_named() {
    let engine = TestEngine::find();
    busybox(&engine).await;
    let archive = saved(&engine, BUSYBOX).await.concat();
    let half = Bytes::copy_from_slice(&archive[..archive.len() / 2]);

    let error = load(&engine, vec![Ok(half.clone())]).await.unwrap_err();
    assert!(matches!(error, EngineError::NotAnArchive { .. }), "cut: {error:?}");
    let error = load(&engine, vec![Ok(half), Err(io::Error::other("the line was cut"))]).await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Input { source, .. } if source.to_string() == "the line was cut"),
        "{error:?}"
    );
    let error = load(&engine, vec![Ok(Bytes::from_static(b"hello"))]).await.unwrap_err();
    assert!(matches!(error, EngineError::NotAnArchive { .. }), "{error:?}");
    // A list of images that are not in it: the engine itself finds out.
    let manifest = br#"[{"Config":"none.json","RepoTags":null,"Layers":[]}]"#;
    let error = load(&engine, vec![Ok(tar_of(&[("manifest.json", manifest)]).into())]).await.unwrap_err();
    assert!(error.to_string().contains("none.json"), "{error:?}");
}

#[tokio::test]
async fn a_load_ends_soon_after_it_is_cancelled() {
    let engine = TestEngine::find();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 1024])));
    let result = engine.load(endless, &|_| {}, &cancel).await;
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    let stalled = stream::pending();
    let cancel = CancellationToken::new();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    };
    let began = Instant::now();
    let (result, ()) = tokio::join!(engine.load(stalled, &|_| {}, &cancel), cancelling);
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(
        engine.tasks().wait(Duration::from_secs(5)).await.is_empty(),
        "nothing goes on behind the scenes"
    );
}

#[tokio::test]
async fn files_of_an_image_are_read_and_nothing_stays() {
    let engine = TestEngine::find();
    let id = busybox(&engine).await;
    let mut files = engine.files_of(&id, "/etc/passwd").await.unwrap();
    let mut tar = Vec::new();
    while let Some(piece) = files.next().await {
        tar.extend_from_slice(&piece.unwrap());
    }
    files.close().await.unwrap();
    let mut archive = tar::Archive::new(&*tar);
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("passwd"));

    // Dropped after a piece, and for a path that does not exist.
    let mut files = engine.files_of(&id, "/bin").await.unwrap();
    files.next().await.unwrap().unwrap();
    drop(files);
    let missing = engine.files_of(&id, "/nowhere").await.err().unwrap();
    assert!(missing.is_not_found(), "{missing:?}");
    let unknown: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    assert!(engine.files_of(&unknown, "/").await.err().unwrap().is_not_found());
    assert!(engine.tasks().wait(Duration::from_secs(20)).await.is_empty());
    assert_eq!(containers_of(&engine).await, 0);
}

/// What a killed agent leaves behind, for an agent with that mark; made without the agent's knowledge.
async fn left_behind(engine: &Engine, name: &str, mark: &str, purpose: &str) {
    let labels = [("autostack.agent", mark), ("autostack.purpose", purpose)];
    let body = bollard::models::ContainerCreateBody {
        image: Some(BUSYBOX.into()),
        labels: Some(labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into()),
        ..Default::default()
    };
    let options = bollard::query_parameters::CreateContainerOptions {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    engine.docker().await.unwrap().create_container(Some(options), body).await.unwrap();
}

#[tokio::test]
async fn what_is_cleared_is_ours_and_nothing_else() {
    let (engine, other) = (TestEngine::find(), TestEngine::find());
    let base = busybox(&engine).await;
    let (ours, theirs) = (engine.mark().as_str(), other.mark().as_str());
    let app: AppName = "shop".parse().unwrap();
    let deployment: DeploymentId = DEPLOYMENT.parse().unwrap();
    engine.tag(&base, &engine.image_name(&app, &deployment)).await.unwrap();
    other.tag(&base, &other.image_name(&app, &deployment)).await.unwrap();
    unique_image(&other, &[]).await;

    // Ours to clear: a leftover. Not ours: another agent's; one with our labels, as `docker commit` copies them, under
    // another name; one that an instance runs in; and what is being read right now.
    left_behind(&engine, &format!("autostack-{ours}-files-1"), ours, "files").await;
    left_behind(&engine, &format!("autostack-{theirs}-files-1"), theirs, "files").await;
    left_behind(&engine, &format!("copied-{ours}"), ours, "files").await;
    left_behind(&engine, &format!("autostack-{ours}-files-2"), ours, "instance").await;
    let reading = engine.files_of(&base, "/bin").await.unwrap();
    assert_eq!(containers_of(&engine).await, 4);

    assert_eq!(engine.remove_leftovers().await.unwrap(), 1);
    assert_eq!((containers_of(&engine).await, containers_of(&other).await), (3, 1));
    reading.close().await.unwrap();
    assert_eq!(containers_of(&engine).await, 2);
    assert_eq!(engine.remove_leftovers().await.unwrap(), 0);

    // Of the image, each sees its own name among all; taking it away leaves the others'.
    let listed = engine.images_of_agent(None).await.unwrap();
    assert_eq!(listed.iter().map(|image| &image.id).collect::<Vec<_>>(), [&base]);
    for tag in listed.iter().flat_map(|image| &image.tags).filter(|tag| engine.is_own_name(tag)) {
        assert!(engine.remove_image(tag).await.unwrap());
    }
    assert!(engine.images_of_agent(None).await.unwrap().is_empty());
    let names = names_of(&other, &base).await;
    assert!(
        names.contains(&BUSYBOX.to_owned()) && names.contains(&other.image_name(&app, &deployment)),
        "{names:?}"
    );
    assert_eq!(other.images_of_agent(None).await.unwrap().len(), 2);
}

async fn containers_of(engine: &Engine) -> usize {
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some(engine.label_filter(None)),
        ..Default::default()
    };
    engine.docker().await.unwrap().list_containers(Some(options)).await.unwrap().len()
}
