//! The API: as nobody, as somebody, as a program.

mod accounts;
mod apps;
mod deployments;
mod document;
mod feeds;
mod front;
mod mailed;
mod matrix;
mod metrics;
mod once;
mod overview;
mod sign_in;
mod threats;

use crate::world::{ApiClient, World};

/// The password of everybody in these stories.
const PASSWORD: &str = "correct horse battery";

/// Makes an account, and logs it in.
#[track_caller]
fn somebody(world: &World, email: &str, admin: bool) -> ApiClient {
    let mut words = vec!["user", "add", email];
    words.extend(admin.then_some("--admin"));
    world.admin(&words, PASSWORD.as_bytes()).ok();
    world.api().log_in(email, PASSWORD)
}

/// The deployment when it has ended.
#[track_caller]
fn ended(client: &ApiClient, id: &serde_json::Value) -> serde_json::Value {
    let path = format!("/api/deployments/{}", id.as_str().unwrap());
    crate::world::soon("the deployment to end", || {
        let seen = client.get(&path).ok();
        (!seen["ended_at"].is_null()).then_some(seen)
    })
}
