//! Recordings on their way out: first into files, then, where that is asked for, to an OTLP receiver.
//!
//! Every span is accounted for. When something does not get through, a sentence says how much, where the files are, and the
//! command that sends them again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use scenarios::lab::LabEntry;
use sim_core::{plan::Plan, record::Recording};
use viz::{
    Epoch,
    files::{self, Written},
    otlp::{
        ExportMetricsServiceRequest, ExportOptions, ExportTraceServiceRequest, metric_requests,
        trace_requests,
    },
    send::{Endpoint, Failure as SendFailure, SendOptions, SendReport, Sender},
};

use crate::{
    asked::Asked, console::Console, document::VariantDocument, failure::Failure, folder, runs::Session,
};

/// The receiver when none is named: a Jaeger or a collector on this machine, by HTTP.
pub(crate) const ENDPOINT_DEFAULT: &str = "http://localhost:4318";
/// The folder of runs that are sent without `--out`.
const FOLDER_DEFAULT: &str = "shaketable-out";

/// Where to, as the command line says it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files and traces")]
pub(crate) struct DeliveryArguments {
    /// Write the files of each run to DIR/<variant>: traces, metrics, plan, summary
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Send the spans to an OTLP receiver: http://HOST:4318 or grpc://HOST:4317
    ///
    /// Without a URL: OTEL_EXPORTER_OTLP_ENDPOINT, or http://localhost:4318. OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS and
    /// _TIMEOUT are heard too. The files are written first: to --out, or to shaketable-out/<scenario>-<seed>.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub(crate) otlp: Option<String>,
    /// Send the metrics too; a collector takes them, Jaeger does not
    #[arg(long, requires = "otlp")]
    pub(crate) otlp_metrics: bool,
    /// The date of virtual time zero, in UTC
    #[arg(long, value_name = "DATE", default_value = "2000-01-01")]
    pub(crate) epoch: Epoch,
    /// Where Jaeger's pages are, for the links that are shown
    #[arg(long, value_name = "URL", default_value = "http://localhost:16686")]
    pub(crate) jaeger: String,
}

impl DeliveryArguments {
    /// What these arguments ask for, checked before any of the plans is run.
    pub(crate) fn read(
        &self,
        console: &Console<'_>,
        lab: &LabEntry,
        plans: &[Plan],
        asked: &Asked,
    ) -> Result<Delivery, Failure> {
        let receiver = self.otlp.as_deref().map(|url| Receiver::read(url, console)).transpose()?;
        let default = || Path::new(FOLDER_DEFAULT).join(folder::name(lab, plans, asked));
        let folder = self.out.clone().or_else(|| receiver.is_some().then(default));
        if let Some(folder) = &folder {
            folder::check(folder, lab, plans, asked)?;
        }
        Ok(Delivery {
            folder,
            receiver,
            metrics: self.otlp_metrics,
            export: ExportOptions { epoch: self.epoch, ..ExportOptions::default() },
        })
    }
}

/// An OTLP receiver, and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    endpoint: Endpoint,
    sender: Sender,
}

impl Receiver {
    /// The receiver of that URL; of an empty one, the environment's, or the default.
    pub(crate) fn read(url: &str, console: &Console<'_>) -> Result<Self, Failure> {
        let variable = |name: &str| console.variable(name);
        let named = if url.is_empty() {
            Endpoint::from_env(variable).map_err(Failure::usage)?
        } else {
            Some(url.parse().map_err(Failure::usage)?)
        };
        let endpoint = match named {
            Some(endpoint) => endpoint,
            None => ENDPOINT_DEFAULT.parse().map_err(Failure::usage)?,
        };
        let options = SendOptions::from_env(variable).map_err(Failure::usage)?;
        let sender = Sender::new(endpoint.clone(), options).map_err(Failure::usage)?;
        Ok(Self { endpoint, sender })
    }
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
    pub(crate) fn send_traces(
        &self,
        requests: impl IntoIterator<Item = ExportTraceServiceRequest>,
    ) -> Result<SendReport, Failure> {
        self.sender.send_traces(requests).map_err(|error| Failure::Export(error.to_string()))
    }
    fn send_metrics(
        &self,
        requests: impl IntoIterator<Item = ExportMetricsServiceRequest>,
    ) -> Result<SendReport, Failure> {
        self.sender.send_metrics(requests).map_err(|error| Failure::Export(error.to_string()))
    }
}

/// What is to be done with recordings.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Also where they are only sent: first they are written.
    folder: Option<PathBuf>,
    receiver: Option<Receiver>,
    metrics: bool,
    export: ExportOptions,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) folder: PathBuf,
    /// What was written, for each run.
    pub(crate) written: Vec<Written>,
    /// How many spans were recorded.
    pub(crate) spans: u64,
    /// What the receiver said of them; `None` where nothing was sent.
    pub(crate) report: Option<SendReport>,
    /// What it said of the metrics.
    pub(crate) metrics: Option<SendReport>,
    /// What is missing, and how to mend it. `None`: nothing is.
    pub(crate) complaint: Option<String>,
}

