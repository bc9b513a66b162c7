//! Every operation of the API's own document × everybody: one that nobody has thought of fails.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde_json::{Value, json};

use super::{PASSWORD, somebody};
use crate::world::{ApiClient, Options, World, soon};

/// Who asks; of those who come as somebody, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Anonymous,
    Forged,
    /// With a token that was good once.
    Expired,
    Stranger,
    Viewer,
    Deployer,
    AppAdmin,
    PlatformAdmin,
    /// An API key of the app's admin that is good for this alone.
    Key(Scope),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Read,
    Deploy,
    Config,
    Manage,
}

const EVERYBODY: [Who; 12] = [
    Who::Anonymous,
    Who::Forged,
    Who::Expired,
    Who::Stranger,
    Who::Viewer,
    Who::Deployer,
    Who::AppAdmin,
    Who::PlatformAdmin,
    Who::Key(Scope::Read),
    Who::Key(Scope::Deploy),
    Who::Key(Scope::Config),
    Who::Key(Scope::Manage),
];

/// Every operation: method, path, the least that may do it, the scope that a key needs, and a body that is understood.
/// `open` is for everybody and gives this status; `known` for who is known, `session` for those who have logged in, `mine`
/// about something of one's own that another has no part in, `host` for who runs the host.
const OPERATIONS: &str = r#"
    GET    /health                                  open 200
    GET    /metrics                                 open 200
    GET    /api/auth/signup                         open 422
    GET    /api/auth/verify-email                   open 422
    POST   /api/auth/verify-email                   open 401  {"token": "asm_none"}
    POST   /api/auth/forgot-password                open 409  {"email": "eve@example.com"}
    GET    /api/auth/reset-password                 open 422
    POST   /api/auth/reset-password                 open 401  {"token": "asm_none", "password": "another horse"}
    GET    /api/invitations                         host manage
    POST   /api/invitations                         host manage  {"email": "eve@example.com"}
    DELETE /api/invitations/{id}                    host manage
    POST   /api/user/me/verification                session -
    POST   /api/auth/signup                         open 403  {"email": "eve@example.com", "password": "correct horse"}
    POST   /api/auth/login                          open 401  {"email": "eve@example.com", "password": "wrong horse"}
    POST   /api/auth/refresh                        open 401  {"refresh_token": "none"}
    POST   /api/auth/logout                         open 204  {"refresh_token": "none"}
    GET    /api/auth/github                         open 404
    GET    /api/auth/google                         open 404
    GET    /api/auth/github/callback                open 400
    GET    /api/auth/google/callback                open 400
    POST   /api/auth/code                           open 401  {"ticket": "none", "code": "000000"}
    POST   /api/user/me/linked/{provider}           session -
    DELETE /api/user/me/linked/{provider}           mine -
    POST   /api/auth/ticket                         known -
    GET    /api/user/me                             known -
    PATCH  /api/user/me                             session -  {"name": "Somebody"}
    PUT    /api/user/me/password                    session -  {"current": "wrong horse", "new": "another horse"}
    POST   /api/user/me/totp                        session -  {"password": "wrong horse"}
    DELETE /api/user/me/totp                        session -  {"password": "wrong horse"}
    POST   /api/user/me/totp/confirm                session -  {"code": "000000"}
    GET    /api/user/me/sessions                    known -
    DELETE /api/user/me/sessions                    session -
    DELETE /api/user/me/sessions/{id}               mine -
    GET    /api/user/me/keys                        known -
    POST   /api/user/me/keys                        session -  {"name": "x", "public_key": "ssh-ed25519 AAAA"}
    DELETE /api/user/me/keys/{key}                  mine -
    GET    /api/user/me/tokens                      known -
    POST   /api/user/me/tokens                      session -  {"name": "", "scopes": ["read"]}
    DELETE /api/user/me/tokens/{id}                 mine -
    POST   /api/user/me/tokens/{id}/rotate          mine -
    GET    /api/apps                                known -
    POST   /api/apps                                known manage  {"name": "shop"}
    GET    /api/apps/{name}                         viewer read
    PATCH  /api/apps/{name}                         deployer deploy  {"is_in_maintenance": false}
    DELETE /api/apps/{name}                         app-admin manage
    GET    /api/apps/{name}/config                  deployer config
    PUT    /api/apps/{name}/config                  deployer config  {"vars": {"A": "1"}}
    PATCH  /api/apps/{name}/config                  deployer config  {"vars": {"A": "1"}}
    GET    /api/apps/{name}/domains                 viewer read
    POST   /api/apps/{name}/domains                 deployer deploy  {"domains": []}
    PUT    /api/apps/{name}/domains                 deployer deploy  {"domains": []}
    DELETE /api/apps/{name}/domains/{domain}        deployer deploy
    GET    /api/apps/{name}/formation               viewer read
    PATCH  /api/apps/{name}/formation               deployer deploy  {"formation": {"web": 1}, "restart": false}
    POST   /api/apps/{name}/restart                 deployer deploy  {}
    POST   /api/apps/{name}/stop                    deployer deploy
    POST   /api/apps/{name}/start                   deployer deploy
    GET    /api/apps/{name}/logs                    viewer read
    GET    /api/apps/{name}/logs/stream             viewer read
    GET    /api/apps/{name}/members                 viewer read
    PUT    /api/apps/{name}/members/{user}          app-admin manage  {"role": "viewer"}
    DELETE /api/apps/{name}/members/{user}          app-admin manage
    GET    /api/apps/{name}/releases                viewer read
    GET    /api/apps/{name}/releases/{n}            viewer read
    POST   /api/apps/{name}/releases/{n}/rollback   deployer deploy
    GET    /api/deployments                         known -
    POST   /api/deployments                         deployer deploy  {"app": "shop"}
    POST   /api/deployments/archive                 deployer deploy
    GET    /api/deployments/{id}                    viewer read
    GET    /api/deployments/{id}/stages             viewer read
    GET    /api/deployments/{id}/metrics            viewer read
    GET    /api/deployments/{id}/logs               viewer read
    GET    /api/deployments/{id}/logs/stream        viewer read
    POST   /api/deployments/{id}/cancel             deployer deploy
    POST   /api/deployments/{id}/delete             deployer deploy
    GET    /api/dashboard/stats                     known -
    GET    /api/dashboard/recent-deployments        known -
    GET    /api/monitoring/system                   host manage
    GET    /api/monitoring/apps/{name}              viewer read
    GET    /api/monitoring/pipeline/{id}            viewer read
    GET    /api/audit                               known -
