//! A whole agent on free ports in a temporary folder, and the people around it: developers with the real `git` and
//! `ssh`, visitors with plain HTTP. Stories see the binary from outside only.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | [`agent`] | [`World`]: the agent's life: start, stop, `kill -9`, the operator's commands |
//! | [`developer`] | [`Developer`]: a person with a key and a home of their own |
//! | [`repo`] | [`Repo`]: a working copy; [`Push`]: what a push said |
//! | [`http`] | a visitor: requests through the proxy, raw connections |
//! | [`api`], [`feed`] | a program that speaks JSON to the API, and one that has a live log open |
//! | [`state`] | [`State`]: everything that a push may leave behind, to compare before and after |
//! | [`git_server`] | [`git_server::GitServer`]: repositories and files of somebody else |
//! | [`engine`] | [`Docker`]: a container engine as an operator sees it, and what an agent has made there |
//! | [`own_engine`] | [`OwnEngine`]: a second engine, which a story may stop, kill and start again |
//! | [`tools`], [`mail`], [`prometheus`], [`provider`] | real programs that are fetched for stories |
//! | [`service`] | [`service::Manager`]: what systemd does for a service |
//! | [`live`] | [`Live`]: a child process whose output is read while it runs |
//! | [`terminal`] | [`Terminal`]: a program in a terminal that a story types into |
//! | [`apps`] | small apps for stories that need a certain behaviour |
//! | [`processes`], [`ports`], [`wait`] | what runs; whose ports are whose; waits with a bound |
//!
//! A world that is dropped stops its agent, which must end well and must not have panicked, and ends every instance. What
//! the agent has made in an engine is removed.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod apps;
pub(crate) mod developer;
pub(crate) mod engine;
pub(crate) mod feed;
pub(crate) mod git_server;
pub(crate) mod http;
pub(crate) mod live;
pub(crate) mod mail;
pub(crate) mod own_engine;
pub(crate) mod ports;
pub(crate) mod processes;
pub(crate) mod prometheus;
pub(crate) mod provider;
pub(crate) mod repo;
pub(crate) mod service;
pub(crate) mod state;
pub(crate) mod terminal;
pub(crate) mod tools;
pub(crate) mod wait;

pub(crate) use self::{
    agent::{Options, World},
    api::ApiClient,
    developer::Developer,
    engine::Docker,
    http::{Connection, Response, get as http_get},
    live::{Live, Output},
    own_engine::OwnEngine,
    repo::Repo,
    terminal::Terminal,
    wait::soon,
};
