//! [`Registry`]: Debian's `docker-registry` for the length of a test.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use autostack_domain::{Digest, ImageReference, RegistryLogin, Secret};
use bollard::query_parameters::PushImageOptions;
use futures_util::StreamExt;
use tempfile::TempDir;

use crate::{
    Engine,
    images::{names::split_name, pull::credentials},
};

/// How long the registry may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A registry on a free port of the loopback, where engines speak plain HTTP to it. Ends when dropped.
pub struct Registry {
    child: Child,
    address: SocketAddr,
    login: Option<(String, String)>,
    _dir: TempDir,
}

impl Registry {
    /// Starts a registry; with a user and a password, nothing is had from it without them.
    ///
    /// # Panics
    /// When it is not installed or does not listen in time.
    pub fn start(login: Option<(&str, &str)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            dir.path().join("data").display()
        );
        if let Some((user, password)) = login {
            let users = dir.path().join("users");
            fs::write(&users, format!("{user}:{}\n", bcrypt(password))).unwrap();
            config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display()));
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let log = dir.path().join("log");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("the test needs an image registry: apt-get install docker-registry");
        let address = address_said_in(&log, &mut child);
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        Self { child, address, login, _dir: dir }
    }

    /// Where it listens, as it stands in front of an image's name: `127.0.0.1:5000`.
    pub fn server(&self) -> String {
        self.address.to_string()
    }

    /// The full name of an image in it: `app:1` is `127.0.0.1:5000/app:1`.
    pub fn reference(&self, name: &str) -> ImageReference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// The login that it takes.
    pub fn auth(&self) -> Option<RegistryLogin> {
        let (username, password) = self.login.clone()?;
        let registry = self.server().parse().unwrap();
        Some(RegistryLogin { registry, username, password: Secret::new(password) })
    }

    /// Pushes an image from the engine, under that name; the engine is left without the name.
    pub async fn push(&self, engine: &Engine, image: &Digest, name: &str) -> ImageReference {
        let reference = self.reference(name);
        let full = format!("{}:{}", reference.repository(), reference.tag().unwrap());
        engine.tag(image, &full).await.unwrap();
        let (repository, tag) = split_name(&full);
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let docker = engine.docker().await.unwrap();
        let credentials = self.auth().as_ref().map(credentials);
        let mut messages = docker.push_image(repository, Some(options), credentials);
        while let Some(message) = messages.next().await {
            message.unwrap_or_else(|error| panic!("push of {full}: {error}"));
        }
        // The push also leaves the name by digest.
        let facts = engine.inspect_image(&full).await.unwrap().unwrap();
        let digests = facts.repo_digests.iter().filter(|name| name.starts_with(repository));
        for name in digests.chain([&full]) {
            engine.remove_image(name).await.unwrap();
        }
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The port is chosen by the system, and said in the registry's log.
fn address_said_in(log: &Path, child: &mut Child) -> SocketAddr {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let said = fs::read_to_string(log).unwrap();
        let address = said.split_once("listening on ").map(|(_, rest)| rest);
        if let Some(address) = address.and_then(|rest| rest.split(['"', ',', ' ', '\n']).next()?.parse().ok())
        {
            return address;
        }
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < deadline, "docker-registry does not listen:\n{said}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The only hash that the registry takes; Perl has it from the C library, and every Debian has Perl.
fn bcrypt(password: &str) -> String {
    let program = r#"local $/; print crypt(<STDIN>, '$2y$05$autostacktestsaltsalt.');"#;
    let mut perl = Command::new("perl")
        .args(["-e", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perl makes the hash");
    perl.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let hash = String::from_utf8(perl.wait_with_output().unwrap().stdout).unwrap();
    assert!(hash.starts_with("$2y$"), "{hash}");
    hash
}
