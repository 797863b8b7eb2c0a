//! What the two kinds of requests, spans and metrics, have in common when they are sent.

use std::future::Future;

use opentelemetry_proto::tonic::collector::{
    metrics::v1::{ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient},
    trace::v1::{ExportTraceServiceResponse, trace_service_client::TraceServiceClient},
};
use prost::Message;
use tonic::transport::Channel;

use crate::otlp::{
    ExportMetricsServiceRequest, ExportTraceServiceRequest, count_points, count_spans, halve_points,
    halve_spans,
};

/// How many were rejected, and the receiver's words.
pub(super) type Rejected = (u64, String);

/// A request that can be sent.
pub(super) trait Signal: Message + Default + Clone + 'static {
    /// What is in it.
    const NOUN: &'static str;
    /// Where it goes to, below the endpoint.
    const PATH: &'static str;
    /// How many are in it.
    fn count(&self) -> usize;
    /// Cuts it in two, or gives it back where it holds one.
    #[allow(clippy::result_large_err)] // The error is the request itself, handed back.
    fn halve(self) -> Result<(Self, Self), Self>;
    /// Reads the body of a good HTTP answer.
    fn read_response(body: &[u8]) -> Result<Rejected, prost::DecodeError>;
    /// Sends it by gRPC.
    fn call(
        channel: Channel,
        request: tonic::Request<Self>,
    ) -> impl Future<Output = Result<Rejected, tonic::Status>>;
}

/// An absent or empty partial success is a full success.
fn rejected(partial: Option<(i64, String)>) -> Rejected {
    partial.map_or_else(Rejected::default, |(count, message)| (u64::try_from(count).unwrap_or(0), message))
}

fn rejected_spans(response: ExportTraceServiceResponse) -> Rejected {
    rejected(response.partial_success.map(|p| (p.rejected_spans, p.error_message)))
}

fn rejected_points(response: ExportMetricsServiceResponse) -> Rejected {
    rejected(response.partial_success.map(|p| (p.rejected_data_points, p.error_message)))
}

impl Signal for ExportTraceServiceRequest {
    const NOUN: &'static str = "spans";
    const PATH: &'static str = "/v1/traces";
    fn count(&self) -> usize {
        count_spans(self)
    }
    fn halve(self) -> Result<(Self, Self), Self> {
        halve_spans(self)
    }
    fn read_response(body: &[u8]) -> Result<Rejected, prost::DecodeError> {
        ExportTraceServiceResponse::decode(body).map(rejected_spans)
    }
    async fn call(channel: Channel, request: tonic::Request<Self>) -> Result<Rejected, tonic::Status> {
        let answer = TraceServiceClient::new(channel).export(request).await?;
        Ok(rejected_spans(answer.into_inner()))
    }
}

impl Signal for ExportMetricsServiceRequest {
    const NOUN: &'static str = "data points";
    const PATH: &'static str = "/v1/metrics";
    fn count(&self) -> usize {
        count_points(self)
    }
    fn halve(self) -> Result<(Self, Self), Self> {
        halve_points(self)
    }
    fn read_response(body: &[u8]) -> Result<Rejected, prost::DecodeError> {
        ExportMetricsServiceResponse::decode(body).map(rejected_points)
    }
    async fn call(channel: Channel, request: tonic::Request<Self>) -> Result<Rejected, tonic::Status> {
        let answer = MetricsServiceClient::new(channel).export(request).await?;
        Ok(rejected_points(answer.into_inner()))
    }
}
