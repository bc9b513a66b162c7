//! Folders of files (threat E5).

use std::{fs, os::unix::fs::symlink, path::Path};

use autostack_domain::route::Target;

use super::world::{Answer, PATIENCE, World, route, soon};

const SECRET: &str = "outside the folder";

/// A site with everything in it that must not come out.
fn lay_out(root: &Path) {
    let site = root.join("site");
    for folder in ["docs", "empty", ".git", ".well-known", "docs/.hidden"] {
        fs::create_dir_all(site.join(folder)).unwrap();
    }
    for (path, text) in [
        ("../secret", SECRET),
        (".env", SECRET),
        (".git/config", SECRET),
        ("docs/.hidden/x", SECRET),
        (".well-known/security.txt", "contact"),
        ("index.html", "<h1>start"),
        ("docs/index.html", "<h1>docs"),
        ("a b.txt", "space"),
        ("style.css", "body{}"),
        ("app.js", "let x"),
        ("data.json", "{}"),
        ("image.png", "png"),
        ("empty.txt", ""),
        ("404.html", "<h1>not here"),
        ("percent%2e.txt", "percent"),
    ] {
        fs::write(site.join(path), text).unwrap();
    }
    symlink("../secret", site.join("link")).unwrap();
    symlink("/etc/passwd", site.join("absolute-link")).unwrap();
    symlink("..", site.join("up")).unwrap();
    symlink("/", site.join("docs/root")).unwrap();
    symlink("index.html", site.join("inner-link")).unwrap();
    nix::unistd::mkfifo(&site.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
}

async fn site(not_found: Option<&str>, single_page: bool) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    lay_out_site(folder.path());
    let world = World::start().await;
    let target = Target::Static {
        root: folder.path().join("site"),
        not_found: not_found.map(str::to_owned),
        single_page,
    };
    let _ = world.proxy.publish(route("site", target));
    (world, folder)
}

fn lay_out_site(root: &Path) {
    fs::create_dir(root.join("site")).unwrap();
    lay_out(root);
}

async fn ask(world: &World, method: &str, path: &str, lines: &str) -> Answer {
    let mut visit = world.visit().await;
    visit
        .send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: site.localhost\r\nConnection: close\r\n{lines}\r\n"
        ))
        .await;
    if method == "HEAD" { visit.head().await.unwrap() } else { visit.answer().await }
}

