//! What an instance listens on: the sockets of its container's network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{backend::Inner, create::ImageProgram, exec, host::socket_tables, instance::Instance};
use crate::{backend::RuntimeError, process::sockets::listener};

/// Where the engine's own name server listens in each container of a network.
const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// Bytes of the tables that are read from inside of a container.
const TABLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All addresses that an instance listens on, sorted. What is reached from this host stands there as its endpoint
/// does; the loopback of a container is nobody's but its own, and stands there as loopback.
pub(super) async fn listening(inner: &Inner, instance: &Instance) -> Result<Vec<SocketAddr>, RuntimeError> {
    if !instance.is_running() {
        return Ok(Vec::new());
    }
    let tables = match on_host(inner, instance).await? {
        Some(tables) => tables,
        None => inside(inner, instance).await?,
    };
    let port = ImageProgram::of(&instance.spec)?.port;
    let rows = tables.lines().filter_map(listener);
    let mut found: Vec<_> = rows.filter_map(|(_, address)| seen_from_here(address, instance, port)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

async fn on_host(inner: &Inner, instance: &Instance) -> Result<Option<String>, RuntimeError> {
    let about = inner.engine.about().await.map_err(RuntimeError::engine("look at sockets"))?;
    let Some(pid) = instance.pid.filter(|_| about.is_local) else { return Ok(None) };
    let container = instance.container.clone();
    let looked = inner.tasks.blocking("look at sockets", move || socket_tables(pid, &container)).await;
    looked.map_err(|_lost| RuntimeError::Interrupted { operation: "listening" })
}

/// The tables as they are seen from within the container, which takes a program there.
pub(super) async fn inside(inner: &Inner, instance: &Instance) -> Result<String, RuntimeError> {
    let command = ["cat", "/proc/net/tcp", "/proc/net/tcp6"].map(str::to_owned).to_vec();
    let (said, exit) = exec::said_by(inner, instance, command, TABLE_BYTES_MAX).await?;
    // Where there is no IPv6 it complains, after the table that there is.
    if said.is_empty() {
        let why = format!("what it listens on cannot be seen: cat {exit}");
        return Err(RuntimeError::Start { id: instance.spec.id.clone(), why });
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn seen_from_here(address: SocketAddr, instance: &Instance, port: u16) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    if ip == NAME_SERVER {
        return None;
    }
    if ip.is_loopback() {
        return Some(SocketAddr::new(ip, address.port()));
    }
    let own = instance.address.unwrap_or(instance.endpoint.ip());
    let is_published = address.port() == port && (ip.is_unspecified() || ip == own);
    match is_published {
        true => Some(instance.endpoint),
        false => Some(SocketAddr::new(if ip.is_unspecified() { own } else { ip }, address.port())),
    }
}
