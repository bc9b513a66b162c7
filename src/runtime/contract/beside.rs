//! The cases about what happens beside a running instance: commands, and what it uses.

use std::time::{Duration, Instant};

use autostack_domain::Exit;
use autostack_logs::OutputStream;
use bytes::Bytes;
use tokio::time;

use super::{Does, GRACE, Outcome, SOON, Subject, lines_of, soon, spec};
use crate::{
    backend::RuntimeError,
    exec::{ExecRequest, ExecSession, TerminalSize},
};

/// What a command beside an instance does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// Prints a line on each of its outputs, and ends with this code.
    Print {
        /// To standard output.
        out: &'static str,
        /// To standard error.
        err: &'static str,
        /// The code.
        code: i32,
    },
    /// Copies its input to its output until that ends.
    Copy,
    /// Prints the values of these variables, a line each.
    Variables(&'static [&'static str]),
    /// Prints `ROWS COLUMNS` of its terminal: first once it is 24 and 80, then once it is 40 and 100.
    Sizes,
    /// Prints `ready`; by Ctrl-C it prints `interrupted` and ends with code 7.
    AwaitInterrupt,
    /// Starts another process, prints both their ids in one line, and goes on whatever it is asked.
    Linger,
    /// Ends with code 0 while one of these processes exists, else with 1.
    Look {
        /// What [`Aside::Linger`] has printed.
        ids: String,
    },
    /// Prints so many bytes.
    Flood {
        /// How many.
        bytes: usize,
    },
}

impl Aside {
    /// As a command line for a shell with the usual tools, those of busybox at least.
    pub fn shell(&self) -> String {
        match self {
            Aside::Print { out, err, code } => format!("echo {out}; echo {err} >&2; exit {code}"),
            Aside::Copy => "cat".to_owned(),
            Aside::Variables(names) => {
                let lines: Vec<String> = names.iter().map(|name| format!("echo \"${name}\"")).collect();
                lines.join("; ")
            }
            Aside::Sizes => "test -t 0 && test -t 1 && test -t 2 || exit 9; \
                 for size in '24 80' '40 100'; do \
                 until [ \"$(stty size)\" = \"$size\" ]; do sleep 0.02; done; echo \"$size\"; done"
                .to_owned(),
            Aside::AwaitInterrupt => {
                "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.02; done".to_owned()
            }
            Aside::Linger => {
                "trap '' TERM HUP; sleep 600 & echo $$ $!; while :; do sleep 600; done".to_owned()
            }
            Aside::Look { ids } => {
                let looks: Vec<String> =
                    ids.split_whitespace().map(|id| format!("kill -0 {id} 2>/dev/null")).collect();
                format!("{} || exit 1", looks.join(" || "))
            }
            Aside::Flood { bytes } => format!("head -c {bytes} /dev/zero | tr '\\0' x"),
        }
    }
}

pub(super) const SMALL: TerminalSize = TerminalSize { columns: 80, rows: 24 };
pub(super) const LARGE: TerminalSize = TerminalSize { columns: 100, rows: 40 };

fn request(subject: &dyn Subject, does: &Aside) -> ExecRequest {
    ExecRequest { command: subject.command(does), ..ExecRequest::default() }
}

/// Reads until its output holds this text; gives all of it.
pub(super) async fn said(session: &mut ExecSession, wanted: &str) -> Result<String, String> {
    let mut found = String::new();
    let reading = async {
        while !found.contains(wanted) {
            let Some((_, piece)) = session.output().await else { return false };
            found.push_str(&String::from_utf8_lossy(&piece));
        }
        true
    };
    match time::timeout(SOON, reading).await {
        Ok(true) => Ok(found),
        Ok(false) => Err(format!("it ended, and all it said is {found:?}")),
        Err(_elapsed) => Err(format!("all it said is {found:?}")),
    }
}

/// Standard output, standard error, and the end of a command.
pub(super) type Said = (Vec<u8>, Vec<u8>, Exit);

