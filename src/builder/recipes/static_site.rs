//! Static sites: a folder of files that the agent serves itself, without a process.
//!
//! nixpacks starts a web server for a `Staticfile`; the proxy is one already, so nothing is started here.

use autostack_domain::{Failure, release::StaticSite};
use serde::Deserialize;

use crate::{
    draft::{Context, Draft, bad_app_file},
    plan::Recipe,
};

/// Folders that hold a finished site, in the order in which they are looked for.
const FOLDERS: [&str; 7] = ["", "public", "dist", "site", "_site", "build", "docs"];

/// Heroku's `static.json`, as far as it is served here.
#[derive(Deserialize, Default)]
struct StaticJson {
    root: Option<String>,
    error_page: Option<String>,
    #[serde(default)]
    routes: std::collections::BTreeMap<String, String>,
}

/// Whether the tree is a site that needs no program.
pub(crate) fn is_site(context: &Context) -> bool {
    let marked = ["static.json", "Staticfile", "_static"].iter().any(|file| context.source.has_file(file));
    marked || FOLDERS.iter().any(|folder| context.source.has_file(&inside(folder, "index.html")))
}

/// Drafts a plan for a site.
pub(crate) fn draft(context: &Context) -> Result<Draft, Failure> {
    let mut draft = Draft::new(Recipe::Static);
    draft.is_vague = true;
    let settings = static_json(context)?;
    let (root, why) = root(context, &settings)?;
    draft.because(why);

    let default_page = context.source.has_file(&inside(&root, "404.html")).then(|| "404.html".to_owned());
    let not_found = match settings.error_page {
        Some(page) => Some(checked_path("error_page", &page)?),
        None => default_page,
    };
    if let Some(page) = &not_found {
        draft.because(format!("{page} answers for pages that are not there"));
    }
    let fallback = single_page_reason(context, &root, &settings.routes);
    if let Some(reason) = &fallback {
        draft.because(reason.clone());
    }
    draft.static_site = Some(StaticSite { root, not_found, single_page: fallback.is_some() });
    Ok(draft)
}

fn static_json(context: &Context) -> Result<StaticJson, Failure> {
    let Some(text) = context.source.read("static.json").ok().flatten() else {
        return Ok(StaticJson::default());
    };
    serde_json::from_slice(&text).map_err(|error| bad_app_file("static.json", error))
}

/// The folder of the site, and why.
fn root(context: &Context, settings: &StaticJson) -> Result<(String, String), Failure> {
    if let Some(root) = &settings.root {
        return Ok((checked_path("root", root)?, format!("static.json found: root {root}")));
    }
    let staticfile = context.source.words("Staticfile");
    if let Some(root) = staticfile.lines().find_map(|line| line.trim().strip_prefix("root:")) {
        let root = root.trim().trim_matches(['"', '\'']);
        return Ok((checked_path("root", root)?, format!("Staticfile found: root {root}")));
    }
    let folder = FOLDERS.iter().find(|folder| context.source.has_file(&inside(folder, "index.html")));
    let folder = folder.copied().unwrap_or_default();
    Ok((folder.to_owned(), format!("{} found: served by the platform itself", inside(folder, "index.html"))))
}

/// Why every path that is not a file gets `index.html`; `None` where it does not.
fn single_page_reason(
    context: &Context,
    root: &str,
    routes: &std::collections::BTreeMap<String, String>,
) -> Option<String> {
    let to_index = |target: &str| target.trim_start_matches('/') == "index.html";
    if routes.get("/**").is_some_and(|target| to_index(target)) {
        return Some("static.json routes /** to index.html: single-page app".into());
    }
    let redirects = context.source.words(&inside(root, "_redirects"));
    let falls_back = redirects.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(words.as_slice(), ["/*", target, status, ..] if to_index(target) && status.starts_with("200"))
    });
    if falls_back {
        return Some("_redirects sends /* to index.html: single-page app".into());
    }
    // surge.sh's convention; the file is a copy of index.html that every such tool writes.
    context.source.has_file(&inside(root, "200.html")).then(|| "200.html found: single-page app".into())
}

/// A path inside the artifact, without a slash at either end; the proxy resolves it beneath the artifact.
fn checked_path(key: &str, given: &str) -> Result<String, Failure> {
    let path = given.trim_matches('/').trim_start_matches("./");
    if path.split('/').any(|part| part == "..") || path.contains(['\\', '\0']) {
        return Err(bad_app_file("static.json", format!("{key} {given:?} leads out of the app")));
    }
    Ok(if path == "." { String::new() } else { path.to_owned() })
}

fn inside(folder: &str, file: &str) -> String {
    if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") }
}
