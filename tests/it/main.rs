//! Stories: the real binary, the real `git`, the real `ssh`, plain HTTP. Each story has a world of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a story ends where a step of it fails"
)]

mod world;

/// Who may use an app, and who may come at all.
mod access;
/// The API.
mod api;
/// What an app says about its config and its scripts, and what a pusher says.
mod app_json;
/// An app is made, named, locked, reported on and removed.
mod apps;
/// What bad input gets.
mod bad_input;
/// How an app is built: the builder, its folder, its buildpacks.
mod builder_settings;
/// Builds looked at, listened to and cancelled from another connection.
mod builds;
/// Certificates of apps.
mod certs;
/// How one release replaces another.
mod checks;
/// A client of three lines of shell.
mod client;
mod clone;
/// Config, byte for byte and without a lost request.
mod config;
/// `kill -9` of the agent.
mod crash;
/// What an app has done at set times.
mod cron;
/// A pusher who goes away in the middle.
mod cut_off;
/// The main job in one command.
mod demo;
/// The same push with a container engine.
mod docker;
/// Domains of apps: whose a host is, wildcards, paths.
mod domains;
/// Who changed what, from where and when, and who may know it.
mod events;
/// A first push goes live, a second one replaces it, and the commands that tell about it.
mod first_push;
/// A full disk.
mod full_disk;
/// What operators say about a repository.
mod git_settings;
/// Pushes of every shape that git knows, and clones and fetches back.
mod git_shapes;
/// Code that comes by no push.
mod git_sources;
/// What apps wrote: by time, pattern, process and release, coloured, followed and resumed.
mod logs;
/// The prompt of who comes with a terminal and no command, and completion in a shell.
mod prompt;
/// How many instances of an app run: scaled, restarted, stopped, started, built again.
mod ps;
/// Every kind of app of the first recipes, with its real package manager.
mod recipes;
/// Pushes that must not go live leave everything as it was.
mod rejected;
/// A change of the config makes a release, a rollback goes back, no request is lost.
mod releases;
/// What instances may use.
mod resources;
/// Every command × everybody.
mod roles;
/// Commands with an app's code and config: one-offs, and a look into an instance.
mod run;
/// The agent as a service of systemd.
mod service;
/// Settings: checked, read again, never lost.
mod settings;
/// Folders that outlive releases.
mod storage;
/// Code that a commit names and does not hold.
mod submodules;
/// Instances that end by themselves.
mod supervisor;
/// Maintenance, redirects, passwords, the access log.
mod traffic;
/// The proxy as visitors meet it.
mod visitors;
