//! What bad input gets: one clear sentence, the exit code of the contract, nothing changed.

use std::{
    fs,
    io::Read,
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use crate::world::{Live, Options, World, agent::PATH, apps, processes};

/// Names of everything below a folder.
fn tree(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            names.push(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    names.sort();
    names
}

#[test]
fn a1_hostile_app_names_are_refused_and_never_run() {
    let world = World::new();
    let ada = world.developer("ada");
    let before = tree(&world.data_dir().join("repos"));
    let long = "a".repeat(64);
    let names = [
        "../x",
        "..",
        "a/../b",
        "a;id",
        "$(id)",
        "`id`",
        "a|id",
        "a&id",
        "a>b",
        "A",
        "a_b",
        "-rf",
        "a b",
        "~",
        "*",
        "é",
        "a.b",
        "%2e%2e",
        "admin",
        long.as_str(),
    ];
    for name in names {
        let created = ada.ssh(&["apps:create", &format!("'{name}'")]);
        assert_eq!(created.code, Some(2), "{name}: {created}");
        assert!(created.stdout.is_empty() && !created.stderr.contains("uid="), "{name}: {created}");
        assert!(created.stderr.starts_with(" !     "), "{name}: {created}");
        let shown = ada.ssh(&["url", "--", &format!("'{name}'")]);
        assert_eq!(shown.code, Some(2), "{name}: {shown}");
    }
    // Without quotes the words are cut, and still nothing is run.
    for line in ["apps:create a; id", "apps:create $(id)", "apps:create a | id", "apps:create a && id"] {
        let created = ada.ssh(&[line]);
        assert_eq!(created.code, Some(2), "{line}: {created}");
        assert!(!created.all().contains("uid="), "{line}: {created}");
    }
    let repo = ada.app_of(apps::node("web"));
    for name in ["../x", "a;id", "$(id)", "A", "-x", "a/b", "shop.git/../x", "%2e%2e%2fx"] {
        let push = repo.push(name);
        assert!(!push.ok, "{name}: {}", push.screen);
        assert!(push.screen.contains(" !     "), "{name}: {}", push.screen);
    }
    assert_eq!(tree(&world.data_dir().join("repos")), before);
    assert_eq!(ada.ssh(&["apps:list", "--format", "json"]).ok().trim(), "[]");
}

#[test]
fn c4_only_git_s_own_words_reach_git() {
    let world = World::new();
    let ada = world.developer("ada");
    ada.app_of(apps::node("web")).push("shop").accepted();
    let before = world.settled("shop");
    let lines = [
        "git-receive-pack --help",
        "git-receive-pack 'shop' 'other'",
        "git-receive-pack '--upload-pack=id'",
        "git-receive-pack '-oProxyCommand=id'",
        "git-receive-pack '/etc/passwd'",
        "git-receive-pack ''",
        "git-receive-pack '../repos/shop.git'",
        "git-receive-pack '~/shop'",
        "git-receive-pack 'shop'; id",
        "git-receive-pack 'shop' && id",
        "git-upload-pack '../../repos/shop.git'",
        "git-upload-pack --strict 'shop'",
        "git-upload-archive 'shop'",
        "git-shell -c id",
        "git receive-pack $(id)",
        "sh -c id",
        "id",
        "scp -t /tmp",
        "rsync --server",
    ];
    for line in lines {
        let output = ada.ssh(&[line]);
        assert!(matches!(output.code, Some(1..=254)), "{line}: {output}");
        assert!(output.stdout.is_empty(), "{line}: {output}");
        assert!(output.stderr.starts_with(" !     ") && !output.stderr.contains("uid="), "{line}: {output}");
    }
    let long = format!("git-receive-pack '{}'", "a".repeat(60_000));
    let output = ada.ssh(&[&long]);
    assert!(output.code.is_some_and(|code| code != 0) && output.stderr.len() < 4_000, "{output}");
    world.assert_nothing_left("shop", &before);
}

#[test]
fn c5_what_is_not_offered_is_refused_in_so_many_words() {
    let world = World::new();
    let ada = world.developer("ada");
    let there = ["version"];
    let sftp = ada.ssh_with(&["-s"], &["sftp"]);
    assert!(sftp.code.is_some_and(|code| code != 0), "{sftp}");
    let api = world.http();
    let direct = ada.ssh_with(&["-W", &api.to_string()], &[]);
    assert_eq!(direct.code, Some(255), "{direct}");
    assert!(direct.stderr.contains("stdio forwarding failed"), "{direct}");
    let backwards = ada.ssh_with(&["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9"], &there);
    assert_eq!(backwards.code, Some(255), "{backwards}");
    let tunnel = ada.ssh_with(
        &["-o", "Tunnel=point-to-point", "-o", "ExitOnForwardFailure=yes", "-w", "any:any"],
        &there,
    );
    assert!(!tunnel.stdout.is_empty() || tunnel.code == Some(255), "{tunnel}");
    let shell = ada.ssh_with(&["-tt"], &[]);
    assert!(shell.all().contains("No shell runs here"), "{shell}");
    let variables = ada.ssh_with(&["-o", "SetEnv=LD_PRELOAD=/x GIT_EXEC_PATH=/x PATH=/x"], &there);
    assert_eq!(variables.code, Some(0), "{variables}");

    let socket = world.folder().join("agent-of-ada");
    let mut command = ada.command("ssh-agent");
    command.arg("-D").arg("-a").arg(&socket);
    let _agent = Live::start(command);
    crate::world::soon("the ssh-agent", || socket.exists().then_some(()));
    let mut forwarding = ada.ssh_command(&["-A"], &there);
    forwarding.env("SSH_AUTH_SOCK", &socket);
    let forwarding = Live::start(forwarding).end();
    assert_eq!(forwarding.code, Some(0), "the command is run all the same: {forwarding}");
    assert!(forwarding.stderr.contains("Forwarding of your ssh-agent is not offered"), "{forwarding}");
}

#[test]
fn an_unknown_key_is_refused() {
    let world = World::new();
    let ada = world.developer("ada");
    let eve = world.stranger("eve");
    let output = eve.ssh(&["apps:list"]);
    assert_eq!(output.code, Some(255));
    assert!(output.stderr.contains("Permission denied (publickey"), "{output}");
    let push = eve.app_of(apps::node("web")).push("shop");
    push.rejected(&["Permission denied (publickey"]);
    assert!(!world.data_dir().join("repos/shop.git").exists());
    let told = eve.ssh_with(
        &[
            "-o",
            "BatchMode=no",
            "-o",
            "LogLevel=INFO",
            "-o",
            "PreferredAuthentications=publickey,keyboard-interactive",
        ],
        &["version"],
    );
    assert_eq!(told.code, Some(255), "{told}");
    for word in ["This key is not known here: SHA256:", "autostack admin key add"] {
        assert!(told.stderr.contains(word), "{told}");
    }
    // Eve offers Ada's public key, whose private half she does not have.
    fs::write(eve.home().join("borrowed.pub"), ada.public_key()).unwrap();
    let borrowed = format!("IdentityFile={}", eve.home().join("borrowed.pub").display());
    let output = eve.ssh_with(&["-o", &borrowed], &["apps:list"]);
    assert_eq!(output.code, Some(255), "{output}");
    assert_eq!(ada.ssh(&["apps:list"]).code, Some(0));

    let garbage = world.admin(&["key", "add", "garbage"], b"not a key");
    assert_ne!(garbage.code, Some(0));
    assert!(garbage.stderr.starts_with(" !     "), "{garbage}");
    let twice = world.admin(&["key", "add", "again"], ada.public_key().as_bytes());
    assert_ne!(twice.code, Some(0), "{twice}");
}

#[test]
fn c3_variables_of_a_client_do_not_reach_git_nor_the_build() {
    let world = World::new();
    let ada = world.developer("ada");
    let forged = [
        "GIT_CONFIG_COUNT=1",
        "GIT_CONFIG_KEY_0=core.hooksPath",
        "GIT_CONFIG_VALUE_0=/nowhere",
        "GIT_EXEC_PATH=/nowhere",
        "GIT_OBJECT_DIRECTORY=/nowhere",
        "GIT_SSH_COMMAND=nothing",
        "LD_PRELOAD=/nowhere/evil.so",
        "BASH_ENV=/nowhere/evil.sh",
        "AUTOSTACK_HOOK_TOKEN=guessed",
    ];
    let config = fs::read_to_string(ada.ssh_config()).unwrap();
    fs::write(ada.ssh_config(), format!("{config}  SetEnv {}\n", forged.join(" "))).unwrap();
    let repo = ada.app_of(apps::node("web"));
    let package = r#"{ "scripts": { "build": "echo in the build; sleep 1000", "start": "node server.js" } }"#;
    repo.write("package.json", package).commit();
    let push = repo.push_live("shop");
    push.wait_for("in the build");
    let running = processes::inside(world.data_dir());
    let of = |word: &str| running.iter().filter(|process| process.command.contains(word)).count();
    assert!(of("receive-pack") > 0 && of("hook pre-receive") > 0 && of("npm run build") > 0, "{running:#?}");
    for process in &running {
        for (name, value) in forged.iter().map(|entry| entry.split_once('=').unwrap()) {
            assert_ne!(process.variable(name).as_deref(), Some(value), "{name} of {}", process.command);
        }
    }
    drop(push);
}

#[test]
fn c8_silent_connections_keep_nobody_out() {
    let world = World::new();
    let ada = world.developer("ada");
    let began = Instant::now();
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(world.ssh()).unwrap()).collect();
    ada.app_of(apps::node("web")).push("shop").accepted();
    assert_eq!(world.get("shop", "/").body, "web");
    println!("a push beside {} silent connections took {:?}", silent.len(), began.elapsed());
    for mut connection in silent {
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // What the server says first, and then its end.
        let mut heard = Vec::new();
        let _reset = connection.read_to_end(&mut heard);
        assert!(heard.len() < 1_000);
    }
    assert!(began.elapsed() < Duration::from_secs(25), "each was closed in time: {:?}", began.elapsed());
    assert_eq!(ada.ssh(&["version"]).code, Some(0));
}

#[test]
fn e4_what_an_app_writes_gives_no_terminal_an_order() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node_with(
        r#"if (url.pathname === "/shout") console.log("before\x1b]0;owned\x07\x1b[2Jafter\u202e");
  response.end("web");"#,
    ));
    let package = r#"{ "scripts": { "build": "printf 'built\\033]52;c;aGk=\\007\\033[2J here\\n'", "start": "node server.js" } }"#;
    repo.write("package.json", package);
    repo.git(&["add", "--all"]);
    repo.git(&["commit", "--quiet", "--message", "A \u{1b}]0;hostile\u{7} change"]);
    let push = repo.push("shop").accepted();
    assert!(
        push.said().iter().any(|line| line.contains("built") && line.contains("here")),
        "{}",
        push.screen
    );
    world.get("shop", "/shout");
    let log = crate::world::soon("the line", || {
        let log = ada.ssh(&["logs", "shop"]).ok();
        log.contains("after").then_some(log)
    });
    for text in [push.said().join("\n"), log, world.log()] {
        let orders = ["\u{1b}]", "\u{7}", "\u{1b}[2J", "\u{202e}"];
        assert!(!orders.iter().any(|order| text.contains(order)), "{text:?}");
    }
}

