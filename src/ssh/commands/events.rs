//! `events`: what has happened on the host; `audit`: who did it.

use autostack_domain::{Event, permission::Action, screen::Printable};
use autostack_logs::Offset;
use autostack_platform::{EventFeed, EventQuery};
use serde_json::json;

use crate::commands::{
    command::{Command, FORMAT, Flag, Needs, Words},
    invocation::Invocation,
    log_style::time,
    logs::{SINCE, TAIL, UNTIL, moment},
    refusal::Refusal,
};

/// Events that are shown where nobody says how many.
const EVENTS_DEFAULT: usize = 100;
/// Events that are shown at once.
const EVENTS_MAX: usize = 10_000;

pub(crate) const COMMANDS: &[&Command] = &[&EVENTS, &AUDIT];

const OPTIONS: &[Flag] = &[
    TAIL,
    Flag { long: "--num", short: Some("-n"), value: Some("N"), summary: "begin with the last N" },
    SINCE,
    UNTIL,
    FORMAT,
];

const EVENTS: Command = Command {
    name: "events",
    arguments: "[APP] [-t] [-n N]",
    summary: "show what has happened on the host, and follow it",
    details: &[
        "Every change is an event: who, from where, what and when. Values of config are never part of it.",
        "You see what you did, and what concerns the apps that you may see.",
    ],
    options: OPTIONS,
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(show(invocation, false)),
};

const AUDIT: Command = Command {
    name: "audit",
    arguments: "[APP] [-t] [-n N]",
    summary: "show who has changed what, and from where",
    details: &["The events that people have caused; events shows those of the platform too."],
    options: OPTIONS,
    needs: Needs::App(Action::ViewApp),
    words: Words::Mixed,
    run: |invocation| Box::pin(show(invocation, true)),
};

async fn show(mut invocation: Invocation, only_people: bool) -> Result<(), Refusal> {
    let app = invocation.maybe_app()?;
    // The host as a whole is what it is about anyway.
    invocation.arguments.take_global();
    let follow = invocation.has("--tail");
    let (since, until) = (moment(&invocation, "--since")?, moment(&invocation, "--until")?);
    let limit = match invocation.value("--num") {
        None if since.is_some() => EVENTS_MAX,
        None => EVENTS_DEFAULT,
        Some(given) => {
            given.parse::<usize>().ok().filter(|number| *number <= EVENTS_MAX).ok_or_else(|| {
                let given = Printable(given);
                invocation
                    .usage(format!("--num needs a number of events, {EVENTS_MAX} at most, not {given}."))
            })?
        }
    };
    if follow && until.is_some() {
        return Err(invocation.usage("--tail goes on for ever and --until does not: give one of them."));
    }
    let json = invocation.json()?;
    invocation.end()?;
    let query = EventQuery { app, since, until, only_people, limit };
    let mut feed = invocation.platform.events(&invocation.actor, query).await?;
    let text: String = feed.past.drain(..).map(|(after, event)| line(after, &event, json)).collect();
    invocation.output.text(&text).await?;
    if follow { follow_on(&invocation, &mut feed, json).await } else { Ok(()) }
}

/// Shows events as they come, until the server or the client ends.
async fn follow_on(invocation: &Invocation, feed: &mut EventFeed, json: bool) -> Result<(), Refusal> {
    loop {
        let next = tokio::select! {
            biased;
            () = invocation.gone.cancelled() => return Err(Refusal::Gone),
            () = invocation.stopping.cancelled() => {
                return Err(Refusal::failed("The agent is stopping; run the command again to go on."));
            }
            next = feed.next() => next?,
        };
        let Some((after, event)) = next else { return Ok(()) };
        invocation.output.text(&line(after, &event, json)).await?;
    }
}

/// `2026-11-24T10:00:00.000Z ada@example.com (laptop) from 10.0.0.7: shop config set FOO`, or an object of JSON.
fn line(after: Offset, event: &Event, json: bool) -> String {
    if !json {
        return format!("{} {event}\n", time(event.at));
    }
    let object = json!({
        "at": time(event.at),
        "offset": after,
        "who": event.by.to_string(),
        "from": event.by.address().map(|address| address.to_string()),
        "app": event.app,
        "kind": event.kind,
        "text": event.text,
    });
    format!("{object}\n")
}
