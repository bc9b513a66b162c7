//! [`ApiClient`]: a program that speaks JSON to the API, as somebody or as nobody.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{
    feed::Feed,
    http::{Connection, Response},
};

/// A program that speaks to the API.
#[derive(Debug, Clone)]
pub(crate) struct ApiClient {
    address: SocketAddr,
    token: Option<String>,
}

/// What it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) response: Response,
    /// The body; null where it is no JSON.
    pub(crate) json: Value,
}

impl Answer {
    /// The body of an answer that is 2xx.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:#?}");
        self.json
    }

    /// The code of an error in the one shape that errors have; its status must be this one.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:#?}");
        let error = &self.json["error"];
        assert!(error["message"].is_string() && error["details"].is_object(), "{self:#?}");
        error["code"].as_str().unwrap_or_else(|| panic!("no code: {self:#?}")).to_owned()
    }
}

impl ApiClient {
    /// One that says nothing about who it is.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// The same, with a token or a key.
    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// What it proves itself with.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Logs in; the client that is let in.
    #[track_caller]
    pub(crate) fn log_in(&self, email: &str, password: &str) -> Self {
        let tokens = self.post("/api/auth/login", &json!({ "email": email, "password": password })).ok();
        self.with(tokens["access_token"].as_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, Some(body))
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None)
    }

    /// Asks once, over a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        let headers = [("Content-Type", "application/json")];
        self.raw(method, path, if body.is_some() { &headers } else { &[] }, text.as_deref().unwrap_or(""))
    }

    /// Asks once with headers and a body of one's own.
    #[track_caller]
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send(method, path, headers, body.as_bytes())
    }

    /// Opens a live log over a WebSocket; the status of the answer where it is refused.
    pub(crate) fn open_feed(&self, path: &str) -> Result<Feed, u16> {
        let proof = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = proof.iter().map(|proof| ("Authorization", proof.as_str())).collect();
        Feed::open(self.address, path, &headers)
    }

    /// Sends a body of any bytes.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = &self.token {
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if !body.is_empty() || method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut connection = Connection::open(self.address).unwrap();
        connection.send(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
        let response = connection.response().unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let json = serde_json::from_str(&response.body).unwrap_or(Value::Null);
        Answer { status: response.status, response, json }
    }
}
