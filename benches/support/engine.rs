//! The container engine through its own client, `docker`: the peer of a push with a Dockerfile.

use std::{
    fs,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::{Result, client::run};

/// The base image of both sides: a static busybox.
pub(crate) const BASE: &str = "autostack-bench/busybox:1";
/// Where the container of the peer serves.
pub(crate) const PORT: u16 = 8080;

/// Clients, in the order in which they are tried: newer ones need a plugin for BuildKit, which may not be there.
const CLIENTS: [&str; 2] = ["docker", "/usr/bin/docker"];

/// The first client that builds with BuildKit, as our side does; the first that there is, where none does.
fn client() -> &'static str {
    static CLIENT: OnceLock<&str> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let builds = |client: &&str| {
            let mut build = Command::new(client);
            build.args(["build", "--quiet", "-"]).env("DOCKER_BUILDKIT", "1");
            let child = build.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            child.is_ok_and(|mut child| {
                let said = child.stdin.take().is_some_and(|mut input| writeln!(input, "FROM {BASE}").is_ok());
                child.wait().is_ok_and(|status| said && status.success())
            })
        };
        CLIENTS.into_iter().find(builds).unwrap_or(CLIENTS[0])
    })
}

/// `docker` with words.
pub(crate) fn docker(words: &[&str]) -> Command {
    with(client(), words)
}

fn with(client: &str, words: &[&str]) -> Command {
    let mut docker = Command::new(client);
    docker.args(words).env("DOCKER_BUILDKIT", "1").stdin(Stdio::null());
    docker
}

/// Makes the base image of this host's static busybox, unless it is there.
pub(crate) fn make_base() -> Result<()> {
    // Before there is a base, no client can show that it builds.
    if with(CLIENTS[0], &["image", "inspect", BASE]).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let bin = folder.path().join("bin");
    fs::create_dir(&bin)?;
    fs::copy("/bin/busybox", bin.join("busybox"))
        .map_err(|error| format!("no /bin/busybox (package busybox-static): {error}"))?;
    std::os::unix::fs::symlink("busybox", bin.join("sh"))?;
    let tar = run(Command::new("tar").args(["-c", "-C"]).arg(folder.path()).arg("."))?.stdout;
    let mut import = with(CLIENTS[0], &["import", "-c", "ENV PATH=/bin", "-", BASE]);
    let mut child = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().ok_or("docker import takes no input")?.write_all(&tar)?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("docker import: {status}").into()) }
}

/// A container of the peer. Dropping it removes it with its image.
pub(crate) struct Container {
    id: String,
    image: String,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

impl Container {
    /// `docker build` and `docker run` of a folder.
    pub(crate) fn build_and_run(folder: &Path, image: &str) -> Result<Self> {
        let mut build = docker(&["build", "--quiet", "--tag", image]);
        run(build.arg(folder))?;
        let port = format!("PORT={PORT}");
        let started = run(&mut docker(&["run", "--detach", "--init", "--env", &port, image]))?;
        let id = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        let asked = run(&mut docker(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &id]));
        let ip = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().parse::<IpAddr>());
        let container = |address| Self { id: id.clone(), image: image.to_owned(), address };
        match ip {
            Ok(Ok(ip)) => Ok(container(SocketAddr::new(ip, PORT))),
            Ok(Err(error)) => {
                drop(container(SocketAddr::from(([127, 0, 0, 1], PORT))));
                Err(format!("the container has no address: {error}").into())
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for words in [["rm", "--force", &self.id], ["rmi", "--force", &self.image]] {
            if let Err(error) = run(&mut docker(&words)) {
                // Whoever reads the table should know what was left behind.
                let _ = writeln!(std::io::stderr(), " !     {error}");
            }
        }
    }
}
