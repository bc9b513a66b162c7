//! What lets users in: sessions, API keys, invitations, links, credentials.

use autostack_domain::{
    IdempotencyKey, KeptAnswer, SessionId, TokenId, UnixMillis, User, UserId,
    account::{
        ApiKey, Credentials, Invitation, KeptKey, LinkPurpose, LinkedAccount, MailedLink, Provider, Scope,
        SecretDigest, Session, Totp,
    },
    kept_answer::Answered,
    limits,
    permission::Role,
};

use crate::{
    Refreshed, Store, StoreError,
    tests::{Home, app, user, user_id},
};

fn with_ada() -> (Home, Store) {
    let home = Home::new();
    let store = home.open().unwrap();
    store.create_user(&user()).unwrap();
    (home, store)
}

fn id(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

pub(crate) fn session(number: usize, used_at: i64) -> Session {
    let at = UnixMillis(used_at);
    let (id, user): (SessionId, UserId) = (id(number).parse().unwrap(), user_id());
    Session { id, user, agent: "curl".into(), generation: 0, created_at: at, used_at: at, expires_at: at }
}

pub(crate) fn api_key(number: usize) -> ApiKey {
    ApiKey {
        id: id(number).parse().unwrap(),
        user: user_id(),
        name: format!("key {number}"),
        digest: SecretDigest("ab".into()),
        scopes: vec![Scope::Read, Scope::Deploy],
        created_at: UnixMillis(1),
        expires_at: None,
        used_at: None,
    }
}

pub(crate) fn invitation(number: usize, email: &str) -> Invitation {
    Invitation {
        id: id(number).parse().unwrap(),
        email: email.into(),
        is_admin: false,
        role: Some(("shop".parse().unwrap(), Role::Deployer)),
        by: user_id(),
        digest: SecretDigest("cd".into()),
        created_at: UnixMillis(5),
        expires_at: UnixMillis(10),
    }
}

pub(crate) fn link(number: usize, purpose: LinkPurpose) -> MailedLink {
    MailedLink {
        id: id(number).parse().unwrap(),
        user: user_id(),
        email: "ada@example.com".into(),
        purpose,
        digest: SecretDigest("ef".into()),
        expires_at: UnixMillis(10),
    }
}

pub(crate) fn linked(subject: &str) -> LinkedAccount {
    LinkedAccount {
        provider: Provider::Github,
        subject: subject.into(),
        name: "ada-l".into(),
        user: user_id(),
        created_at: UnixMillis(3),
    }
}

#[test]
fn the_newest_refresh_takes_a_session_on_and_an_older_one_ends_it() {
    let (_home, store) = with_ada();
    let first = session(1, 1);
    store.create_session(&first).unwrap();
    let refresh = |generation, now| {
        store.refresh_session((&first.user, &first.id), generation, UnixMillis(now), UnixMillis(99)).unwrap()
    };
    let Refreshed::Next(next) = refresh(0, 7) else { panic!("not refreshed") };
    assert_eq!((next.generation, next.used_at, next.expires_at), (1, UnixMillis(7), UnixMillis(99)));
    assert!(matches!(refresh(1, 8), Refreshed::Next(_)));
    assert!(matches!(refresh(0, 9), Refreshed::Replayed(_)));
    assert_eq!(refresh(2, 10), Refreshed::Gone);
    assert_eq!(store.session(&first.user, &first.id).unwrap(), None);
}

#[test]
fn of_too_many_sessions_the_least_used_ends_and_all_can_be_ended_but_one() {
    let (_home, store) = with_ada();
    for number in 0..=limits::SESSIONS_PER_USER_MAX {
        store.create_session(&session(number, if number == 3 { 0 } else { 100 })).unwrap();
    }
    let ids = |store: &Store| -> Vec<SessionId> {
        store.sessions(&user_id()).unwrap().into_iter().map(|session| session.id).collect()
    };
    assert_eq!(ids(&store).len(), limits::SESSIONS_PER_USER_MAX);
    assert!(!ids(&store).contains(&session(3, 0).id));
    let kept = session(5, 0).id;
    store.remove_sessions(&user_id(), Some(&kept)).unwrap();
    assert_eq!(ids(&store), std::slice::from_ref(&kept));
    assert!(store.remove_session(&user_id(), &kept).unwrap());
    assert!(!store.remove_session(&user_id(), &kept).unwrap());
    let nobody = Session { user: id(9).parse().unwrap(), ..session(1, 1) };
    assert!(matches!(store.create_session(&nobody), Err(StoreError::NotFound { .. })));
}

#[test]
fn an_api_key_is_its_users_and_has_a_name_of_its_own() {
    let (_home, store) = with_ada();
    store.add_api_key(&api_key(1)).unwrap();
    let same_name = ApiKey { id: id(2).parse().unwrap(), ..api_key(1) };
    assert!(matches!(store.add_api_key(&same_name), Err(StoreError::Exists { .. })));
    let other: UserId = id(7).parse().unwrap();
    let key: TokenId = id(1).parse().unwrap();
    for refused in [store.touch_api_key(&other, &key, UnixMillis(2)), store.remove_api_key(&other, &key)] {
        assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    }
    let used = store.touch_api_key(&user_id(), &key, UnixMillis(2)).unwrap();
    assert_eq!(used.used_at, Some(UnixMillis(2)));
    let digest = SecretDigest("new".into());
    let rotated = store.rotate_api_key((&user_id(), &key), digest.clone(), UnixMillis(3), None).unwrap();
    assert_eq!((rotated.digest, rotated.used_at, rotated.name), (digest, None, api_key(1).name));
    store.remove_api_key(&user_id(), &key).unwrap();
    assert_eq!(store.api_keys(&user_id()).unwrap(), []);
    for number in 0..limits::API_KEYS_PER_USER_MAX {
        store.add_api_key(&api_key(number)).unwrap();
    }
    assert!(matches!(store.add_api_key(&api_key(99)), Err(StoreError::Conflict { .. })));
}

#[test]
fn an_invitation_makes_one_user_with_its_role() {
    let (_home, store) = with_ada();
    store.create_app(&app("shop")).unwrap();
    store.add_invitation(&invitation(1, "bob@example.com")).unwrap();
    store.add_invitation(&invitation(2, "bob@example.com")).unwrap();
    assert_eq!(store.invitations().unwrap().len(), 1, "a second one replaces the first");
    let bob = User { id: id(8).parse().unwrap(), email: "bob@example.com".into(), ..user() };
    let credentials = Credentials { password: Some("$argon2id$…".into()), ..Credentials::default() };
    let (first, second): (TokenId, TokenId) = (id(1).parse().unwrap(), id(2).parse().unwrap());
    let gone = store.sign_up(&bob, &credentials, Some(&first));
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    store.sign_up(&bob, &credentials, Some(&second)).unwrap();
    assert_eq!(store.role(&"shop".parse().unwrap(), &bob.id).unwrap(), Some(Role::Deployer));
    assert_eq!(store.credentials(&bob.id).unwrap(), credentials);
    let again = User { id: id(9).parse().unwrap(), ..bob };
    assert!(store.sign_up(&again, &credentials, Some(&second)).is_err());
    assert!(matches!(store.sign_up(&again, &credentials, None), Err(StoreError::Exists { .. })));
    assert_eq!(store.user(&again.id).unwrap(), None);
    assert_eq!(store.credentials(&again.id).unwrap(), Credentials::default());
}

#[test]
fn a_refused_sign_up_leaves_the_invitation() {
    let (_home, store) = with_ada();
    store.add_invitation(&invitation(1, "ada@example.com")).unwrap();
    let twin = User { id: id(8).parse().unwrap(), ..user() };
    let first: TokenId = id(1).parse().unwrap();
    assert!(store.sign_up(&twin, &Credentials::default(), Some(&first)).is_err());
    assert_eq!(store.invitations().unwrap().len(), 1);
    let late = Invitation { created_at: UnixMillis(11), ..invitation(2, "eve@example.com") };
    store.add_invitation(&late).unwrap();
    assert_eq!(store.invitations().unwrap(), [late], "one whose time is over goes");
}

#[test]
fn a_link_is_good_once_for_its_purpose() {
    let (_home, store) = with_ada();
    store.add_link(&link(1, LinkPurpose::ResetPassword), UnixMillis(1)).unwrap();
    store.add_link(&link(2, LinkPurpose::ResetPassword), UnixMillis(1)).unwrap();
    let take = |number, purpose, fits: bool| {
        store.take_link(&id(number).parse().unwrap(), purpose, |_| fits).unwrap().is_some()
    };
    assert!(!take(1, LinkPurpose::ResetPassword, true), "a second one replaces the first");
    assert!(!take(2, LinkPurpose::VerifyEmail, true));
    assert!(!take(2, LinkPurpose::ResetPassword, false));
    assert!(take(2, LinkPurpose::ResetPassword, true));
    assert!(!take(2, LinkPurpose::ResetPassword, true));
}

#[test]
fn an_account_elsewhere_lets_one_user_in() {
    let (_home, store) = with_ada();
    store.link_account(&linked("42")).unwrap();
    assert!(matches!(store.link_account(&linked("42")), Err(StoreError::Exists { .. })));
    assert_eq!(store.linked_account(Provider::Github, "42").unwrap(), Some(linked("42")));
    assert_eq!(store.linked_account(Provider::Google, "42").unwrap(), None);
    assert_eq!(store.linked_accounts(&user_id()).unwrap(), [linked("42")]);
    assert!(!store.unlink_accounts(&user_id(), Provider::Google).unwrap());
    assert!(store.unlink_accounts(&user_id(), Provider::Github).unwrap());
    assert_eq!(store.linked_accounts(&user_id()).unwrap(), []);
}

#[test]
fn credentials_and_signing_keys_are_sealed() {
    let (home, store) = with_ada();
    let totp = Totp { secret: "CANARYSECRET".into(), last_step: 1, recovery: vec![SecretDigest("x".into())] };
    store.update_credentials(&user_id(), |found| found.totp = Some(totp.clone())).unwrap();
    assert_eq!(store.credentials(&user_id()).unwrap().totp, Some(totp));
    let keys = [KeptKey { pkcs8: "CANARYKEY".into(), created_at: UnixMillis(1) }];
    store.set_signing_keys(&keys).unwrap();
    assert_eq!(store.signing_keys().unwrap(), keys);
    let nobody: UserId = id(9).parse().unwrap();
    assert!(store.update_credentials(&nobody, |_| ()).is_err());
    drop(store);
    let bytes = std::fs::read(home.store()).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"CANARY"));
}

