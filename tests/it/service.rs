//! The agent as a service of systemd: it says when it is ready, and its sockets outlive it.

use crate::world::{Connection, Options, apps};

#[test]
fn a_restart_refuses_no_connection() {
    let world = Options::default().by_systemd().start();
    let manager = world.manager();
    manager.hears("READY=1");
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with("response.end(String(process.pid));"));
    repo.push("shop").accepted();
    let pid = world.get("shop", "/").body;
    assert_eq!(manager.http(), world.http(), "the agent took over the socket that it was given");

    assert!(world.stop().success(), "{}", world.log());
    manager.hears("STOPPING=1");
    let mut visitor = Connection::open(world.http()).unwrap();
    visitor.get(&world.host("shop"), "/", &[("Connection", "close")]).unwrap();
    world.start();
    manager.hears("READY=1");
    assert_eq!(visitor.response().unwrap().body, pid, "who came while no agent ran is answered");

    world.kill9();
    let mut visitor = Connection::open(world.http()).unwrap();
    visitor.get(&world.host("shop"), "/", &[("Connection", "close")]).unwrap();
    world.start();
    assert_eq!(visitor.response().unwrap().body, pid, "nor does a crash refuse anybody");
}
