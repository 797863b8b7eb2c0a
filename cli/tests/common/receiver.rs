//! A small OTLP receiver over HTTP, and an address where none is.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

/// A request: its path, its headers in lower case, and how many spans were in it.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: Vec<String>,
    pub spans: usize,
}

pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Rejects so many spans of each request, and takes the others.
    pub fn that_rejects(rejected: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                thread::spawn(move || while answer(&stream, rejected, &all).is_some() {});
            }
        });
        Self { url, received }
    }
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
    pub fn spans(&self) -> usize {
        self.received().iter().map(|request| request.spans).sum()
    }
}

/// The URL of a port that was free a moment ago.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn answer(stream: &TcpStream, rejected: i64, all: &Mutex<Vec<Received>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<String> = lines[1..].iter().map(|line| line.to_ascii_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = lines[0].split(' ').nth(1)?.to_owned();
    let spans = ExportTraceServiceRequest::decode(&body[..]).map_or(0, |request| {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    });
    all.lock().unwrap().push(Received { path, headers, spans });
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "no room".to_owned() };
    let partial_success = (rejected > 0).then_some(partial);
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length";
    let mut stream = stream;
    stream.write_all(format!("{head}: {}\r\n\r\n", body.len()).as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
