//! OTLP, the OpenTelemetry protocol: a recording as the structs that every receiver of it understands.
//!
//! The structs come from `opentelemetry-proto` and are filled here, in an order that only the recording decides: nodes
//! by index, traces by number, spans by index, attributes in order of writing. (The OpenTelemetry SDK keeps a resource's
//! attributes in a hash map, and so gives other bytes each time.) The ids derive from what was run, so the same plan gives the
//! same bytes and two plans never share an id.
//!
//! - One resource per node: `service.name` is the service, `service.instance.id` the node, `service.namespace` the
//!   scenario; then `sim.scenario`, `sim.variant`, `sim.seed`, and `sim.region` where there is one. All nodes have the same
//!   `host.id`: Jaeger takes another host for another clock, and warns of skew on every span that does not fit its parent.
//! - Times are the [`Epoch`] plus virtual time. Jaeger shows microseconds, so each span has its exact times as attributes.
//! - A request is one [`ExportTraceServiceRequest`]; see [`trace_requests`] for how spans are shared out between them.

mod metrics;
mod size;
mod split;
#[cfg(test)]
mod tests;
mod traces;

pub use metrics::metric_requests;
pub use opentelemetry_proto::tonic::collector::{
    metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
};
use sim_core::{
    record::{NodeIndex, Recording},
    time::{Duration, ms},
};
pub use size::{BATCH_BYTES, BATCH_SPANS, REQUEST_BYTES_MAX, REQUEST_SPANS_MAX};
pub use split::{count_points, count_spans, halve_points, halve_spans};
pub use traces::trace_requests;

use crate::epoch::Epoch;

/// How a recording is exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExportOptions {
    /// The date of virtual time zero.
    pub epoch: Epoch,
    /// How far apart the points of an exported metric are, in virtual time; at least 1 ms, the finest that Prometheus
    /// stores. The recording itself keeps every change; see [`metric_requests`].
    pub metric_step: Duration,
}

impl Default for ExportOptions {
    /// The default epoch, and ten points a second.
    fn default() -> Self {
        Self { epoch: Epoch::default(), metric_step: ms(100) }
    }
}

/// The `host.id` of every node.
pub const HOST_ID: &str = "shaketable";

/// The service, and the node, of what belongs to the whole run and to no node of it.
pub const WHOLE_RUN: &str = "shaketable";

fn attribute(key: impl Into<String>, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

/// A whole number as an attribute. OTLP has signed ones only: what is larger becomes text, rather than another number.
fn unsigned(key: &str, value: u64) -> KeyValue {
    i64::try_from(value).map_or_else(|_| text(key, &value.to_string()), |value| int(key, value))
}

/// The resource of a node, or of the whole run.
fn resource(recording: &Recording, node: NodeIndex) -> Resource {
    let origin = &recording.origin;
    let (service, instance, region) = recording
        .nodes
        .get(node.0 as usize)
        .map_or((WHOLE_RUN, WHOLE_RUN, ""), |n| (n.service.as_str(), n.name.as_str(), n.region.as_str()));
    let mut attributes = vec![
        text("service.name", service),
        text("service.instance.id", instance),
        text("service.namespace", &origin.scenario),
        text("host.id", HOST_ID),
        text("sim.scenario", &origin.scenario),
        text("sim.variant", &origin.variant),
        unsigned("sim.seed", origin.seed),
    ];
    if !region.is_empty() {
        attributes.push(text("sim.region", region));
    }
    Resource { attributes, ..Resource::default() }
}

/// The one instrumentation scope.
fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "shaketable".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
