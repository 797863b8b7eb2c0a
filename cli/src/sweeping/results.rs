//! The result file of a sweep: JSON lines, a header and one line for each run, written as runs finish.
//!
//! A file that was cut off in the middle of a line is as good as one that ends before it: that run is done again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sim_core::search::Trial;

use super::Header;
use crate::failure::Failure;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// Which part of the sweep, counted from 0.
    pub(crate) part: usize,
    pub(crate) trial: Trial,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) header: Header,
    pub(crate) lines: Vec<Line>,
    /// How much of it is whole lines, in bytes.
    whole: u64,
}

/// A file that takes more runs.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
}

impl Results {
    /// Reads a file. `None`: it is empty, or not even its header was written.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let shown = path.display();
        let bytes =
            fs::read(path).map_err(|reason| Failure::usage(format!("cannot read {shown}: {reason}")))?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n');
        let Some(first) = lines.next() else {
            // Half a header is a prefix of one; anything else is somebody's file.
            if bytes.is_empty() || bytes.starts_with(b"{\"format\":\"shaketable") {
                return Ok(None);
            }
            return Err(Failure::usage(format!(
                "{shown} is no result of a sweep: its first line is no header"
            )));
        };
        let header: Header = serde_json::from_slice(first).map_err(|error| {
            Failure::usage(format!("{shown} is no result of a sweep: its first line is no header: {error}"))
        })?;
        let read = |(index, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| {
                Failure::usage(format!("{shown} line {}: this is no run of a sweep: {error}", index + 2))
            })
        };
        let lines = lines.enumerate().map(read).collect::<Result<Vec<Line>, _>>()?;
        Ok(Some(Self { header, lines, whole: whole as u64 }))
    }
}

impl Writer {
    /// A new file, or the one that is there with its runs, where it is of the same sweep.
    pub(crate) fn open(path: &Path, header: &Header) -> Result<(Self, Vec<Line>), Failure> {
        let failed =
            |reason: io::Error| Failure::Export(format!("cannot write {}: {reason}", path.display()));
        let known = if path.exists() { Results::read(path)? } else { None };
        if let Some(Results { header: other, .. }) = &known
            && let Some((what, own, others)) = header.difference(other, true)
        {
            return Err(Failure::usage(format!(
                "{} is the result of another sweep: its {what} is {others}, not {own}. Give another file with --out, or \
                 remove this one",
                path.display()
            )));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        let (whole, lines) = known.map_or((0, Vec::new()), |known| (known.whole, known.lines));
        file.set_len(whole).map_err(failed)?;
        let mut writer = Self { path: path.to_owned(), file };
        if whole == 0 {
            writer.write(header)?;
        }
        Ok((writer, lines))
    }
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
    /// Writes one line, and leaves it with the operating system: whoever kills this program does not lose it.
    fn write(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line).map_err(|error| Failure::Export(error.to_string()))?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .map_err(|reason| Failure::Export(format!("cannot write {}: {reason}", self.path.display())))
    }
    pub(crate) fn add(&mut self, line: &Line) -> Result<(), Failure> {
        self.write(line)
    }
}
