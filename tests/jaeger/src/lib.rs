//! A real Jaeger for the tests: built once by Go, started empty on ports of its own, and stopped when the test ends.
//!
//! A test asks for one with [`Jaeger::for_test`], sends spans to [`Jaeger::http_endpoint`] or [`Jaeger::grpc_endpoint`] by
//! whatever means it wants to test, reads back what the server then tells everybody ([`Jaeger::read_back`]), and compares
//! that with what it meant to send ([`compare`]), span by span and field by field. What was meant is best taken from the
//! recording itself, in the test's own process ([`Spans::recorded`]); files of spans can be read too:
//!
//! ```no_run
//! # fn test(folder: &std::path::Path) {
//! use jaeger_test::{Jaeger, Spans, compare};
//!
//! let Some(jaeger) = Jaeger::for_test() else { return };
//! let meant = Spans::from_folder(folder).unwrap(); // the trace-*.jsonl files of a run
//! // ... run the program here, with jaeger.http_endpoint() as its receiver ...
//! let got = jaeger.read_back(&meant).unwrap();
//! compare(&meant, &got).unwrap();
//! # }
//! ```
//!
//! Where Go is missing or too old there is no server, and the test says loudly that it was skipped. Everything else that
//! goes wrong is a failure: where there is a Go that will do, the test runs.
//!
//! The comparison forgives nothing, and Jaeger changes spans that break its rules: it moves the end of a span without
//! duration to a nanosecond after its start and adds a warning that the UI shows, gives a name to a service without one, and
//! drops links without a trace. So none of these may be exported.

use std::{
    env, fmt, fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use scenarios::lab::LabEntry;
use serde_json::{Value, json};
use tempfile::TempDir;

mod one_of_everything;
mod recorded;
mod spans;

pub use spans::{AttributeValue, Attributes, Event, Link, Span, Spans, Status, compare};

/// The lab that records one of everything; see its file. The program `one-of-everything` of this package runs it.
pub fn one_of_everything() -> LabEntry {
    let story = include_str!("one_of_everything.rs");
    LabEntry::of::<one_of_everything::OneOfEverything>("tests", "one_of_everything", story)
}

/// How long a server may take from its start to the first answer. It takes about half a second; a busy machine, more.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long spans that were acknowledged may take to be found. They are there at once; a busy machine may need a moment.
const FOUND_WITHIN: Duration = Duration::from_secs(20);
/// The pause between two looks at something that is not there yet.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How often to try, each time on other ports, when the server stops at once.
const START_ATTEMPTS: usize = 3;
/// How the message begins when it did.
const STOPPED: &str = "it stopped at once";
/// How much of a request or an answer is in hand at a time.
const BUFFER_BYTES: usize = 16 * 1024;
/// The exit status of the `build` script that means "no Go, or too old a one".
const NO_USABLE_GO: i32 = 3;

/// Why there is no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoJaeger {
    /// This machine cannot have one (no Go, or too old a one): the test is skipped, loudly.
    Skip(String),
    /// It should have been there and is not: the test fails.
    Error(String),
}

impl fmt::Display for NoJaeger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip(why) => write!(f, "no Jaeger on this machine: {why}"),
            Self::Error(why) => write!(f, "Jaeger did not start: {why}"),
        }
    }
}
impl std::error::Error for NoJaeger {}

/// A running Jaeger with an empty store in memory. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Jaeger {
    server: Child,
    agent: ureq::Agent,
    ports: Ports,
    // Holds the configuration and the log; removed with the value, after the server is gone.
    folder: TempDir,
}

/// The ports of one server, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
struct Ports {
    otlp_http: u16,
    otlp_grpc: u16,
    query_http: u16,
    query_grpc: u16,
}

