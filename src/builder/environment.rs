//! The environment of a build: the app's config, a few folders of the build's own, nothing of the agent's.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use autostack_domain::EnvMap;
use uuid::Uuid;

use crate::{
    leftovers::TEMPORARY,
    plan::{BuildPlan, Step},
    toolchains::Toolchains,
    tree::MARK,
};

/// The certificates that Debian and its kin trust.
pub(crate) const HOST_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How tools are told of them. Node.js, uv and Poetry bring lists of their own, and a host whose operator
/// added a certificate (a proxy, an internal registry) could not build with those.
pub(crate) const CERTIFICATE_VARIABLES: [&str; 3] =
    ["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];

/// The variables and folders of one build.
pub(crate) struct Environment {
    build_id: String,
    bare: EnvMap,
    whole: EnvMap,
    temp: PathBuf,
}

impl Environment {
    /// Makes the folders and puts the variables together.
    pub(crate) fn prepare(
        plan: &BuildPlan,
        config: &EnvMap,
        dir: &Path,
        app_cache: &Path,
        tools: &Toolchains,
    ) -> io::Result<Self> {
        let build_id = Uuid::new_v4().to_string();
        let home = app_cache.join("home");
        let temp = app_cache.join(TEMPORARY).join(&build_id);
        make_dir(&home)?;
        make_dir(&temp)?;

        let mut bare = EnvMap::new();
        bare.put("PATH", tools.path());
        bare.put("HOME", home.as_os_str().as_encoded_bytes());
        bare.put("TMPDIR", temp.as_os_str().as_encoded_bytes());
        bare.put("LANG", "C.UTF-8");
        bare.put(MARK, &build_id);

        // From weak to strong: what the host trusts, defaults of the recipe, the app's config, what the
        // build cannot do without.
        let mut whole = EnvMap::new();
        if Path::new(HOST_CERTIFICATES).is_file() {
            for variable in CERTIFICATE_VARIABLES {
                whole.put(variable, HOST_CERTIFICATES);
            }
        }
        for (name, value) in &plan.launch.vars {
            set(&mut whole, name, value.as_bytes())?;
        }
        whole.extend(config);
        let mut path_folders: Vec<PathBuf> = plan.launch.path.iter().map(|folder| dir.join(folder)).collect();
        for cache in &plan.caches {
            let path = app_cache.join(&cache.folder);
            let path = match &cache.per_version_of {
                Some(tool) => path.join(folder_name(&tools.identity(tool).unwrap_or_default())),
                None => path,
            };
            make_dir(&path)?;
            set(&mut whole, &cache.variable, path.as_os_str().as_encoded_bytes())?;
            path_folders.extend(cache.path.iter().map(|inside| path.join(inside)));
        }
        whole.extend(&bare);
        let mut path = Vec::new();
        for folder in &path_folders {
            path.extend(folder.as_os_str().as_encoded_bytes());
            path.push(b':');
        }
        path.extend(tools.path().as_bytes());
        whole.put("PATH", path);
        Ok(Self { build_id, bare, whole, temp })
    }

    /// What marks every process of this build.
    pub(crate) fn build_id(&self) -> &str {
        &self.build_id
    }

    /// The folder that a variable of the plan's caches names.
    pub(crate) fn folder_of(&self, variable: &str) -> Option<PathBuf> {
        self.whole.get(variable).map(|path| PathBuf::from(OsStr::from_bytes(path)))
    }

    /// For the platform's own helpers, `cp`: no config.
    pub(crate) fn bare(&self) -> EnvMap {
        self.bare.clone()
    }

    /// For a step of the plan.
    pub(crate) fn of_step(&self, step: &Step) -> EnvMap {
        let mut env = self.whole.clone();
        for (name, value) in &step.env {
            // A recipe's own names are good, and a test runs every one of them.
            let _ = env.set(name, value.as_bytes());
        }
        env
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // A temporary folder that could not be removed is found below the app's cache, and goes with it.
        let _ = fs::remove_dir_all(&self.temp);
    }
}

fn set(env: &mut EnvMap, name: &str, value: &[u8]) -> io::Result<()> {
    env.set(name, value).map_err(|refused| io::Error::new(io::ErrorKind::InvalidInput, refused))
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A short folder name for an identity: a hash is enough, a tool that finds the wrong one makes it anew.
fn folder_name(identity: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    identity.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
