//! The contract as a test suite: every backend passes the same cases. [`runtime_contract!`] makes one test
//! of each.
//!
//! [`runtime_contract!`]: crate::runtime_contract

mod attached;
mod beside;

use std::{
    error::Error,
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use autostack_domain::{
    DeploymentId, EnvMap, Exit, InstanceId, InstanceSpec, ProcessType, Program, ReleaseNumber,
    resources::InstanceLimits,
};
use autostack_logs::{Filter, Logs, Origin, OutputStream};
use tokio::{net::TcpStream, time};
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, InstanceState, RuntimeError};

pub use attached::{
    attach_copies_its_input_until_it_ends, attach_has_a_terminal_of_the_size_that_it_is_given,
    attach_has_the_environment_of_its_spec, attach_is_interrupted_by_a_key, attach_needs_an_id_of_its_own,
    attach_tells_output_and_exit, attach_that_is_dropped_leaves_nothing, attach_waits_for_a_slow_reader,
};
pub use beside::{
    Aside, exec_and_stats_need_a_running_instance, exec_copies_its_input_until_it_ends,
    exec_ends_with_its_instance, exec_has_a_terminal_of_the_size_that_it_is_given,
    exec_has_the_environment_of_the_instance_and_its_own, exec_is_interrupted_by_a_key,
    exec_tells_output_and_exit, exec_that_is_dropped_leaves_nothing, exec_waits_for_a_slow_reader,
    stats_grow_with_what_is_used,
};

/// A backend under test, and what it needs to be told.
pub trait Subject: Sync {
    /// The backend.
    fn backend(&self) -> &dyn Backend;

    /// The logs that it writes to.
    fn logs(&self) -> &Logs;

    /// A program that does this.
    fn program(&self, does: &Does) -> Program;

    /// A command line that does this beside an instance.
    fn command(&self, does: &Aside) -> String {
        does.shell()
    }
}

/// What a program under test does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// Listens on `PORT` of loopback until it gets SIGTERM.
    Serve,
    /// Listens on a port that nobody told it.
    ServeElsewhere,
    /// Nothing, until it gets SIGTERM.
    Work,
    /// Nothing, whatever it is asked.
    IgnoreTerm,
    /// Ends at once.
    End(Exit),
    /// Prints `line 1`, `line 2` and so on, then ends with code 0.
    Print {
        /// How many lines.
        lines: usize,
    },
    /// Prints one line on each of its outputs, then ends with code 0.
    PrintBoth {
        /// To standard output.
        out: &'static str,
        /// To standard error.
        err: &'static str,
    },
    /// Takes so much memory, prints one line when it has it, and uses a CPU from then on.
    Use {
        /// How much, in MiB.
        mib: usize,
    },
}

impl Does {
    /// [`Does::Use`] as a command line for a shell with the usual tools, those of busybox at least.
    pub fn use_in_shell(mib: usize) -> String {
        let bytes = mib << 20;
        format!("x=$(head -c {bytes} /dev/zero | tr '\\0' x); echo full; while :; do :; done")
    }
}

/// What a case gives.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Longest that anything may take that takes no time.
const SOON: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);

/// Makes one test of each case of the contract; the expression makes a [`Subject`], inside of a runtime.
#[macro_export]
macro_rules! runtime_contract {
    ($subject:expr) => {
        $crate::runtime_contract!(@ $subject;
            starts_listens_and_is_listed
            says_what_it_listens_on
            tells_how_a_program_ended
            waits_for_an_end_that_comes_later
            stops_within_the_grace
            kills_what_ignores_the_question
            stops_twice_and_what_is_not_there
            leaves_nothing_after_a_stop
            starts_again_under_the_same_id
            refuses_an_id_that_is_taken
            knows_nothing_of_an_unknown_id
            logs_every_line_in_order
            tells_the_two_outputs_apart
            runs_a_command_once
            kills_a_command_that_is_cancelled
            finishes_or_undoes_a_start_that_is_dropped
            exec_tells_output_and_exit
            exec_copies_its_input_until_it_ends
            exec_and_stats_need_a_running_instance
            exec_has_the_environment_of_the_instance_and_its_own
            exec_has_a_terminal_of_the_size_that_it_is_given
            exec_is_interrupted_by_a_key
            exec_that_is_dropped_leaves_nothing
            exec_ends_with_its_instance
            exec_waits_for_a_slow_reader
            stats_grow_with_what_is_used
            attach_tells_output_and_exit
            attach_copies_its_input_until_it_ends
            attach_needs_an_id_of_its_own
            attach_has_the_environment_of_its_spec
            attach_has_a_terminal_of_the_size_that_it_is_given
            attach_is_interrupted_by_a_key
            attach_that_is_dropped_leaves_nothing
            attach_waits_for_a_slow_reader
        );
    };
    (@ $subject:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::contract::$case(&$subject.await).await.unwrap();
            }
        )*
    };
}