#[test]
fn a_change_of_a_user_keeps_who_it_is() {
    let (_home, store) = with_ada();
    let named = store.update_user(&user_id(), |user| user.name = Some("Ada".into())).unwrap();
    assert_eq!(store.user(&user_id()).unwrap(), Some(named));
    assert!(store.update_user(&user_id(), |user| user.email = "eve@example.com".into()).is_err());
    assert!(store.user_by_email("ada@example.com").unwrap().is_some());
}

pub(crate) fn kept_answer(began_at: i64, status: Option<u16>) -> KeptAnswer {
    let answer = status.map(|status| Answered { status, body: "{\"token\":\"canary-of-an-answer\"}".into() });
    KeptAnswer { request: "digest".into(), began_at: UnixMillis(began_at), answer }
}

#[test]
fn an_answer_is_kept_for_a_day_sealed_and_not_without_end() {
    let (home, store) = with_ada();
    let (user, key) = (user_id(), |name: &str| IdempotencyKey::parse(name).unwrap());
    let day = i64::try_from(limits::KEPT_ANSWER_MILLIS_MAX).unwrap();
    let begin = |name: &str, at: i64| store.begin_request(&user, &key(name), &kept_answer(at, None)).unwrap();
    assert_eq!(begin("a", 10), None);
    assert_eq!(begin("a", 11), Some(kept_answer(10, None)), "it has begun");
    store.end_request(&user, &key("a"), Some(&kept_answer(10, Some(201)))).unwrap();
    assert_eq!(begin("a", 10 + day), Some(kept_answer(10, Some(201))));
    assert_eq!(begin("a", 11 + day), None, "forgotten");
    store.end_request(&user, &key("a"), None).unwrap();
    assert_eq!(begin("a", 12 + day), None, "it may be tried again");

    for number in 0..limits::KEPT_ANSWERS_PER_USER_MAX {
        assert_eq!(begin(&format!("n{number}"), 1_000 + day), None);
    }
    assert_eq!(begin("n1", 1_001 + day), Some(kept_answer(1_000 + day, None)));
    assert_eq!(begin("a", 1_002 + day), None, "the oldest has made room");
    drop(store);
    let stored = std::fs::read(home.store()).unwrap();
    assert!(!stored.windows(6).any(|bytes| bytes == b"canary"));
}
