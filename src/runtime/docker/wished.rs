//! What an operator wishes of a container beyond what all have. Only what is in [`DockerOption`] can be wished for, and
//! nothing of it lets the app out.

use std::collections::HashMap;

use autostack_domain::docker_options::DockerOption;
use autostack_engine::bollard::models::{ContainerCreateBody, HostConfig, ResourcesUlimits};

/// Adds one option to what the engine is asked for.
pub(super) fn add(option: &DockerOption, body: &mut ContainerCreateBody) {
    match option {
        DockerOption::Hostname(name) => body.hostname = Some(name.clone()),
        DockerOption::User(user) => body.user = Some(user.clone()),
        DockerOption::Label(name, value) => {
            // The agent's own labels are there first, and stay.
            body.labels.get_or_insert_default().entry(name.clone()).or_insert_with(|| value.clone());
        }
        option => add_to_host(option, body.host_config.get_or_insert_default()),
    }
}

fn add_to_host(option: &DockerOption, host: &mut HostConfig) {
    match option {
        DockerOption::AddHost(name, to) => host.extra_hosts.get_or_insert_default().push(format!("{name}:{to}")),
        DockerOption::CapDrop(name) => host
            .cap_add
            .get_or_insert_default()
            .retain(|kept| name != "ALL" && kept.strip_prefix("CAP_").unwrap_or(kept) != name),
        DockerOption::Dns(address) => host.dns.get_or_insert_default().push(address.to_string()),
        DockerOption::DnsSearch(domain) => host.dns_search.get_or_insert_default().push(domain.clone()),
        DockerOption::ReadOnly => host.readonly_rootfs = Some(true),
        DockerOption::ShmSize(bytes) => host.shm_size = i64::try_from(*bytes).ok(),
        DockerOption::Tmpfs(path, options) => {
            host.tmpfs.get_or_insert_with(HashMap::new).insert(path.clone(), options.clone());
        }
        DockerOption::Ulimit(name, soft, hard) => {
            host.ulimits.get_or_insert_default().push(ResourcesUlimits {
                name: Some(name.clone()),
                soft: i64::try_from(*soft).ok(),
                hard: i64::try_from(*hard).ok(),
            });
        }
        // Every container has an init; a build's options are for the build.
        DockerOption::Init
        | DockerOption::BuildArg(..)
        | DockerOption::NoCache
        | DockerOption::Target(_)
        // The body's own.
        | DockerOption::Hostname(_)
        | DockerOption::Label(..)
        | DockerOption::User(_) => {}
    }
}