/// A spec for an instance of its own that does this.
pub fn spec(subject: &dyn Subject, does: &Does) -> Result<InstanceSpec, Box<dyn Error>> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let process = ProcessType::web();
    let app = "shop".parse()?;
    let random = NEXT.fetch_add(1, Ordering::Relaxed) ^ std::process::id().rotate_left(12);
    Ok(InstanceSpec {
        id: InstanceId::compose(&app, &process, 1, random),
        app,
        release: ReleaseNumber(1),
        process,
        index: 1,
        round: 4,
        program: subject.program(does),
        env: EnvMap::new(),
        limits: InstanceLimits::default(),
        mounts: Vec::new(),
        options: Vec::new(),
    })
}

/// Waits until somebody accepts connections there.
pub async fn connect(endpoint: SocketAddr) -> Result<TcpStream, Box<dyn Error>> {
    let deadline = Instant::now() + SOON;
    loop {
        match TcpStream::connect(endpoint).await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn soon<T>(future: impl Future<Output = Result<T, RuntimeError>>) -> Result<T, Box<dyn Error>> {
    Ok(time::timeout(SOON, future).await??)
}

/// The lines of an instance in the log of its app, with the output they came from.
pub fn lines_of(logs: &Logs, spec: &InstanceSpec) -> Result<Vec<(OutputStream, String)>, Box<dyn Error>> {
    let (entries, _) = logs.app(&spec.app)?.tail(usize::MAX, &Filter::all())?;
    let own = entries.into_iter().filter_map(|(_, entry)| match &entry.origin {
        Origin::Instance { instance, stream, .. } if *instance == spec.id => {
            Some((*stream, entry.text_lossy().into_owned()))
        }
        _ => None,
    });
    Ok(own.collect())
}

/// A case; see its name.
pub async fn starts_listens_and_is_listed(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Serve)?;
    let started = soon(backend.start(&spec)).await?;
    connect(started.endpoint).await?;
    let listed = backend.list().await?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].spec, spec);
    assert_eq!(listed[0].endpoint, started.endpoint);
    assert_eq!(listed[0].state, InstanceState::Running);
    soon(backend.stop(&spec.id, GRACE)).await?;
    Ok(())
}

