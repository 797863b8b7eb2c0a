//! Sending by gRPC, to a real gRPC server in the same process.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tonic::{Request, Response, Status};

use super::{everything_is_accounted_for, quick, requests, send};
use crate::{
    otlp::{ExportOptions, ExportTraceServiceRequest, count_spans, metric_requests},
    send::{FailureKind, SendOptions, Sender},
    testing::one_of_everything,
};

type Answer = Result<Option<(i64, &'static str)>, Status>;

/// A request, and the header `x-key`.
type Received = (ExportTraceServiceRequest, Option<String>);

/// What came in, and how it is answered.
struct Service<F> {
    received: Arc<Mutex<Vec<Received>>>,
    answer: F,
}

#[tonic::async_trait]
impl<F: Fn(usize, &ExportTraceServiceRequest) -> Answer + Send + Sync + 'static> TraceService for Service<F> {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let key = request.metadata().get("x-key").map(|value| value.to_str().unwrap().to_owned());
        let request = request.into_inner();
        let number = {
            let mut all = self.received.lock().unwrap();
            all.push((request.clone(), key));
            all.len() - 1
        };
        let partial = (self.answer)(number, &request)?;
        if partial == Some((-1, "silence")) {
            std::future::pending::<()>().await;
        }
        let partial_success = partial.map(|(rejected_spans, message)| ExportTracePartialSuccess {
            rejected_spans,
            error_message: message.to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Listens until the test's process ends.
    fn start(answer: impl Fn(usize, &ExportTraceServiceRequest) -> Answer + Send + Sync + 'static) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let service = Service { received: Arc::clone(&received), answer };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tonic::transport::server::TcpIncoming::from(listener);
                tonic::transport::Server::builder()
                    .serve_with_incoming(TraceServiceServer::new(service), incoming)
                    .await
                    .unwrap();
            });
        });
        Self { address, received }
    }
    fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }
    fn sizes(&self) -> Vec<usize> {
        self.received.lock().unwrap().iter().map(|(request, _)| count_spans(request)).collect()
    }
}

#[test]
fn everything_taken_by_grpc_is_everything_acknowledged() {
    let receiver = Receiver::start(|_, _| Ok(None));
    let all = requests(&[3, 5]);
    let options = SendOptions { headers: vec![("X-Key".to_owned(), "secret".to_owned())], ..quick() };
    let report = send(&receiver.url(), options, all.clone());
    assert!(report.is_complete() && report.acknowledged == 8, "{report}");
    let received = receiver.received.lock().unwrap();
    assert_eq!(received.iter().map(|(request, _)| request.clone()).collect::<Vec<_>>(), all);
    assert!(received.iter().all(|(_, key)| key.as_deref() == Some("secret")));
}

#[test]
fn a_partial_success_by_grpc_is_counted() {
    let receiver = Receiver::start(|n, _| Ok(Some(if n == 0 { (2, "too old") } else { (0, "") })));
    let report = send(&receiver.url(), quick(), requests(&[3, 5]));
    assert_eq!((report.acknowledged, report.rejected(), report.offered), (6, 2, 8));
    assert!(report.to_string().contains("too old"), "{report}");
    everything_is_accounted_for(&report);
}

#[test]
fn a_size_error_by_grpc_halves_the_request() {
    let receiver = Receiver::start(|_, request| {
        if count_spans(request) > 3 {
            return Err(Status::resource_exhausted("grpc: received message larger than max (9 vs. 3)"));
        }
        Ok(None)
    });
    let report = send(&receiver.url(), quick(), requests(&[10]));
    assert!(report.is_complete(), "{report}");
    assert_eq!(receiver.sizes(), [10, 5, 2, 3, 5, 2, 3]);
}

#[test]
fn a_server_with_the_usual_limit_gets_a_request_above_it_in_halves() {
    // These 32,000 spans encode to more than the 4 MiB that a gRPC server takes unless told otherwise; the refusal is
    // the server's own.
    let receiver = Receiver::start(|_, _| Ok(None));
    let mut large = requests(&[16_000]).remove(0);
    let mut more = large.clone();
    large.resource_spans.append(&mut more.resource_spans);
    assert!(prost::Message::encoded_len(&large) > 4 * 1024 * 1024);
    let report = send(&receiver.url(), quick(), vec![large]);
    assert!(report.is_complete() && report.acknowledged == 32_000, "{report}");
    assert_eq!(receiver.sizes(), [16_000, 16_000]);
}

#[test]
fn a_quota_is_not_a_size_and_is_waited_for() {
    let receiver = Receiver::start(|_, _| Err(Status::resource_exhausted("over the quota of today")));
    let report = send(&receiver.url(), quick(), requests(&[8, 2]));
    assert_eq!(receiver.sizes(), [8, 8, 8, 8]);
    assert_eq!((report.count(FailureKind::Unreachable), report.count(FailureKind::NotTried)), (8, 2));
    assert!(report.to_string().contains("over the quota"), "{report}");
}

#[test]
fn a_grpc_server_that_is_away_for_a_while_gets_everything_in_the_end() {
    let receiver =
        Receiver::start(|n, _| if n < 3 { Err(Status::unavailable("starting")) } else { Ok(None) });
    assert!(send(&receiver.url(), quick(), requests(&[3])).is_complete());
    assert_eq!(receiver.sizes().len(), 4);
}

#[test]
fn silence_by_grpc_is_a_time_out() {
    let receiver = Receiver::start(|_, _| Ok(Some((-1, "silence"))));
    let options = SendOptions { timeout: Duration::from_millis(200), ..quick() };
    let report = send(&receiver.url(), options, requests(&[3, 4]));
    assert_eq!((report.count(FailureKind::TimedOut), report.count(FailureKind::NotTried)), (3, 4));
    everything_is_accounted_for(&report);
}

#[test]
fn a_bad_request_by_grpc_does_not_stop_the_others_but_no_permission_does() {
    let receiver =
        Receiver::start(|n, _| if n == 0 { Err(Status::invalid_argument("bad span")) } else { Ok(None) });
    let report = send(&receiver.url(), quick(), requests(&[3, 4]));
    assert_eq!((report.acknowledged, report.count(FailureKind::Refused)), (4, 3));
    let receiver = Receiver::start(|_, _| Err(Status::unauthenticated("who are you?")));
    let report = send(&receiver.url(), quick(), requests(&[3, 4]));
    assert_eq!((report.count(FailureKind::Refused), report.count(FailureKind::NotTried)), (3, 4));
    assert!(report.to_string().contains("who are you?"), "{report}");
}

#[test]
fn metrics_to_a_receiver_of_traces_alone_are_refused_once() {
    let receiver = Receiver::start(|_, _| Ok(None));
    let metrics = metric_requests(&one_of_everything(), &ExportOptions::default());
    let report =
        Sender::new(receiver.url().parse().unwrap(), quick()).unwrap().send_metrics(metrics).unwrap();
    assert!(!report.is_complete() && report.acknowledged == 0);
    assert!(report.to_string().contains("Unimplemented"), "{report}");
    everything_is_accounted_for(&report);
}
