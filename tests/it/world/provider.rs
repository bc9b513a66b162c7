//! [`Provider`]: a real provider of identities; [`Browser`]: what somebody goes there with and comes back.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use super::{
    http::{Connection, Response},
    tools::tools,
};

/// Redirects that a browser follows.
const REDIRECTS_MAX: usize = 12;

/// A provider on loopback. Ends with the story.
pub(crate) struct Provider {
    child: Child,
    /// It would end if nobody could read what it says.
    _output: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Provider {
    /// One that is asked as `google` or `github` is, and knows an agent whose API is there.
    pub(crate) fn start(flavour: &str, api: SocketAddr) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/world/provider.mjs"))
            .arg(tools("provider").join("node"))
            .args([flavour, &format!("http://{api}/api/auth/{flavour}/callback")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        output.read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "the provider did not start: {url}");
        Self { child, _output: output, url: url.trim_end().to_owned() }
    }

    /// The lines of a settings file that know it.
    pub(crate) fn settings(&self, flavour: &str) -> String {
        let places = match flavour {
            "github" => format!("url = \"{0}\"\napi_url = \"{0}\"\n", self.url),
            _ => format!("issuer = \"{}\"\n", self.url),
        };
        let secret = "a secret of forty characters, more or less";
        format!("[{flavour}]\nclient_id = \"autostack\"\nclient_secret = \"{secret}\"\n{places}")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A browser with its cookies.
#[derive(Default, Clone)]
pub(crate) struct Browser {
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    /// Opens a page and follows where it leads; where that ends, and what is there.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) -> (String, Response) {
        self.follow("GET", url, "")
    }

    /// Logs in at the provider as this one, and lets the agent know who it is; where that ends.
    #[track_caller]
    pub(crate) fn sign_in(&mut self, start: &str, login: &str) -> (String, Response) {
        let (mut url, mut page) = self.open(start);
        for form in
            [format!("prompt=login&login={}&password=x", login.replace('+', "%2B")), "prompt=consent".into()]
        {
            let Some(action) = page.body.split("action=\"").nth(1) else { break };
            let action = action.split('"').next().unwrap().to_owned();
            (url, page) = self.follow("POST", &absolute(&action, &url), &form);
        }
        (url, page)
    }

    /// Keeps a cookie, as a page's own script makes its browser do.
    pub(crate) fn keep(&mut self, authority: &str, response: &Response) {
        for cookie in response.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert((authority.to_owned(), name.to_owned()), value.to_owned());
        }
    }

    fn follow(&mut self, method: &str, url: &str, form: &str) -> (String, Response) {
        let (mut method, mut url, mut form) = (method.to_owned(), url.to_owned(), form.to_owned());
        for _ in 0..REDIRECTS_MAX {
            let (authority, path) = parts(&url);
            let response = self.ask(&method, authority, path, &form);
            self.keep(authority, &response);
            match response.header("location").filter(|_| (300..400).contains(&response.status)) {
                Some(location) => url = absolute(location, &url),
                None => return (url, response),
            }
            (method, form) = ("GET".to_owned(), String::new());
        }
        panic!("{url} leads in circles");
    }

    fn ask(&self, method: &str, authority: &str, path: &str, form: &str) -> Response {
        let mine = self.cookies.iter().filter(|((of, _), _)| of == authority);
        let cookies: Vec<String> = mine.map(|((_, name), value)| format!("{name}={value}")).collect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: text/html\r\n"
        );
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        if method == "POST" {
            let length = form.len();
            head.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
            ));
        }
        let mut connection = Connection::open(authority.parse().unwrap()).unwrap();
        connection.send(format!("{head}\r\n{form}").as_bytes()).unwrap();
        connection.response().unwrap_or_else(|error| panic!("{method} {authority}{path}: {error}"))
    }
}

/// Host and port of a URL, and the rest of it.
fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is no http URL"));
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

/// Where a link leads from a page.
fn absolute(link: &str, page: &str) -> String {
    if link.starts_with("http://") { link.to_owned() } else { format!("http://{}{link}", parts(page).0) }
}
