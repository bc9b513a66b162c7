//! What the instances of an app may use of the host.

use autostack_domain::{
    AppName, ProcessType,
    permission::{Action, Actor},
    resources::{Amounts, Bound, Resource, ResourceSettings},
};
use autostack_runtime::Backend;
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// The resources of an app, for a report.
#[derive(Debug, Clone)]
pub struct ResourcesView {
    /// The app.
    pub app: AppName,
    /// What is set.
    pub settings: ResourceSettings,
    /// The process types that it has, and those that something is set for.
    pub processes: Vec<ProcessType>,
    /// What is set and does not hold on this host, with the reason.
    pub unenforced: Vec<String>,
}

impl Platform {
    /// Sets amounts of a process type, or of all. They count for instances that are started from then on.
    pub async fn set_resources(
        &self,
        actor: &Actor,
        name: &AppName,
        process: Option<ProcessType>,
        bound: Bound,
        amounts: Vec<(Resource, String)>,
    ) -> Result<Amounts, PlatformError> {
        let mut read = Amounts::default();
        for (resource, given) in &amounts {
            read.set(*resource, given)?;
        }
        self.check_host_limits(bound, &read)?;
        let said: Vec<String> =
            amounts.iter().map(|(kind, given)| format!("{}={given}", kind.name())).collect();
        let whose = process.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        let change = move |settings: &mut autostack_domain::AppSettings| {
            let set = settings.resources.amounts_mut(process.as_ref(), bound);
            for (resource, given) in &amounts {
                set.set(*resource, given)?;
            }
            let now = *set;
            settings.resources.tidy();
            Ok(now)
        };
        let (_, now) = self.change_app(actor, name, Action::Operate, "set the resources of", change).await?;
        let kind = format!("resource:{}", bound.name());
        self.event(actor, name, &kind, format!("set {} of {whose}", said.join(" ")));
        Ok(now)
    }

    /// Takes amounts of a process type away, or all of them.
    pub async fn clear_resources(
        &self,
        actor: &Actor,
        name: &AppName,
        process: Option<ProcessType>,
        bound: Bound,
    ) -> Result<(), PlatformError> {
        let change = move |settings: &mut autostack_domain::AppSettings| {
            *settings.resources.amounts_mut(process.as_ref(), bound) = Amounts::default();
            settings.resources.tidy();
            Ok(())
        };
        self.change_app(actor, name, Action::Operate, "set the resources of", change).await?;
        self.event(actor, name, &format!("resource:{}-clear", bound.name()), "cleared");
        Ok(())
    }

    /// The resources of an app.
    pub async fn resources(&self, actor: &Actor, name: &AppName) -> Result<ResourcesView, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let settings = app.settings.resources;
        let processes = self.process_types(name, app.current_release).await?;
        let named = settings.processes.keys().filter(|process| !processes.contains(process)).cloned();
        let processes: Vec<ProcessType> = processes.iter().cloned().chain(named).collect();
        let unenforced = self.unenforced(name, &settings, &processes).await;
        Ok(ResourcesView { app: app.name, settings, processes, unenforced })
    }

    /// The process types of a release that have instances.
    pub(crate) async fn process_types(
        &self,
        name: &AppName,
        release: Option<autostack_domain::ReleaseNumber>,
    ) -> Result<Vec<ProcessType>, PlatformError> {
        let Some(number) = release else { return Ok(Vec::new()) };
        let name = name.clone();
        let release = self.parts().store.call(move |store: &Store| store.release(&name, number)).await?;
        let processes = release.map(|release| release.processes).unwrap_or_default();
        Ok(processes.into_keys().filter(|process| !process.is_release()).collect())
    }

    /// More than the host allows is refused, where the host's own limits count: in containers.
    fn check_host_limits(&self, bound: Bound, amounts: &Amounts) -> Result<(), PlatformError> {
        if self.parts().engine.is_none() {
            return Ok(());
        }
        let runtime = self.parts().settings.borrow().runtime.clone();
        let host = Amounts {
            cpus: runtime.cpus_max,
            memory_bytes: runtime.memory_bytes_max,
            pids: Some(runtime.pids_max).filter(|_| bound == Bound::Limit),
        };
        let is_over = [
            (Resource::Cpu, amounts.cpus.zip(host.cpus).is_some_and(|(asked, host)| asked > host)),
            (
                Resource::Memory,
                amounts.memory_bytes.zip(host.memory_bytes).is_some_and(|(asked, host)| asked > host),
            ),
            (Resource::Pids, amounts.pids.zip(host.pids).is_some_and(|(asked, host)| asked > host)),
        ];
        let Some((resource, _)) = is_over.into_iter().find(|(_, is_over)| *is_over) else { return Ok(()) };
        let (asked, most) = (amounts.shown(resource), host.shown(resource));
        let message = format!("{} {asked} is more than the host allows, which is {most}", resource.name());
        Err(PlatformError::new(ErrorKind::Invalid, message)
            .hint("ask for less, or have the operator raise it: [runtime] in the settings of the agent"))
    }

    /// What of the settings does not hold, looked at with the instances that are there.
    async fn unenforced(
        &self,
        name: &AppName,
        settings: &ResourceSettings,
        processes: &[ProcessType],
    ) -> Vec<String> {
        let Ok(listing) = self.parts().runtime.listing().await else { return Vec::new() };
        let mut said = Vec::new();
        let mine = listing.observed.into_iter().filter(|found| found.spec.app == *name);
        for mut instance in mine {
            if !processes.contains(&instance.spec.process) {
                continue;
            }
            instance.spec.limits = settings.of(&instance.spec.process);
            for line in self.parts().runtime.unenforced(&instance.spec).await {
                let line = format!("{}: {line}", instance.spec.process);
                if !said.contains(&line) {
                    said.push(line);
                }
            }
        }
        said
    }
}
