//! What happened on the host: who changed what, from where, and when. Never what a secret is.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    limits::EVENT_TEXT_BYTES_MAX,
    names::{AppName, UserId},
    permission::Actor,
    screen::Printable,
    time::UnixMillis,
};

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Somebody who came through a door.
    User {
        /// The user.
        id: UserId,
        /// What people call them, with the key that proved it.
        name: String,
        /// Where they came from; `None` where the door has no address.
        from: Option<IpAddr>,
    },
    /// The operator, on the host itself.
    Operator,
    /// The agent by itself: a start, a schedule, a crash.
    Platform,
}

impl By {
    /// Whether it was this user.
    pub fn is(&self, user: &UserId) -> bool {
        matches!(self, By::User { id, .. } if id == user)
    }

    /// Where they came from.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            By::User { from, .. } => *from,
            By::Operator | By::Platform => None,
        }
    }
}

impl fmt::Display for By {
    /// As people are named in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::User { name, .. } => f.write_str(name),
            By::Operator => f.write_str("the operator of the host"),
            By::Platform => f.write_str("autostack"),
        }
    }
}

impl From<&Actor> for By {
    fn from(actor: &Actor) -> Self {
        By::User { id: actor.user.clone(), name: actor.name.clone(), from: actor.from }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub by: By,
    /// Which app; `None` for the host itself.
    pub app: Option<AppName>,
    /// What kind of thing it was, named like the command that does it: `config:set`.
    pub kind: String,
    /// What was done, for people: names and numbers, never a value of config or a secret.
    pub text: String,
}

impl Event {
    /// An event; of a text beyond [`EVENT_TEXT_BYTES_MAX`] the head is kept.
    pub fn new(at: UnixMillis, by: By, app: Option<AppName>, kind: &str, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > EVENT_TEXT_BYTES_MAX {
            let cut = (0..=EVENT_TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(cut.unwrap_or(0));
            text.push('…');
        }
        Self { at, by, app, kind: kind.to_owned(), text }
    }
}

impl fmt::Display for Event {
    /// For people, without the time: `ada@example.com (laptop): shop config:set FOO`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable(&self.by.to_string()))?;
        if let Some(from) = self.by.address() {
            write!(f, " from {from}")?;
        }
        f.write_str(": ")?;
        if let Some(app) = &self.app {
            write!(f, "{app} ")?;
        }
        write!(f, "{}", Printable(&self.kind))?;
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", Printable(&self.text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> By {
        let id = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        By::User { id, name: "ada (laptop)".into(), from: Some("10.0.0.7".parse().unwrap()) }
    }

    #[test]
    fn an_event_says_who_from_where_and_what() {
        let app = Some("shop".parse().unwrap());
        let event = Event::new(UnixMillis(1), ada(), app, "config:set", "FOO, BAR");
        assert_eq!(event.to_string(), "ada (laptop) from 10.0.0.7: shop config:set FOO, BAR");
        let event = Event::new(UnixMillis(1), By::Platform, None, "agent:start", "0.1.0\u{1b}[2J");
        assert_eq!(event.to_string(), "autostack: agent:start 0.1.0\\u{1b}[2J");
    }

    #[test]
    fn events_read_back() {
        for by in [ada(), By::Operator, By::Platform] {
            let event = Event::new(UnixMillis(7), by, None, "x", "y");
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "{json}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let event = Event::new(UnixMillis(1), By::Operator, None, "x", "€".repeat(EVENT_TEXT_BYTES_MAX));
        assert!(event.text.len() <= EVENT_TEXT_BYTES_MAX + '…'.len_utf8() && event.text.ends_with("€…"));
    }
}