/// A case; see its name.
pub async fn says_what_it_listens_on(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let on_port = spec(subject, &Does::Serve)?;
    let endpoint = soon(backend.start(&on_port)).await?.endpoint;
    connect(endpoint).await?;
    assert_eq!(soon(backend.listening(&on_port.id)).await?, [endpoint]);
    let elsewhere = spec(subject, &Does::ServeElsewhere)?;
    let unused = soon(backend.start(&elsewhere)).await?.endpoint;
    let deadline = Instant::now() + SOON;
    let found = loop {
        let found = soon(backend.listening(&elsewhere.id)).await?;
        if !found.is_empty() || Instant::now() > deadline {
            break found;
        }
        time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(found.len(), 1);
    assert_ne!(found[0].port(), unused.port());
    let idle = spec(subject, &Does::Work)?;
    soon(backend.start(&idle)).await?;
    assert!(soon(backend.listening(&idle.id)).await?.is_empty());
    for one in [on_port, elsewhere, idle] {
        soon(backend.stop(&one.id, GRACE)).await?;
    }
    Ok(())
}

/// A case; see its name.
pub async fn tells_how_a_program_ended(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    for exit in [Exit::Code(0), Exit::Code(7), Exit::Signal(9), Exit::Signal(15)] {
        let spec = spec(subject, &Does::End(exit))?;
        soon(backend.start(&spec)).await?;
        assert_eq!(soon(backend.wait(&spec.id)).await?, exit);
        assert_eq!(soon(backend.wait(&spec.id)).await?, exit, "it stays ended");
        let listed = backend.list().await?;
        assert_eq!(listed[0].state, InstanceState::Exited(exit));
        assert!(soon(backend.listening(&spec.id)).await?.is_empty());
        soon(backend.stop(&spec.id, GRACE)).await?;
    }
    Ok(())
}

/// A case; see its name.
pub async fn waits_for_an_end_that_comes_later(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let waiting = backend.wait(&spec.id);
    let stopping = backend.stop(&spec.id, GRACE);
    let (waited, stopped) = time::timeout(SOON, async { tokio::join!(waiting, stopping) }).await?;
    stopped?;
    // Whether it still saw the end or came when all was gone.
    assert!(matches!(waited, Ok(Exit::Signal(15)) | Err(RuntimeError::NotFound { .. })), "{waited:?}");
    Ok(())
}

/// A case; see its name.
pub async fn stops_within_the_grace(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.start(&spec)).await?;
    let began = Instant::now();
    soon(backend.stop(&spec.id, GRACE)).await?;
    assert!(began.elapsed() < GRACE / 2, "{:?}", began.elapsed());
    Ok(())
}

/// A case; see its name.
pub async fn kills_what_ignores_the_question(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::IgnoreTerm)?;
    soon(backend.start(&spec)).await?;
    let grace = Duration::from_millis(700);
    // It needs a moment until it ignores anything.
    let deadline = Instant::now() + SOON;
    while lines_of(subject.logs(), &spec)?.is_empty() && Instant::now() < deadline {
        time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    soon(backend.stop(&spec.id, grace)).await?;
    let took = began.elapsed();
    assert!(took >= grace && took < grace + Duration::from_secs(5), "{took:?}");
    Ok(())
}

/// A case; see its name.
pub async fn stops_twice_and_what_is_not_there(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    soon(backend.stop(&spec.id, GRACE)).await?;
    soon(backend.start(&spec)).await?;
    let (first, second) = (backend.stop(&spec.id, GRACE), backend.stop(&spec.id, GRACE));
    let (first, second) = time::timeout(SOON, async { tokio::join!(first, second) }).await?;
    first?;
    second?;
    soon(backend.stop(&spec.id, GRACE)).await?;
    Ok(())
}

/// A case; see its name.
pub async fn leaves_nothing_after_a_stop(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Serve)?;
    let endpoint = soon(backend.start(&spec)).await?.endpoint;
    connect(endpoint).await?;
    soon(backend.stop(&spec.id, GRACE)).await?;
    assert!(backend.list().await?.is_empty());
    match TcpListener::bind(endpoint) {
        // The address was the instance's own and went with it.
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {}
        bound => drop(bound?),
    }
    assert!(matches!(backend.wait(&spec.id).await, Err(RuntimeError::NotFound { .. })));
    Ok(())
}

/// A case; see its name.
pub async fn starts_again_under_the_same_id(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Work)?;
    for _ in 0..3 {
        soon(backend.start(&spec)).await?;
        soon(backend.stop(&spec.id, GRACE)).await?;
    }
    assert!(backend.list().await?.is_empty());
    Ok(())
}

/// A case; see its name.
pub async fn refuses_an_id_that_is_taken(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Serve)?;
    let endpoint = soon(backend.start(&spec)).await?.endpoint;
    let again = backend.start(&spec).await;
    assert!(matches!(again, Err(RuntimeError::AlreadyExists { .. })), "{again:?}");
    connect(endpoint).await?;
    assert_eq!(backend.list().await?.len(), 1);
    soon(backend.stop(&spec.id, GRACE)).await?;
    Ok(())
}