#[tokio::test]
async fn files_come_with_their_kind() {
    let (world, _folder) = site(None, false).await;
    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", "<h1>start"),
        ("/index.html?v=1", "text/html; charset=utf-8", "<h1>start"),
        ("/docs/", "text/html; charset=utf-8", "<h1>docs"),
        ("/a%20b.txt", "text/plain; charset=utf-8", "space"),
        ("/style.css", "text/css; charset=utf-8", "body{}"),
        ("/app.js", "text/javascript; charset=utf-8", "let x"),
        ("/data.json", "application/json; charset=utf-8", "{}"),
        ("/image.png", "image/png", "png"),
        ("/empty.txt", "text/plain; charset=utf-8", ""),
        ("/percent%252e.txt", "text/plain; charset=utf-8", "percent"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", "contact"),
    ] {
        let answer = ask(&world, "GET", path, "").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, text), "{path}");
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let head = ask(&world, "HEAD", path, "").await;
        assert_eq!(
            (head.status(), head.header("content-length")),
            (200, text.len().to_string().as_str()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_folder_without_its_slash_is_sent_on() {
    let (world, _folder) = site(None, false).await;
    let answer = ask(&world, "GET", "/docs?a=b", "").await;
    assert_eq!((answer.status(), answer.header("location")), (301, "/docs/?a=b"));
    for path in ["/empty", "/empty/", "/index.html/", "/nothing"] {
        assert_eq!(ask(&world, "GET", path, "").await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let (world, _folder) = site(None, true).await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(&world, method, "/", "").await;
        assert_eq!((answer.status(), answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
}

#[tokio::test]
async fn versions_and_parts() {
    let (world, folder) = site(None, false).await;
    let whole = ask(&world, "GET", "/a%20b.txt", "").await;
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"'));
    let same = ask(&world, "GET", "/a%20b.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((same.status(), same.body.len(), same.header("etag")), (304, 0, etag.as_str()));
    let part = ask(&world, "GET", "/a%20b.txt", "Range: bytes=1-3\r\n").await;
    assert_eq!(
        (part.status(), part.text().as_str(), part.header("content-range")),
        (206, "pac", "bytes 1-3/5")
    );
    let last = ask(&world, "GET", "/a%20b.txt", "Range: bytes=-2\r\n").await;
    assert_eq!((last.status(), last.text().as_str()), (206, "ce"));
    let none = ask(&world, "GET", "/a%20b.txt", "Range: bytes=5-\r\n").await;
    assert_eq!((none.status(), none.header("content-range"), none.body.len()), (416, "bytes */5", 0));
    fs::write(folder.path().join("site/a b.txt"), "changed").unwrap();
    let changed = ask(&world, "GET", "/a%20b.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((changed.status(), changed.text().as_str()), (200, "changed"));
}

/// Bytes that differ from place to place.
fn pattern(at: usize) -> u8 {
    u8::try_from(at / 977 % 251).unwrap()
}

#[tokio::test]
async fn big_files_are_streamed_and_waited_for() {
    const SIZE: usize = 20 << 20;
    let (world, folder) = site(None, false).await;
    let data: Vec<u8> = (0..SIZE).map(pattern).collect();
    fs::write(folder.path().join("site/big.bin"), &data).unwrap();
    let mut visit = world.visit().await;
    visit.send("GET /big.bin HTTP/1.1\r\nHost: site.localhost\r\n\r\n").await;
    let head = visit.head().await.unwrap();
    assert_eq!(head.header("content-length"), SIZE.to_string());
    let retired = world.proxy.withdraw(&"site".parse().unwrap());
    assert_eq!(retired.in_flight(), 1);
    assert!(visit.exactly(SIZE).await.unwrap() == data);
    assert_eq!(soon("the drain", retired.drained(PATIENCE)).await, 0);
}

#[tokio::test]
async fn a_part_in_the_middle_of_a_big_file_is_exact() {
    let (world, folder) = site(None, false).await;
    let data: Vec<u8> = (0..1_000_000usize).map(pattern).collect();
    fs::write(folder.path().join("site/big.bin"), &data).unwrap();
    let part = ask(&world, "GET", "/big.bin", "Range: bytes=65000-400000\r\n").await;
    assert_eq!(part.status(), 206);
    assert!(part.body == data[65_000..=400_000]);
}

#[tokio::test]
async fn what_is_not_there_has_a_page() {
    let (world, _folder) = site(Some("404.html"), false).await;
    for path in ["/nothing", "/docs/nothing", "/../secret", "/.env"] {
        let answer = ask(&world, "GET", path, "Range: bytes=0-1\r\n").await;
        assert_eq!((answer.status(), answer.text().as_str()), (404, "<h1>not here"), "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    }
    let (world, _folder) = site(None, true).await;
    for path in ["/", "/any/route", "/any/route/"] {
        let answer = ask(&world, "GET", path, "").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "<h1>start"), "{path}");
    }
}

/// Paths that try to leave the folder, or to see what is hidden in it.
fn hostile_paths() -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    let ups = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "..;",
        "..%00",
        "%c0%ae%c0%ae",
        "%uff0e%uff0e",
        "...",
        "....",
        "..%5c",
    ];
    let slashes = ["/", "%2f", "%2F", "%252f", "\\", "%5c", "%c0%af", "//", "/./", "/%2e/", ";/"];
    for up in ups {
        for slash in slashes {
            paths.push(format!("/{up}{slash}secret"));
            paths.push(format!("/docs/{up}{slash}{up}{slash}secret"));
        }
    }
    let fixed = [
        "//secret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/etc/passwd",
        "/link",
        "/absolute-link",
        "/up/secret",
        "/up/",
        "/docs/root/etc/passwd",
        "/inner-link",
        "/pipe",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/%2egit/config",
        "/docs/.hidden/x",
        "/.well-known",
        "/.well-known/",
        "/.well-known/../.env",
        "/.well-known/.env",
        "/docs/.well-known/x",
        "/index.html%00",
        "/index.html%00.png",
        "/index.html%0a",
        "/index.html%",
        "/index.html%2",
        "/index.html%zz",
        "/%",
        "/%ff",
        "/index.html/.",
        "/index.html/..",
        "/docs/..",
        "/docs/.",
        "/.",
        "/..",
        "/./index.html",
        "/docs//index.html",
        "//index.html",
        "/index.html//",
        "/docs\\index.html",
        "/docs%5cindex.html",
        "/docs%2findex.html",
        "/site/index.html",
        "/~root",
        "/C:/windows",
        "/proc/self/environ",
        "/index.html;x",
        "/index.html::$DATA",
        "/a\u{7f}",
    ];
    paths.extend(
        fixed
            .iter()
            .filter(|path| path.is_ascii() && !path.contains('\u{7f}'))
            .map(|path| (*path).to_owned()),
    );
    paths.push(format!("/{}", "a".repeat(5_000)));
    paths.push("/a".repeat(2_000));
    paths
}

#[tokio::test]
async fn e5_no_path_leads_out_of_the_folder_or_to_what_is_hidden() {
    let paths = hostile_paths();
    assert!(paths.len() >= 200, "{}", paths.len());
    for single_page in [false, true] {
        let (world, _folder) = site(None, single_page).await;
        let mut visit = world.visit().await;
        for path in &paths {
            let answer = visit.get("site.localhost", path).await;
            let shown = &path[..path.len().min(80)];
            assert!(!answer.text().contains(SECRET) && !answer.text().contains("root:"), "{shown}");
            // A site with its own routing answers what could be a route with its start page, never with a file.
            let is_start_page = single_page && answer.status() == 200 && answer.text() == "<h1>start";
            assert!(answer.status() == 404 || is_start_page, "{shown}: {answer:?}");
        }
    }
}
