//! The values of options: what each must look like, and what it may not reach.

use std::net::IpAddr;

use super::DockerOption;
use crate::limits;

pub(super) fn check(value: &str, is_allowed: impl Fn(u8) -> bool, why: &str) -> Result<(), String> {
    if value.is_empty() || value.starts_with('-') || !value.bytes().all(is_allowed) {
        Err(why.to_owned())
    } else {
        Ok(())
    }
}

pub(super) fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

pub(super) fn address(value: &str) -> Result<IpAddr, String> {
    value.parse().map_err(|_| "give an address, such as 192.0.2.1".to_owned())
}

pub(super) fn pair(value: &str, why: &str) -> Result<(String, String), String> {
    let (name, value) = value.split_once('=').ok_or(why)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    check(name, is_name, why)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `host-gateway` would be a way to the host itself.
pub(super) fn add_host(value: &str) -> Result<DockerOption, String> {
    let why = "say NAME:ADDRESS, such as db:192.0.2.1; host-gateway is not allowed";
    let (name, to) = value.split_once([':', '=']).ok_or(why)?;
    check(name, is_host_byte, why)?;
    Ok(DockerOption::AddHost(name.to_owned(), to.parse().map_err(|_| why)?))
}

/// By its own labels an agent knows what is its own.
pub(super) fn label(value: &str) -> Result<DockerOption, String> {
    let (name, value) = pair(value, "say NAME=VALUE")?;
    let is_taken = ["autostack.", "com.docker.", "io.podman."]
        .iter()
        .any(|taken| name.to_ascii_lowercase().starts_with(taken));
    if is_taken {
        Err("labels of that name belong to the platform and to engines".to_owned())
    } else {
        Ok(DockerOption::Label(name, value))
    }
}

pub(super) fn bytes(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse::<u64>().ok()?.checked_mul(1 << shift))?
}

pub(super) fn shm_size(value: &str) -> Result<u64, String> {
    let most = limits::SHM_BYTES_MAX;
    match bytes(value) {
        Some(size) if (1..=most).contains(&size) => Ok(size),
        _ => Err(format!("give bytes, or 64m or 1g; {} MiB at most", most >> 20)),
    }
}

/// Where a folder of memory may be seen, and how.
pub(super) fn tmpfs(value: &str) -> Result<DockerOption, String> {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let is_plain = path.starts_with('/')
        && path.len() > 1
        && path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    let is_system = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|system| path.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if !is_plain || is_system || path.contains(',') {
        return Err("give an absolute path without `..`, outside of /proc, /sys and /dev".to_owned());
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let is_allowed = match option.split_once('=') {
            None => ["ro", "rw", "noexec", "nosuid", "nodev"].contains(&option),
            Some(("size", size)) => bytes(size).is_some(),
            Some(("mode", mode)) => mode.len() <= 4 && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)),
            Some(("uid" | "gid", id)) => id.parse::<u32>().is_ok(),
            Some(_) => false,
        };
        if !is_allowed {
            return Err(
                "of its options there are size, mode, uid, gid, ro, rw, noexec, nosuid and nodev".to_owned()
            );
        }
    }
    Ok(DockerOption::Tmpfs(path.to_owned(), options.to_owned()))
}

pub(super) fn ulimit(value: &str) -> Result<DockerOption, String> {
    let why = format!(
        "say NAME=SOFT:HARD or NAME=BOTH, with one of core, fsize, memlock, nofile and stack; nofile {} at most",
        limits::NOFILE_MAX
    );
    let (name, numbers) = value.split_once('=').ok_or_else(|| why.clone())?;
    let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
    let number = |given: &str| given.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
    match (name, number(soft), number(hard)) {
        ("nofile", _, Some(hard)) if hard > limits::NOFILE_MAX => Err(why),
        ("core" | "fsize" | "memlock" | "nofile" | "stack", Some(soft), Some(hard)) if soft <= hard => {
            Ok(DockerOption::Ulimit(name.to_owned(), soft, hard))
        }
        _ => Err(why),
    }
}
