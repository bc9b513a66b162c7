//! Stories of hostile pushes (threats C9 to C11), with the real `git` on both sides.

use std::{fs, io::Write};

use crate::{
    SourceError,
    testing::{Outcome, REMOTE, World, raw_tree},
};

/// Pushes a commit of this tree: what came of it.
async fn push_tree(world: &World, tree: &str) -> Outcome {
    let commit = world.commit_of(tree);
    let outcome = world.push(&[REMOTE, &format!("{commit}:refs/heads/main")]).await;
    assert_eq!(world.quarantines(), Vec::<String>::new());
    outcome
}

async fn refused_by_us(tree: impl Fn(&World) -> String, expected: &str) {
    let world = World::new();
    let outcome = push_tree(&world, &tree(&world)).await;
    let error = outcome.inspected.expect("git itself lets it pass").unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!outcome.accepted);
    assert_eq!(world.head_of("refs/heads/main"), None);
}

async fn refused_by_git(tree: impl Fn(&World) -> String) {
    let world = World::new();
    let outcome = push_tree(&world, &tree(&world)).await;
    assert!(!outcome.accepted && outcome.inspected.is_none(), "{}", outcome.screen);
    assert_eq!(world.head_of("refs/heads/main"), None);
}

fn with_gitmodules(world: &World, content: &str) -> String {
    let id = world.object("blob", content.as_bytes());
    world.tree(&[("100644", b".gitmodules", &id)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c9_what_git_refuses_itself_stays_refused() {
    let modules = [
        "[submodule \"x\"]\n\tpath = x\n\turl = -u./x\n",
        "[submodule \"x\"]\n\tpath = -x\n\turl = https://host.test/x\n",
        "[submodule \"x\"]\n\tpath = x\n\turl = \"https://host.test/a\\nb\"\n",
        "[submodule \"x\"]\n\tpath = x\n\turl = https://host.test/x\n\tupdate = !id\n",
        "[submodule \"../../x\"]\n\tpath = x\n\turl = https://host.test/x\n",
    ];
    for content in modules {
        refused_by_git(|world| with_gitmodules(world, content)).await;
    }
    for name in [&b".git"[..], b".GIT", b"git~1", b"..", b"a/../../x"] {
        refused_by_git(|world| {
            let blob = world.object("blob", b"x");
            world.tree(&[("100644", name, &blob)])
        })
        .await;
    }
    refused_by_git(|world| {
        let blob = world.object("blob", b"x");
        world.tree(&[("100644", b"a", &blob), ("100644", b"a", &blob)])
    })
    .await;
    refused_by_git(|world| {
        let blob = world.object("blob", b"/etc/passwd");
        world.tree(&[("120000", b".gitmodules", &blob)])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c9_gitmodules_that_git_lets_pass_are_refused() {
    let cases = [
        ("[submodule \"x\"]\n\tpath = \"x\\r\"\n\turl = https://host.test/x\n", "control character"),
        ("[submodule \"x\"]\n\tpath = \"x\r\"\n\turl = https://host.test/x\n", "control character"),
        ("[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c id\n", "neither https"),
        ("[submodule \"x\"]\n\tpath = x\n\turl = file:///etc\n", "neither https"),
    ];
    for (content, expected) in cases {
        let content = content.replace("\\r", "\r");
        refused_by_us(|world| with_gitmodules(world, &content), expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c9_links_out_of_the_tree_are_refused() {
    let cases: [(&[u8], &[u8], &str); 5] = [
        (b"Dockerfile", b"/etc/shadow", "Dockerfile is refused: it is a symbolic link to an absolute path"),
        (b"run", b"/var/run", "run is refused"),
        (b"up", b"../secrets", "leads out of the app's folder"),
        (b"up", b"./.././x", "leads out of the app's folder"),
        (b"up", b"a/../../x", "goes down and up again"),
    ];
    for (name, target, expected) in cases {
        refused_by_us(
            |world| {
                let blob = world.object("blob", target);
                world.tree(&[("120000", name, &blob)])
            },
            expected,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c9_a_folder_that_is_safe_deep_down_is_refused_further_up() {
    // One tree object at two places: its link stays inside at d/d and leaves at d.
    refused_by_us(
        |world| {
            let target = world.object("blob", b"../../x");
            let shared = world.tree(&[("120000", b"link", &target)]);
            let deep = world.tree(&[("40000", b"d", &shared)]);
            world.tree(&[("40000", b"a", &deep), ("40000", b"b", &shared)])
        },
        "b/link is refused",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_bomb_of_files_is_counted_not_walked() {
    refused_by_us(
        |world| {
            let blob = world.object("blob", b"x");
            let names: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
            let mut mode = "100644";
            let mut below = blob;
            for _ in 0..8 {
                let lines: Vec<_> =
                    names.iter().map(|name| (mode, name.as_bytes(), below.as_str())).collect();
                below = world.tree(&lines);
                mode = "40000";
            }
            below
        },
        "the commit has at least 1000000 files, and the limit is 100000",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_bomb_of_submodules_is_counted_not_walked() {
    refused_by_us(
        |world| {
            let names: Vec<String> = (0..10).map(|number| format!("m{number}")).collect();
            let mut mode = "160000";
            let mut below = "1".repeat(40);
            for _ in 0..8 {
                let lines: Vec<_> =
                    names.iter().map(|name| (mode, name.as_bytes(), below.as_str())).collect();
                below = world.tree(&lines);
                mode = "40000";
            }
            below
        },
        "submodules, and the limit is 100",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_bomb_of_zeros_is_refused_by_its_size() {
    refused_by_us(
        |world| {
            world.write("zeros", vec![0; 101 * 1024 * 1024]);
            let blob = world.git(&["hash-object", "-w", "zeros"]);
            world.tree(&[("100644", b"zeros", &blob)])
        },
        "zeros has 101 MiB, and the limit is 100 MiB for one file",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_folders_too_deep_and_folders_without_files_are_refused() {
    refused_by_us(
        |world| {
            let mut tree = world.tree(&[("100644", b"f", &world.object("blob", b"x"))]);
            for _ in 0..70 {
                tree = world.tree(&[("40000", b"d", &tree)]);
            }
            tree
        },
        "too deep",
    )
    .await;
    refused_by_us(
        |world| {
            let mut tree = world.object("tree", b"");
            for _ in 0..6 {
                let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
                let lines: Vec<_> =
                    names.iter().map(|name| ("40000", name.as_bytes(), tree.as_str())).collect();
                tree = world.tree(&lines);
            }
            tree
        },
        "folders, and the limit is 100000",
    )
    .await;
}

/// Puts a tree into the app's repository past every check of git.
fn smuggle(world: &World, raw: &[u8]) -> autostack_domain::CommitId {
    let mut child = std::process::Command::new("git")
        .args(["hash-object", "-t", "tree", "-w", "--literally", "--stdin"])
        .current_dir(world.bare())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(raw).unwrap();
    let tree = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    world.client(&["commit-tree", tree.trim(), "-m", "smuggled"], &world.bare()).parse().unwrap()
}

#[test]
fn c10_what_git_would_refuse_is_refused_even_if_it_is_there_already() {
    let world = World::new();
    fs::write(world.root().join("x"), "x").unwrap();
    let blob = world.client(&["hash-object", "-w", "../../x"], &world.bare());
    let names: [&[u8]; 10] =
        [b"..", b".", b"", b"a/b", b".git", b".Git", b"GIT~1", b".git.", b".git ", b".g\xe2\x80\x8cit"];
    for name in names {
        let commit = smuggle(&world, &raw_tree(&[("100644", name, &blob)]));
        assert!(matches!(world.inspect(&commit), Err(SourceError::Refused { .. })), "{name:?}");
    }
    for mode in ["060000", "140000", "0", "777"] {
        let commit = smuggle(&world, &raw_tree(&[(mode, b"a", &blob)]));
        assert!(matches!(world.inspect(&commit), Err(SourceError::Refused { .. })), "{mode}");
    }
    let twice = smuggle(&world, &raw_tree(&[("100644", b"a", &blob), ("100644", b"a", &blob)]));
    assert!(matches!(world.inspect(&twice), Err(SourceError::Refused { .. })));
    let long = vec![b'n'; 256];
    let commit = smuggle(&world, &raw_tree(&[("100644", &long, &blob)]));
    assert!(matches!(world.inspect(&commit), Err(SourceError::Refused { .. })));
    let mut cut = raw_tree(&[("100644", b"a", &blob)]);
    cut.truncate(cut.len() - 3);
    assert!(matches!(world.inspect(&smuggle(&world, &cut)), Err(SourceError::Broken { .. })));
    let missing = smuggle(&world, &raw_tree(&[("100644", b"a", &"1".repeat(40))]));
    assert!(matches!(world.inspect(&missing), Err(SourceError::Read { .. })));
}
