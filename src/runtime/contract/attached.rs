//! The cases about a command in an instance of its own that somebody talks to.

use std::time::{Duration, Instant};

use autostack_domain::{Exit, InstanceSpec};
use bytes::Bytes;
use tokio::time;

use super::{
    Aside, Does, Outcome, SOON, Subject,
    beside::{LARGE, SMALL, all, said},
    lines_of, soon, spec,
};
use crate::backend::RuntimeError;

/// A spec of its own whose program does this.
fn doing(subject: &dyn Subject, does: &Aside) -> Result<InstanceSpec, Box<dyn std::error::Error>> {
    let mut spec = spec(subject, &Does::Work)?;
    spec.program = spec.program.with_command(subject.command(does));
    Ok(spec)
}

/// A case; see its name.
pub async fn attach_tells_output_and_exit(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    for code in [0, 3] {
        let spec = doing(subject, &Aside::Print { out: "good", err: "bad", code })?;
        let (out, err, exit) = all(soon(backend.attach(&spec, None)).await?).await?;
        assert_eq!((out.as_slice(), err.as_slice()), (b"good\n".as_slice(), b"bad\n".as_slice()));
        assert_eq!(exit, Exit::Code(code));
        assert!(lines_of(subject.logs(), &spec)?.is_empty(), "its output is its caller's");
    }
    let in_terminal = doing(subject, &Aside::Print { out: "good", err: "bad", code: 4 })?;
    let (_, err, exit) = all(soon(backend.attach(&in_terminal, Some(SMALL))).await?).await?;
    assert_eq!((err.len(), exit), (0, Exit::Code(4)), "a terminal is one stream");
    assert!(backend.list().await?.is_empty(), "it is never listed");
    Ok(())
}

/// A case; see its name.
pub async fn attach_copies_its_input_until_it_ends(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let mut session = soon(backend.attach(&doing(subject, &Aside::Copy)?, None)).await?;
    let stdin = session.take_stdin().ok_or("no input")?;
    stdin.send(Bytes::from_static(b"one\n")).await?;
    assert_eq!(said(&mut session, "one\n").await?, "one\n", "it comes back before the input ends");
    let feeding = async move {
        for _ in 0..6 {
            stdin.send(Bytes::from(vec![b'y'; 50_000])).await?;
        }
        drop(stdin);
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let (fed, ended) = tokio::join!(feeding, all(session));
    fed?;
    let (out, _, exit) = ended?;
    assert_eq!((out.len(), exit), (300_000, Exit::Code(0)));
    Ok(())
}

/// A case; see its name.
pub async fn attach_needs_an_id_of_its_own(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = doing(subject, &Aside::Copy)?;
    let mut session = soon(backend.attach(&spec, None)).await?;
    let again = backend.attach(&spec, None).await;
    assert!(matches!(again, Err(RuntimeError::AlreadyExists { .. })), "{again:?}");
    drop(session.take_stdin());
    assert_eq!(soon(session.wait()).await?, Exit::Code(0), "the first one did not notice");
    let mut session = soon(backend.attach(&spec, None)).await?;
    drop(session.take_stdin());
    soon(session.wait()).await?;
    Ok(())
}

/// A case; see its name.
pub async fn attach_has_the_environment_of_its_spec(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    for (port, expected) in [(None, ""), (Some("77"), "77")] {
        let mut spec = doing(subject, &Aside::Variables(&["OF_THE_APP", "PORT"]))?;
        spec.env.set("OF_THE_APP", "a b  $(id)")?;
        if let Some(port) = port {
            spec.env.set("PORT", port)?;
        }
        let (out, _, _) = all(soon(backend.attach(&spec, None)).await?).await?;
        assert_eq!(String::from_utf8(out)?, format!("a b  $(id)\n{expected}\n"));
    }
    Ok(())
}

/// A case; see its name.
pub async fn attach_has_a_terminal_of_the_size_that_it_is_given(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let mut session = soon(backend.attach(&doing(subject, &Aside::Sizes)?, Some(SMALL))).await?;
    said(&mut session, "24 80").await?;
    session.resize(LARGE);
    said(&mut session, "40 100").await?;
    assert_eq!(soon(session.wait()).await?, Exit::Code(0));
    Ok(())
}

/// A case; see its name.
pub async fn attach_is_interrupted_by_a_key(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let mut session = soon(backend.attach(&doing(subject, &Aside::AwaitInterrupt)?, Some(SMALL))).await?;
    let keys = session.take_stdin().ok_or("no input")?;
    said(&mut session, "ready").await?;
    keys.send(Bytes::from_static(b"\x03")).await?;
    said(&mut session, "interrupted").await?;
    assert_eq!(soon(session.wait()).await?, Exit::Code(7));
    Ok(())
}

/// A case; see its name.
pub async fn attach_that_is_dropped_leaves_nothing(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    for terminal in [None, Some(SMALL)] {
        let spec = doing(subject, &Aside::Linger)?;
        let mut session = soon(backend.attach(&spec, terminal)).await?;
        said(&mut session, "\n").await?;
        drop(session);
        let deadline = Instant::now() + SOON;
        // Its id is free again once nothing of it is left.
        while let Err(error) = backend.attach(&spec, terminal).await {
            assert!(matches!(error, RuntimeError::AlreadyExists { .. }), "{error:?}");
            assert!(Instant::now() < deadline, "it is still there, terminal: {terminal:?}");
            time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// A case; see its name.
pub async fn attach_waits_for_a_slow_reader(subject: &dyn Subject) -> Outcome {
    const BYTES: usize = 3_000_000;
    let backend = subject.backend();
    let session = soon(backend.attach(&doing(subject, &Aside::Flood { bytes: BYTES })?, None)).await?;
    // Long enough to print it many times over, were it not for the reader.
    time::sleep(Duration::from_millis(300)).await;
    let (out, _, exit) = all(session).await?;
    assert_eq!((out.len(), exit), (BYTES, Exit::Code(0)));
    Ok(())
}