impl Delivery {
    pub(crate) fn epoch(&self) -> Epoch {
        self.export.epoch
    }
    /// Writes and sends. `None` where neither was asked for.
    pub(crate) fn carry_out(&self, session: &Session<'_>) -> Option<Delivered> {
        let mut delivered = Delivered {
            folder: self.folder.clone()?,
            written: Vec::new(),
            spans: session.spans(),
            report: None,
            metrics: None,
            complaint: None,
        };
        if let Err(complaint) = self.write(session, &mut delivered) {
            delivered.complaint = Some(complaint);
        } else if let Some(receiver) = &self.receiver {
            delivered.complaint = self.send(session, receiver, &mut delivered).err();
        }
        Some(delivered)
    }

    fn write(&self, session: &Session<'_>, delivered: &mut Delivered) -> Result<(), String> {
        for outcome in &session.outcomes {
            let folder = delivered.folder.join(outcome.variant());
            let summary = VariantDocument::of(session, outcome).summary(session);
            let wanted = outcome.worst_trace_id();
            let written = files::write_run(&folder, &outcome.recording, &self.export, &summary, wanted)
                .map_err(|error| self.not_written(&error.to_string()))?;
            let recorded = outcome.recording.spans.len() as u64;
            if written.spans != recorded {
                let told = format!(
                    "only {} of {recorded} spans were written to {}",
                    written.spans,
                    folder.display()
                );
                return Err(self.not_written(&told));
            }
            delivered.written.push(written);
        }
        Ok(())
    }

    fn not_written(&self, why: &str) -> String {
        let not_sent = if self.receiver.is_some() { " and nothing was sent" } else { "" };
        format!(
            "{why}. The files of this run are not complete{not_sent}; the same command gives the same run again: give it \
             another folder with --out DIR"
        )
    }

    fn send(
        &self,
        session: &Session<'_>,
        receiver: &Receiver,
        delivered: &mut Delivered,
    ) -> Result<(), String> {
        let recordings = || session.outcomes.iter().map(|outcome| &outcome.recording);
        let folders = folders(session, &delivered.folder);
        let lost =
            |report: &SendReport| not_acknowledged(report, delivered.spans, &folders, &receiver.endpoint);
        let requests = |recording| trace_requests(recording, &self.export);
        let report =
            receiver.send_traces(recordings().flat_map(requests)).map_err(|error| error.to_string())?;
        let complaint = lost(&report);
        delivered.report = Some(report);
        complaint.map_or(Ok(()), Err)?;
        if self.metrics {
            let requests = |recording: &Recording| metric_requests(recording, &self.export);
            let report =
                receiver.send_metrics(recordings().flat_map(requests)).map_err(|error| error.to_string())?;
            let complaint = (!report.is_complete()).then(|| {
                let folder = delivered.folder.display();
                format!(
                    "{report}. They are in {folder}: metrics.jsonl (OTLP) and metrics.prom (OpenMetrics)."
                )
            });
            delivered.metrics = Some(report);
            complaint.map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

/// What to send again: the folder, or those of this run's variants where there are other runs in it too.
fn folders(session: &Session<'_>, folder: &Path) -> Vec<PathBuf> {
    let own: Vec<PathBuf> = session.outcomes.iter().map(|outcome| folder.join(outcome.variant())).collect();
    let is_own = |file: &PathBuf| file.parent().is_some_and(|parent| own.iter().any(|one| one == parent));
    match trace_files(folder) {
        Ok(files) if files.iter().all(is_own) => vec![folder.to_owned()],
        _ => own,
    }
}

/// The sentence about spans that the receiver did not acknowledge; `None` where it has them all.
pub(crate) fn not_acknowledged(
    report: &SendReport,
    recorded: u64,
    files: &[PathBuf],
    endpoint: &Endpoint,
) -> Option<String> {
    if report.is_complete() && report.acknowledged == recorded {
        return None;
    }
    let missing = recorded - report.acknowledged.min(recorded);
    let mut told = format!("{missing} of {recorded} spans were not acknowledged by {endpoint}");
    for SendFailure { kind, count, reason, .. } in &report.failures {
        told.push_str(&format!("; {count} {kind}: {reason}"));
    }
    let paths: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let quoted: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    Some(format!(
        "{told}. All of them are in {}; send them again with\n  shaketable export {} --to {endpoint}",
        paths.join(", "),
        quoted.join(" ")
    ))
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// The trace files under a path: itself, or those in the folder and in the folders right below it, by name.
pub(crate) fn trace_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |reason: std::io::Error| Failure::usage(format!("cannot read {}: {reason}", path.display()));
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = traces_in(path).map_err(failed)?;
    for folder in entries(path).map_err(failed)?.into_iter().filter(|entry| entry.is_dir()) {
        found.extend(traces_in(&folder).map_err(failed)?);
    }
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "there are no trace files in {}: a run's folder holds trace-000.jsonl and so on",
            path.display()
        )));
    }
    Ok(found)
}

fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}

fn traces_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_trace = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("trace-") && name.ends_with(".jsonl") && path.is_file()
    };
    Ok(entries(folder)?.into_iter().filter(is_trace).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_a_shell_reads_it() {
        assert_eq!(quoted("out/naive-42"), "out/naive-42");
        assert_eq!(quoted("my runs/a"), "'my runs/a'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
