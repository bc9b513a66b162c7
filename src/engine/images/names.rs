//! How our images are named; inspect, tag, list and remove.

use std::collections::{BTreeMap, HashMap};

use autostack_domain::{AppName, DeploymentId, image::Digest};
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};

use super::ImageFacts;
use crate::{AgentMark, Engine, EngineError, labels};

/// An image that carries our label or a name of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurImage {
    /// Its id in the engine.
    pub id: Digest,
    /// Its names with a tag, those that are not ours included.
    pub tags: Vec<String>,
    /// The app that it belongs to, by its label or its name.
    pub app: Option<AppName>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970: of a pulled image, by its maker.
    pub created_s: i64,
    /// Bytes of all its layers, those that it shares with others included.
    pub size_bytes: u64,
}

/// The repository of an app's images on this engine: `autostack-MARK/APP`. Whatever is named so is ours, also
/// an image that cannot carry our label because it was made elsewhere.
pub fn our_repository(mark: &AgentMark, app: &AppName) -> String {
    format!("{}/{app}", our_namespace(mark))
}

fn our_namespace(mark: &AgentMark) -> String {
    format!("autostack-{mark}")
}

impl Engine {
    /// The name under which the image of a deployment is kept: `autostack-MARK/APP:DEPLOYMENT`.
    pub fn image_name(&self, app: &AppName, deployment: &DeploymentId) -> String {
        format!("{}:{deployment}", our_repository(self.mark(), app))
    }

    /// Whether a name of an image is one of ours: of [`Engine::image_name`].
    pub fn is_own_name(&self, tag: &str) -> bool {
        our_tag(self.mark(), tag).is_some()
    }

