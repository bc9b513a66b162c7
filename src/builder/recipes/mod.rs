//! One recipe a kind of app; each looks at a [`Context`](crate::draft::Context) and drafts a plan.
//!
//! | module | kind |
//! |---|---|
//! | `node` | Node.js: package manager, build script, start command |
//! | `python` | Python: how dependencies are declared, what object serves |
//! | `go` | Go: modules, workspaces, the programs of `cmd/` |
//! | `rust` | Rust: the binaries of a package or workspace |
//! | `ruby` | Ruby: Bundler, Rails, Rack |
//! | `php` | PHP: Composer, Laravel, the folder that is served |
//! | `java` | Java: Maven, Gradle, how a framework is told of its port |
//! | `deno` | Deno: tasks, the main file |
//! | `static_site` | files that the agent serves itself |
//! | `fallback` | only a Procfile, only a `start.sh`, or nothing that is known |
//! | `commands` | what the command lines of the app need and tell |
//!
//! A new language is one module here, one sample app in `tests/fixtures/apps`, one snapshot.

pub(crate) mod commands;
pub(crate) mod deno;
pub(crate) mod fallback;
pub(crate) mod go;
pub(crate) mod java;
pub(crate) mod node;
pub(crate) mod php;
pub(crate) mod python;
pub(crate) mod ruby;
pub(crate) mod rust;
pub(crate) mod static_site;
