//! Metrics as OTLP requests: a counter is a monotonic cumulative sum, a gauge a gauge, a histogram a cumulative histogram
//! with explicit bounds.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
        ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
    },
};
use prost::Message;
use sim_core::{
    record::{MetricKind, NodeIndex, Recording, Series},
    time::SimTime,
};

use super::{
    ExportOptions, resource, scope,
    size::{BATCH_BYTES, framed},
};
use crate::{
    epoch::Epoch,
    sample::{Distribution, Sampled, bounds, samples},
};

/// The most points of one metric in one message, so that a long run does not make one that no receiver takes. A histogram's
/// point is about 400 bytes.
const POINTS_MAX: usize = 1_000;

/// All metrics of a recording, grouped by node.
///
/// Points are at multiples of [`ExportOptions::metric_step`] (by default 100 ms of virtual time): each shows the metric as it
/// was at that time, and a step in which nothing changed has none. Sums start at the epoch. The buckets of a histogram depend on
/// its unit: 10 us to 100 s in steps 1, 2, 5 for seconds, 64 B to 1 GiB in powers of four for bytes, 0.01 to 1,000,000 in
/// steps 1, 2, 5 for everything else. Infinite values become the largest finite number: JSON has no other.
pub fn metric_requests(recording: &Recording, options: &ExportOptions) -> Vec<ExportMetricsServiceRequest> {
    let mut by_node: BTreeMap<u32, Vec<&Series>> = BTreeMap::new();
    for series in &recording.metrics {
        let known = (series.node.0 as usize) < recording.nodes.len();
        by_node.entry(if known { series.node.0 } else { NodeIndex::NONE.0 }).or_default().push(series);
    }
    let mut requests = Vec::new();
    let mut filling = ExportMetricsServiceRequest::default();
    let mut bytes = 0;
    for (node, all_series) in by_node {
        let mut metrics = Vec::new();
        for metric in all_series.into_iter().flat_map(|series| otlp_metrics(recording, series, options)) {
            let size = framed(&metric);
            if bytes + size > BATCH_BYTES && bytes > 0 {
                push(&mut filling, recording, node, std::mem::take(&mut metrics));
                requests.push(std::mem::take(&mut filling));
                bytes = 0;
            }
            bytes += size;
            metrics.push(metric);
        }
        push(&mut filling, recording, node, metrics);
        bytes = filling.encoded_len();
    }
    if !filling.resource_metrics.is_empty() {
        requests.push(filling);
    }
    requests
}

fn push(request: &mut ExportMetricsServiceRequest, recording: &Recording, node: u32, metrics: Vec<Metric>) {
    if !metrics.is_empty() {
        request.resource_metrics.push(ResourceMetrics {
            resource: Some(resource(recording, NodeIndex(node))),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }],
            schema_url: String::new(),
        });
    }
}

/// A series as one metric, or as several of the same name where it has many points.
fn otlp_metrics(recording: &Recording, series: &Series, options: &ExportOptions) -> Vec<Metric> {
    let bounds = bounds(recording, series);
    let points: Vec<_> = samples(recording, series, options.metric_step).collect();
    let metric = |points: &[(SimTime, Sampled)]| Metric {
        name: recording.text(series.name).to_owned(),
        unit: recording.text(series.unit).to_owned(),
        data: Some(data(series.kind, bounds, options.epoch, points)),
        ..Metric::default()
    };
    points.chunks(POINTS_MAX).map(metric).collect()
}

fn data(kind: MetricKind, bounds: &[f64], epoch: Epoch, points: &[(SimTime, Sampled)]) -> Data {
    let numbers = |start_time_unix_nano: u64| {
        let number = |(at, sampled): &(SimTime, Sampled)| match sampled {
            Sampled::Number(value) => Some(NumberDataPoint {
                start_time_unix_nano,
                time_unix_nano: epoch.at(*at),
                value: Some(number_data_point::Value::AsDouble(finite(*value))),
                ..NumberDataPoint::default()
            }),
            Sampled::Distribution(_) => None,
        };
        points.iter().filter_map(number).collect()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    match kind {
        MetricKind::Gauge => Data::Gauge(Gauge { data_points: numbers(0) }),
        MetricKind::Counter => Data::Sum(Sum {
            data_points: numbers(epoch.unix_nanos()),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricKind::Histogram => {
            let point = |(at, sampled): &(SimTime, Sampled)| match sampled {
                Sampled::Distribution(d) => Some(histogram_point(d, bounds, epoch, *at)),
                Sampled::Number(_) => None,
            };
            Data::Histogram(Histogram {
                data_points: points.iter().filter_map(point).collect(),
                aggregation_temporality,
            })
        }
    }
}

fn histogram_point(d: &Distribution, bounds: &[f64], epoch: Epoch, at: SimTime) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: epoch.unix_nanos(),
        time_unix_nano: epoch.at(at),
        count: d.count,
        sum: Some(finite(d.sum)),
        bucket_counts: d.buckets.clone(),
        explicit_bounds: bounds.to_vec(),
        min: Some(finite(d.min)),
        max: Some(finite(d.max)),
        ..HistogramDataPoint::default()
    }
}

fn finite(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}
