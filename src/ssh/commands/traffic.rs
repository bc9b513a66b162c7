//! What happens before an app is asked, and what is noted of each request: `maintenance:*`, `redirect:*`,
//! `http-auth:*`, `access-logs`.

use autostack_domain::{
    Secret, limits,
    permission::Action,
    screen::Printable,
    traffic::{Redirect, RedirectCode},
};
use autostack_logs::{Entry, Filter, LogError, Reader};
use autostack_platform::{PlatformError, Reached};

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    proxy::reports,
    refusal::Refusal,
    report::Report,
};

pub(crate) const COMMANDS: &[&Command] = &[
    &MAINTENANCE_ON,
    &MAINTENANCE_OFF,
    &MAINTENANCE_REPORT,
    &REDIRECT_SET,
    &REDIRECT_UNSET,
    &REDIRECT_REPORT,
    &AUTH_ON,
    &AUTH_OFF,
    &AUTH_REMOVE_USER,
    &AUTH_REPORT,
    &ACCESS_LOGS,
];

const PASSWORD_STDIN: &str = "--password-stdin";
/// Lines that are shown where nobody says how many.
const LINES_DEFAULT: usize = 100;
/// Text that is gathered before it is sent, in bytes, while more is there at once.
const BATCH_BYTES: usize = 32 * 1024;

const MAINTENANCE_ON: Command = Command {
    name: "maintenance:on",
    arguments: "APP",
    summary: "tell visitors that an app is being worked on",
    details: &["They get a page with status 503; the app goes on running."],
    options: &[],
    needs: Needs::App(Action::Operate),
    words: Words::Mixed,
    run: |invocation| Box::pin(maintenance(invocation, true)),
};

const MAINTENANCE_OFF: Command = Command {
    name: "maintenance:off",
    summary: "let visitors in to an app again",
    details: &[],
    run: |invocation| Box::pin(maintenance(invocation, false)),
    ..MAINTENANCE_ON
};

const MAINTENANCE_REPORT: Command = Command {
    name: "maintenance:report",
    arguments: "[APP]",
    summary: "show which apps are being worked on",
    details: &[],
    options: &[FORMAT],
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(maintenance_report(invocation)),
};

const REDIRECT_SET: Command = Command {
    name: "redirect:set",
    arguments: "APP FROM TO [CODE]",
    summary: "send visitors of one host on to another",
    details: &[
        "The path is kept: redirect:set shop www.example.com example.com",
        "CODE is 301 unless you say 302, 303, 307 or 308. TO may begin with https://.",
    ],
    run: |invocation| Box::pin(redirect_set(invocation)),
    ..MAINTENANCE_ON
};

const REDIRECT_UNSET: Command = Command {
    name: "redirect:unset",
    arguments: "APP FROM",
    summary: "send visitors of a host on no more",
    details: &[],
    run: |invocation| Box::pin(redirect_unset(invocation)),
    ..MAINTENANCE_ON
};

const REDIRECT_REPORT: Command = Command {
    name: "redirect:report",
    summary: "show from which hosts visitors are sent on",
    run: |invocation| Box::pin(redirect_report(invocation)),
    ..MAINTENANCE_REPORT
};

const AUTH_ON: Command = Command {
    name: "http-auth:on",
    arguments: "APP USER --password-stdin",
    summary: "ask visitors of an app for a password",
    details: &[
        "printf %s \"$PASSWORD\" | ssh HOST http-auth:on APP USER --password-stdin",
        "Once more with another USER lets one more in. A password may also follow as the last word,",
        "where your shell keeps it in its history.",
    ],
    options: &[Flag {
        long: PASSWORD_STDIN,
        short: None,
        value: None,
        summary: "read the password from the connection",
    }],
    run: |invocation| Box::pin(auth_on(invocation)),
    ..MAINTENANCE_ON
};

const AUTH_OFF: Command = Command {
    name: "http-auth:off",
    summary: "let everybody in to an app, and forget its users",
    details: &[],
    run: |invocation| Box::pin(auth_off(invocation)),
    ..MAINTENANCE_ON
};