    /// Looks at an image by name or id; `None` where the engine has no such image.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn inspect_image(&self, name_or_id: &str) -> Result<Option<ImageFacts>, EngineError> {
        if !is_image_name(name_or_id) {
            return Ok(None);
        }
        let name = name_or_id.to_owned();
        let asked =
            self.call("inspect the image", |docker| async move { docker.inspect_image(&name).await }).await;
        match asked {
            Ok(image) => ImageFacts::of(image).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an image one more name, `repository:tag`; moves it there when another image has it. Meant for
    /// names of ours ([`Engine::image_name`]).
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an image that does not exist, and those of a call.
    pub async fn tag(&self, image: &Digest, name: &str) -> Result<(), EngineError> {
        let operation = "name the image";
        let (repository, tag) = split_name(name);
        if !is_image_name(name) {
            return Err(EngineError::Refused {
                operation,
                status: 400,
                evidence: format!("{name:?} is no name for an image"),
            });
        }
        let options = TagImageOptions { repo: Some(repository.into()), tag: Some(tag.into()) };
        let id = image.to_string();
        self.call(operation, |docker| async move { docker.tag_image(&id, Some(options)).await }).await
    }

    /// Removes an image, or of an image with several names only the one. What a container uses stays; what was
    /// only there for it goes with it. Gives whether there was one.
    ///
    /// # Errors
    /// [`EngineError::Conflict`] when a container uses it or, by id, when it has several names; and those of a
    /// call.
    pub async fn remove_image(&self, name_or_id: &str) -> Result<bool, EngineError> {
        if !is_image_name(name_or_id) {
            return Ok(false);
        }
        let name = name_or_id.to_owned();
        let options = RemoveImageOptions { force: false, noprune: false, platforms: None };
        let removed = self
            .call("remove the image", |docker| async move {
                docker.remove_image(&name, Some(options), None).await
            })
            .await;
        match removed {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The images of this agent, of one app or of all: by our label, and by names of ours.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn images_of_agent(&self, app: Option<&AppName>) -> Result<Vec<OurImage>, EngineError> {
        let names = match app {
            Some(app) => format!("{}:*", our_repository(self.mark(), app)),
            None => format!("{}/*:*", our_namespace(self.mark())),
        };
        let by_label = self.list_images(self.label_filter(app)).await?;
        let by_name = self.list_images(HashMap::from([("reference".into(), vec![names])])).await?;
        let mut images: BTreeMap<Digest, OurImage> = BTreeMap::new();
        for image in by_label.into_iter().chain(by_name) {
            // Asked for by name, an engine shows that name alone: the first look saw them all.
            images.entry(image.id.clone()).or_insert(image);
        }
        Ok(images.into_values().collect())
    }

    async fn list_images(&self, filters: HashMap<String, Vec<String>>) -> Result<Vec<OurImage>, EngineError> {
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let listed =
            self.call("list images", |docker| async move { docker.list_images(Some(options)).await }).await?;
        Ok(listed
            .into_iter()
            .filter_map(|image| {
                let tags: Vec<String> =
                    image.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect();
                let id = if image.id.contains(':') { image.id } else { format!("sha256:{}", image.id) };
                Some(OurImage {
                    id: id.parse().ok()?,
                    app: app_of(self.mark(), &image.labels, &tags),
                    tags,
                    labels: image.labels.into_iter().collect(),
                    created_s: image.created,
                    size_bytes: image.size.try_into().unwrap_or_default(),
                })
            })
            .collect())
    }
}

fn app_of(mark: &AgentMark, labels: &HashMap<String, String>, tags: &[String]) -> Option<AppName> {
    let by_label = labels.get(labels::APP).and_then(|app| app.parse().ok());
    by_label.or_else(|| tags.iter().find_map(|tag| our_tag(mark, tag)))
}

/// The name as the agent writes it: Podman puts in front where an image without a registry lives, by its version
/// and settings here or at Docker's.
pub fn plain_name(tag: &str) -> &str {
    tag.strip_prefix("localhost/").or_else(|| tag.strip_prefix("docker.io/")).unwrap_or(tag)
}

/// The app whose name of ours this is.
pub(crate) fn our_tag(mark: &AgentMark, tag: &str) -> Option<AppName> {
    let tag = plain_name(tag);
    let rest = tag.strip_prefix(&our_namespace(mark))?.strip_prefix('/')?;
    split_name(rest).0.parse().ok()
}

/// Repository and tag; the tag is `latest` where none is written.
pub(crate) fn split_name(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        Some(_) | None => (name, "latest"),
    }
}

/// Whether it could name an image at all, so that it may stand in the path of a request.
pub(crate) fn is_image_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    !name.is_empty() && name.bytes().all(fits) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_a_name_never_leads_to_another_path_of_the_api() {
        for bad in ["", "a/../../info", "a?x=1", "a#b", "a b", "a%2f..", "/a", "a//b", ".", "a\n"] {
            assert!(!is_image_name(bad), "{bad:?}");
        }
        for good in ["a", "r.example.com:5000/a/b:1.0", "a@sha256:00", "sha256:00"] {
            assert!(is_image_name(good), "{good:?}");
        }
    }

    #[test]
    fn names_of_ours_tell_their_app_and_others_none() {
        let mark: AgentMark = "0123456789abcdef".parse().unwrap();
        let app = |tag: &str| our_tag(&mark, tag).map(|app| app.to_string());
        assert_eq!(app("autostack-0123456789abcdef/shop:1"), Some("shop".into()));
        assert_eq!(app("localhost/autostack-0123456789abcdef/shop:1"), Some("shop".into()));
        assert_eq!(app("docker.io/autostack-0123456789abcdef/shop:1"), Some("shop".into()));
        for other in [
            "autostack-0123456789abcdee/shop:1",
            "autostack-0123456789abcdef0/shop:1",
            "autostack/shop:1",
            "x/autostack-0123456789abcdef/shop:1",
        ] {
            assert_eq!(app(other), None, "{other}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split_name("r:5000/a"), ("r:5000/a", "latest"));
        assert_eq!(split_name("r:5000/a:1"), ("r:5000/a", "1"));
    }
}
