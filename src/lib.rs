//! autostack turns one Linux host into a platform: a developer runs `git push`, and the app is live, without a
//! request lost. One binary holds the SSH server, the build engine, the supervisor of the running instances and the
//! proxy. This page is the map; each crate's own front page says more.
//!
//! # Words
//!
//! An *app* is what a developer pushes to. A *push* is one `git push`. A *deployment* is one attempt to make a
//! commit live; it has *stages*: source, detect, build, release, start, health, switch, drain. A build makes an
//! *artifact*, which nothing changes afterwards. A *release* is artifact + config + process types, numbered v1, v2, …
//! A *process type* is a line of the Procfile; the *formation* says how many of each should run. An *instance* is one
//! running copy; its *endpoint* is where it answers once it has passed its checks; a *route* leads a host name to
//! endpoints. A *runtime* runs instances; a *door* is where people come in.
//!
//! # Rows
//!
//! A crate uses lower rows only; never sideways, never up. Cargo refuses a cycle, `tests/tidy.rs` a sideways use.
//!
//! ```text
//!    autostack                              this package: main, cli, agent, demo; wires everything, nothing uses it
//! 6  ssh   api   local                      doors: translate outside words into platform calls, and back
//! 5  platform                               every operation a user can ask for: authorise, validate, record, act
//! 4  deploy                                 the only place that knows git + builder + runtime + proxy together
//! 3  git  builder  runtime  proxy  identity  mail  oauth   each knows one technology and the domain, not one another
//! 2  store  logs  engine                    what should be; what was written; what is asked of the container engine
//! 1  base                                   settings, telemetry, the life of tasks
//! 0  domain                                 plain data and decisions: no I/O, no async, no clock
//! ```
//!
//! # The way of a push
//!
//! `ssh` authenticates a key → `platform::push::begin_push` allows it and starts `git receive-pack` → git keeps the pack
//! in quarantine and runs `hooks/pre-receive` → [`hook`] → `local` → `platform::push::pre_receive` → the owner task of the
//! app (`deploy::owner`) → `deploy::pipeline`: source, detect, build (`deploy::artifact`: a folder or an image), release,
//! start, health: the release is *prepared* → git moves the ref and runs `post-receive` → `deploy::owner` commits: recorded, route replaced, old instances drained.
//!
//! # The way of a request
//!
//! `proxy::server` accepts → `proxy::service` looks the host up in the current table → claims an endpoint →
//! `proxy::forward` streams both ways → the claim ends, which is what a drain waits for.
//!
//! # Here
//!
//! [`cli`] is the grammar of the command line; [`agent`] is start-up and shut-down as one readable list; [`sockets`] are
//! the listeners, systemd's or our own; `engine_choice` is whether new releases are images; [`demo`] is the main job in
//! one command; [`hook`], [`admin`] and [`check_config`] are the short-lived commands.

pub mod admin;
pub mod agent;
pub mod check_config;
pub mod cli;
pub mod demo;
mod engine_choice;
pub mod hook;
pub mod sockets;
mod terminal;
