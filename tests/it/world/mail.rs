//! [`MailServer`]: a real one, of which a story reads what it took.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::{Value, json};

use super::{tools::tools, wait::SOON};

/// Mails that wait to be read by a story.
const MAILS_MAX: usize = 1000;

/// A mail server on loopback. Ends with the story.
pub(crate) struct MailServer {
    child: Child,
    pub(crate) port: u16,
    taken: Receiver<String>,
}

/// One mail, as the server took it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) to: String,
    pub(crate) from: String,
    pub(crate) is_tls: bool,
    /// Head and body, with its soft line breaks undone.
    pub(crate) text: String,
}

impl MailServer {
    /// One that takes mail from everybody, in the open.
    pub(crate) fn start() -> Self {
        Self::run(&json!({}))
    }

    /// One that takes mail by TLS only, from who knows the password.
    pub(crate) fn with_tls(certificate: &Path, key: &Path, name: &str, password: &str) -> Self {
        Self::run(&json!({ "certificate": certificate, "key": key, "name": name, "password": password }))
    }

    fn run(wanted: &Value) -> Self {
        let mut child = Command::new(tools("mail").join("bin/python"))
            .args(["-c", include_str!("mail.py"), &wanted.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the mail server did not start").unwrap().parse().unwrap();
        let (tell, taken) = mpsc::sync_channel(MAILS_MAX);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, port, taken }
    }

    /// The next mail.
    #[track_caller]
    pub(crate) fn next(&self) -> Taken {
        let line = self.taken.recv_timeout(SOON).expect("no mail comes");
        let mail: Value = serde_json::from_str(&line).unwrap();
        let text = mail["text"].as_str().unwrap().replace("\r\n", "\n");
        Taken {
            to: mail["to"][0].as_str().unwrap().to_owned(),
            from: mail["from"].as_str().unwrap().to_owned(),
            is_tls: mail["tls"].as_bool().unwrap(),
            text: text.replace("=\n", "").replace("=3D", "="),
        }
    }

    /// How many mails wait to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.taken.try_iter().count()
    }
}

impl Taken {
    /// Path and query of the link in it.
    #[track_caller]
    pub(crate) fn link(&self) -> String {
        let link = self.text.split_whitespace().find(|word| word.contains("/api/auth/"));
        let link = link.unwrap_or_else(|| panic!("no link in {}", self.text));
        link[link.find("/api/auth/").unwrap()..].to_owned()
    }

    /// The secret at the end of the link.
    #[track_caller]
    pub(crate) fn secret(&self) -> String {
        self.link().split_once('=').unwrap().1.to_owned()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
