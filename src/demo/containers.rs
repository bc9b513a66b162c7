//! `autostack demo --docker`: the engine that the demo uses, and what its sample app is built on where no registry can
//! be reached.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use autostack_domain::{Line, image::ImageReference};
use autostack_engine::{AgentMark, Engine, EngineError, EngineHost, Output, host};
use tokio_util::sync::CancellationToken;

use super::{DemoError, write};
use crate::terminal;

/// The base image of the sample app, as its Dockerfile names it.
const BASE: &str = "busybox";
/// How long the registry may take to give it.
const PULL_TIMEOUT: Duration = Duration::from_secs(60);
/// Where hosts have a busybox; a static one is needed.
const PROGRAMS: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox-static"];
/// Bytes of a busybox at most.
const PROGRAM_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The engine of a demo.
pub(super) struct Containers {
    engine: Engine,
    base: Base,
    /// Names that a pull has brought to the engine.
    brought: Vec<String>,
}

/// What the sample app is built on.
enum Base {
    /// An image, by this name.
    Image(String),
    /// Nothing but a static busybox of this host.
    Program(PathBuf),
}

impl Containers {
    /// Finds an engine that answers, and something to build on. `mark_file` is where the agent of the demo keeps its
    /// mark, which is made here.
    pub(super) async fn find(mark_file: &Path) -> Result<Self, DemoError> {
        let host = chosen_host()?;
        let engine = Engine::new(host, AgentMark::load_or_make(mark_file)?);
        terminal::say(&Line::step(format!("Asking the container engine at {}", engine.host())));
        let about = engine.about().await?;
        terminal::say(&Line::detail(about.to_string()));
        let mut brought = Vec::new();
        let base = if engine.inspect_image(BASE).await?.is_some() {
            terminal::say(&Line::detail(format!(
                "It has the image {BASE}, on which the sample app is built"
            )));
            Base::Image(BASE.to_owned())
        } else {
            match pull(&engine, &BASE.parse()?).await {
                Ok(names) => {
                    let image = names.first().map_or(BASE, String::as_str).to_owned();
                    brought = names;
                    Base::Image(image)
                }
                Err(error) => static_program().map(Base::Program).ok_or(DemoError::NoBase(error))?,
            }
        };
        if let Base::Program(path) = &base {
            terminal::say(&Line::detail(format!(
                "No registry gives {BASE}: the sample app is built on {} of this host",
                path.display()
            )));
        }
        Ok(Self { engine, base, brought })
    }

    /// Where the engine is, as the settings want it.
    pub(super) fn host(&self) -> String {
        self.engine.host().to_string()
    }

    /// Lets the Dockerfile of the sample app begin with what there is.
    pub(super) fn prepare(&self, repository: &Path) -> Result<(), DemoError> {
        let dockerfile = repository.join("Dockerfile");
        let text = fs::read_to_string(&dockerfile).map_err(|source| DemoError::File {
            what: "cannot read",
            path: dockerfile.clone(),
            source,
        })?;
        let from = match &self.base {
            Base::Image(name) => format!("FROM {name}"),
            Base::Program(program) => {
                let copy = repository.join("busybox");
                fs::copy(program, &copy)
                    .and_then(|_| fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)))
                    .map_err(|source| DemoError::File { what: "cannot copy to", path: copy, source })?;
                "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
                 ENV PATH=/bin"
                    .to_owned()
            }
        };
        write(&dockerfile, &text.replace(&format!("FROM {BASE}"), &from))
    }

    /// Takes away what was pulled for the demo.
    pub(super) async fn clean_up(&self) -> Result<(), DemoError> {
        for name in &self.brought {
            self.engine.remove_image(name).await?;
        }
        Ok(())
    }
}

/// The engine that the environment names as it would to an agent, else one at the usual places.
fn chosen_host() -> Result<EngineHost, DemoError> {
    match std::env::var("AUTOSTACK_DOCKER__HOST") {
        Ok(given) if given != "auto" => Ok(given.parse()?),
        Ok(_) | Err(_) => Ok(host::find().unwrap_or_else(host::docker_default)),
    }
}

/// Pulls the base image; gives the names that came with it.
async fn pull(engine: &Engine, reference: &ImageReference) -> Result<Vec<String>, EngineError> {
    let cancel = CancellationToken::new();
    let say = |output: Output<'_>| {
        if let Output::Step(text) = output {
            terminal::say(&Line::detail(text));
        }
    };
    tokio::select! {
        pulled = engine.pull(reference, None, &say, &cancel) => pulled.map(|facts| facts.brought),
        () = tokio::time::sleep(PULL_TIMEOUT) => {
            Err(EngineError::TimedOut { operation: "pull the image", within: PULL_TIMEOUT })
        }
    }
}

/// A busybox of this host that runs without any library.
fn static_program() -> Option<PathBuf> {
    PROGRAMS.iter().map(PathBuf::from).find(|path| is_static(path).unwrap_or(false))
}

/// Whether a file is an ELF program of 64 bits that asks for no interpreter, which would load its libraries.
fn is_static(path: &Path) -> io::Result<bool> {
    if fs::metadata(path)?.len() > PROGRAM_BYTES_MAX {
        return Ok(false);
    }
    Ok(asks_for_interpreter(&fs::read(path)?) == Some(false))
}

/// Looks through the program headers; `None` where there are none to be found.
fn asks_for_interpreter(elf: &[u8]) -> Option<bool> {
    const CLASS_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    const PT_INTERP: u32 = 3;
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    if !elf.starts_with(CLASS_64_LITTLE_ENDIAN) {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(elf.get(0x20..0x28)?.try_into().ok()?)).ok()?;
    let (size, count) = (short(0x36)?, short(0x38)?);
    for number in 0..count {
        let at = table.checked_add(number * size)?;
        let kind = u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_libraries_is_no_base() {
        assert!(!is_static(Path::new("/bin/sh")).unwrap());
        assert!(
            is_static(Path::new("/bin/busybox")).unwrap(),
            "the tests need it: apt-get install busybox-static"
        );
        assert!(is_static(Path::new("/etc/passwd")).is_ok_and(|is_static| !is_static));
    }
}
