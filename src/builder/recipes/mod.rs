//! One recipe a kind of app; each looks at a [`Context`](crate::draft::Context) and drafts a plan.
//!
//! | module | kind |
//! |---|---|
//! | `node` | Node.js: package manager, build script, start command |
//! | `python` | Python: how dependencies are declared, what object serves |
//! | `static_site` | files that the agent serves itself |
//! | `fallback` | only a Procfile, only a `start.sh`, or nothing that is known |
//! | `commands` | what the command lines of the app need and tell |
//!
//! A new language is one module here, one sample app in `tests/fixtures/apps`, one snapshot.

pub(crate) mod commands;
pub(crate) mod fallback;
pub(crate) mod node;
pub(crate) mod python;
pub(crate) mod static_site;
