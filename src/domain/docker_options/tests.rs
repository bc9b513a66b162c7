//! What is read, what is refused.

use super::*;

fn read(line: &str, phase: Phase) -> Result<String, Invalid> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let found = DockerOption::read_all(&words, phase)?;
    for option in &found {
        let text = String::from(option.clone());
        assert_eq!(DockerOption::try_from(text).unwrap(), *option, "written as it is read");
    }
    Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn what_is_allowed_is_read_in_every_spelling() {
    for (given, phase, expected) in [
        ("--shm-size=64m", Phase::Deploy, "--shm-size=67108864"),
        ("--shm-size 1g --init", Phase::Run, "--shm-size=1073741824 --init"),
        ("-u 1000:1000", Phase::Deploy, "--user=1000:1000"),
        ("-u1000", Phase::Deploy, "--user=1000"),
        ("--read-only --tmpfs /tmp", Phase::Deploy, "--read-only --tmpfs=/tmp"),
        ("--read-only=true", Phase::Deploy, "--read-only"),
        ("--tmpfs /run:size=16m,mode=1777", Phase::Deploy, "--tmpfs=/run:size=16m,mode=1777"),
        ("--ulimit nofile=1024:2048", Phase::Deploy, "--ulimit=nofile=1024:2048"),
        ("--ulimit=core=0", Phase::Deploy, "--ulimit=core=0:0"),
        ("--add-host db:192.0.2.1", Phase::Deploy, "--add-host=db:192.0.2.1"),
        ("--add-host=db:2001:db8::1", Phase::Deploy, "--add-host=db:2001:db8::1"),
        (
            "--dns 192.0.2.53 --dns-search example.com",
            Phase::Run,
            "--dns=192.0.2.53 --dns-search=example.com",
        ),
        ("--label team=shop=x", Phase::Deploy, "--label=team=shop=x"),
        ("--hostname shop", Phase::Deploy, "--hostname=shop"),
        ("--cap-drop cap_chown", Phase::Deploy, "--cap-drop=CHOWN"),
        (
            "--build-arg NODE_ENV=production --target=final --no-cache",
            Phase::Build,
            "--build-arg=NODE_ENV=production --target=final --no-cache",
        ),
    ] {
        assert_eq!(read(given, phase).unwrap(), expected, "{given}");
    }
}

#[test]
fn e1_nothing_lets_an_app_out_of_its_container_in_any_spelling() {
    let out = [
        ("--privileged", ""),
        ("--pid", "host"),
        ("--ipc", "host"),
        ("--uts", "host"),
        ("--userns", "host"),
        ("--network", "host"),
        ("--net", "host"),
        ("--cgroupns", "host"),
        ("--cgroup-parent", "/"),
        ("--cap-add", "SYS_ADMIN"),
        ("--device", "/dev/sda"),
        ("--gpus", "all"),
        ("--security-opt", "seccomp=unconfined"),
        ("--sysctl", "kernel.core_pattern=x"),
        ("--volume", "/:/host"),
        ("-v", "/var/run/docker.sock:/s"),
        ("--mount", "type=bind,source=/,target=/host"),
        ("--volumes-from", "other"),
        ("--volume-driver", "local"),
        ("--runtime", "other"),
        ("--group-add", "docker"),
        ("--oom-kill-disable", ""),
        ("--oom-score-adj", "-1000"),
        ("--link", "other"),
        ("--publish", "22:22"),
        ("-p", "22:22"),
        ("-P", ""),
        ("--restart", "always"),
        ("--env", "A=b"),
        ("-e", "A=b"),
        ("--env-file", "/etc/passwd"),
        ("--memory", "64g"),
        ("-m", "64g"),
        ("--secret", "id=x,src=/etc/shadow"),
        ("--ssh", "default"),
        ("--allow", "security.insecure"),
        ("--entrypoint", "/bin/sh"),
        ("--name", "x"),
        ("--rm", ""),
        ("-it", ""),
        ("--log-driver", "none"),
        ("busybox", ""),
    ];
    for (name, value) in out {
        for phase in Phase::ALL {
            for line in [
                format!("{name} {value}"),
                format!("{name}={value}"),
                format!("--init {name} {value}"),
                format!("{name}{value}"),
            ] {
                if phase == Phase::Build && line.starts_with("--init") {
                    continue;
                }
                assert!(read(line.trim(), phase).is_err(), "{line} for {phase}");
            }
        }
    }
}

#[test]
fn a_value_must_be_what_it_should_be() {
    for bad in [
        "--shm-size",
        "--shm-size=",
        "--shm-size=2t",
        "--shm-size=99g",
        "--shm-size=-1",
        "--ulimit nproc=1",
        "--ulimit nofile=2:1",
        "--ulimit nofile=99999999",
        "--tmpfs=/",
        "--tmpfs=/proc",
        "--tmpfs=/dev/x",
        "--tmpfs=/a/../proc",
        "--tmpfs=a",
        "--tmpfs=/a:exec",
        "--tmpfs=/a:suid,size=1m",
        "--add-host=db:host-gateway",
        "--add-host=db",
        "--dns=example.com",
        "--label=autostack.app=x",
        "--label=x",
        "--hostname=a/b",
        "--user=a;b",
        "--user=-x",
        "--cap-drop=",
        "--read-only=false",
        "--init=x",
    ] {
        assert!(read(bad, Phase::Deploy).is_err(), "{bad}");
    }
    for bad in ["--build-arg A", "--build-arg =x", "--target=", "--target=a b", "--shm-size=1m"] {
        assert!(read(bad, Phase::Build).is_err(), "{bad}");
    }
    assert!(read("--target=x", Phase::Run).is_err(), "a build's own");
    let long = format!("--label=a={}", "x".repeat(limits::DOCKER_OPTION_BYTES_MAX));
    assert!(read(&long, Phase::Deploy).is_err());
}
