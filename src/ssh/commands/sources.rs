//! Code that comes by no push: `git:from-archive`, `git:sync`, and whom apps may fetch from: `git:allow-host`,
//! `git:auth`.

use std::io;

use autostack_domain::{RegistryLogin, RegistryName, RemoteHost, RemoteUrl, limits, permission::Action};
use autostack_git::{ArchiveKind, RemoteRef};
use autostack_platform::{AfterSync, ArchiveSource, ArchiveWords, Outcome, Synced};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    commands::{
        command::{Command, Flag, Needs, Words},
        invocation::Invocation,
        refusal::Refusal,
    },
    pump::Intake,
};

pub(crate) const COMMANDS: &[&Command] =
    &[&FROM_ARCHIVE, &SYNC, &INITIALIZE, &ALLOW_HOST, &UNALLOW_HOST, &AUTH];

const ARCHIVE_TYPE: &str = "--archive-type";
const BUILD: &str = "--build";
const BUILD_IF_CHANGES: &str = "--build-if-changes";
const PASSWORD_STDIN: &str = "--password-stdin";

const FROM_ARCHIVE: Command = Command {
    name: "git:from-archive",
    arguments: "[--archive-type tar|tar.gz|zip] APP URL|-- [NAME EMAIL]",
    summary: "deploy an archive of code",
    details: &[
        "git archive --format=tar.gz HEAD | ssh HOST git:from-archive APP --",
        "Instead of the URL, -- or - reads the archive from the connection. The files become a commit on the branch \
         that the app deploys, by NAME and EMAIL if they are given. A single folder around all of them is left away.",
        "Nothing that a pushed commit may not hold: no path out of the archive, no device, no .git.",
    ],
    options: &[Flag {
        long: ARCHIVE_TYPE,
        short: None,
        value: Some("TYPE"),
        summary: "tar, tar.gz or zip; without it the archive itself says it",
    }],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(from_archive(invocation)),
};

const SYNC: Command = Command {
    name: "git:sync",
    arguments: "[--build|--build-if-changes] APP URL [REF]",
    summary: "fetch a repository from elsewhere, and deploy it if asked to",
    details: &[
        "REF is a branch, a tag or a commit; without it, what a clone would check out. It becomes the branch that the \
         app deploys.",
        "Its submodules are fetched when it is deployed, as those of a push are.",
        "https only. A private repository: git:auth. A host of your own network: git:allow-host.",
    ],
    options: &[
        Flag { long: BUILD, short: None, value: None, summary: "deploy it" },
        Flag {
            long: BUILD_IF_CHANGES,
            short: None,
            value: None,
            summary: "deploy it unless the app's branch names it already",
        },
    ],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(sync(invocation)),
};

const INITIALIZE: Command = Command {
    name: "git:initialize",
    arguments: "APP",
    summary: "make the repository of an app, if it is not there",
    details: &[],
    options: &[],
    needs: Needs::App(Action::Push),
    words: Words::Mixed,
    run: |invocation| Box::pin(initialize(invocation)),
};

const ALLOW_HOST: Command = Command {
    name: "git:allow-host",
    arguments: "HOST",
    summary: "let apps fetch from a host that is not on the public Internet",
    details: &[
        "Hosts of the public Internet are allowed; those of the operator's own network must be named, and may \
                be spoken to by http, too. git:report --global shows them.",
    ],
    options: &[],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(allow_host(invocation, true)),
};

const UNALLOW_HOST: Command = Command {
    name: "git:unallow-host",
    arguments: "HOST",
    summary: "take git:allow-host back",
    details: &[],
    options: &[],
    needs: Needs::Host,
    words: Words::Mixed,
    run: |invocation| Box::pin(allow_host(invocation, false)),
};

const AUTH: Command = Command {
    name: "git:auth",
    arguments: "[--app APP] HOST [NAME PASSWORD|--password-stdin]",
    summary: "keep a login at a host of repositories, sealed; without NAME, forget it",
    details: &[
        "With --app it serves that app; without, every app of the host, which only an admin may say.",
        "It is sent to that host alone, and kept where registry:login keeps its own: registry:report shows it.",
    ],
    options: &[Flag {
        long: PASSWORD_STDIN,
        short: None,
        value: None,
        summary: "read the password from the connection",
    }],
    needs: Needs::App(Action::ManageRegistries),
    words: Words::Mixed,
    run: |invocation| Box::pin(auth(invocation)),
};

async fn from_archive(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let kind = invocation.value(ARCHIVE_TYPE).map(str::parse::<ArchiveKind>).transpose()?;
    let from = archive_url(&mut invocation)?;
    let author = match invocation.rest().as_slice() {
        [] => None,
        [name, email] => Some((author_word(name)?, author_word(email)?)),
        _ => return Err(invocation.usage("An author has a name and an address.")),
    };
    invocation.end()?;
    let mut screen = invocation.screen();
    let source = match from {
        Some(url) => ArchiveSource::Url(url),
        None => ArchiveSource::Sent(bytes(invocation.input, limits::SOURCE_ARCHIVE_BYTES_MAX).boxed()),
    };
    let words = ArchiveWords { kind, author };
    let platform = &invocation.platform;
    let deployed = platform
        .deploy_source_archive(&invocation.actor, &app, source, words, &mut screen, &invocation.gone)
        .await?;
    end(deployed)
}

