//! A run's folder: everything that a run leaves on disk, in formats that other tools read.
//!
//! | file | what |
//! |---|---|
//! | `trace-000.jsonl`, `trace-001.jsonl`, ... | spans: one OTLP/JSON request a line; Jaeger's upload takes each file |
//! | `metrics.jsonl` | metrics: one OTLP/JSON request a line |
//! | `metrics.prom` | the same metrics as OpenMetrics text |
//! | `plan.toml` | the plan: replay it and get this folder again, byte for byte |
//! | `summary.json` | what the caller has to say about the run |
//!
//! A file is written under another name and renamed when it is whole, and nothing is renamed before all are whole: a full
//! disk leaves an error that names the file, and no half file that looks like a whole one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;
use sim_core::record::{Recording, TraceId};

use crate::{
    openmetrics::write_openmetrics,
    otlp::{
        ExportMetricsServiceRequest, ExportOptions, ExportTraceServiceRequest, REQUEST_SPANS_MAX,
        count_spans, halve_spans, metric_requests, trace_requests,
    },
};

/// The size that no trace file reaches: Jaeger's upload takes no more. Only a single span that is larger by itself gets
/// through, alone in its file.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most spans in a trace file.
pub const FILE_SPANS_MAX: usize = REQUEST_SPANS_MAX;

/// Why a run's folder could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {reason}", path.display())]
pub struct WriteError {
    /// What was tried: `create`, `write`, `rename`, `remove`.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the operating system says.
    #[source]
    pub reason: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |reason| WriteError { action, path, reason }
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// The trace files, in order; none where no spans were recorded.
    pub traces: Vec<PathBuf>,
    /// How many spans they hold.
    pub spans: u64,
    /// Those of them that hold the trace that was asked for.
    pub holding: Vec<PathBuf>,
    /// The size of all files together.
    pub bytes: u64,
    /// `metrics.jsonl`.
    pub metrics_otlp: PathBuf,
    /// `metrics.prom`.
    pub metrics_text: PathBuf,
    /// `plan.toml`.
    pub plan: PathBuf,
    /// `summary.json`.
    pub summary: PathBuf,
}

/// The files of a run's folder that are not trace files.
const OTHER_FILES: [&str; 4] = ["metrics.jsonl", "metrics.prom", "plan.toml", "summary.json"];

/// Writes a run's folder, and makes it where there is none. Which files hold the trace `wanted` is found out on the way. Files of an earlier run are replaced, and trace files that this
/// run has no more are removed, so that the folder is of one run; other files stay.
///
/// # Errors
/// What could not be written and why. The folder is then as it was before, unless the error came from the last renames.
pub fn write_run(
    folder: &Path,
    recording: &Recording,
    options: &ExportOptions,
    summary: &Value,
    wanted: Option<TraceId>,
) -> Result<Written, WriteError> {
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut files = Pending::new(folder);
    let mut written = Written::default();
    write_traces(&mut files, trace_requests(recording, options), wanted, &mut written)?;

    let [metrics_otlp, metrics_text, plan, path_of_summary] = OTHER_FILES;
    written.metrics_otlp = files.create(metrics_otlp)?;
    for request in metric_requests(recording, options) {
        files.write(&json_line(&request))?;
    }
    written.metrics_text = files.create(metrics_text)?;
    files.write_with(|out| write_openmetrics(recording, options, out))?;
    written.plan = files.create(plan)?;
    files.write(recording.origin.plan.as_bytes())?;
    written.summary = files.create(path_of_summary)?;
    files.write(format!("{summary:#}\n").as_bytes())?;

    files.publish()?;
    remove_older_traces(folder, written.traces.len())?;
    for path in written.traces.iter().cloned().chain(OTHER_FILES.map(|name| folder.join(name))) {
        written.bytes += fs::metadata(&path).map_err(failed("read", &path))?.len();
    }
    Ok(written)
}

/// Whether a span of that trace is in a request. (Links to it do not count.)
fn holds(request: &ExportTraceServiceRequest, trace: TraceId) -> bool {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).any(|span| span.trace_id == trace.0)
}

/// A request as one line of OTLP/JSON.
fn json_line(request: &impl JsonRequest) -> Vec<u8> {
    let mut line = without_empty_fields(&request.to_json());
    line.push(b'\n');
    line
}

/// Fields that say nothing: in OTLP/JSON what is absent is empty. They are a fifth of a trace file.
const EMPTY_FIELDS: [&[u8]; 9] = [
    br#","traceState":"""#,
    br#","flags":0"#,
    br#","attributes":[]"#,
    br#","droppedAttributesCount":0"#,
    br#","events":[]"#,
    br#","droppedEventsCount":0"#,
    br#","links":[]"#,
    br#","droppedLinksCount":0"#,
    br#","entityRefs":[]"#,
];

/// A JSON text without its empty fields. None of them can be met inside a text value: there every quotation mark has a
/// backslash before it. A number that begins with 0 is 0: all of these are whole.
fn without_empty_fields(json: &[u8]) -> Vec<u8> {
    let mut lean = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(comma) = rest.iter().position(|&byte| byte == b',') {
        lean.extend_from_slice(&rest[..comma]);
        rest = &rest[comma..];
        match EMPTY_FIELDS.iter().find(|field| rest.starts_with(field)) {
            Some(field) => rest = &rest[field.len()..],
            None => {
                lean.push(b',');
                rest = &rest[1..];
            }
        }
    }
    lean.extend_from_slice(rest);
    lean
}

