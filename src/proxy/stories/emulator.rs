//! A function in Python, run as in Amazon's base images: by the runtime interface emulator and Amazon's runtime.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What the function does depends on the path of the event.
const FUNCTION: &str = r#"
import json, os, time

calls = 0

def handler(event, context):
    global calls
    calls += 1
    path, query = event["rawPath"], event.get("queryStringParameters", {})
    if path == "/return":
        return json.loads(query["json"])
    if path == "/raise":
        raise ValueError("the password is swordfish")
    if path == "/exit":
        os._exit(3)
    if path == "/sleep":
        time.sleep(float(query["seconds"]))
        return {"statusCode": 200, "body": "slept"}
    if path == "/many":
        return {"statusCode": 200, "body": "x" * int(query["bytes"])}
    if path == "/headers":
        return {"statusCode": 200, "multiValueHeaders": {"x": ["y" * int(query["bytes"])] * int(query["count"])}}
    if path == "/calls":
        return {"statusCode": 200, "body": f"{calls} {os.environ['NAME']}"}
    if path == "/echo":
        kind = event["headers"].get("content-type")
        return {
            "statusCode": 200,
            "headers": {"content-type": kind} if kind else {},
            "body": event.get("body", ""),
            "isBase64Encoded": event["isBase64Encoded"],
        }
    return event
"#;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running function; ended when dropped.
pub(super) struct Emulator {
    pub(super) address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

impl Emulator {
    /// Starts one that calls itself `name`.
    pub(super) fn start(name: &str) -> Emulator {
        Emulator::with(name, "function.handler", 300)
    }

    /// Starts one that may work for so many seconds on an event.
    pub(super) fn with(name: &str, handler: &str, timeout_s: u32) -> Emulator {
        for _ in 0..5 {
            if let Some(emulator) = Emulator::try_start(name, handler, timeout_s) {
                return emulator;
            }
        }
        panic!("the runtime interface emulator does not start");
    }

    /// None when another program took one of the ports in between.
    fn try_start(name: &str, handler: &str, timeout_s: u32) -> Option<Emulator> {
        let tools = tools();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("function.py"), FUNCTION).unwrap();
        let (address, runtime_api) = (free_address(), free_address());
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(tools.join("aws-lambda-rie"))
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &runtime_api.to_string()])
            .arg(tools.join("bin/python"))
            .args(["-m", "awslambdaric", handler])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NAME", name)
            .env("LAMBDA_TASK_ROOT", folder.path())
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout_s.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut emulator = Emulator { address, folder, child };
        emulator.listens().then_some(emulator)
    }

    fn listens(&mut self) -> bool {
        let due = Instant::now() + PATIENCE;
        while self.runs() && Instant::now() < due {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Whether it has not ended.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What the emulator and the function have written.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Asked to end, it ends the function too.
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let due = Instant::now() + PATIENCE;
        while self.runs() && Instant::now() < due {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The folder with the emulator and its Python, fetched by the first who needs them.
fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools");
        let got = Command::new(script).arg("lambda").stderr(Stdio::inherit()).output().unwrap();
        assert!(got.status.success(), "tests/tools could not get the emulator of AWS Lambda");
        PathBuf::from(String::from_utf8(got.stdout).unwrap().trim())
    })
}
