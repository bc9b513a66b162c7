//! What holds for an app's repository: `git:set`, `git:report`; and its upkeep: `repo:purge-cache`, `repo:gc`.

use autostack_domain::{
    HostDefaults, Invalid, RefName, ReleaseSource, RemoteHost, env_map, permission::Action,
};
use autostack_platform::{GitSetting, GitView};

use crate::commands::{
    command::{Command, FORMAT, Needs, Words},
    invocation::{Invocation, Scope},
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[&SET, &REPORT, &PURGE_CACHE, &GC];

const SET: Command = Command {
    name: "git:set",
    arguments: "APP|--global PROPERTY [VALUE]",
    summary: "say how an app's repository is used",
    details: &[
        "With --global, for admins: what holds for every app that says nothing else.",
        "deploy-branch BRANCH: pushes to it are deployed; without a value, the first of main and master that is pushed.",
        "keep-git-dir true|false: whether a build finds a .git folder with the history of its commit.",
        "rev-env-var NAME: the variable in which an app finds its commit; without a value, GIT_REV.",
    ],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(set(invocation)),
};

const REPORT: Command = Command {
    name: "git:report",
    arguments: "[APP|--global] [--format json]",
    summary: "show what holds for an app's repository",
    details: &[
        "With --global, for admins: which hosts apps may fetch from beside the public Internet, and what git:set --global has set.",
    ],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(report(invocation)),
};

const PURGE_CACHE: Command = Command {
    name: "repo:purge-cache",
    arguments: "APP",
    summary: "forget what builds of an app have kept",
    details: &["The next build begins from nothing."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(purge_cache(invocation)),
};

const GC: Command = Command {
    name: "repo:gc",
    arguments: "APP",
    summary: "pack an app's repository anew",
    details: &["Pushes may go on meanwhile."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(gc(invocation)),
};

async fn set(mut invocation: Invocation) -> Result<(), Refusal> {
    let scope = invocation.scope()?;
    let property = invocation.word("a property: deploy-branch, keep-git-dir or rev-env-var")?;
    let value = invocation.arguments.next().filter(|value| !value.is_empty());
    invocation.end()?;
    let setting = parse(&property, value.as_deref())?;
    invocation.platform.set_git(&invocation.actor, scope.app(), setting).await?;
    let told = value.map_or_else(
        || format!("Set {property} of {scope} back"),
        |value| format!("Set {property} of {scope} to {value}"),
    );
    invocation.done(told).await
}

fn parse(property: &str, value: Option<&str>) -> Result<GitSetting, Invalid> {
    match property {
        "deploy-branch" => Ok(GitSetting::DeployBranch(value.map(RefName::of_branch).transpose()?)),
        "keep-git-dir" => match value {
            Some("true") => Ok(GitSetting::KeepGitDir(Some(true))),
            Some("false") => Ok(GitSetting::KeepGitDir(Some(false))),
            None => Ok(GitSetting::KeepGitDir(None)),
            Some(other) => Err(Invalid::new("keep-git-dir", other, "choose true or false")),
        },
        "rev-env-var" => match value {
            Some(name) if !env_map::is_name(name) => Err(Invalid::new(
                "rev-env-var",
                name,
                "use letters, digits and _, and do not start with a digit",
            )),
            name => Ok(GitSetting::RevEnvVar(name.map(str::to_owned))),
        },
        other => {
            Err(Invalid::new("property", other, "there are deploy-branch, keep-git-dir and rev-env-var"))
        }
    }
}

async fn report(mut invocation: Invocation) -> Result<(), Refusal> {
    if invocation.arguments.take_global() {
        invocation.end()?;
        let hosts = invocation.platform.git_hosts(&invocation.actor).await?;
        let host = invocation.platform.host_defaults(&invocation.actor).await?;
        return invocation.report(&host_row(&hosts, &host)).await;
    }
    let named = invocation.maybe_app()?;
    invocation.end()?;
    let platform = &invocation.platform;
    match named {
        Some(app) => invocation.report(&row(&platform.git_view(&invocation.actor, &app).await?)).await,
        None => {
            let mut reports = Vec::new();
            for app in platform.apps(&invocation.actor).await? {
                reports.push(row(&platform.git_view(&invocation.actor, &app.name).await?));
            }
            invocation.reports(&reports).await
        }
    }
}

fn row(view: &GitView) -> Report {
    let GitView { app, host, head, live } = view;
    let own = app.deploy_branch.as_deref();
    let git = app.settings.git.over(&host.git);
    let image = match live.as_ref().map(|release| &release.source) {
        Some(ReleaseSource::Image { reference }) => reference.to_string(),
        _ => String::new(),
    };
    let updated = live.as_ref().map(|release| (release.created_at.0 / 1000).to_string());
    Report::new("git", &app.name)
        .row("deploy-branch", own.unwrap_or_default())
        .row("computed-deploy-branch", host.computed_deploy_branch(own))
        .row("global-deploy-branch", host.deploy_branch.as_deref().unwrap_or_default())
        .row("keep-git-dir", git.keeps_git_dir())
        .row("global-keep-git-dir", host.git.keeps_git_dir())
        .row("rev-env-var", git.rev_env_var())
        .row("global-rev-env-var", host.git.rev_env_var())
        .row("sha", head.as_deref().unwrap_or_default())
        .row("source-image", image)
        .row("last-updated-at", updated.unwrap_or_default())
}

fn host_row(hosts: &[RemoteHost], host: &HostDefaults) -> Report {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    Report::new("git", Scope::Global)
        .row("allowed-hosts", hosts.join(" "))
        .row("deploy-branch", host.deploy_branch.as_deref().unwrap_or_default())
        .row("keep-git-dir", host.git.keeps_git_dir())
        .row("rev-env-var", host.git.rev_env_var())
}

async fn purge_cache(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.purge_cache(&invocation.actor, &app).await?;
    invocation.done(format!("Removed the build cache of {app}")).await
}

async fn gc(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    let (before, after) = invocation.platform.collect_garbage(&invocation.actor, &app).await?;
    invocation
        .done(format!("Packed the repository of {app}: {} KiB, {} KiB before", after >> 10, before >> 10))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_parsed_at_the_door() {
        assert_eq!(parse("keep-git-dir", Some("true")), Ok(GitSetting::KeepGitDir(Some(true))));
        assert_eq!(parse("rev-env-var", None), Ok(GitSetting::RevEnvVar(None)));
        assert!(matches!(parse("deploy-branch", Some("trunk")), Ok(GitSetting::DeployBranch(Some(_)))));
        for (property, value) in [
            ("deploy-branch", "-x"),
            ("deploy-branch", "a..b"),
            ("deploy-branch", "$(id) x"),
            ("keep-git-dir", "yes"),
            ("rev-env-var", "A B"),
            ("rev-env-var", "1A"),
            ("nonsense", "x"),
        ] {
            assert!(parse(property, Some(value)).is_err(), "{property} {value}");
        }
    }
}
