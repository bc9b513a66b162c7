//! The contract, kept without processes.

use std::sync::Arc;

use autostack_base::tasks::Tasks;
use autostack_logs::{LogLimits, Logs, OutputStream};
use tempfile::TempDir;

use super::{Listens, MemoryBackend, OnTerm, Program};
use crate::{
    Backend,
    contract::{Does, Subject},
};

struct World {
    dir: TempDir,
    logs: Logs,
    backend: Arc<MemoryBackend>,
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path().join("logs"), LogLimits::default()).unwrap();
    let backend = Arc::new(MemoryBackend::new(logs.clone(), Tasks::new()));
    World { dir, logs, backend }
}

impl Subject for World {
    fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    fn logs(&self) -> &Logs {
        &self.logs
    }

    fn program(&self, does: &Does) -> autostack_domain::Program {
        let ends = |exit| Program::ends(exit);
        let program = match does {
            Does::Serve => Program::server(),
            Does::ServeElsewhere => Program::server().listens(Listens::Elsewhere),
            Does::Work => Program::worker(),
            Does::IgnoreTerm => Program::worker().print("deaf").on_term(OnTerm::Ignores),
            Does::End(exit) => ends(*exit),
            Does::Print { lines } => (1..=*lines)
                .fold(ends(autostack_domain::Exit::Code(0)), |program, n| {
                    program.print(&format!("line {n}"))
                }),
            Does::PrintBoth { out, err } => ends(autostack_domain::Exit::Code(0))
                .print_on(OutputStream::Stdout, out)
                .print_on(OutputStream::Stderr, err),
        };
        let command = format!("{does:?}");
        self.backend.script(&command, program);
        autostack_domain::Program::Folder { dir: self.dir.path().to_owned(), command }
    }
}

crate::runtime_contract!(world());
