//! Every command × everybody: read from the command table itself, so that a command that nobody has thought of fails.

use std::collections::BTreeMap;

use crate::world::{Developer, Output, World, apps};

/// Who asks, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Stranger,
    Viewer,
    Deployer,
    AppAdmin,
    PlatformAdmin,
}

/// The least that may do it; a second opinion beside the platform's own.
fn least(action: &str) -> Who {
    match action {
        "view_app" | "read_logs" => Who::Viewer,
        "fetch_code" | "push" | "manage_config" | "manage_registries" | "operate" | "run_command" => {
            Who::Deployer
        }
        "manage_members" | "destroy_app" => Who::AppAdmin,
        other => panic!("who may {other}?"),
    }
}

/// What follows the name of a command that is about the app `shop`: enough to be understood. A line a command.
const USES: &str = "
    access-logs shop
    access:add shop eve viewer
    access:list shop
    access:remove shop nobody
    apps:clone shop twin
    apps:destroy shop --force
    apps:exists shop
    apps:lock shop
    apps:locked shop
    apps:rename shop mall
    apps:report shop
    apps:set shop deploy-source x
    apps:unlock shop
    audit shop
    builder-dockerfile:report shop
    builder-dockerfile:set shop dockerfile-path Dockerfile
    builder:report shop
    builder:set shop build-dir src
    buildpacks:add shop heroku/nodejs
    buildpacks:clear shop
    buildpacks:list shop
    buildpacks:remove shop heroku/nodejs
    buildpacks:report shop
    buildpacks:set shop heroku/nodejs
    builds:cancel shop
    builds:info shop 1
    builds:list shop
    builds:output shop
    certs:add shop
    certs:generate shop shop.example.com
    certs:remove shop
    certs:report shop
    certs:show shop crt
    certs:update shop
    checks:disable shop
    checks:enable shop
    checks:report shop
    checks:run shop
    checks:set shop attempts 3
    checks:skip shop
    config shop
    config:bundle shop
    config:clear shop --no-restart
    config:export shop
    config:get shop A
    config:import shop
    config:keys shop
    config:set shop A=1 --no-restart
    config:show shop
    config:unset shop A --no-restart
    cron:list shop
    cron:logs shop 0123456789abcdef
    cron:report shop
    cron:resume shop 0123456789abcdef
    cron:run shop 0123456789abcdef
    cron:runs shop
    cron:set shop timezone UTC
    cron:suspend shop 0123456789abcdef
    docker-options:add shop deploy --init
    docker-options:clear shop
    docker-options:list shop
    docker-options:remove shop deploy --init
    docker-options:report shop
    domains:add shop shop.example.com
    domains:clear shop
    domains:disable shop
    domains:enable shop
    domains:remove shop shop.example.com
    domains:report shop
    domains:reset shop
    domains:set shop shop.example.com
    enter shop web true
    events shop
    git:auth --app shop example.com ada secret
    git:from-archive shop http://example.com/a.tar
    git:from-image shop busybox
    git:initialize shop
    git:load-image shop busybox
    git:report shop
    git:set shop keep-git-dir true
    git:sync shop https://example.com/a.git
    http-auth:add-user shop ada secret-secret
    http-auth:off shop
    http-auth:on shop ada secret-secret
    http-auth:remove-user shop ada
    http-auth:report shop
    logs shop
    logs:failed shop
    maintenance:off shop
    maintenance:on shop
    maintenance:report shop
    ports:add shop http:80:5000
    ports:clear shop
    ports:list shop
    ports:remove shop http:80:5000
    ports:report shop
    ports:set shop http:80:5000
    proxy:build-config shop
    proxy:disable shop
    proxy:enable shop
    proxy:report shop
    ps:inspect shop
    ps:rebuild shop
    ps:report shop
    ps:restart shop
    ps:restore shop
    ps:scale shop web=1
    ps:start shop
    ps:stop shop
    redirect:report shop
    redirect:set shop a.example.com b.example.com
    redirect:unset shop a.example.com
    registry:login shop ghcr.io ada secret
    registry:logout shop ghcr.io
    registry:report shop
    releases:info shop
    releases:list shop
    repo:gc shop
    repo:purge-cache shop
    report shop
    resource:limit --memory 512 shop
    resource:limit-clear shop
    resource:report shop
    resource:reserve --memory 64 shop
    resource:reserve-clear shop
    rollback shop
    run shop true
    run:detached shop true
    run:list shop
    run:logs shop
    run:stop shop
    storage:list shop
    storage:mount shop data:/data
    storage:report shop
    storage:unmount shop data:/data
    url shop
    urls shop