const AUTH_REMOVE_USER: Command = Command {
    name: "http-auth:remove-user",
    arguments: "APP USER",
    summary: "let one user in to an app no more",
    details: &[],
    run: |invocation| Box::pin(auth_remove_user(invocation)),
    ..MAINTENANCE_ON
};

const AUTH_REPORT: Command = Command {
    name: "http-auth:report",
    summary: "show who is let in to apps",
    run: |invocation| Box::pin(auth_report(invocation)),
    ..MAINTENANCE_REPORT
};

const ACCESS_LOGS: Command = Command {
    name: "access-logs",
    arguments: "APP [-t] [-n N]",
    summary: "show the requests that visitors have made",
    details: &["One line a request, as Heroku's router writes them. Ctrl-C ends following."],
    options: &[
        Flag { long: "--tail", short: Some("-t"), value: None, summary: "go on with new requests" },
        Flag {
            long: "--num",
            short: Some("-n"),
            value: Some("N"),
            summary: "begin with the last N requests",
        },
    ],
    needs: Needs::App(Action::ReadLogs),
    words: Words::Mixed,
    run: |invocation| Box::pin(access_logs(invocation)),
};

async fn maintenance(mut invocation: Invocation, is_on: bool) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.set_maintenance(&invocation.actor, &app, is_on).await?;
    let said = if is_on { "on" } else { "off" };
    invocation.done(format!("Maintenance of {app} is {said}")).await
}

async fn maintenance_report(invocation: Invocation) -> Result<(), Refusal> {
    let of_app = |reached: &Reached| {
        Report::new("maintenance", &reached.app).row("enabled", reached.traffic.rules.maintenance)
    };
    reports(invocation, of_app).await
}

async fn redirect_set(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let from = invocation.word("the host whose visitors are sent on")?.parse()?;
    let to = invocation.word("the host that they are sent to")?.parse()?;
    let code = match invocation.arguments.next() {
        Some(code) => code.parse()?,
        None => RedirectCode::default(),
    };
    invocation.end()?;
    let redirect = Redirect { from, to, code };
    let done = format!("{app} sends {} on to {} ({code})", redirect.from, redirect.to);
    invocation.platform.set_redirect(&invocation.actor, &app, redirect).await?;
    invocation.done(done).await
}

async fn redirect_unset(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let from: autostack_domain::address::HostPattern =
        invocation.word("the host whose visitors are sent on")?.parse()?;
    invocation.end()?;
    let done = format!("{app} sends {from} on no more");
    invocation.platform.unset_redirect(&invocation.actor, &app, from).await?;
    invocation.done(done).await
}

async fn redirect_report(invocation: Invocation) -> Result<(), Refusal> {
    let of_app = |reached: &Reached| {
        let redirects = &reached.traffic.rules.redirects;
        let report = Report::new("redirect", &reached.app).row("count", redirects.len());
        redirects.iter().fold(report, |report, redirect| {
            report.row(redirect.from.to_string(), format!("{} {}", redirect.to, redirect.code))
        })
    };
    reports(invocation, of_app).await
}

async fn auth_on(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let user: autostack_domain::traffic::HttpUser = invocation.word("the name of a user")?.parse()?;
    let password = if invocation.has(PASSWORD_STDIN) {
        password_of_input(&mut invocation).await?
    } else {
        invocation.word("a password: --password-stdin reads it")?
    };
    invocation.end()?;
    let done = format!("Visitors of {app} are asked for a password; {user} is let in");
    invocation.platform.set_http_user(&invocation.actor, &app, user, Secret::new(password)).await?;
    invocation.done(done).await
}

