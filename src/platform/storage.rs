//! Folders that apps keep their data in: made, mounted, shown.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, chown},
    path::PathBuf,
};

use autostack_base::clock;
use autostack_domain::{
    App, AppName, limits,
    permission::{Action, Actor, Role, allows},
    storage::{StorageDirectory, StorageMount, StorageName, StorageSource},
};
use autostack_store::Store;

use crate::{
    error::{ErrorKind, PlatformError},
    platform::Platform,
};

/// Whom a storage directory is given to: the users that build packs make their images run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chown(Option<u32>);

impl Chown {
    /// Reads Dokku's word for it.
    ///
    /// # Errors
    /// Which words there are.
    pub fn named(given: &str) -> Result<Self, autostack_domain::Invalid> {
        match given {
            "herokuish" => Ok(Self(Some(32_767))),
            "heroku" => Ok(Self(Some(1_000))),
            "paketo" | "packeto" => Ok(Self(Some(2_000))),
            "root" => Ok(Self(Some(0))),
            "false" => Ok(Self(None)),
            _ => {
                let why = "there are herokuish, heroku, paketo, root and false";
                Err(autostack_domain::Invalid::new("chown", given, why))
            }
        }
    }
}

/// A storage directory that is there now.
#[derive(Debug, Clone)]
pub struct EnsuredDirectory {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Whom it was given to, where that was asked for and done.
    pub owner: Option<u32>,
    /// Why it could not be given to anybody, where that was asked for.
    pub not_given: Option<String>,
}

/// The storage of an app.
#[derive(Debug, Clone)]
pub struct StorageView {
    /// The app.
    pub app: AppName,
    /// What is mounted, as it is typed.
    pub mounts: Vec<String>,
}

impl Platform {
    /// Makes a storage directory, unless it is there.
    pub async fn ensure_storage(
        &self,
        actor: &Actor,
        name: &StorageName,
        chown: Option<Chown>,
    ) -> Result<EnsuredDirectory, PlatformError> {
        if !allows(actor, None, Action::CreateApp) {
            return Err(PlatformError::new(ErrorKind::Denied, "you may not make storage directories"));
        }
        self.check_space()?;
        let path = self.storage_dir().join(name.as_str());
        let record =
            StorageDirectory { name: name.clone(), owner: actor.user.clone(), created_at: clock::now() };
        let (is_admin, is_there) = (allows(actor, None, Action::ManageHost), path.exists());
        let write = move |store: &Store| match store.storage_directory(&record.name)? {
            Some(known) => Ok(Claim::known(&known, &record, is_admin)),
            // The operator has made it by hand: nobody else's data is given away by its name.
            None if is_there && !is_admin => Ok(Claim::Foreign),
            None if !is_admin
                && store.storage_directories_of(&record.owner)?
                    >= limits::STORAGE_DIRECTORIES_PER_USER_MAX =>
            {
                Ok(Claim::TooMany)
            }
            None => store.put_storage_directory(&record).map(|()| Claim::Own),
        };
        match self.parts().store.call(write).await? {
            Claim::Own => {}
            Claim::Foreign => return Err(foreign(name)),
            Claim::TooMany => {
                let max = limits::STORAGE_DIRECTORIES_PER_USER_MAX;
                return Err(PlatformError::new(
                    ErrorKind::Conflict,
                    format!("you have {max} storage directories"),
                ));
            }
        }
        let made = path.clone();
        let make = move || make_directory(&made, chown);
        let made = self.parts().tasks.blocking("make storage", make).await;
        let made = made.map_err(|panic| PlatformError::internal("the directory cannot be made", &panic))?;
        let (owner, not_given) =
            made.map_err(|error| PlatformError::internal("the directory cannot be made", &error))?;
        self.event(actor, None, "storage:ensure-directory", name.to_string());
        Ok(EnsuredDirectory { path, owner, not_given })
    }

    /// Mounts a folder into an app; it counts for instances that are started from then on.
    pub async fn mount_storage(
        &self,
        actor: &Actor,
        name: &AppName,
        given: &str,
    ) -> Result<String, PlatformError> {
        let app = self.app_for(actor, name, Action::Operate, "mount storage into").await?;
        let root = self.storage_dir();
        let mount = StorageMount::parse(given, &root)?;
        match &mount.source {
            StorageSource::Directory(directory) => self.check_directory(actor, directory).await?,
            StorageSource::Path(path) => check_host_path(actor, path)?,
        }
        self.check_runtime(&app, &mount).await?;
        let shown = mount.shown(&root);
        let change = move |settings: &mut autostack_domain::AppSettings| Ok(settings.storage.mount(mount)?);
        self.change_app(actor, name, Action::Operate, "mount storage into", change).await.map_err(
            |error| {
                match error.kind {
                    // It was understood; it is what is there already that stands against it.
                    ErrorKind::Invalid => PlatformError { kind: ErrorKind::Conflict, ..error },
                    _ => error,
                }
            },
        )?;
        self.event(actor, name, "storage:mount", shown.clone());
        Ok(shown)
    }

    /// Takes a mount away; what is in the folder stays.
    pub async fn unmount_storage(
        &self,
        actor: &Actor,
        name: &AppName,
        given: &str,
    ) -> Result<String, PlatformError> {
        self.app_for(actor, name, Action::Operate, "unmount storage of").await?;
        let root = self.storage_dir();
        let mount = StorageMount::parse(given, &root)?;
        let shown = mount.shown(&root);
        let (said, app) = (shown.clone(), name.clone());
        let change =
            move |settings: &mut autostack_domain::AppSettings| match settings.storage.unmount(&mount) {
                true => Ok(()),
                false => {
                    Err(PlatformError::new(ErrorKind::Conflict, format!("{said} is not mounted into {app}"))
                        .hint(format!("storage:list {app} shows what is")))
                }
            };
        self.change_app(actor, name, Action::Operate, "unmount storage of", change).await?;
        self.event(actor, name, "storage:unmount", shown.clone());
        Ok(shown)
    }

