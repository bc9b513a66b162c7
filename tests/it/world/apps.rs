//! Small apps for stories that need a certain behaviour. What a story is about stands in the story; what every app
//! needs stands here.

use super::engine::BUSYBOX;

/// Names and texts of an app's files.
pub(crate) type Files = Vec<(&'static str, String)>;

/// A `package.json` whose build says `compiling for long`, leaves a process in a session of its own, and never ends.
pub(crate) const ENDLESS_BUILD: &str = r#"{ "scripts": { "build": "(setsid sleep 1000) & echo compiling for long; sleep 1000", "start": "node server.js" } }"#;

/// A Node app that answers every request with `text`.
pub(crate) fn node(text: &str) -> Files {
    node_with(&format!("response.end({text:?});"))
}

/// A Node app that handles a request with this JavaScript; `request`, `response` and `url` are there.
pub(crate) fn node_with(handler: &str) -> Files {
    node_program(&format!(
        r#"const http = require("node:http");
const server = http.createServer(async (request, response) => {{
  const url = new URL(request.url, "http://app");
  {handler}
}});
server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
"#
    ))
}

/// A Node app that is this program.
pub(crate) fn node_program(text: &str) -> Files {
    vec![
        ("package.json", r#"{ "scripts": { "start": "node server.js" } }"#.into()),
        ("server.js", text.into()),
    ]
}

/// An app with a Dockerfile: a web server of busybox on the port that it exposes, which answers `/` with `text` and
/// `/cgi-bin/env` with its environment.
pub(crate) fn dockerfile(text: &str) -> Files {
    dockerfile_with("", text)
}

/// The same, with these lines in the Dockerfile before the command.
pub(crate) fn dockerfile_with(lines: &str, text: &str) -> Files {
    let dockerfile = format!(
        "FROM {BUSYBOX}\nCOPY www /www\n{lines}\nEXPOSE 8080\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n"
    );
    vec![
        ("Dockerfile", dockerfile),
        ("www/index.html", text.into()),
        ("www/cgi-bin/env", "#!/bin/sh\necho Content-Type: text/plain\necho\nenv\n".into()),
    ]
}

/// An app whose Procfile is all there is to it, beside a Node web server for `web: node server.js`.
pub(crate) fn procfile(lines: &str) -> Files {
    let mut files = node("web");
    files.retain(|(name, _)| *name == "server.js");
    files.push(("Procfile", lines.into()));
    files
}
