//! The contract, kept without processes.

use std::sync::Arc;

use autostack_base::tasks::Tasks;
use autostack_domain::Exit;
use autostack_logs::{LogLimits, Logs, OutputStream};
use tempfile::TempDir;

use super::{Listens, MemoryBackend, OnTerm, Program, Step};
use crate::{
    Backend,
    contract::{Aside, Does, Subject},
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
            Does::Print { lines } => {
                (1..=*lines).fold(ends(Exit::Code(0)), |program, n| program.print(&format!("line {n}")))
            }
            Does::Use { mib } => Program::worker().print("full").uses((*mib as u64) << 20, 1),
            Does::PrintBoth { out, err } => {
                ends(Exit::Code(0)).print_on(OutputStream::Stdout, out).print_on(OutputStream::Stderr, err)
            }
        };
        let command = format!("{does:?}");
        self.backend.script(&command, program);
        autostack_domain::Program::Folder { dir: self.dir.path().to_owned(), command }
    }

    fn command(&self, does: &Aside) -> String {
        let ends = |code| Program::ends(Exit::Code(code));
        let program = match does {
            Aside::Print { out, err, code } => {
                ends(*code).print_on(OutputStream::Stdout, out).print_on(OutputStream::Stderr, err)
            }
            Aside::Copy => ends(0).then(Step::CopyInput),
            Aside::Variables(names) => names
                .iter()
                .fold(ends(0), |program, name| program.then(Step::PrintVariable((*name).to_owned()))),
            Aside::Sizes => ends(0).then(Step::PrintSize).then(Step::AwaitResize).then(Step::PrintSize),
            Aside::AwaitInterrupt => ends(7)
                .print("ready")
                .then(Step::AwaitInput(b"\x03".to_vec()))
                .then(Step::Print("interrupted".to_owned())),
            Aside::Linger => Program::worker().print("1 2"),
            Aside::Look { .. } => ends(i32::from(self.backend.commands() == 0)),
            Aside::Flood { bytes } => {
                let line = "x".repeat(999);
                (0..bytes / 1_000).fold(ends(0), |program, _| program.print(&line))
            }
        };
        let command = format!("{does:?}");
        self.backend.script(&command, program);
        command
    }
}

crate::runtime_contract!(world());