/// Its whole output, and how it ended.
pub(super) async fn all(mut session: ExecSession) -> Result<Said, Box<dyn std::error::Error>> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some((stream, piece)) = session.output().await {
            assert!(piece.len() <= ExecSession::PIECE_BYTES_MAX);
            match stream {
                OutputStream::Stdout => out.extend_from_slice(&piece),
                OutputStream::Stderr => err.extend_from_slice(&piece),
            }
        }
    };
    time::timeout(SOON, reading).await?;
    let exit = soon(session.wait()).await?;
    Ok((out, err, exit))
}

/// A case; see its name.
pub async fn exec_tells_output_and_exit(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    for code in [0, 3] {
        let prints = request(subject, &Aside::Print { out: "good", err: "bad", code });
        let (out, err, exit) = all(soon(backend.exec(&spec.id, prints)).await?).await?;
        assert_eq!((out.as_slice(), err.as_slice()), (b"good\n".as_slice(), b"bad\n".as_slice()));
        assert_eq!(exit, Exit::Code(code));
    }
    assert_eq!(backend.list().await?.len(), 1, "a command is never listed");
    assert!(lines_of(subject.logs(), &spec)?.is_empty(), "its output is its caller's");
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_copies_its_input_until_it_ends(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let mut session = soon(backend.exec(&spec.id, request(subject, &Aside::Copy))).await?;
    let stdin = session.take_stdin().ok_or("no input")?;
    stdin.send(Bytes::from_static(b"one\n")).await?;
    assert_eq!(said(&mut session, "one\n").await?, "one\n", "it comes back before the input ends");
    let long = "y".repeat(300_000);
    let feeding = async move {
        for piece in long.as_bytes().chunks(50_000) {
            stdin.send(Bytes::copy_from_slice(piece)).await?;
        }
        drop(stdin);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let (fed, ended) = tokio::join!(feeding, all(session));
    fed?;
    let (out, _, exit) = ended?;
    assert_eq!((out.len(), exit), (300_000, Exit::Code(0)));
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_and_stats_need_a_running_instance(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::End(Exit::Code(0)))?;
    let prints = request(subject, &Aside::Print { out: "never", err: "never", code: 0 });
    let unknown = backend.exec(&spec.id, prints.clone()).await;
    assert!(matches!(unknown, Err(RuntimeError::NotFound { .. })), "{unknown:?}");
    let unknown = backend.stats(&spec.id).await;
    assert!(matches!(unknown, Err(RuntimeError::NotFound { .. })), "{unknown:?}");
    soon(backend.start(&spec)).await?;
    soon(backend.wait(&spec.id)).await?;
    let ended = backend.exec(&spec.id, prints).await;
    assert!(matches!(ended, Err(RuntimeError::NotRunning { .. })), "{ended:?}");
    let ended = backend.stats(&spec.id).await;
    assert!(matches!(ended, Err(RuntimeError::NotRunning { .. })), "{ended:?}");
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_has_the_environment_of_the_instance_and_its_own(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let mut spec = spec(subject, &Does::Work)?;
    spec.env.set("OF_THE_APP", "a b  $(id)")?;
    spec.env.set("OF_BOTH", "app")?;
    soon(backend.start(&spec)).await?;
    let mut asked = request(subject, &Aside::Variables(&["OF_THE_APP", "OF_BOTH", "OF_ITS_OWN", "PORT"]));
    asked.env.set("OF_BOTH", "own")?;
    asked.env.set("OF_ITS_OWN", "x")?;
    let (out, _, _) = all(soon(backend.exec(&spec.id, asked)).await?).await?;
    let out = String::from_utf8(out)?;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["a b  $(id)", "own", "x"]);
    assert!(lines[3].parse::<u16>().is_ok_and(|port| port > 0), "{lines:?}");
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_has_a_terminal_of_the_size_that_it_is_given(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let asked = ExecRequest { terminal: Some(SMALL), ..request(subject, &Aside::Sizes) };
    let mut session = soon(backend.exec(&spec.id, asked)).await?;
    said(&mut session, "24 80").await?;
    session.resize(LARGE);
    said(&mut session, "40 100").await?;
    assert_eq!(soon(session.wait()).await?, Exit::Code(0));
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_is_interrupted_by_a_key(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let asked = ExecRequest { terminal: Some(SMALL), ..request(subject, &Aside::AwaitInterrupt) };
    let mut session = soon(backend.exec(&spec.id, asked)).await?;
    let keys = session.take_stdin().ok_or("no input")?;
    said(&mut session, "ready").await?;
    keys.send(Bytes::from_static(b"\x03")).await?;
    said(&mut session, "interrupted").await?;
    assert_eq!(soon(session.wait()).await?, Exit::Code(7));
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_that_is_dropped_leaves_nothing(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    for terminal in [None, Some(SMALL)] {
        let asked = ExecRequest { terminal, ..request(subject, &Aside::Linger) };
        let mut session = soon(backend.exec(&spec.id, asked)).await?;
        let ids = said(&mut session, "\n").await?.trim().to_owned();
        let look = || request(subject, &Aside::Look { ids: ids.clone() });
        let (_, _, exit) = all(soon(backend.exec(&spec.id, look())).await?).await?;
        assert_eq!(exit, Exit::Code(0), "it runs: {ids}");
        drop(session);
        let deadline = Instant::now() + SOON;
        loop {
            let (_, _, exit) = all(soon(backend.exec(&spec.id, look())).await?).await?;
            if exit == Exit::Code(1) {
                break;
            }
            assert!(Instant::now() < deadline, "{ids} still run, terminal: {terminal:?}");
        }
    }
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn exec_ends_with_its_instance(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let mut session = soon(backend.exec(&spec.id, request(subject, &Aside::Linger))).await?;
    said(&mut session, "\n").await?;
    soon(backend.stop(&spec.id, GRACE)).await?;
    let exit = soon(session.wait()).await?;
    assert!(!exit.is_success(), "{exit:?}");
    assert!(backend.list().await?.is_empty());
    Ok(())
}

/// A case; see its name.
pub async fn exec_waits_for_a_slow_reader(subject: &dyn Subject) -> Outcome {
    const BYTES: usize = 3_000_000;
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let session = soon(backend.exec(&spec.id, request(subject, &Aside::Flood { bytes: BYTES }))).await?;
    // Long enough to print it many times over, were it not for the reader.
    time::sleep(Duration::from_millis(300)).await;
    let (out, _, exit) = all(session).await?;
    assert_eq!((out.len(), exit), (BYTES, Exit::Code(0)));
    soon(backend.stop(&spec.id, GRACE)).await
}

/// A case; see its name.
pub async fn stats_grow_with_what_is_used(subject: &dyn Subject) -> Outcome {
    const MIB: usize = 24;
    let backend = subject.backend();
    let (idle, busy) = (spec(subject, &Does::Work)?, spec(subject, &Does::Use { mib: MIB })?);
    soon(backend.start(&idle)).await?;
    soon(backend.start(&busy)).await?;
    let deadline = Instant::now() + SOON;
    while lines_of(subject.logs(), &busy)?.is_empty() {
        assert!(Instant::now() < deadline, "it never had its memory");
        time::sleep(Duration::from_millis(5)).await;
    }
    let first = soon(backend.stats(&busy.id)).await?;
    assert!(first.memory_bytes >= (MIB as u64) << 20, "{first:?}");
    assert!(first.processes >= 1, "{first:?}");
    loop {
        let later = soon(backend.stats(&busy.id)).await?;
        assert!(later.cpu >= first.cpu, "{first:?} {later:?}");
        if later.cpu >= first.cpu + Duration::from_millis(50) {
            break;
        }
        assert!(Instant::now() < deadline, "{first:?} {later:?}");
        time::sleep(Duration::from_millis(20)).await;
    }
    let quiet = soon(backend.stats(&idle.id)).await?;
    assert!(quiet.memory_bytes > 0 && quiet.memory_bytes < first.memory_bytes / 2, "{quiet:?} {first:?}");
    soon(backend.stop(&busy.id, GRACE)).await?;
    soon(backend.stop(&idle.id, GRACE)).await
}