"#;

#[derive(Debug)]
struct Operation {
    method: &'static str,
    path: &'static str,
    least: &'static str,
    needs: &'static str,
    body: Option<Value>,
}

fn operations() -> Vec<Operation> {
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap();
        let (method, path, least, needs) = (word(), word(), word(), word());
        let body = line
            .find(" {\"")
            .or_else(|| line.find(" {}"))
            .map(|at| serde_json::from_str(&line[at..]).unwrap());
        Operation { method, path, least, needs, body }
    };
    OPERATIONS.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
}

/// What the document says that there is.
fn documented(api: &ApiClient) -> Vec<String> {
    let document = api.get("/api/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap();
    let methods = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = paths.iter().flat_map(methods).collect();
    all.sort();
    all
}

impl Operation {
    /// What somebody is to be answered; `None`: anything but a refusal of who they are.
    fn expected(&self, who: Who) -> Option<u16> {
        let rank = |least: &str| match least {
            "viewer" => Who::Viewer,
            "deployer" => Who::Deployer,
            "app-admin" => Who::AppAdmin,
            other => panic!("who is {other}?"),
        };
        let covers = |scope: Scope| match self.needs {
            "-" => true,
            "read" => true,
            "deploy" => scope == Scope::Deploy,
            "config" => scope == Scope::Config,
            "manage" => scope == Scope::Manage,
            other => panic!("what scope is {other}?"),
        };
        match (self.least, who) {
            ("open", _) => Some(self.needs.parse().unwrap()),
            (_, Who::Anonymous | Who::Forged | Who::Expired) => Some(401),
            ("session", Who::Key(_)) => Some(403),
            ("mine", Who::Key(_)) => Some(403),
            ("mine", _) => Some(404),
            ("host", Who::PlatformAdmin) => None,
            ("host", _) => Some(403),
            (_, Who::Key(scope)) => {
                if covers(scope) {
                    None
                } else {
                    Some(403)
                }
            }
            ("known" | "session", _) => None,
            (_, Who::Stranger) => Some(404),
            (least, who) => {
                if who >= rank(least) {
                    None
                } else {
                    Some(403)
                }
            }
        }
    }

    /// Does it, with what belongs to somebody else where it is about something.
    fn ask(&self, client: &ApiClient, app: &str, ids: &BTreeMap<&str, String>) -> u16 {
        let mut path = self
            .path
            .replace("{name}", app)
            .replace("{domain}", "none.example")
            .replace("{user}", "nobody@example.com")
            .replace("{n}", "7")
            .replace("{provider}", "github");
        let id = match self.path {
            path if path.contains("sessions") => &ids["session"],
            path if path.contains("tokens") => &ids["token"],
            _ => &ids["deployment"],
        };
        path = path.replace("{id}", id).replace("{key}", &ids["key"]);
        if self.path.ends_with("/archive") {
            path.push_str(&format!("?app={app}"));
        }
        let body = self.body.clone().map(|mut body| {
            if self.path == "/api/deployments" {
                body["app"] = app.into();
            }
            body.to_string()
        });
        if self.path.ends_with("/stream") {
            return client.open_feed(&path).map_or_else(|refused| refused, |_feed| 101);
        }
        let json = [("Content-Type", "application/json")];
        let headers = if body.is_some() { &json[..] } else { &[] };
        loop {
            let answer = client.raw(self.method, &path, headers, body.as_deref().unwrap_or(""));
            // Those whom nobody knows share the little that their address has.
            let Some(wait) = answer.response.header("retry-after").filter(|_| answer.status == 429) else {
                return answer.status;
            };
            assert!(wait.parse::<u64>().unwrap() < 10, "{wait} s for {} {path}", self.method);
            thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Whether a 404 there says that the app is not to be seen, for nothing else is named.
fn hides(path: &str) -> bool {
    path.contains("{name}") && !path.contains("{n}") && !path.contains("{domain}") && !path.contains("{user}")
}

/// Somebody whose token has ended; the tokens of those who log in afterwards last.
fn expired_session(world: &World) -> ApiClient {
    let expired = somebody(world, "late@example.com", false);
    soon("the token to end", || (expired.get("/api/user/me").status == 401).then_some(()));
    fs::write(world.settings_file(), "[auth]\naccess_token_ttl = \"15m\"\n").unwrap();
    let words = json!({ "email": "late@example.com", "password": PASSWORD });
    soon("the new settings", || {
        let tokens = world.api().post("/api/auth/login", &words).ok();
        (tokens["expires_in"] == 900).then_some(())
    });
    expired
}

#[test]
fn a4_every_operation_is_for_those_who_may_and_nobody_else() {
    let world = Options::default().file("[auth]\naccess_token_ttl = \"1s\"\n").start();
    let expired = expired_session(&world);
    let operations = operations();
    let mut listed: Vec<String> =
        operations.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    listed.sort();
    assert_eq!(documented(&world.api()), listed, "every operation has a line, and every line an operation");

    let owner = somebody(&world, "owner@example.com", false);
    let victim = somebody(&world, "victim@example.com", false);
    let token = victim.post("/api/user/me/tokens", &json!({ "name": "ci", "scopes": ["read"] })).ok();
    let sessions = victim.get("/api/user/me/sessions").ok();
    owner.post("/api/apps", &json!({ "name": "live" })).ok();
    let git = world.developer("git");
    let files = vec![("index.html", "hello".to_owned())];
    git.app_of(files).push("live").accepted();
    let deployment = owner.get("/api/deployments").ok()["deployments"][0]["id"].as_str().unwrap().to_owned();
    let ids = BTreeMap::from([
        ("session", sessions[0]["id"].as_str().unwrap().to_owned()),
        ("token", token["id"].as_str().unwrap().to_owned()),
        ("key", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned()),
        ("deployment", deployment),
    ]);

    let app_admin = somebody(&world, "admin@example.com", false);
    let mut clients = BTreeMap::from([
        (Who::Anonymous, world.api()),
        (Who::Forged, world.api().with("eyJhbGciOiJub25lIn0.e30.")),
        (Who::Expired, expired),
        (Who::Stranger, somebody(&world, "stranger@example.com", false)),
        (Who::Viewer, somebody(&world, "viewer@example.com", false)),
        (Who::Deployer, somebody(&world, "deployer@example.com", false)),
        (Who::PlatformAdmin, somebody(&world, "root@example.com", true)),
    ]);
    for (scope, name) in [
        (Scope::Read, "read"),
        (Scope::Deploy, "deploy"),
        (Scope::Config, "config"),
        (Scope::Manage, "manage"),
    ] {
        let key = app_admin.post("/api/user/me/tokens", &json!({ "name": name, "scopes": [name] })).ok();
        clients.insert(Who::Key(scope), world.api().with(key["token"].as_str().unwrap()));
    }
    clients.insert(Who::AppAdmin, app_admin);

    let let_in = |app: &str| {
        for (user, role) in [("viewer", "viewer"), ("deployer", "deployer"), ("admin", "admin")] {
            owner.put(&format!("/api/apps/{app}/members/{user}@example.com"), &json!({ "role": role })).ok();
        }
    };
    let_in("live");
    let mut wrong = Vec::new();
    let mut apps = 0;
    let mut fresh = || {
        apps += 1;
        let name = format!("app-{apps}");
        owner.post("/api/apps", &json!({ "name": name })).ok();
        let_in(&name);
        name
    };
    let mut app = fresh();
    for operation in &operations {
        // Those who let in nobody yet count how often one tries.
        let asking = if operation.least == "open" { &EVERYBODY[..4] } else { &EVERYBODY };
        for &who in asking {
            let expected = operation.expected(who);
            let status = operation.ask(&clients[&who], &app, &ids);
            let is_right = match expected {
                Some(expected) => status == expected,
                None => match status {
                    401 | 500.. => false,
                    403 => operation.least == "session",
                    404 => !hides(operation.path),
                    _ => true,
                },
            };
            if !is_right {
                wrong.push(format!(
                    "{} {} as {who:?}: {status}, not {expected:?}",
                    operation.method, operation.path
                ));
            }
            if operation.method == "DELETE" && operation.path == "/api/apps/{name}" && expected.is_none() {
                app = fresh();
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