/// Reads up to the end of the input; one line break at the end is not part of the password.
async fn password_of_input(invocation: &mut Invocation) -> Result<String, Refusal> {
    let most = limits::HTTP_PASSWORD_BYTES_MAX;
    let mut bytes = Vec::new();
    while let Some(chunk) = invocation.input.next().await {
        bytes.extend_from_slice(chunk.as_ref());
        if bytes.len() > most + 2 {
            return Err(Refusal::failed(format!("A password has {most} bytes at most.")));
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| Refusal::failed("The password is not UTF-8."))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

async fn auth_off(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    invocation.end()?;
    invocation.platform.end_http_auth(&invocation.actor, &app).await?;
    invocation.done(format!("Everybody is let in to {app}")).await
}

async fn auth_remove_user(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let user: autostack_domain::traffic::HttpUser = invocation.word("the name of a user")?.parse()?;
    invocation.end()?;
    let done = format!("{user} is let in to {app} no more");
    invocation.platform.remove_http_user(&invocation.actor, &app, user).await?;
    invocation.done(done).await
}

async fn auth_report(invocation: Invocation) -> Result<(), Refusal> {
    let of_app = |reached: &Reached| {
        let users = &reached.traffic.rules.http_auth;
        let names = users.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Report::new("http-auth", &reached.app).row("enabled", !users.is_empty()).row("users", names)
    };
    reports(invocation, of_app).await
}

async fn access_logs(mut invocation: Invocation) -> Result<(), Refusal> {
    let app = invocation.app()?;
    let lines = match invocation.value("--num") {
        None => LINES_DEFAULT,
        Some(given) => given.parse().map_err(|_| {
            invocation.usage(format!("--num needs a number of requests, not {}.", Printable(given)))
        })?,
    };
    let follow = invocation.has("--tail");
    invocation.end()?;
    let log = invocation.platform.access_log(&invocation.actor, &app).await?;
    let looking = std::sync::Arc::clone(&log);
    let find = move || looking.tail_start(lines, &Filter::all());
    let found = invocation.tasks.blocking("find access log tail", find).await;
    let (start, end) = found
        .map_err(|panic| Refusal::failed(format!("The log cannot be read: {panic}.")))?
        .map_err(unreadable)?;
    let mut reader = log.reader(start);
    show_ready(&invocation, &mut reader, Some(end)).await?;
    if follow { follow_on(&invocation, reader).await } else { Ok(()) }
}

/// Shows requests as they come, until the log, the server or the client ends.
async fn follow_on(invocation: &Invocation, mut reader: Reader) -> Result<(), Refusal> {
    loop {
        let next = tokio::select! {
            biased;
            () = invocation.gone.cancelled() => return Err(Refusal::Gone),
            () = invocation.stopping.cancelled() => {
                return Err(Refusal::failed("The agent is stopping; run the command again to go on."));
            }
            next = reader.next() => next.map_err(unreadable)?,
        };
        let Some((_, entry)) = next else { return Ok(()) };
        invocation.output.text(&line_of(&entry)).await?;
        show_ready(invocation, &mut reader, None).await?;
    }
}

/// Shows what is there already, up to `end`.
async fn show_ready(
    invocation: &Invocation,
    reader: &mut Reader,
    end: Option<autostack_logs::Offset>,
) -> Result<(), Refusal> {
    let mut text = String::new();
    while end.is_none_or(|end| reader.offset() < end) {
        let Some((_, entry)) = reader.next_ready().map_err(unreadable)? else { break };
        text.push_str(&line_of(&entry));
        if text.len() >= BATCH_BYTES {
            invocation.output.text(&std::mem::take(&mut text)).await?;
        }
    }
    Ok(invocation.output.text(&text).await?)
}

/// `2026-11-23T21:07:36.123Z autostack[router]: at=info …`
fn line_of(entry: &Entry) -> String {
    // A clock beyond the year 9999 is shown as the number that it is.
    let at = jiff::Timestamp::from_millisecond(entry.at.0)
        .map_or_else(|_| entry.at.0.to_string(), |at| format!("{at:.3}"));
    format!("{at} autostack[router]: {}\n", Printable(&entry.text_lossy()))
}

fn unreadable(error: LogError) -> Refusal {
    Refusal::from(PlatformError::from(error))
}
