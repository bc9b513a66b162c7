//! What happened on the host: recorded at every change, and read by who may know.

use std::collections::HashMap;

use autostack_base::clock;
use autostack_domain::{
    App, AppName, By, Event, UnixMillis,
    permission::{Action, Actor, Role, allows},
};
use autostack_logs::{EventReader, Offset};
use autostack_store::{Store, StoreError};

use crate::{error::PlatformError, platform::Platform};

/// Which events somebody wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those of this app.
    pub app: Option<AppName>,
    /// Only those at or after this moment.
    pub since: Option<UnixMillis>,
    /// Only those before this moment.
    pub until: Option<UnixMillis>,
    /// Only what people did, not what the agent did by itself.
    pub only_people: bool,
    /// How many at most; the newest.
    pub limit: usize,
}

/// The events that somebody may know of: those that are there, then those to come.
pub struct EventFeed {
    /// The newest so far, oldest first, each with the offset after it.
    pub past: Vec<(Offset, Event)>,
    reader: EventReader,
    query: EventQuery,
    sight: Sight,
}

impl Platform {
    /// Records what somebody did. Give names and numbers, never a value of config or a secret. What was done stays
    /// done if it cannot be recorded.
    pub fn event<'a>(
        &self,
        by: impl Into<By>,
        app: impl Into<Option<&'a AppName>>,
        kind: &str,
        text: impl Into<String>,
    ) {
        let event = Event::new(clock::now(), by.into(), app.into().cloned(), kind, text);
        self.parts().logs.record(&event);
    }

    /// The events that the actor may know of: an admin every one, somebody else their own and those of the apps that
    /// they may see, for as long as these belong to the same app.
    pub async fn events(&self, actor: &Actor, query: EventQuery) -> Result<EventFeed, PlatformError> {
        if let Some(app) = &query.app
            && !allows(actor, None, Action::ManageHost)
        {
            self.app_for(actor, app, Action::ViewApp, "see").await?;
        }
        let events = self.parts().logs.events()?;
        let mut sight = Sight::new(actor, self.parts().store.clone());
        let (asked, reading) = (query.clone(), events.clone());
        let look = move || {
            let found = reading.last(asked.limit, |event| asked.fits(event) && sight.covers(event));
            (found, sight)
        };
        let looked = self.parts().tasks.blocking("read events", look).await;
        let (found, mut sight) =
            looked.map_err(|panic| PlatformError::internal("the events cannot be read", &panic))?;
        let (past, end) = found?;
        sight.forget();
        Ok(EventFeed { past, reader: events.reader(end), query, sight })
    }
}

impl EventFeed {
    /// The next event that fits; waits for it. `None` when there will be none. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(Offset, Event)>, PlatformError> {
        loop {
            let Some((after, event)) = self.reader.next().await? else { return Ok(None) };
            // Since the last one rights may have changed.
            self.sight.forget();
            if self.query.fits(&event) && self.sight.covers(&event) {
                return Ok(Some((after, event)));
            }
        }
    }
}

impl EventQuery {
    fn fits(&self, event: &Event) -> bool {
        self.app.as_ref().is_none_or(|app| event.app.as_ref() == Some(app))
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
            && !(self.only_people && event.by == By::Platform)
    }
}

/// What an actor may know of.
struct Sight {
    actor: Actor,
    store: Store,
    /// Since when the app of that name is there, where the actor may see it.
    apps: HashMap<AppName, Option<UnixMillis>>,
}

impl Sight {
    fn new(actor: &Actor, store: Store) -> Self {
        Self { actor: actor.clone(), store, apps: HashMap::new() }
    }

    /// Looks again from here on.
    fn forget(&mut self) {
        self.apps.clear();
    }

    fn covers(&mut self, event: &Event) -> bool {
        if allows(&self.actor, None, Action::ManageHost) || event.by.is(&self.actor.user) {
            return true;
        }
        let Some(app) = &event.app else { return false };
        let since = match self.apps.get(app) {
            Some(known) => *known,
            None => {
                let found = self.visible_since(app).unwrap_or_else(|error| {
                    tracing::error!(%app, %error, "who may know of an event cannot be read");
                    None
                });
                self.apps.insert(app.clone(), found);
                found
            }
        };
        // An earlier app of the same name was another one.
        since.is_some_and(|since| event.at >= since)
    }

    fn visible_since(&self, name: &AppName) -> Result<Option<UnixMillis>, StoreError> {
        let Some(app) = self.store.app(name)? else { return Ok(None) };
        let role = self.role(&app)?;
        Ok(allows(&self.actor, role, Action::ViewApp).then_some(app.created_at))
    }

    fn role(&self, app: &App) -> Result<Option<Role>, StoreError> {
        if app.owner == self.actor.user {
            return Ok(Some(Role::Admin));
        }
        self.store.role(&app.name, &self.actor.user)
    }
}
