//! The contract, kept with containers: by their addresses, and by published ports.

use autostack_domain::{Exit, Program};
use autostack_logs::Logs;

use super::world::{PORT, World};
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
        let command = match does {
            Does::Serve => "exec httpd -f -p $PORT".to_owned(),
            Does::ServeElsewhere => "exec httpd -f -p 12345".to_owned(),
            Does::Work => "exec sleep 600".to_owned(),
            Does::IgnoreTerm => "trap '' TERM; echo deaf; while :; do sleep 600; done".to_owned(),
            Does::End(Exit::Code(code)) => format!("exit {code}"),
            Does::End(Exit::Signal(signal)) => format!("kill -{signal} $$"),
            Does::End(Exit::Unknown | Exit::OutOfMemory { .. }) => panic!("no program ends so"),
            Does::Print { lines } => {
                format!("i=1; while [ $i -le {lines} ]; do echo line $i; i=$((i+1)); done")
            }
            Does::PrintBoth { out, err } => format!("echo {out}; echo {err} >&2"),
            Does::Use { mib } => Does::use_in_shell(*mib),
        };
        Program::Image { image: self.image.clone(), command: Some(command), port: PORT }
    }
}

mod by_address {
    use super::World;

    crate::runtime_contract!(World::new());
}

mod by_port {
    use autostack_base::settings::EndpointChoice;

    use super::World;

    crate::runtime_contract!(World::with(EndpointChoice::Port));
}