/// A URL, or nothing where the archive is sent: `-`, or the `--` that the words end with.
fn archive_url(invocation: &mut Invocation) -> Result<Option<RemoteUrl>, Refusal> {
    if invocation.arguments.ended_options() {
        return Ok(None);
    }
    let word = invocation.word("the URL of an archive, or -- to read it from the connection")?;
    if word == "-" { Ok(None) } else { Ok(Some(word.parse()?)) }
}

/// What may stand in a commit: no line end, no angle bracket.
fn author_word(given: &str) -> Result<String, Refusal> {
    let fits = !given.trim().is_empty()
        && given.len() <= 200
        && !given.chars().any(|c| c.is_control() || matches!(c, '<' | '>'));
    if fits {
        Ok(given.to_owned())
    } else {
        let why = "use text without < and >, 200 bytes at most";
        Err(autostack_domain::Invalid::new("author", given, why).into())
    }
}

async fn sync(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let url: RemoteUrl = match invocation.word("the URL of a repository")? {
        ssh if ssh.starts_with("ssh://") || (ssh.contains('@') && !ssh.contains("://")) => {
            return Err(Refusal::failed(
                "Repositories are fetched over https, not over SSH. Next: use the https URL; git:auth keeps a login for a private one.",
            ));
        }
        url => url.parse()?,
    };
    let wanted: RemoteRef =
        invocation.arguments.next().map(|word| word.parse()).transpose()?.unwrap_or_default();
    let after = match (invocation.has(BUILD), invocation.has(BUILD_IF_CHANGES)) {
        (_, true) => AfterSync::DeployIfChanged,
        (true, false) => AfterSync::Deploy,
        (false, false) => AfterSync::Store,
    };
    invocation.end()?;
    let mut screen = invocation.screen();
    let (platform, gone) = (&invocation.platform, &invocation.gone);
    match platform.sync(&invocation.actor, &app, &url, &wanted, after, &mut screen, gone).await? {
        Synced::Stored => invocation.done("Stored, not deployed: --build does that, too").await,
        Synced::Unchanged => invocation.done("Nothing has changed").await,
        Synced::Deployed(outcome) => end(outcome),
    }
}

async fn initialize(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.initialize_repository(&invocation.actor, &app).await?;
    invocation.done(format!("The repository of {app} is there")).await
}

async fn allow_host(mut invocation: Invocation, allow: bool) -> Result<(), Refusal> {
    let _always_global = invocation.arguments.take_global();
    let host: RemoteHost = invocation.word("the name of a host")?.parse()?;
    invocation.end()?;
    invocation.platform.allow_git_host(&invocation.actor, &host, allow).await?;
    let no_longer = if allow { "may" } else { "may no longer" };
    invocation.done(format!("Apps {no_longer} fetch from {host}")).await
}

async fn auth(mut invocation: Invocation) -> Result<(), Refusal> {
    // Unlike elsewhere the first word is the host: that is how the grammar has it.
    let app = invocation.arguments.named_app()?;
    let _global = invocation.arguments.take_global();
    let host: RegistryName = invocation.word("the name of a host")?.parse()?;
    let username = invocation.arguments.next();
    let password = invocation.arguments.next();
    let reads_password = invocation.has(PASSWORD_STDIN);
    invocation.end()?;
    let login = match (username, password) {
        (None, _) => None,
        (Some(name), Some(password)) => Some((name, password)),
        (Some(name), None) if reads_password => {
            let password = invocation.read_secret(limits::REGISTRY_LOGIN_BYTES_MAX, "A password").await?;
            Some((name, password))
        }
        (Some(_), None) => {
            return Err(
                invocation.usage("A login has a name and a password; --password-stdin reads the password.")
            );
        }
    };
    let login =
        login.map(|(name, password)| RegistryLogin::new(host.clone(), &name, &password)).transpose()?;
    let is_kept = login.is_some();
    let platform = &invocation.platform;
    match login {
        Some(login) => platform.registry_login(&invocation.actor, app.as_ref(), login).await?,
        None => platform.registry_logout(&invocation.actor, app.as_ref(), &host).await?,
    }
    let what = if is_kept { "Kept a login at" } else { "Forgot the login at" };
    invocation.done(format!("{what} {host}")).await
}

/// What the client sends, as a stream of bytes with an end.
fn bytes(
    input: Intake,
    bytes_max: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold((input, 0_u64), move |(mut input, before)| async move {
        let chunk = Bytes::copy_from_slice(input.next().await?.as_ref());
        let read = before.saturating_add(chunk.len() as u64);
        // One chunk more than the limit is enough to be refused by whoever reads.
        if before > bytes_max {
            return None;
        }
        Some((Ok(chunk), (input, read)))
    })
}

/// A failure was shown line by line; what is left is the exit code.
fn end(outcome: Outcome) -> Result<(), Refusal> {
    match outcome {
        Outcome::Live(_) => Ok(()),
        Outcome::Failed => Err(Refusal::shown()),
    }
}
