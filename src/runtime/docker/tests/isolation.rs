//! Networks: one for each app, made and removed with its instances, closed to the others.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use autostack_base::settings::EndpointChoice;
use autostack_domain::{EnvMap, Exit, InstanceSpec};
use autostack_engine::{
    bollard::models::NetworkConnectRequest,
    testing::{PrivateEngine, TestEngine},
};

use super::world::{GRACE, PORT, World, until};
use crate::{Backend, ExecRequest, RuntimeError, contract::connect, docker::labels::network_name};

/// Whether something within an instance can connect there.
async fn reaches(world: &World, from: &InstanceSpec, address: &str, port: u16) -> bool {
    let command = format!("nc -w 2 -z {address} {port} || nc -w 2 {address} {port} < /dev/null");
    let request = ExecRequest { command, env: EnvMap::new(), terminal: None };
    let session = world.backend.exec(&from.id, request).await.unwrap();
    session.wait().await.unwrap() == Exit::Code(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_apps_reach_their_own_instances_and_no_others() {
    let world = World::new().await;
    let serve = "exec httpd -f -p $PORT";
    let (first, second) = (world.spec_of("shop", serve), world.spec_of("shop", serve));
    let stranger = world.spec_of("blog", serve);
    let mut addresses = Vec::new();
    for spec in [&first, &second, &stranger] {
        let endpoint = world.backend.start(spec).await.unwrap().endpoint;
        connect(endpoint).await.unwrap();
        addresses.push(endpoint.ip().to_string());
    }
    assert!(reaches(&world, &first, &addresses[1], PORT).await, "within an app");
    assert!(!reaches(&world, &first, &addresses[2], PORT).await, "another app");
    assert!(!reaches(&world, &stranger, &addresses[0], PORT).await, "and the other way");
    // What listens on the host's loopback, as the agent's API does.
    let private = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = private.local_addr().unwrap().port();
    assert!(!reaches(&world, &first, "127.0.0.1", port).await);
    let gateway = addresses[0].rsplit_once('.').unwrap().0.to_owned() + ".1";
    assert!(!reaches(&world, &first, &gateway, port).await);
    for spec in [&first, &second, &stranger] {
        world.stop(spec).await;
    }
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_the_loopback_of_its_container_shows_as_such() {
    for endpoints in [EndpointChoice::Address, EndpointChoice::Port] {
        let world = World::with(endpoints).await;
        let spec = world.spec("exec httpd -f -p 127.0.0.1:$PORT");
        let endpoint = world.backend.start(&spec).await.unwrap().endpoint;
        let own = format!("127.0.0.1:{PORT}").parse().unwrap();
        until("it listens", async || world.backend.listening(&spec.id).await.unwrap() == [own]).await;
        assert_ne!(endpoint, own);
        world.stop(&spec).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_starts_at_once_share_one_network_and_leave_none() {
    let world = World::new().await;
    let specs: Vec<InstanceSpec> = (0..20).map(|_| world.spec("echo up; exec sleep 600")).collect();
    let began = Instant::now();
    let started = futures_util::future::join_all(specs.iter().map(|spec| world.backend.start(spec))).await;
    for one in started {
        one.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(world.backend.list().await.unwrap().len(), 20);
    assert_eq!(world.left().await.len(), 21, "one network");
    let stopped =
        futures_util::future::join_all(specs.iter().map(|spec| world.backend.stop(&spec.id, GRACE))).await;
    for one in stopped {
        one.unwrap();
    }
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_network_that_comes_and_goes_is_there_for_every_start() {
    let world = World::new().await;
    let rounds = async || {
        for _ in 0..6 {
            let spec = world.start("exec sleep 600").await;
            world.backend.stop(&spec.id, Duration::ZERO).await.unwrap();
        }
    };
    tokio::join!(rounds(), rounds(), rounds());
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_somebody_removed_is_made_again() {
    let world = World::new().await;
    let spec = world.start("exit 0").await;
    world.backend.wait(&spec.id).await.unwrap();
    let docker = world.engine.docker().await.unwrap();
    docker.remove_network(&network_name(world.engine.mark(), &spec.app)).await.unwrap();
    let next = world.start("exec sleep 600").await;
    world.stop(&next).await;
    world.stop(&spec).await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_with_a_guest_is_kept_until_the_guest_is_gone() {
    let world = World::new().await;
    let spec = world.start("exec sleep 600").await;
    // A person has linked a container of another app to it, as one would a database.
    let guest = world.spec_of("guest", "exec sleep 600");
    world.backend.start(&guest).await.unwrap();
    let docker = world.engine.docker().await.unwrap();
    let name = network_name(world.engine.mark(), &spec.app);
    let request = NetworkConnectRequest { container: world.container(&guest), ..Default::default() };
    docker.connect_network(&name, request).await.unwrap();
    world.stop(&spec).await;
    assert!(docker.inspect_network(&name, None).await.is_ok());
    world.stop(&guest).await;
    let world = world.reopened(async |_| {}).await;
    world.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_without_addresses_says_so() {
    // The engine's own bridge takes the first half, the first app the other.
    let private = PrivateEngine::start(&["--default-address-pool", "base=10.213.7.0/24,size=25"]).await;
    let world = World::on(TestEngine::at(private.host()), EndpointChoice::Auto).await;
    let first = world.spec_of("shop", "exec sleep 600");
    world.backend.start(&first).await.unwrap();
    let second = world.spec_of("blog", "exec sleep 600");
    let refused = world.backend.start(&second).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Start { .. }), "{refused:?}");
    assert!(refused.to_string().contains("no free range of addresses"), "{refused}");
    world.stop(&first).await;
    world.backend.start(&second).await.unwrap();
    world.stop(&second).await;
    world.assert_nothing_left().await;
}