#[test]
fn app_files_that_cannot_be_meant_are_refused_by_line() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::procfile("web: node server.js\n"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let cases: [(&str, &[&str]); 4] = [
        (
            "<<<<<<< HEAD\nweb: node server.js\n=======\nweb: node other.js\n>>>>>>> topic\n",
            &["Procfile", "line 1", "merge-conflict marker"],
        ),
        (
            "web: node server.js\nworker: sleep 1\nweb: node other.js\n",
            &["Procfile", "line 3", "defines web again", "line 1"],
        ),
        ("web node server.js\n", &["Procfile", "line 1", "no colon"]),
        ("web:\n", &["Procfile", "line 1", "no command"]),
    ];
    for (procfile, words) in cases {
        repo.write("Procfile", procfile).commit();
        repo.push("shop").rejected_at("detect", words);
        world.assert_nothing_left("shop", &before);
    }
    repo.write("package.json", "{ \"scripts\": ").remove("Procfile").commit();
    repo.push("shop").rejected_at("detect", &["package.json"]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn no_recipe_and_a_missing_toolchain() {
    let world = World::new();
    let ada = world.developer("ada");
    let before = world.state("shop");
    let repo = ada.app_of(vec![("README.md", "# Nothing to run\n".into()), ("notes.txt", "none".into())]);
    repo.push("shop").rejected_at("detect", &["README.md", "Procfile", "package.json"]);
    world.assert_nothing_left("shop", &before);

    let programs = ["php", "ruby", "java", "bun", "deno"];
    let is_installed =
        |program: &&str| PATH.split(':').any(|folder| Path::new(folder).join(program).exists());
    let absent = programs.iter().find(|program| !is_installed(program)).unwrap();
    let repo = ada.app_of(apps::procfile(&format!("web: {absent} server\n")));
    let push = repo.push_with("shop", &["--force"], &["HEAD:refs/heads/main"]);
    push.rejected_at(
        "detect",
        &[&format!("{absent} is not installed on the host"), "ask the operator of the host"],
    );
    world.assert_nothing_left("shop", &before);
}

#[test]
fn c9_a_broken_pack_is_refused() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let old = repo.head();
    let new = repo.write("large.txt", &"0123456789abcdef\n".repeat(10_000)).commit();

    let pack = world.folder().join("pack");
    let list = format!("{new}\n^{old}\n");
    let mut command = ada.command("git");
    command.arg("-C").arg(repo.path()).args(["pack-objects", "--revs", "--quiet"]).arg(&pack);
    let mut packing = Live::start(command);
    packing.write(list.as_bytes());
    let name = packing.end().ok();
    let mut bytes = Vec::new();
    let file = format!("{}-{}.pack", pack.display(), name.trim());
    fs::File::open(file).unwrap().read_to_end(&mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;

    let mut push = Live::start(ada.ssh_command(&[], &["git-receive-pack 'shop'"]));
    push.wait_for("refs/heads/main");
    let update = format!("{old} {new} refs/heads/main\0report-status\n");
    push.write(format!("{:04x}{update}0000", update.len() + 4).as_bytes());
    push.write(&bytes);
    let output = push.end();
    assert!(output.stdout.contains("ng refs/heads/main") || output.code != Some(0), "{output}");
    assert!(output.all().contains("unpack"), "{output}");
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
    repo.push("shop").accepted();
}

#[test]
fn c11_a_pack_over_the_limit_is_refused() {
    let world = Options::default().set("git.pack_bytes_max", "1MiB").start();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let mut noise = vec![0; 3 * 1024 * 1024];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    fs::write(repo.path().join("noise.bin"), noise).unwrap();
    repo.commit();
    let push = repo.push("shop");
    push.rejected(&["pack exceeds maximum allowed size"]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
}

#[test]
fn c9_objects_that_would_escape_are_refused() {
    let world = World::new();
    let ada = world.developer("ada");
    let repo = ada.app_of(apps::node("web"));
    repo.push("shop").accepted();
    let before = world.settled("shop");
    let start = repo.head();
    // A tree that only a hostile tool writes: a folder named `..`, and one named `.git`.
    let blob = repo.git(&["rev-parse", "HEAD:server.js"]).trim().to_owned();
    let inner = mktree(&ada, &repo, &format!("100644 blob {blob}\tx\n"));
    for name in ["..", ".git", ".GIT"] {
        let tree =
            mktree(&ada, &repo, &format!("040000 tree {inner}\t{name}\n100644 blob {blob}\tserver.js\n"));
        let commit = repo.git(&["commit-tree", &tree, "-p", &start, "-m", "hostile"]).trim().to_owned();
        let push = repo.push_with("shop", &[], &[&format!("{commit}:refs/heads/main")]);
        assert!(!push.ok, "{name}: {}", push.screen);
        world.assert_nothing_left("shop", &before);
    }
    std::os::unix::fs::symlink("/etc/passwd", repo.path().join("secret")).unwrap();
    repo.commit();
    repo.push("shop").rejected(&["secret"]);
    world.assert_nothing_left("shop", &before);
    assert_eq!(world.get("shop", "/").body, "web");
}

fn mktree(ada: &crate::world::Developer, repo: &crate::world::Repo, lines: &str) -> String {
    let mut command = ada.command("git");
    command.arg("-C").arg(repo.path()).args(["mktree", "--missing"]);
    let mut mktree = Live::start(command);
    mktree.write(lines.as_bytes());
    mktree.end().ok().trim().to_owned()
}
