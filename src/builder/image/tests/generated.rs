//! Dockerfiles that are generated from plans, built and looked into.

use std::collections::BTreeMap;

use autostack_domain::{FailureKind, Stage};

use super::{Yard, files, holds};
use crate::{CacheFolder, Made, Reuse, Step};

/// An npm for a base that has none: it notes how it was called.
const NPM: &str = "echo installed $(cat package.json) > node_modules";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_procfile_becomes_an_image_that_runs_as_its_own_user() {
    let yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve.sh\nworker: sleep 1\n");
    yard.write("serve.sh", "#!/bin/sh\necho serving\n");
    let image = yard.image().await;
    assert_eq!(image.user, "10001:10001");
    assert_eq!(image.cmd, ["/bin/sh", "-c", "./serve.sh"]);
    assert!(image.entrypoint.is_empty() && image.ports.is_empty(), "{image:?}");
    let seen =
        yard.run(&image.id, "id -un; pwd; echo $HOME; sh serve.sh; touch new && stat -c %u new Procfile");
    assert_eq!(seen, "app\n/app\n/app\nserving\n10001\n10001\n");
    let printed = yard.printed();
    assert!(!printed.contains("RUN"), "only what the developer knows is told: {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_becomes_an_image() {
    let yard = Yard::new().await;
    yard.write("start.sh", "echo started on $PORT\n");
    let image = yard.image().await;
    assert_eq!(image.cmd, ["/bin/sh", "-c", "sh start.sh"]);
    assert_eq!(yard.run(&image.id, "PORT=5000 sh start.sh"), "started on 5000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_see_the_config_and_leave_none_of_it() {
    let mut yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve\n");
    let value: Vec<u8> = b"canary-e20b'\"$(id)\n\xff end".to_vec();
    yard.env.set("TOKEN", value.as_slice()).unwrap();
    yard.env.set("PATH", "/nowhere").unwrap();
    let mut plan = yard.plan();
    plan.launch.vars.insert("MODE".into(), "a $b \"c\"".into());
    plan.launch.path.push("tools".into());
    plan.steps.push(
        Step::new("Looking", "printf %s \"$TOKEN\" | md5sum > sum; echo \"$MODE $EXTRA $PATH\" > seen")
            .env("EXTRA", "x y"),
    );
    let image = yard.image_of(&plan).await;
    let expected = "a $b \"c\" x y /app/tools:/bin\n";
    assert_eq!(yard.run(&image.id, "cat seen"), expected);
    let sum = yard
        .run(&image.id, "printf 'canary-e20b'\"'\"'\"$(id)\\n\\377 end' | md5sum | cmp - sum && echo same");
    assert_eq!(sum, "same\n");
    assert_eq!(yard.run(&image.id, "echo $MODE $PATH"), "a $b \"c\" /app/tools:/bin\n");
    assert!(!holds(&yard.bytes_of(&image.id), "canary-e20b"));
    assert!(!yard.printed().contains("canary-e20b"));
    // Nor where the builder keeps what it reuses.
    let cached = super::docker(&["system", "df", "--verbose", "--format", "{{json .BuildCache}}"]);
    assert!(!cached.contains("canary-e20b"));
    let mark = format!("autostack-{}-sample", yard.engine.mark());
    assert!(cached.contains(&mark), "what is kept can be found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_a_few_files_is_reused_and_a_changed_config_is_seen() {
    let mut yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve\n");
    yard.write("package.json", "one");
    yard.write("app.txt", "1");
    yard.env.set("GREETING", "hello").unwrap();
    let mut plan = plan_of_procfile(&yard);
    let reuse = Reuse {
        folder: "node_modules".into(),
        decided_by: vec!["package.json".into(), ".npmrc".into()],
        tool: "node".into(),
    };
    plan.steps.push(
        Step::new(
            "Installing dependencies",
            format!("{NPM}; cat /proc/sys/kernel/random/uuid >> node_modules"),
        )
        .reuse(Some(reuse)),
    );
    plan.steps.push(Step::new("Building", "echo \"$GREETING\" $(cat app.txt) > built"));
    let first = yard.image_of(&plan).await;
    let installed = yard.run(&first.id, "cat node_modules");
    assert!(installed.starts_with("installed one\n"), "{installed}");

    yard.write("app.txt", "2");
    let second = yard.image_of(&plan).await;
    assert_eq!(yard.run(&second.id, "cat node_modules built"), format!("{installed}hello 2\n"));
    assert!(yard.printed().contains("reused from an earlier build"), "{}", yard.printed());

    yard.env.set("GREETING", "bye").unwrap();
    let third = yard.image_of(&plan).await;
    assert_eq!(
        yard.run(&third.id, "cat node_modules built"),
        format!("{installed}bye 2\n"),
        "{}",
        yard.printed()
    );

    yard.env.set("NPM_CONFIG_REGISTRY", "https://r.example.com").unwrap();
    let fourth = yard.image_of(&plan).await;
    assert_ne!(yard.run(&fourth.id, "cat node_modules"), installed);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_got_once_and_again_when_their_cache_was_lost() {
    let yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve\n");
    let mut plan = yard.plan();
    let mut cache = CacheFolder::new("tools/manager-1", "AUTOSTACK_MANAGER");
    cache.path = Some("bin".into());
    cache.per_version_of = Some("sh".into());
    plan.caches.push(cache);
    let get = "mkdir -p \"$AUTOSTACK_MANAGER/bin\" && printf '#!/bin/sh\\necho managed\\n' > \"$AUTOSTACK_MANAGER/bin/manager\" && chmod 755 \"$AUTOSTACK_MANAGER/bin/manager\" && echo got it";
    plan.steps.push(Step::new("Getting manager", get).known_as("get manager").fills("AUTOSTACK_MANAGER"));
    plan.steps.push(Step::new("Installing", "manager > one"));
    plan.steps.push(Step::new("Building", "manager > two"));
    let image = yard.image_of(&plan).await;
    assert_eq!(
        yard.run(&image.id, "cat one two; ls /var/cache/autostack 2>/dev/null; true"),
        "managed\nmanaged\n"
    );
    let printed = yard.printed();
    assert_eq!(printed.matches("Getting manager: get manager").count(), 1, "{printed}");
    // A changed source runs the steps again, with the tool that is there.
    yard.write("more", "x");
    yard.image_of(&plan).await;
    assert_eq!(yard.printed().matches("got it").count(), 1, "{}", yard.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_site_comes_back_as_files_and_leaves_no_image() {
    let yard = Yard::new().await;
    yard.write("package.json", r#"{"scripts": {"build": "x"}, "devDependencies": {"vite": "7"}}"#);
    yard.write("index.html", "source");
    let mut plan = yard.plan();
    assert!(plan.static_site.is_some(), "{plan:#?}");
    plan.steps.clear();
    plan.steps.push(Step::new(
        "Building",
        "mkdir -p dist/a && echo built > dist/index.html && ln -s ../index.html dist/a/l",
    ));
    assert_eq!(
        yard.build(&plan).await.unwrap_or_else(|failure| panic!("{failure:#?}\n{}", yard.printed())),
        Made::Directory
    );
    let expected = [("dist/a/l", "built\n"), ("dist/index.html", "built\n")];
    let expected: BTreeMap<String, String> =
        expected.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    assert_eq!(files(&yard.source()), expected);
    assert!(yard.engine.images_of_agent(Some(&yard.app)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_a_worker_has_its_files_and_its_image() {
    let yard = Yard::new().await;
    yard.write("package.json", r#"{"scripts": {"build": "x"}, "devDependencies": {"vite": "7"}}"#);
    yard.write("Procfile", "worker: sleep 1\n");
    let mut plan = yard.plan();
    assert!(plan.static_site.is_some(), "{plan:#?}");
    plan.steps = vec![Step::new("Building", "mkdir dist && echo built > dist/index.html")];
    let image = yard.image_of(&plan).await;
    assert_eq!(yard.run(&image.id, "ls"), "Procfile\ndist\npackage.json\n");
    let expected: BTreeMap<String, String> = [("dist/index.html".to_owned(), "built\n".to_owned())].into();
    assert_eq!(files(&yard.source()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_a_site_that_leads_out_of_its_folder_is_refused() {
    let yard = Yard::new().await;
    yard.write("package.json", r#"{"scripts": {"build": "x"}, "devDependencies": {"vite": "7"}}"#);
    yard.write("index.html", "source");
    let mut plan = yard.plan();
    for (bad, why) in [
        ("ln -s /etc/passwd dist/p", "leads out"),
        ("ln -s ../../x dist/p", "leads out"),
        ("rm -r dist", "dist"),
    ] {
        yard.write("index.html", bad);
        plan.steps = vec![Step::new("Building", format!("mkdir -p dist; {bad}"))];
        let Err(failure) = yard.build(&plan).await else { panic!("{bad}: {}", yard.printed()) };
        assert_eq!(failure.stage, Stage::Build);
        assert!(failure.cause.contains(why), "{failure:#?}");
        yard.write("index.html", "again");
    }
    assert!(yard.engine.images_of_agent(Some(&yard.app)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_need_no_build_need_no_engine() {
    let yard = Yard::new().await;
    yard.write("index.html", "hello");
    assert_eq!(yard.build(&yard.plan()).await.unwrap(), Made::Directory);
    assert_eq!(files(&yard.source()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_told_in_the_words_of_the_plan() {
    let yard = Yard::new().await;
    yard.write("Procfile", "web: ./serve\n");
    let mut plan = yard.plan();
    let line = "echo 'npm error `npm ci` can only install packages when your package.json and …'; exit 1";
    plan.steps.push(Step::new("Installing dependencies", line).known_as("npm ci --omit=dev"));
    plan.steps.push(Step::new("Never", "true"));
    let failure = yard.build(&plan).await.unwrap_err();
    assert_eq!((failure.stage, failure.kind), (Stage::Build, FailureKind::BuildFailed));
    assert_eq!(failure.cause, "`npm ci --omit=dev` exited with code 1");
    assert!(failure.hint.contains("commit package-lock.json"), "{failure:#?}");
    assert_eq!(failure.evidence.len(), 1, "{failure:#?}");
    assert!(yard.printed().contains("Installing dependencies: npm ci --omit=dev"), "{}", yard.printed());
    assert!(yard.engine.images_of_agent(Some(&yard.app)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_classic_builder_makes_the_same_image_without_config() {
    let mut yard = Yard::with_settings("[docker]\nbuilder = \"classic\"\n").await;
    yard.write("Procfile", "web: ./serve\n");
    yard.env.set("TOKEN", "canary-classic-1").unwrap();
    let mut plan = yard.plan();
    plan.caches.push(CacheFolder::new("tools", "TOOLS"));
    plan.steps.push(Step::new("Getting a tool", "echo tool > \"$TOOLS/tool\"").fills("TOOLS"));
    plan.steps.push(Step::new("Building", "cat \"$TOOLS/tool\" > built; echo \"${TOKEN-none}\" >> built"));
    let image = yard.image_of(&plan).await;
    assert_eq!(yard.run(&image.id, "cat built; id -u"), "tool\nnone\n10001\n");
    assert!(yard.printed().contains("do not see the app's config"), "{}", yard.printed());
    assert!(!holds(&yard.bytes_of(&image.id), "canary-classic-1"));
    // This builder keeps the first stage as an image of its own, which must be found again: it gets a name.
    let ours = yard.engine.images_of_agent(Some(&yard.app)).await.unwrap();
    let stages = ours.iter().filter(|it| it.tags.iter().any(|tag| tag.ends_with("-stage-0")));
    assert_eq!(stages.count(), 1, "{ours:?}");
    assert!(ours.iter().all(|it| !it.tags.is_empty()), "{ours:?}");
}

fn plan_of_procfile(yard: &Yard) -> crate::BuildPlan {
    let package = yard.source().join("package.json");
    let text = std::fs::read(&package).unwrap();
    std::fs::remove_file(&package).unwrap();
    let plan = yard.plan();
    std::fs::write(package, text).unwrap();
    plan
}