impl Jaeger {
    /// A server for a test: `None`, and a block of text on both outputs, where the test has to be skipped.
    ///
    /// # Panics
    /// Where the server should have started and did not: the test fails.
    pub fn for_test() -> Option<Self> {
        match Self::start() {
            Ok(jaeger) => Some(jaeger),
            Err(NoJaeger::Skip(why)) => {
                say_skipped(&why);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Builds the server where it is not built yet (minutes, once), starts it on free ports, and waits until it answers.
    pub fn start() -> Result<Self, NoJaeger> {
        let program = program()?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&program) {
                Ok(jaeger) => return Ok(jaeger),
                // Another process may have taken a port between our look and the server's start.
                Err(why) if why.starts_with(STOPPED) && attempt < START_ATTEMPTS => attempt += 1,
                Err(why) => return Err(NoJaeger::Error(why)),
            }
        }
    }

    fn start_once(program: &Path) -> Result<Self, String> {
        let because = |what: &'static str| move |e: io::Error| format!("{what}: {e}");
        let folder = tempfile::tempdir().map_err(because("no temporary folder"))?;
        let ports = Ports::free().map_err(because("no free ports"))?;
        let config = folder.path().join("config.yaml");
        fs::write(&config, configuration(ports).to_string())
            .map_err(because("cannot write its configuration"))?;
        let log = fs::File::create(log_of(&folder)).map_err(because("cannot write its log"))?;
        let log_too = log.try_clone().map_err(because("cannot write its log"))?;

        let mut command = Command::new(program);
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(log).stderr(log_too);
        // What the environment says about telemetry is meant for the program under test, not for the server's own traces.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTEL_")) {
            command.env_remove(name);
        }
        command.env("OTEL_TRACES_SAMPLER", "always_off");
        let server = command.spawn().map_err(because("cannot start it"))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .proxy(None) // a proxy of the machine must not stand between us and 127.0.0.1
            // Filled with zeros for each request, by code that is not optimised in a development build: of the default
            // 128 KiB each, that was half the time of a test that asks for tens of thousands of small traces.
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .build()
            .new_agent();
        let mut jaeger = Self { server, agent, ports, folder };
        jaeger.wait_until_ready()?;
        Ok(jaeger)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.server.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("{STOPPED} ({status}); its log ends with\n{}", self.log_tail()));
            }
            // Asked in this order: the ports tell little, an answer tells that the store is there.
            let services = self.services();
            if services.is_ok() && listens(self.ports.otlp_http) && listens(self.ports.otlp_grpc) {
                return Ok(());
            }
            if started.elapsed() > READY_WITHIN {
                let (answer, log) = (services.err().unwrap_or_default(), self.log_tail());
                return Err(format!("not ready within {READY_WITHIN:?}: {answer}; its log ends with\n{log}"));
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    /// Where it takes OTLP over HTTP, without the path: `http://127.0.0.1:PORT`. Spans go to `/v1/traces` below it.
    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.otlp_http)
    }

    /// Where it takes OTLP over gRPC: `http://127.0.0.1:PORT`.
    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.otlp_grpc)
    }

    /// Where its query API is, the one the UI uses: `http://127.0.0.1:PORT`.
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.query_http)
    }

    /// The names of the services that it has spans of, sorted.
    pub fn services(&self) -> Result<Vec<String>, String> {
        let path = "/api/v3/services";
        let (status, answer) = self.get(path)?;
        let names = serde_json::from_slice::<Value>(&answer).ok().and_then(|v| {
            let names = match v.as_object()?.get("services") {
                None => &[], // an empty list is left out
                Some(names) => names.as_array()?.as_slice(),
            };
            names.iter().map(|n| n.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        match names {
            Some(mut names) if status == 200 => {
                names.sort();
                Ok(names)
            }
            _ => Err(unexpected(path, status, &answer)),
        }
    }

    /// One trace as the server tells it: an object with `resourceSpans`, in OTLP/JSON with exact nanoseconds.
    /// `trace_id` is in hexadecimal. A trace that the server does not have is an error.
    pub fn trace(&self, trace_id: &str) -> Result<Value, String> {
        self.find_trace(trace_id)?.ok_or_else(|| format!("Jaeger has no trace {trace_id}"))
    }

    fn find_trace(&self, trace_id: &str) -> Result<Option<Value>, String> {
        let path = format!("/api/v3/traces/{trace_id}");
        let (status, answer) = self.get(&path)?;
        match status {
            200 => {}
            404 => return Ok(None),
            _ => return Err(unexpected(&path, status, &answer)),
        }
        // The answer is a stream of {"result": {"resourceSpans": [..]}}; the server of today sends one, the API allows many.
        let mut all = Vec::new();
        for part in serde_json::Deserializer::from_slice(&answer).into_iter::<Value>() {
            let mut part = part.map_err(|e| format!("{path} is not JSON: {e}"))?;
            match part.pointer_mut("/result/resourceSpans") {
                Some(Value::Array(spans)) => all.append(spans),
                _ => return Err(unexpected(&path, status, part.to_string().as_bytes())),
            }
        }
        Ok(Some(json!({ "resourceSpans": all })))
    }

    /// Reads back the traces that `meant` is about: every span that the server has of them, ready for [`compare`].
    ///
    /// Waits, within limits, until there are as many spans as in `meant`. When they do not come, the result is what is
    /// there, so that the comparison can name the first one missing.
    pub fn read_back(&self, meant: &Spans) -> Result<Spans, String> {
        let started = Instant::now();
        let mut got = Vec::new();
        for (trace_id, count) in meant.count_by_trace() {
            let spans = loop {
                let found = match self.find_trace(trace_id)? {
                    Some(trace) => Spans::from_json(&trace)?,
                    None => Spans::default(),
                };
                if found.len() >= count || started.elapsed() > FOUND_WITHIN {
                    break found;
                }
                thread::sleep(LOOK_AGAIN_AFTER);
            };
            got.push(spans);
        }
        Ok(got.into_iter().flatten().collect())
    }

    /// Sends OTLP/JSON lines (one `ExportTraceServiceRequest` a line) over HTTP, as a user would with `curl`, and returns
    /// how many requests that were. Anything but full success is an error.
    pub fn send_json_lines(&self, lines: &str) -> Result<usize, String> {
        let url = format!("{}/v1/traces", self.http_endpoint());
        let mut sent = 0;
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let response = self.agent.post(&url).header("content-type", "application/json").send(line);
            let (status, answer) = read(&url, response)?;
            // An empty partial success is a full success.
            if status != 200
                || serde_json::from_slice::<Value>(&answer).ok() != Some(json!({ "partialSuccess": {} }))
            {
                return Err(format!("request {}: {}", sent + 1, unexpected(&url, status, &answer)));
            }
            sent += 1;
        }
        Ok(sent)
    }

    fn get(&self, path: &str) -> Result<(u16, Vec<u8>), String> {
        let url = format!("{}{path}", self.query_url());
        read(&url, self.agent.get(&url).call())
    }

    /// The last lines of the server's log, for a message.
    pub fn log_tail(&self) -> String {
        let log = fs::read(log_of(&self.folder)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Jaeger {
    fn drop(&mut self) {
        // It has nothing to save, and a polite stop takes it up to ten seconds. Errors mean that it is gone already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Ports {
    /// Four ports that are free now: taken together, so that they differ, and given back.
    fn free() -> io::Result<Self> {
        let taken = [0; 4].map(|_| TcpListener::bind(("127.0.0.1", 0)));
        let mut ports = [0; 4];
        for (port, listener) in ports.iter_mut().zip(&taken) {
            let listener = listener.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string()))?;
            *port = listener.local_addr()?.port();
        }
        let [otlp_http, otlp_grpc, query_http, query_grpc] = ports;
        Ok(Self { otlp_http, otlp_grpc, query_http, query_grpc })
    }
}

/// The server's configuration. JSON is YAML, so no YAML has to be written.
fn configuration(ports: Ports) -> Value {
    let at = |port: u16| json!({ "endpoint": format!("127.0.0.1:{port}") });
    json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": { "traces": { "receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"] } },
            "telemetry": { "metrics": { "level": "none" }, "logs": { "level": "warn" } },
        },
        "extensions": {
            // It would trace its own answers and send them to the default port, where somebody else's server may listen.
            "jaeger_query": {
                "storage": { "traces": "memory" },
                "enable_tracing": false,
                "http": at(ports.query_http),
                "grpc": at(ports.query_grpc),
            },
            "jaeger_storage": { "backends": { "memory": { "memory": { "max_traces": 1_000_000 } } } },
        },
        "receivers": { "otlp": { "protocols": { "http": at(ports.otlp_http), "grpc": at(ports.otlp_grpc) } } },
        "exporters": { "jaeger_storage_exporter": { "trace_storage": "memory" } },
    })
}

