//! The build cache that is ours: which records of the engine's carry our mark, and their removal.
//!
//! BuildKit gives no labels to records of its cache, but describes each by the command that made it. The commands of
//! the Dockerfiles that the agent writes end with its mark and the app's name (`$0` of their shell), so these records
//! are known; those of an app's own Dockerfile are not, and are left to the collection of the engine itself.

use std::{collections::HashMap, time::Duration};

use autostack_base::tasks::Tasks;
use autostack_domain::{AppName, UnixMillis};
use bollard::query_parameters::PruneBuildOptions;
use http::Request;
use serde::Deserialize;

use crate::{
    AgentMark, ApiVersion, Engine, EngineError,
    build::wire::{Connection, no_body},
};

/// An engine adds up the disk usage of everything before it answers.
const LIST_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of that answer.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;
const LIST: &str = "list its build cache";
/// The newest API that lists the records one by one in the form that is read here.
const LIST_API_MAX: ApiVersion = ApiVersion { major: 1, minor: 51 };

/// A record of the build cache that carries our mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// Its id in the engine.
    pub id: String,
    /// What stands behind the mark: the app's name, and in names of cache folders more behind that.
    pub owner: String,
    /// Bytes on the engine's disk.
    pub bytes: u64,
    /// When it was last used, or made where it was never used.
    pub used_at: UnixMillis,
}

impl CacheRecord {
    /// Whether it is a record of this app.
    pub fn is_of(&self, app: &AppName) -> bool {
        let rest = self.owner.strip_prefix(app.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// The mark of the app's build cache: the last word of every command that the agent has an image build run, and the
/// beginning of the names of its cache folders.
pub fn cache_mark(mark: &AgentMark, app: &AppName) -> String {
    format!("{}{app}", prefix(mark))
}

fn prefix(mark: &AgentMark) -> String {
    format!("autostack-{mark}-")
}

#[derive(Deserialize)]
struct DiskUsage {
    #[serde(rename = "BuildCache", default)]
    records: Option<Vec<Record>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    in_use: bool,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    last_used_at: Option<String>,
}

impl Engine {
    /// The records of the engine's build cache that carry our mark and are not in use; none where the engine keeps
    /// no such cache.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn build_cache(&self, tasks: &Tasks) -> Result<Vec<CacheRecord>, EngineError> {
        let prefix = prefix(self.mark());
        let usage: DiskUsage = self.disk_usage(tasks).await?;
        let ours = usage.records.unwrap_or_default().into_iter().filter(|record| !record.in_use);
        Ok(ours
            .filter_map(|record| {
                let owner = owner(&record.description, &prefix)?;
                Some(CacheRecord {
                    owner,
                    bytes: record.size.try_into().unwrap_or_default(),
                    used_at: moment(record.last_used_at.as_deref().unwrap_or(&record.created_at)),
                    id: record.id,
                })
            })
            .collect())
    }

    /// Removes one record of the build cache, and gives its bytes; `None` for one that stays, because it is in use or
    /// another stands on it.
    ///
    /// # Errors
    /// When the engine cannot be asked.
    pub async fn remove_cache(&self, record: &CacheRecord) -> Result<Option<u64>, EngineError> {
        let filters = HashMap::from([("id".to_owned(), vec![record.id.clone()])]);
        let options =
            PruneBuildOptions { all: Some(true), filters: Some(filters), ..PruneBuildOptions::default() };
        let pruned = self
            .call_within(LIST_TIMEOUT, "remove build cache", |docker| async move {
                docker.prune_build(Some(options)).await
            })
            .await?;
        let is_gone = pruned.caches_deleted.is_some_and(|deleted| !deleted.is_empty());
        let bytes = pruned.space_reclaimed.and_then(|bytes| bytes.try_into().ok());
        Ok(is_gone.then_some(bytes.unwrap_or_default()))
    }

    async fn disk_usage(&self, tasks: &Tasks) -> Result<DiskUsage, EngineError> {
        let unexpected = |evidence: String| EngineError::Unexpected { operation: LIST, evidence };
        // Later ones leave the records out.
        let api = self.about().await?.api.min(LIST_API_MAX);
        let request = Request::get(format!("/v{api}/system/df?type=build-cache"))
            .header(http::header::HOST, "engine")
            .body(no_body())
            .map_err(|error| unexpected(error.to_string()))?;
        let answer = async {
            let connection = Connection::open(self.host(), tasks).await?;
            connection.whole(request, LIST_BYTES_MAX).await
        };
        let answer = tokio::time::timeout(LIST_TIMEOUT, answer)
            .await
            .map_err(|_elapsed| EngineError::TimedOut { operation: LIST, within: LIST_TIMEOUT })??;
        serde_json::from_slice(&answer).map_err(|error| unexpected(error.to_string()))
    }
}

/// A moment as the engine writes it; one that cannot be read is long past.
fn moment(text: &str) -> UnixMillis {
    UnixMillis(text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond))
}

/// What stands behind the mark in the description of a record.
fn owner(description: &str, prefix: &str) -> Option<String> {
    let words = description.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.filter_map(|word| word.strip_prefix(prefix)).next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_ours_by_the_last_word_of_its_command() {
        let mark: AgentMark = "0123456789abcdef".parse().unwrap();
        let app: AppName = "shop".parse().unwrap();
        let of = |description: &str| owner(description, &prefix(&mark));
        let described = format!("mount / from exec /bin/sh -c npm ci {}", cache_mark(&mark, &app));
        assert_eq!(of(&described).as_deref(), Some("shop"));
        let folder = "cached mount /cache/npm from exec /bin/sh -c npm ci with id \"/autostack-0123456789abcdef-shop-npm\"";
        assert_eq!(of(folder).as_deref(), Some("shop-npm"));
        assert_eq!(of("mount / from exec /bin/sh -c npm ci autostack-fedcba9876543210-shop"), None);
        assert_eq!(of("local source for context"), None);
    }

    #[test]
    fn an_app_whose_name_begins_another_has_none_of_its_records() {
        let record = |owner: &str| CacheRecord {
            id: "x".into(),
            owner: owner.into(),
            bytes: 0,
            used_at: UnixMillis(0),
        };
        let app = |name: &str| name.parse::<AppName>().unwrap();
        assert!(record("shop").is_of(&app("shop")));
        assert!(record("shop-npm").is_of(&app("shop")));
        assert!(!record("shopping").is_of(&app("shop")));
    }
}