/// The two requests that have a JSON form.
trait JsonRequest {
    fn to_json(&self) -> Vec<u8>;
}
impl JsonRequest for ExportTraceServiceRequest {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an OTLP request has a JSON form: its map keys are texts")
    }
}
impl JsonRequest for ExportMetricsServiceRequest {
    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an OTLP request has a JSON form: its map keys are texts")
    }
}

fn trace_file_name(number: usize) -> String {
    format!("trace-{number:03}.jsonl")
}

fn write_traces(
    files: &mut Pending,
    requests: impl Iterator<Item = ExportTraceServiceRequest>,
    wanted: Option<TraceId>,
    written: &mut Written,
) -> Result<(), WriteError> {
    let paths = &mut written.traces;
    let (mut bytes_in_file, mut spans_in_file) = (0, 0);
    for request in requests {
        for (request, line) in lines_that_fit(request, FILE_BYTES_MAX) {
            let count = count_spans(&request);
            let full = bytes_in_file + line.len() >= FILE_BYTES_MAX || spans_in_file + count > FILE_SPANS_MAX;
            if paths.is_empty() || full {
                paths.push(files.create(&trace_file_name(paths.len()))?);
                (bytes_in_file, spans_in_file) = (0, 0);
            }
            files.write(&line)?;
            bytes_in_file += line.len();
            spans_in_file += count;
            written.spans += count as u64;
            if let (Some(path), true) = (paths.last(), wanted.is_some_and(|trace| holds(&request, trace)))
                && !written.holding.contains(path)
            {
                written.holding.push(path.clone());
            }
        }
    }
    Ok(())
}

/// The lines of a request, halved until each is shorter than the limit (JSON can be six times as long as the encoded
/// request: a control character becomes `\u0001`).
fn lines_that_fit(
    request: ExportTraceServiceRequest,
    limit: usize,
) -> Vec<(ExportTraceServiceRequest, Vec<u8>)> {
    let mut lines = Vec::new();
    let mut waiting = vec![request];
    while let Some(request) = waiting.pop() {
        let line = json_line(&request);
        if line.len() < limit {
            lines.push((request, line));
            continue;
        }
        match halve_spans(request) {
            Ok((first, second)) => waiting.extend([second, first]),
            Err(single) => lines.push((single, line)),
        }
    }
    lines
}

/// Removes the trace files of an earlier, larger run in the same folder.
fn remove_older_traces(folder: &Path, kept: usize) -> Result<(), WriteError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("trace-")?.strip_suffix(".jsonl")?.parse::<usize>().ok());
        if number.is_some_and(|n| n >= kept && path.ends_with(trace_file_name(n))) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Files that are written but do not have their names yet. Dropped before [`Pending::publish`], it removes them.
struct Pending<'a> {
    folder: &'a Path,
    /// Name while it is written, and name when it is whole.
    names: Vec<(PathBuf, PathBuf)>,
    open: Option<BufWriter<File>>,
}

impl<'a> Pending<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, names: Vec::new(), open: None }
    }

    /// Begins the next file; the one before is whole now.
    fn create(&mut self, name: &str) -> Result<PathBuf, WriteError> {
        self.close()?;
        let whole = self.folder.join(name);
        let partial = self.folder.join(format!(".{name}.part"));
        let file = File::create(&partial).map_err(failed("create", &whole))?;
        self.open = Some(BufWriter::with_capacity(1 << 16, file));
        self.names.push((partial, whole.clone()));
        Ok(whole)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_with(|out| out.write_all(bytes))
    }

    fn write_with(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        let (Some(out), Some((_, whole))) = (&mut self.open, self.names.last()) else {
            return Ok(());
        };
        write(out).map_err(failed("write", whole))
    }

    fn close(&mut self) -> Result<(), WriteError> {
        let (Some(mut out), Some((_, whole))) = (self.open.take(), self.names.last()) else {
            return Ok(());
        };
        out.flush().map_err(failed("write", whole))
    }

    /// All are whole: gives them their names.
    fn publish(mut self) -> Result<(), WriteError> {
        self.close()?;
        for (partial, whole) in &self.names {
            // What has its name is no longer there to be removed when this is dropped; the others are.
            fs::rename(partial, whole).map_err(failed("rename", whole))?;
        }
        self.names.clear();
        Ok(())
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.open = None;
        for (partial, _) in &self.names {
            // The error that led here is the one to tell; a leftover has a name that nobody takes for a result.
            let _ = fs::remove_file(partial);
        }
    }
}

/// Why trace files could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        reason: io::Error,
    },
    /// A line is not what it should be.
    #[error(
        "{} is no trace file, line {line}: {reason}; a trace file (trace-000.jsonl and so on in the folder of a run) has one \
         OTLP request as JSON a line: an object with `resourceSpans`",
        path.display()
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads trace files back, to send them: all requests of all files, in order. Nothing is sent that was not read, so one bad
/// line refuses the lot. Empty lines are passed over.
///
/// # Errors
/// The first file that cannot be read, or the first line that is no request or has no spans.
pub fn read_trace_files<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
) -> Result<Vec<ExportTraceServiceRequest>, ReadError> {
    let mut requests = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|reason| ReadError::File { path: path.to_owned(), reason })?;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |reason: String| ReadError::Line { path: path.to_owned(), line: index + 1, reason };
            let request: ExportTraceServiceRequest = serde_json::from_slice(line).map_err(|error| {
                // The line is given already, and each line is a document of its own.
                let message = error.to_string().replace(" at line 1 column ", " at column ");
                wrong(message)
            })?;
            if count_spans(&request) == 0 {
                return Err(wrong("no span in it".to_owned()));
            }
            requests.push(request);
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests;
