//! The contract, kept with processes.

use autostack_domain::{Exit, Program};
use autostack_logs::Logs;

use super::world::World;
use crate::{
    Backend,
    contract::{Does, Subject},
};

impl Subject for World {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn logs(&self) -> &Logs {
        &self.logs
    }

    fn program(&self, does: &Does) -> Program {
        // Perl belongs to every Debian.
        let serve = |port: &str| {
            format!(
                "exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", \
                 LocalPort => {port}, Listen => 5, ReuseAddr => 1) or die $!; \
                 while (1) {{ $c = $s->accept or next; close $c }}'"
            )
        };
        let command = match does {
            Does::Serve => serve("$ENV{PORT}"),
            Does::ServeElsewhere => serve("0"),
            Does::Work => "exec sleep 600".to_owned(),
            Does::IgnoreTerm => "trap '' TERM; echo deaf; while :; do sleep 600; done".to_owned(),
            Does::End(Exit::Code(code)) => format!("exit {code}"),
            Does::End(Exit::Signal(signal)) => format!("kill -{signal} $$"),
            Does::End(Exit::Unknown | Exit::OutOfMemory { .. }) => panic!("no program ends so"),
            Does::Print { lines } => {
                format!("i=1; while [ $i -le {lines} ]; do echo line $i; i=$((i+1)); done")
            }
            Does::Use { mib } => Does::use_in_shell(*mib),
            Does::PrintBoth { out, err } => format!("echo {out}; echo {err} >&2"),
        };
        Program::Folder { dir: self.app_dir(), command }
    }
}

crate::runtime_contract!(World::new());