";

/// What may be done for good measure by who may: it only looks.
const LOOKS: [&str; 10] = [
    "access:list",
    "apps:exists",
    "apps:report",
    "config:export",
    "config:keys",
    "config:show",
    "logs",
    "releases:list",
    "url",
    "urls",
];

/// Commands about the host, with words enough to be understood.
const HOST_USES: &str = "
    domains:add-global example.com
    domains:clear-global
    domains:remove-global example.com
    domains:set-global example.com
    git:allow-host example.com
    git:unallow-host example.com
    ssh-keys:add bob AAAA
    ssh-keys:list
    ssh-keys:remove bob
";

fn uses(text: &'static str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter_map(|words| Some((*words.first()?, words))).collect()
}

fn is_refused(output: &Output) -> bool {
    let says_so = output.stderr.contains("may not") || output.stderr.contains("nly an admin may");
    output.code == Some(1) && says_so
}

#[test]
fn a4_nobody_may_do_more_than_their_role_says() {
    let world = World::new();
    let root = world.developer("root");
    let [owner, viewer, deployer, admin, stranger] =
        ["ada", "vic", "dee", "amy", "eve"].map(|name| world.person(name));
    owner.app_of(apps::node("web")).push("shop").accepted();
    for (name, role) in [("vic", "viewer"), ("dee", "deployer"), ("amy", "admin")] {
        owner.ssh(&["access:add", "shop", name, role]).ok();
    }
    let people: [(Who, &Developer<'_>); 5] = [
        (Who::Stranger, &stranger),
        (Who::Viewer, &viewer),
        (Who::Deployer, &deployer),
        (Who::AppAdmin, &admin),
        (Who::PlatformAdmin, &root),
    ];
    let table: serde_json::Value =
        serde_json::from_str(&owner.ssh(&["help", "--format", "json"]).ok()).unwrap();
    let (app_uses, host_uses) = (uses(USES), uses(HOST_USES));
    let mut wrong = Vec::new();
    for command in table.as_array().unwrap() {
        let (name, needs) = (command["name"].as_str().unwrap(), &command["needs"]);
        let (words, least) = match (needs.as_str(), needs["app"].as_str()) {
            (Some("nothing"), _) => continue,
            (Some("host"), _) => (host_uses.get(name), Who::PlatformAdmin),
            (None, Some(action)) => (app_uses.get(name), least(action)),
            _ => panic!("{name} needs {needs}"),
        };
        let Some(words) = words else {
            wrong.push(format!("{name} has no line in this story: say how it is used"));
            continue;
        };
        for (who, person) in people {
            let is_allowed = who >= least;
            if is_allowed && !LOOKS.contains(&name) {
                continue;
            }
            let output = person.ssh(words);
            let is_right = match who {
                _ if is_allowed => output.code != Some(20) && !is_refused(&output),
                Who::Stranger if needs != "host" => output.code == Some(20),
                _ => is_refused(&output),
            };
            if !is_right {
                wrong.push(format!("{who:?}: {}: {output}", words.join(" ")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} wrong:\n{}",
        wrong.len(),
        table.as_array().unwrap().len(),
        wrong.join("\n")
    );
    assert_eq!(world.get("shop", "/").body, "web", "nothing of it has changed the app");
}
