//! The repository that is pushed.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Result,
    client::{Client, run},
};

/// A Node.js app without dependencies. `RELEASE` becomes the number of the release.
const SERVER: &str = r#"const http = require("node:http");
const server = http.createServer((request, response) => {
  const answer = () => response.end("release RELEASE\n");
  if (request.url === "/slow") setTimeout(answer, 300); else answer();
});
server.listen(process.env.PORT);
process.on("SIGTERM", () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
"#;

/// A repository with a working tree.
pub(crate) struct Source {
    folder: TempDir,
}

impl Source {
    /// An empty one.
    pub(crate) fn new(client: &Client) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("autostack-bench-source-").tempdir()?;
        run(client.git(folder.path()).args(["init", "-q"]))?;
        Ok(Self { folder })
    }

    /// One with an app in it.
    pub(crate) fn node_app(client: &Client) -> Result<Self> {
        let source = Self::new(client)?;
        let package =
            "{ \"name\": \"hello\", \"private\": true, \"scripts\": { \"start\": \"node server.js\" } }\n";
        fs::write(source.path().join("package.json"), package)?;
        Ok(source)
    }

    /// One with a Dockerfile on `base` that serves files.
    pub(crate) fn image_app(client: &Client, base: &str) -> Result<Self> {
        let source = Self::new(client)?;
        let dockerfile = format!("FROM {base}\nCOPY www /www\nCMD exec busybox httpd -f -p $PORT -h /www\n");
        fs::write(source.path().join("Dockerfile"), dockerfile)?;
        fs::create_dir(source.path().join("www"))?;
        Ok(source)
    }

    /// Commits a page that holds this number.
    pub(crate) fn commit_page(&self, client: &Client, number: u64) -> Result<()> {
        fs::write(self.path().join("www/index.html"), format!("release {number}\n"))?;
        self.commit(client, &format!("Release {number}"))
    }

    /// The working tree.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Commits a server that answers with this number.
    pub(crate) fn commit_release(&self, client: &Client, number: u64) -> Result<()> {
        fs::write(self.path().join("server.js"), SERVER.replace("RELEASE", &number.to_string()))?;
        self.commit(client, &format!("Release {number}"))
    }

    /// Commits what lies in the working tree.
    pub(crate) fn commit(&self, client: &Client, message: &str) -> Result<()> {
        run(client.git(self.path()).args(["add", "--all"]))?;
        run(client.git(self.path()).args(["commit", "-q", "-m", message]))?;
        Ok(())
    }

    /// Pushes, and returns how long git took.
    pub(crate) fn push(&self, client: &Client, url: &str, refspec: &str) -> Result<Duration> {
        let mut push = client.git(self.path());
        push.args(["push", "--quiet", url, refspec]);
        let begun = Instant::now();
        run(&mut push)?;
        Ok(begun.elapsed())
    }
}

/// The number in an answer of the app.
pub(crate) fn release_of(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.trim().strip_prefix("release ")?.parse().ok()
}
