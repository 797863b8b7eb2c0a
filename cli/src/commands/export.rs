//! `export`: sends traces that were written before, later or again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use viz::{
    files::{ReadError, read_trace_files},
    otlp::count_spans,
};

use crate::{
    console::Console,
    delivery::{Receiver, not_acknowledged, quoted, trace_files},
    document,
    failure::{Failure, Status},
    input,
};

/// Send trace files that were written with --out, later or again
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Trace files, or folders of runs
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The OTLP receiver: http://HOST:4318 or grpc://HOST:4317
    ///
    /// Without it: OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318.
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    to: String,
    /// Print one JSON document instead
    #[arg(long)]
    json: bool,
}

pub(crate) fn carry_out(arguments: &ExportArguments, console: &mut Console<'_>) -> Result<Status, Failure> {
    let receiver = Receiver::read(&arguments.to, console)?;
    let mut files = Vec::new();
    for path in &arguments.paths {
        for file in trace_files(path)? {
            // A file and its folder may both be named.
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    let requests = read_trace_files(&files).map_err(|error| {
        // A plan lies beside the traces, and is easily taken for one of them.
        let plan = match &error {
            ReadError::Line { path, .. } if input::plan(path).is_ok() => {
                format!(
                    "; this is a plan: run it with `shaketable replay {}`",
                    quoted(&path.display().to_string())
                )
            }
            _ => String::new(),
        };
        Failure::usage(format!("{error}{plan}. Nothing was sent"))
    })?;
    let spans: u64 = requests.iter().map(|request| count_spans(request) as u64).sum();
    let report = receiver.send_traces(requests)?;
    let complaint = not_acknowledged(&report, spans, &arguments.paths, receiver.endpoint());
    if arguments.json {
        let document = json!({
            "complete": complaint.is_none(),
            "endpoint": report.endpoint,
            "files": files,
            "spans": spans,
            "acknowledged": report.acknowledged,
            "failures": report.failures.iter().map(|failure| json!({
                "kind": failure.kind.to_string(),
                "spans": failure.count,
                "requests": failure.requests,
                "reason": failure.reason,
            })).collect::<Vec<_>>(),
        });
        console.print_raw(document::text(&document).as_bytes())?;
    } else if complaint.is_none() {
        let count = files.len();
        console.print(&format!("{count} file{}: {report}\n", if count == 1 { "" } else { "s" }))?;
    }
    match complaint {
        Some(complaint) => Err(Failure::Export(complaint)),
        None => Ok(Status::AsExpected),
    }
}
