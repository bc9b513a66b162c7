//! Mails, as a real server takes them, and what their links lead to.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{PASSWORD, somebody};
use crate::world::{ApiClient, Options, World, api::Answer, mail::MailServer, soon};

fn with_mail(server: &MailServer, signup: &str) -> Options {
    Options::default()
        .set("auth.signup", signup)
        .set("mail.host", "127.0.0.1")
        .set("mail.port", &server.port.to_string())
        .set("mail.security", "none")
        .set("domain", "apps.example.com")
}

/// Sends the form of a page, as a browser does.
fn send_form(world: &World, path: &str, form: &str) -> Answer {
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    world.api().raw("POST", path.split_once('?').map_or(path, |(path, _)| path), &kind, form)
}

fn email_is_proved(client: &ApiClient) -> bool {
    !client.get("/api/user/me").ok()["email_verified_at"].is_null()
}

#[test]
fn an_address_is_proved_by_the_link_of_a_mail() {
    let server = MailServer::start();
    let world = with_mail(&server, "open").start();
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    let tokens = world.api().post("/api/auth/signup", &account).ok();
    let ada = world.api().with(tokens["access_token"].as_str().unwrap());
    let mail = server.next();
    assert_eq!((mail.to.as_str(), mail.from.as_str()), ("ada@example.com", "autostack@apps.example.com"));
    assert!(mail.text.contains("Subject: Is this address yours?"), "{}", mail.text);
    assert!(mail.text.contains(&format!("http://{}/api/auth/verify-email?token=asm_", world.api_address())));
    assert!(!email_is_proved(&ada));

    // Looking at the page changes nothing: mail scanners look too.
    for _ in 0..2 {
        let page = world.api().get(&mail.link());
        assert_eq!(page.status, 200);
        assert!(
            page.response.body.contains("<form method=\"post\">")
                && page.response.body.contains(&mail.secret())
        );
        assert_eq!(page.response.header("referrer-policy"), Some("no-referrer"));
        let policy = page.response.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
    assert!(!email_is_proved(&ada));
    let done = send_form(&world, &mail.link(), &format!("token={}", mail.secret()));
    assert_eq!((done.status, done.response.body.contains("The address is yours")), (200, true), "{done:?}");
    assert!(email_is_proved(&ada));
    let again = send_form(&world, &mail.link(), &format!("token={}", mail.secret()));
    assert_eq!((again.status, again.response.body.contains("used up")), (401, true), "{again:?}");
    assert_eq!(ada.post("/api/user/me/verification", &json!({})).refused(409), "conflict");

    // Somebody who was there before asks for it; an earlier link is worth nothing then.
    let bob = somebody(&world, "bob@example.com", false);
    assert_eq!(bob.post("/api/user/me/verification", &json!({})).status, 202);
    let first = server.next();
    assert_eq!(bob.post("/api/user/me/verification", &json!({})).status, 202);
    let second = server.next();
    let verify = |token: &str| world.api().post("/api/auth/verify-email", &json!({ "token": token }));
    assert_eq!(verify(&first.secret()).refused(401), "unauthenticated");
    assert_eq!(verify(&second.secret()).status, 204);
    assert!(email_is_proved(&bob));
}

#[test]
fn a_forgotten_password_is_replaced_by_a_mail_and_nobody_learns_who_has_an_account() {
    let server = MailServer::start();
    let world = with_mail(&server, "closed").start();
    let ada = somebody(&world, "ada@example.com", false);
    let forgot = |email: &str| world.api().post("/api/auth/forgot-password", &json!({ "email": email }));
    let (there, absent) = (forgot("Ada@Example.com"), forgot("eve@example.com"));
    assert_eq!((there.status, there.response.body), (202, absent.response.body));
    let mail = server.next();
    assert_eq!((mail.to.as_str(), absent.status), ("ada@example.com", 202));

    let reset = |token: &str, password: &str| {
        world.api().post("/api/auth/reset-password", &json!({ "token": token, "password": password }))
    };
    assert_eq!(reset(&mail.secret(), "short").refused(422), "invalid", "and the link is still good");
    let verify = json!({ "token": mail.secret() });
    assert_eq!(
        world.api().post("/api/auth/verify-email", &verify).refused(401),
        "unauthenticated",
        "not for that"
    );
    assert!(world.api().get(&mail.link()).response.body.contains("type=\"password\""));
    let form = format!("token={}&password=another+horse+battery", mail.secret());
    assert_eq!(send_form(&world, &mail.link(), &form).status, 200);
    assert_eq!(reset(&mail.secret(), "a third horse").refused(401), "unauthenticated");
    assert_eq!(ada.get("/api/user/me").refused(401), "unauthenticated", "old sessions have ended");
    let old = json!({ "email": "ada@example.com", "password": PASSWORD });
    assert_eq!(world.api().post("/api/auth/login", &old).refused(401), "unauthenticated");
    let ada = world.api().log_in("ada@example.com", "another horse battery");
    assert!(email_is_proved(&ada));

    // Others cannot fill a mailbox.
    let taken = (0..20).filter(|_| forgot("ada@example.com").status == 202).count();
    assert!(taken < 10, "{taken}");
    server.next();
    assert_eq!(forgot("not an address").refused(422), "invalid");
    assert!(server.waiting() < 10);
}

#[test]
fn who_is_invited_comes_in_by_the_mail_once_and_with_that_address_only() {
    let server = MailServer::start();
    let world = with_mail(&server, "invite").start();
    let root = somebody(&world, "root@example.com", true);
    root.post("/api/apps", &json!({ "name": "shop" })).ok();
    let wanted = json!({ "email": "eve@example.com", "role": { "app": "shop", "role": "viewer" } });
    let invited = root.post("/api/invitations", &wanted).ok();
    assert_eq!((&invited["is_mailed"], &invited["app"]), (&json!(true), &json!("shop")));
    let mail = server.next();
    assert_eq!((mail.to.as_str(), json!(mail.secret())), ("eve@example.com", invited["secret"].clone()));
    let listed = root.get("/api/invitations").ok();
    assert!(listed[0]["email"] == "eve@example.com" && !listed.to_string().contains("asi_"), "{listed}");

    assert!(world.api().get(&mail.link()).response.body.contains("name=\"password\""));
    let form = |email: &str| {
        let secret = mail.secret();
        send_form(
            &world,
            &mail.link(),
            &format!("invitation={secret}&email={email}&password=correct+horse+battery"),
        )
    };
    assert_eq!(form("mallory%40example.com").status, 401);
    let made = form("eve%40example.com");
    assert_eq!((made.status, made.response.body.contains("Welcome")), (200, true), "{made:?}");
    assert_eq!(form("eve%40example.com").status, 401);
    let eve = world.api().log_in("eve@example.com", PASSWORD);
    eve.get("/api/apps/shop").ok();
    assert_eq!(eve.get("/api/invitations").refused(403), "denied");

    let other = root.post("/api/invitations", &json!({ "email": "bob@example.com" })).ok();
    let path = format!("/api/invitations/{}", other["id"].as_str().unwrap());
    root.delete(&path).ok();
    assert_eq!(root.delete(&path).refused(404), "not_found");
    assert_eq!(root.get("/api/invitations").ok(), json!([]));
}

/// A certificate for 127.0.0.1 and its key, as files.
fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("mail.pem"), folder.join("mail.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

#[test]
fn mail_goes_by_tls_with_a_password_and_what_is_not_taken_is_told_in_health() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let server = MailServer::with_tls(&certificate, &key, "agent", "sesame");
    let set = |password: &str, security: &str| {
        format!(
            "[mail]\nhost = \"127.0.0.1\"\nport = \"{}\"\nsecurity = \"{security}\"\nusername = \"agent\"\n\
             password = \"{password}\"\nfrom = \"no-reply@example.com\"\n",
            server.port
        )
    };
    let world = Options::default()
        .file(&set("wrong-canary", "starttls"))
        .environment("SSL_CERT_FILE", certificate.to_str().unwrap())
        .start();
    let ada = somebody(&world, "ada@example.com", false);
    let ask = || assert_eq!(ada.post("/api/user/me/verification", &json!({})).status, 202);
    let state = || world.health()["parts"]["mail"]["state"].clone();
    assert_eq!(state(), "ok");
    ask();
    soon("the refusal in /health", || (state() == "degraded").then_some(()));
    assert!(
        world.log().contains("a mail was not taken") && !world.log().contains("canary"),
        "{}",
        world.log()
    );

    fs::write(world.settings_file(), set("sesame", "starttls")).unwrap();
    let mail = soon("a mail by TLS", || {
        if state() == "degraded" {
            ada.post("/api/user/me/verification", &json!({}));
            std::thread::sleep(std::time::Duration::from_millis(500));
            return None;
        }
        Some(server.next())
    });
    assert!(mail.is_tls && mail.from == "no-reply@example.com", "{mail:?}");
}

#[test]
fn a_host_without_mail_says_so() {
    let world = World::new();
    let ada = somebody(&world, "ada@example.com", false);
    let refused = ada.post("/api/user/me/verification", &json!({}));
    assert_eq!(refused.refused(409), "conflict");
    assert_eq!(refused.json["error"]["message"], "this host sends no mail");
    let forgot = json!({ "email": "ada@example.com" });
    assert_eq!(world.api().post("/api/auth/forgot-password", &forgot).refused(409), "conflict");
    assert_eq!(world.health()["parts"]["mail"], Value::Null);
    let token = json!({ "token": "asm_none" });
    assert_eq!(world.api().post("/api/auth/verify-email", &token).refused(401), "unauthenticated");
}
