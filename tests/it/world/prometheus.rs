//! [`Prometheus`]: the real one, which reads the agent's figures and the alert rules of `config/`.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{http, tools::tools, wait::soon};

/// Reads the figures of one agent every 200 ms. Ends with the story.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that keeps its data in `folder`, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(folder: &Path, agent: SocketAddr) -> Self {
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prometheus-alerts.yml");
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [{rules}]\n\
             scrape_configs:\n  - job_name: autostack\n    static_configs: [{{targets: [\"{agent}\"]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(tools("prometheus").join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("prometheus.log")).unwrap())
            .spawn()
            .unwrap();
        let prometheus = Self { child, address };
        soon("Prometheus to answer", || {
            let ready = http::get(address, "localhost", "/-/ready", &[]).ok()?;
            (ready.status == 200).then_some(())
        });
        prometheus
    }

    /// What it answers below `/api/v1`.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = http::get(self.address, "localhost", &format!("/api/v1/{path}"), &[]).unwrap();
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["status"], "success", "{path}: {json:#}");
        json["data"].clone()
    }

    /// The series that an expression gives now.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.get(&format!("query?query={encoded}"))["result"].as_array().unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