    /// The storage of an app.
    pub async fn storage(&self, actor: &Actor, name: &AppName) -> Result<StorageView, PlatformError> {
        let app = self.settings_of(actor, name).await?;
        let root = self.storage_dir();
        let mounts = app.settings.storage.mounts.iter().map(|mount| mount.shown(&root)).collect();
        Ok(StorageView { app: app.name, mounts })
    }

    /// Whether a storage directory is there that the actor may mount; one of somebody else is not.
    pub async fn has_storage(&self, actor: &Actor, name: &StorageName) -> Result<bool, PlatformError> {
        match self.check_directory(actor, name).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn storage_dir(&self) -> PathBuf {
        autostack_deploy::storage_dir(&self.parts().settings.borrow())
    }

    /// Lets those mount a directory who have made it, and those who operate an app that has it mounted already.
    async fn check_directory(&self, actor: &Actor, directory: &StorageName) -> Result<(), PlatformError> {
        let path = self.storage_dir().join(directory.as_str());
        let (name, user) = (directory.clone(), actor.user.clone());
        let read = move |store: &Store| {
            let is_own = store.storage_directory(&name)?.is_some_and(|known| known.owner == user);
            let source = StorageSource::Directory(name);
            let mounts_it =
                |app: &App| app.settings.storage.mounts.iter().any(|mount| mount.source == source);
            let mut roles = Vec::new();
            for app in store.apps()?.iter().filter(|app| mounts_it(app)) {
                let role =
                    if app.owner == user { Some(Role::Admin) } else { store.role(&app.name, &user)? };
                roles.push(role);
            }
            Ok((is_own, roles))
        };
        let (is_own, roles) = self.parts().store.call(read).await?;
        let may = allows(actor, None, Action::Operate)
            || is_own
            || roles.iter().any(|role| allows(actor, *role, Action::Operate));
        let is_there = path.is_dir() && !path.is_symlink();
        match (may, is_there) {
            (true, true) => Ok(()),
            (true, false) => Err(PlatformError::new(
                ErrorKind::Conflict,
                format!("there is no storage directory {directory}"),
            )
            .hint(format!("storage:ensure-directory {directory} makes it"))),
            // As if it were not there.
            (false, false) => Err(PlatformError::new(
                ErrorKind::Conflict,
                format!("there is no storage directory {directory}"),
            )
            .hint(format!("storage:ensure-directory {directory} makes it"))),
            (false, true) => Err(foreign(directory)),
        }
    }

    /// Refuses at once what could not be started: processes see the host's own file system.
    async fn check_runtime(&self, app: &App, mount: &StorageMount) -> Result<(), PlatformError> {
        let in_containers = match app.current_release {
            Some(number) => {
                let name = app.name.clone();
                let release =
                    self.parts().store.call(move |store: &Store| store.release(&name, number)).await?;
                release.is_some_and(|release| {
                    matches!(release.artifact, autostack_domain::Artifact::Image { .. })
                })
            }
            None => self.parts().engine.is_some(),
        };
        if in_containers {
            return Ok(());
        }
        let refuse = |why: String| Err(PlatformError::new(ErrorKind::Invalid, why));
        if mount.read_only {
            return refuse(format!(
                "{} runs as processes, which see a folder by a link and can write into it: mount it without :ro",
                app.name
            ));
        }
        if !mount.target.starts_with("/app/") {
            return refuse(format!(
                "{} runs as processes, which see the host's own file system: only /app/PATH can be given, as PATH in the app's folder",
                app.name
            ));
        }
        Ok(())
    }
}

/// What becomes of the wish for a directory.
enum Claim {
    Own,
    Foreign,
    TooMany,
}

impl Claim {
    fn known(known: &StorageDirectory, asked: &StorageDirectory, is_admin: bool) -> Self {
        if is_admin || known.owner == asked.owner { Claim::Own } else { Claim::Foreign }
    }
}

fn foreign(name: &StorageName) -> PlatformError {
    PlatformError::new(ErrorKind::Denied, format!("the storage directory {name} belongs to somebody else"))
        .hint("choose another name")
}

/// Any other folder of the host is for those who run it.
fn check_host_path(actor: &Actor, path: &std::path::Path) -> Result<(), PlatformError> {
    if !allows(actor, None, Action::ManageHost) {
        let message = "only storage directories can be mounted, and by admins of the platform any folder";
        return Err(PlatformError::new(ErrorKind::Denied, message)
            .hint("storage:ensure-directory NAME makes one; mount it as NAME:/app/PATH"));
    }
    if path.is_dir() {
        return Ok(());
    }
    Err(PlatformError::new(ErrorKind::Conflict, format!("there is no folder {} on the host", path.display()))
        .hint("make it on the host first"))
}

/// Makes the directory and gives it away; whom to, or why not.
fn make_directory(
    path: &std::path::Path,
    chown_to: Option<Chown>,
) -> io::Result<(Option<u32>, Option<String>)> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let Some(Chown(Some(user))) = chown_to else { return Ok((None, None)) };
    match chown(path, Some(user), Some(user)) {
        Ok(()) => Ok((Some(user), None)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok((
            None,
            Some(format!("the agent does not run as root, so it stays its own instead of {user}'s")),
        )),
        Err(error) => Err(error),
    }
}
