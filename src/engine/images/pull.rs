//! Pulling an image from a registry: its tag is looked up, the digest behind it is pulled.

use std::time::{Duration, Instant};

use autostack_domain::{
    RegistryLogin,
    image::{Digest, ImageReference},
};
use bollard::{auth::DockerCredentials, models::DistributionInspect, query_parameters::CreateImageOptions};
use futures_util::StreamExt;
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{ImageFacts, progress::PullProgress};
use crate::{About, Engine, EngineError, Output, Product, PullRefusal, Say, engine::or_cancelled};

/// What a registry may take to say which manifest a tag stands for.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(60);
/// A pull that says nothing for so long has hung: the engine reports each piece that it downloads or unpacks.
const SILENCE_MAX: Duration = Duration::from_secs(300);

const OPERATION: &str = "pull the image";

/// What is asked for: a manifest, or a tag where the engine cannot look one up.
struct Wanted {
    /// `repository@sha256:…` or `repository:tag`.
    name: String,
    /// What stands behind the repository.
    tag_or_digest: String,
    /// The image of that name before, where a tag would be moved away from it.
    before: Option<Digest>,
}

impl Engine {
    /// Fetches an image from its registry, and pins it: [`ImageFacts::digest_for`] says to which manifest. The
    /// registry is asked each time, so nobody gets an image only because somebody else has pulled it. The login
    /// goes to its own registry and to no other.
    ///
    /// No tag of the engine is moved: whose image `postgres:16` is stays as it was. [`ImageFacts::brought`] has
    /// the names that came to the engine with this pull; [`Engine::adopt`] puts one of ours in their place.
    ///
    /// # Errors
    /// [`EngineError::PullFailed`] with the reason, [`EngineError::Cancelled`] within a second of `cancel`, and
    /// those of a call.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        auth: Option<&RegistryLogin>,
        say: &Say<'_>,
        cancel: &CancellationToken,
    ) -> Result<ImageFacts, EngineError> {
        let about = or_cancelled(cancel, self.about()).await?;
        let auth = auth.filter(|auth| auth.fits(reference));
        say(Output::Step(&format!("Pulling {reference}")));
        let wanted = or_cancelled(cancel, self.wanted(reference, auth, &about)).await?;
        if wanted.tag_or_digest.contains(':') && wanted.before.is_some() {
            // The registry has just said that we may have it.
            say(Output::Detail("It is there already"));
        } else {
            or_cancelled(cancel, self.fetch(reference, &wanted, auth, say)).await?;
        }
        let mut facts = self.pulled(reference, &wanted.name).await?;
        if !fits_platform(&about, &facts.os, &facts.arch) {
            let evidence = format!("it is made for {}/{}", facts.os, facts.arch);
            return Err(failed(reference, PullRefusal::WrongPlatform, evidence));
        }
        self.settle_names(&wanted, &mut facts).await?;
        if let Some(digest) = facts.digest_for(reference) {
            say(Output::Detail(&format!("Digest {digest}")));
        }
        Ok(facts)
    }

    /// Puts a name of ours on an image, and takes away the names that came with the call that brought it: then
    /// it is ours alone, and goes when our name goes.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn adopt(&self, image: &ImageFacts, name: &str) -> Result<(), EngineError> {
        self.tag(&image.id, name).await?;
        for brought in image.brought.iter().filter(|brought| *brought != name) {
            self.remove_image(brought).await?;
        }
        Ok(())
    }

    /// Finds the manifest that is meant, and asks the registry whether we may have it.
    async fn wanted(
        &self,
        reference: &ImageReference,
        auth: Option<&RegistryLogin>,
        about: &About,
    ) -> Result<Wanted, EngineError> {
        let digest = match about.product {
            Product::Docker => self.look_up(reference, auth, about).await?,
            // It has no call for this.
            Product::Podman => None,
        };
        let repository = reference.repository();
        let (name, tag_or_digest) = match digest.as_ref().or(reference.digest()) {
            Some(digest) => (format!("{repository}@{digest}"), digest.to_string()),
            None => {
                let tag = reference.tag().unwrap_or("latest");
                (format!("{repository}:{tag}"), tag.to_owned())
            }
        };
        let before = self.inspect_image(&name).await?.map(|facts| facts.id);
        // A manifest that nobody has looked up is pulled again: only the registry knows whether we may have it.
        let before = before.filter(|_| digest.is_some() || !tag_or_digest.contains(':'));
        Ok(Wanted { name, tag_or_digest, before })
    }

    /// Which manifest the name stands for; `None` when the engine cannot tell, so that the pull itself has to.
    async fn look_up(
        &self,
        reference: &ImageReference,
        auth: Option<&RegistryLogin>,
        about: &About,
    ) -> Result<Option<Digest>, EngineError> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("{}@{digest}", reference.repository()),
            (None, tag) => format!("{}:{}", reference.repository(), tag.unwrap_or("latest")),
        };
        let credentials = auth.map(credentials);
        let asked = self
            .call_within(LOOK_UP_TIMEOUT, "look the image up in its registry", |docker| async move {
                docker.inspect_registry_image(&name, credentials).await
            })
            .await;
        let found = match asked.map_err(|error| pull_failed(reference, error)) {
            Ok(found) => found,
            Err(EngineError::PullFailed { why, .. }) if may_differ(why) => return Ok(None),
            Err(error) => return Err(error),
        };
        check_platforms(reference, &found, about)?;
        Ok(found.descriptor.digest.and_then(|digest| digest.parse().ok()))
    }

    async fn fetch(
        &self,
        reference: &ImageReference,
        wanted: &Wanted,
        auth: Option<&RegistryLogin>,
        say: &Say<'_>,
    ) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let options = CreateImageOptions {
            from_image: Some(reference.repository()),
            tag: Some(wanted.tag_or_digest.clone()),
            ..CreateImageOptions::default()
        };
        let mut messages = docker.create_image(Some(options), None, auth.map(credentials));
        let mut progress = PullProgress::default();
        loop {
            let next = time::timeout(SILENCE_MAX, messages.next()).await;
            match next
                .map_err(|_elapsed| EngineError::TimedOut { operation: OPERATION, within: SILENCE_MAX })?
            {
                None => break,
                Some(Ok(message)) => {
                    if let Some(line) = progress.take(&message, Instant::now()) {
                        say(Output::Detail(&line));
                    }
                }
                Some(Err(error)) => return Err(pull_failed(reference, self.failed(OPERATION, error))),
            }
        }
        if let Some(summary) = progress.summary() {
            say(Output::Detail(&summary));
        }
        Ok(())
    }

    async fn pulled(&self, reference: &ImageReference, name: &str) -> Result<ImageFacts, EngineError> {
        let found = self.inspect_image(name).await?;
        found.ok_or_else(|| {
            failed(reference, PullRefusal::Other, "the engine does not have it after the pull".into())
        })
    }

    /// Says which names came with the pull, and gives a tag that was moved back to whose it was.
    async fn settle_names(&self, wanted: &Wanted, facts: &mut ImageFacts) -> Result<(), EngineError> {
        match &wanted.before {
            Some(before) if *before == facts.id => {}
            Some(before) => {
                self.tag(before, &wanted.name).await?;
                facts.tags.retain(|tag| *tag != wanted.name);
            }
            None => facts.brought.push(wanted.name.clone()),
        }
        Ok(())
    }
}

