//! Apps: create, list, destroy, where one is reached.

use autostack_domain::{Line, permission::Action};
use autostack_platform::AppView;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    refusal::{EXIT_FAILED, Refusal},
};

pub(crate) const COMMANDS: &[&Command] = &[&CREATE, &LIST, &DESTROY, &URL];

const CREATE: Command = Command {
    name: "apps:create",
    arguments: "APP",
    summary: "make an app that belongs to you",
    details: &["A first git push to a free name does the same."],
    options: &[],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(create(invocation)),
};

const LIST: Command = Command {
    name: "apps:list",
    arguments: "[--format json]",
    summary: "show the apps that you may see",
    details: &[],
    options: &[FORMAT],
    needs: Needs::Nothing,
    words: Words::Mixed,
    run: |invocation| Box::pin(list(invocation)),
};

const DESTROY: Command = Command {
    name: "apps:destroy",
    arguments: "APP --force",
    summary: "remove an app and everything of it, for good",
    details: &["Without --force it only says what would be lost."],
    options: &[Flag { long: "--force", short: Some("-f"), value: None, summary: "do it" }],
    needs: Needs::App(Action::DestroyApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(destroy(invocation)),
};

const URL: Command = Command {
    name: "url",
    arguments: "APP",
    summary: "show where visitors reach an app",
    details: &[],
    options: &[],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(url(invocation)),
};

async fn create(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    let app = invocation.platform.create_app(&invocation.actor, &name).await?;
    invocation.done(format!("Created {name}")).await?;
    invocation.detail(format!("After its first push it is at {}", app.url)).await
}

async fn list(mut invocation: Invocation) -> Result<(), Refusal> {
    invocation.end()?;
    let apps = invocation.platform.apps(&invocation.actor).await?;
    if invocation.json()? {
        return invocation.print_json(&apps).await;
    }
    if apps.is_empty() {
        invocation.output.line(&Line::result("No apps yet")).await?;
        let next = Line::detail("apps:create NAME or a first git push makes one");
        return Ok(invocation.output.line(&next).await?);
    }
    let mut lines = vec![Line::result("Apps")];
    lines.extend(rows(&apps).into_iter().map(Line::detail));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok(invocation.output.text(&text).await?)
}

/// Names, releases and URLs in columns.
fn rows(apps: &[AppView]) -> Vec<String> {
    let release_of =
        |app: &AppView| app.release.map_or_else(|| "-".to_owned(), |release| release.to_string());
    let names = apps.iter().map(|app| app.name.as_str().len()).max().unwrap_or(0);
    let releases = apps.iter().map(|app| release_of(app).len()).max().unwrap_or(0);
    let row = |app: &AppView| {
        let shown = if app.release.is_some() { &app.url } else { "not deployed yet" };
        format!("{:names$}  {:releases$}  {shown}", app.name.as_str(), release_of(app))
    };
    apps.iter().map(row).collect()
}

async fn destroy(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    if !invocation.has("--force") {
        // Who may not even see the app learns nothing here.
        invocation.platform.url(&invocation.actor, &name).await?;
        return Err(Refusal::Said {
            lines: vec![
                format!("This removes {name} for good: its code, releases, config and logs, and what runs."),
                format!("Next: apps:destroy {name} --force"),
            ],
            exit_code: EXIT_FAILED,
        });
    }
    invocation.platform.destroy_app(&invocation.actor, &name).await?;
    invocation.done(format!("Destroyed {name}")).await
}

async fn url(mut invocation: Invocation) -> Result<(), Refusal> {
    let name = invocation.app()?;
    invocation.end()?;
    let url = invocation.platform.url(&invocation.actor, &name).await?;
    invocation.print(&url).await
}

#[cfg(test)]
mod tests {
    use autostack_domain::{ReleaseNumber, UnixMillis};

    use super::*;

    #[test]
    fn apps_stand_in_columns() {
        let app = |name: &str, release| AppView {
            name: name.parse().unwrap(),
            url: format!("http://{name}.localhost"),
            release,
            created_at: UnixMillis(0),
        };
        let apps = [app("shop", Some(ReleaseNumber(12))), app("a", None)];
        assert_eq!(rows(&apps), ["shop  v12  http://shop.localhost", "a     -    not deployed yet"]);
    }
}
