//! The few pages that a link in a mail, or a provider of identities, leads a browser to. Plain HTML without a script: they work
//! in every browser, and nothing of them can be taken over by what they show.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// What a browser may do with a page: show it, and send its form back here.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}\
    h1{font-size:1.3rem}label{display:block;margin:.8rem 0 .2rem}\
    input,button{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}button{margin-top:1rem;cursor:pointer}";

/// A page of one heading and what stands below it.
pub(crate) struct Page {
    status: StatusCode,
    title: String,
    body: String,
}

/// A field of a form.
pub(crate) enum Field<'a> {
    /// Sent back as it is.
    Hidden(&'a str, &'a str),
    /// Typed in: its name, its label, and its kind.
    Typed(&'a str, &'a str, &'a str),
}

impl Page {
    /// A page that says something.
    pub(crate) fn saying(status: StatusCode, title: &str, text: &str) -> Self {
        Self { status, title: title.to_owned(), body: format!("<p>{}</p>", escaped(text)) }
    }

    /// Adds a form that is sent to where the page came from.
    #[must_use]
    pub(crate) fn form(mut self, fields: &[Field<'_>], button: &str) -> Self {
        self.body.push_str("<form method=\"post\">");
        for field in fields {
            self.body.push_str(&match field {
                Field::Hidden(name, value) => {
                    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(value))
                }
                Field::Typed(name, label, kind) => format!(
                    "<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" type=\"{kind}\" required>"
                ),
            });
        }
        self.body.push_str(&format!("<button>{}</button></form>", escaped(button)));
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Page { status, title, body } = self;
        let title = escaped(&title);
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title} · autostack</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>"
        );
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            // The address of the page holds a secret.
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
        ];
        (status, headers, html).into_response()
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_becomes_part_of_the_page() {
        let page =
            Page::saying(StatusCode::OK, "<b>", "a & \"b\"").form(&[Field::Hidden("t", "\"><script>")], "Go");
        assert_eq!(page.body.matches('<').count(), page.body.matches('>').count());
        assert!(
            !page.body.contains("<script") && page.body.contains("a &amp; &quot;b&quot;"),
            "{}",
            page.body
        );
    }
}
