//! A small OTLP receiver over HTTP, which answers as a test tells it to.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use crate::otlp::ExportTraceServiceRequest;

/// How the receiver answers a request.
pub(super) enum Answer {
    Ok,
    /// So many rejected, with that message.
    Partial(i64, &'static str),
    Status(u16, &'static str),
    /// 503, and when to come again, in seconds.
    Later(u32),
    /// 200 and a web page.
    Page,
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and closes the connection.
    HangUp,
}

/// A request as it came in.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    pub(super) fn traces(&self) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&self.body[..]).unwrap()
    }
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Listens until the test's process ends.
pub(super) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers the n-th request (from 0) as the function says.
    pub(super) fn start(answer: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (all, answer) = (Arc::clone(&received), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &all, &*answer));
            }
        });
        Self { address, received }
    }
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&n| n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body })
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Received>>, answer: &dyn Fn(usize, &Received) -> Answer) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut all = all.lock().unwrap();
            all.push(request.clone());
            all.len() - 1
        };
        let mut more = String::new();
        let (status, kind, body) = match answer(number, &request) {
            Answer::Ok => (200, "application/x-protobuf", Vec::new()),
            Answer::Partial(rejected_spans, message) => {
                let partial = ExportTracePartialSuccess { rejected_spans, error_message: message.to_owned() };
                let response = ExportTraceServiceResponse { partial_success: Some(partial) };
                (200, "application/x-protobuf", response.encode_to_vec())
            }
            Answer::Status(status, message) => (status, "text/plain", message.as_bytes().to_vec()),
            Answer::Later(seconds) => {
                more = format!("retry-after: {seconds}\r\n");
                (503, "text/plain", Vec::new())
            }
            Answer::Page => (200, "text/html", b"<!doctype html><title>hello</title>".to_vec()),
            Answer::Silence => loop {
                thread::park();
            },
            Answer::HangUp => return,
        };
        let head = format!(
            "HTTP/1.1 {status} reason\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{more}\r\n",
            body.len()
        );
        let stream = reader.get_mut();
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}