/// Reasons for which the look-up may fail and the pull may work: it knows mirrors, the look-up does not.
fn may_differ(why: PullRefusal) -> bool {
    match why {
        PullRefusal::UnknownHost
        | PullRefusal::Unreachable
        | PullRefusal::NotTrusted
        | PullRefusal::Other => true,
        PullRefusal::NotFound
        | PullRefusal::Denied
        | PullRefusal::RateLimited
        | PullRefusal::WrongPlatform => false,
    }
}

fn failed(reference: &ImageReference, why: PullRefusal, evidence: String) -> EngineError {
    EngineError::PullFailed { reference: reference.to_string(), why, evidence }
}

/// Reads a refusal as one of the registry; what concerns the engine itself stays what it is.
fn pull_failed(reference: &ImageReference, error: EngineError) -> EngineError {
    match error {
        EngineError::NotFound { evidence, .. }
        | EngineError::Conflict { evidence, .. }
        | EngineError::Refused { evidence, .. } => {
            let why = PullRefusal::of(&evidence);
            failed(reference, why, evidence)
        }
        error => error,
    }
}

fn check_platforms(
    reference: &ImageReference,
    found: &DistributionInspect,
    about: &About,
) -> Result<(), EngineError> {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let platforms: Vec<(String, String)> =
        found.platforms.iter().map(|platform| (said(&platform.os), said(&platform.architecture))).collect();
    if platforms.is_empty() || platforms.iter().any(|(os, arch)| fits_platform(about, os, arch)) {
        return Ok(());
    }
    let mut names: Vec<String> = platforms.iter().map(|(os, arch)| format!("{os}/{arch}")).collect();
    names.dedup();
    let evidence =
        format!("it is made for {}, the engine runs {}/{}", names.join(", "), about.os, about.arch);
    Err(failed(reference, PullRefusal::WrongPlatform, evidence))
}

/// Whether the engine's processor runs programs made for that one. An image that does not say is given a try.
fn fits_platform(about: &About, os: &str, arch: &str) -> bool {
    let runs = |here: &str| match here {
        "amd64" => matches!(arch, "amd64" | "386"),
        "arm64" => matches!(arch, "arm64" | "arm"),
        here => here == arch,
    };
    (os.is_empty() || os == about.os) && (arch.is_empty() || runs(&about.arch))
}

/// A login in the words of the engine's API. It is given to the engine with each pull and kept nowhere on its side.
pub(crate) fn credentials(login: &RegistryLogin) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.expose().clone()),
        serveraddress: Some(login.registry.to_string()),
        ..DockerCredentials::default()
    }
}