/// A case; see its name.
pub async fn knows_nothing_of_an_unknown_id(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let id = spec(subject, &Does::Work)?.id;
    assert!(matches!(backend.wait(&id).await, Err(RuntimeError::NotFound { .. })));
    assert!(matches!(backend.listening(&id).await, Err(RuntimeError::NotFound { .. })));
    assert!(backend.list().await?.is_empty());
    Ok(())
}

/// A case; see its name.
pub async fn logs_every_line_in_order(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::Print { lines: 3_000 })?;
    soon(backend.start(&spec)).await?;
    soon(backend.wait(&spec.id)).await?;
    let found: Vec<String> = lines_of(subject.logs(), &spec)?.into_iter().map(|(_, line)| line).collect();
    let expected: Vec<String> = (1..=3_000).map(|number| format!("line {number}")).collect();
    assert_eq!(found, expected);
    soon(backend.stop(&spec.id, GRACE)).await?;
    assert_eq!(lines_of(subject.logs(), &spec)?.len(), 3_000);
    Ok(())
}

/// A case; see its name.
pub async fn tells_the_two_outputs_apart(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let spec = spec(subject, &Does::PrintBoth { out: "good", err: "bad" })?;
    soon(backend.start(&spec)).await?;
    soon(backend.wait(&spec.id)).await?;
    let mut found = lines_of(subject.logs(), &spec)?;
    found.sort_by(|(_, a), (_, b)| a.cmp(b));
    assert_eq!(found, [(OutputStream::Stderr, "bad".to_owned()), (OutputStream::Stdout, "good".to_owned())]);
    soon(backend.stop(&spec.id, GRACE)).await?;
    Ok(())
}

/// A case; see its name.
pub async fn runs_a_command_once(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let deployment: DeploymentId = "01890000-0000-7000-8000-000000000001".parse()?;
    let output = subject.logs().build_log(&deployment)?;
    let cancel = CancellationToken::new();
    let prints = spec(subject, &Does::Print { lines: 100 })?;
    assert_eq!(soon(backend.run(&prints, &output, &cancel)).await?, Exit::Code(0));
    let fails = spec(subject, &Does::End(Exit::Code(3)))?;
    assert_eq!(soon(backend.run(&fails, &output, &cancel)).await?, Exit::Code(3));
    output.flush();
    let (entries, _) = subject.logs().deployment(&deployment)?.tail(usize::MAX, &Filter::all())?;
    let found: Vec<String> = entries.iter().map(|(_, entry)| entry.text_lossy().into_owned()).collect();
    assert_eq!(found, (1..=100).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert!(backend.list().await?.is_empty());
    assert!(lines_of(subject.logs(), &prints)?.is_empty());
    Ok(())
}

/// A case; see its name.
pub async fn kills_a_command_that_is_cancelled(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    let output = subject.logs().build_log(&"01890000-0000-7000-8000-000000000002".parse()?)?;
    for does in [Does::Work, Does::IgnoreTerm] {
        let cancel = CancellationToken::new();
        let spec = spec(subject, &does)?;
        let running = backend.run(&spec, &output, &cancel);
        let cancelling = async {
            time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
        };
        let began = Instant::now();
        let (ended, ()) = time::timeout(SOON, async { tokio::join!(running, cancelling) }).await?;
        assert!(matches!(ended, Err(RuntimeError::Cancelled)), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert!(backend.list().await?.is_empty());
    Ok(())
}

/// A case; see its name.
pub async fn finishes_or_undoes_a_start_that_is_dropped(subject: &dyn Subject) -> Outcome {
    let backend = subject.backend();
    for micros in [0, 50, 300, 1_000, 3_000, 10_000] {
        let spec = spec(subject, &Does::Work)?;
        let _ = time::timeout(Duration::from_micros(micros), backend.start(&spec)).await;
        let deadline = Instant::now() + SOON;
        // Either it is listed, and a stop removes it, or it never comes.
        while !backend.list().await?.is_empty() && Instant::now() < deadline {
            soon(backend.stop(&spec.id, Duration::ZERO)).await?;
        }
        assert!(backend.list().await?.is_empty());
    }
    Ok(())
}