/// The path of the server's program, built by the `build` script next to this package's `Cargo.toml`; once a process.
fn program() -> Result<PathBuf, NoJaeger> {
    static PROGRAM: OnceLock<Result<PathBuf, NoJaeger>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
            built_by(Command::new(script))
        })
        .clone()
}

/// What the build script's answer means.
fn built_by(mut script: Command) -> Result<PathBuf, NoJaeger> {
    let output = script.output().map_err(|e| NoJaeger::Error(format!("cannot run {script:?}: {e}")))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.status.code() {
        Some(0) => Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())),
        Some(NO_USABLE_GO) => Err(NoJaeger::Skip(said)),
        _ => Err(NoJaeger::Error(format!("{script:?} failed ({}):\n{said}", output.status))),
    }
}

/// Says on both outputs that a test did not run. Written to the streams themselves: what `println!` writes in a test that
/// passes is never shown.
fn say_skipped(why: &str) {
    let bar = "!".repeat(100);
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let block = format!(
        "\n{bar}\n!!  SKIPPED: {test}\n!!  This test did NOT run: it needs a real Jaeger, and there is none on this machine.\n\
         !!  {why}\n!!  Install Go (https://go.dev/dl) and run it again.\n{bar}\n"
    );
    // A closed output is no reason to fail.
    let _ = io::stdout().write_all(block.as_bytes());
    let _ = io::stderr().write_all(block.as_bytes());
}

fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(1)).is_ok()
}

fn log_of(folder: &TempDir) -> PathBuf {
    folder.path().join("jaeger.log")
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn read(url: &str, response: Response) -> Result<(u16, Vec<u8>), String> {
    let mut response = response.map_err(|e| format!("{url}: {e}"))?;
    let body =
        response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|e| format!("{url}: {e}"))?;
    Ok((response.status().as_u16(), body))
}

fn unexpected(url: &str, status: u16, answer: &[u8]) -> String {
    let answer: String = String::from_utf8_lossy(answer).chars().take(500).collect();
    format!("{url}: unexpected answer, status {status}: {answer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that says `words` on standard error and stops with `status`.
    fn script(words: &str, status: i32) -> Command {
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("echo '{words}' >&2; echo /the/program; exit {status}")]);
        sh
    }

    #[test]
    fn no_go_is_a_skip_and_a_failed_build_is_not() {
        assert_eq!(built_by(script("", 0)), Ok(PathBuf::from("/the/program")));
        assert_eq!(built_by(script("there is no go", 3)), Err(NoJaeger::Skip("there is no go".to_owned())));
        let Err(NoJaeger::Error(why)) = built_by(script("no network", 1)) else {
            panic!("a failed build is an error")
        };
        assert!(why.contains("no network"), "{why}");
    }

    #[test]
    fn the_build_script_tells_apart_no_go_and_an_old_go() {
        let folder = tempfile::tempdir().unwrap();
        let with_path = |path: &str| {
            let mut command = Command::new("/bin/bash");
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build"));
            command.env("XDG_CACHE_HOME", folder.path()).env("PATH", path);
            built_by(command)
        };
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        for tool in ["sed", "dirname", "sort", "head", "sh"] {
            let found =
                ["/usr/bin", "/bin"].map(|d| Path::new(d).join(tool)).into_iter().find(|p| p.exists());
            std::os::unix::fs::symlink(found.unwrap(), tools.join(tool)).unwrap();
        }
        let Err(NoJaeger::Skip(why)) = with_path(tools.to_str().unwrap()) else { panic!("no Go is a skip") };
        assert!(why.contains("there is no `go`") && why.contains("1.24"), "{why}");

        let go = tools.join("go");
        fs::write(&go, "#!/bin/sh\necho go1.22.3\n").unwrap();
        fs::set_permissions(&go, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let Err(NoJaeger::Skip(why)) = with_path(tools.to_str().unwrap()) else {
            panic!("an old Go is a skip")
        };
        assert!(why.contains("Go 1.22.3 is too old"), "{why}");
    }
}
