//! Halving a request: what a receiver, or a file, finds too large goes out as two.

use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric::Data},
    trace::v1::{ResourceSpans, ScopeSpans},
};

/// How many spans a request holds.
pub fn count_spans(request: &ExportTraceServiceRequest) -> usize {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
}

/// Cuts a request in two with half of the spans each, in their order; gives it back where there are fewer than two.
#[allow(clippy::result_large_err)] // The error is the request itself, handed back.
pub fn halve_spans(
    request: ExportTraceServiceRequest,
) -> Result<(ExportTraceServiceRequest, ExportTraceServiceRequest), ExportTraceServiceRequest> {
    let count = count_spans(&request);
    if count < 2 {
        return Err(request);
    }
    let mut room = count / 2; // how many more go to the first half
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for resource in request.resource_spans {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for mut scope in resource.scope_spans {
            let rest = scope.spans.split_off(room.min(scope.spans.len()));
            room -= scope.spans.len();
            if !rest.is_empty() {
                right.push(ScopeSpans {
                    scope: scope.scope.clone(),
                    spans: rest,
                    schema_url: scope.schema_url.clone(),
                });
            }
            if !scope.spans.is_empty() {
                left.push(scope);
            }
        }
        for (side, scope_spans) in [(&mut first, left), (&mut second, right)] {
            if !scope_spans.is_empty() {
                side.push(ResourceSpans {
                    resource: resource.resource.clone(),
                    scope_spans,
                    schema_url: resource.schema_url.clone(),
                });
            }
        }
    }
    Ok((
        ExportTraceServiceRequest { resource_spans: first },
        ExportTraceServiceRequest { resource_spans: second },
    ))
}

fn points_in(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
    }
}

/// How many data points a request holds.
pub fn count_points(request: &ExportMetricsServiceRequest) -> usize {
    request
        .resource_metrics
        .iter()
        .flat_map(|r| &r.scope_metrics)
        .flat_map(|s| &s.metrics)
        .map(points_in)
        .sum()
}

/// Cuts a metric's points in two; the second half has the same name, unit and kind.
fn halve_metric(mut metric: Metric, at: usize) -> (Metric, Metric) {
    let mut rest = metric.clone();
    match (&mut metric.data, &mut rest.data) {
        (Some(Data::Gauge(a)), Some(Data::Gauge(b))) => b.data_points = a.data_points.split_off(at),
        (Some(Data::Sum(a)), Some(Data::Sum(b))) => b.data_points = a.data_points.split_off(at),
        (Some(Data::Histogram(a)), Some(Data::Histogram(b))) => b.data_points = a.data_points.split_off(at),
        (Some(Data::ExponentialHistogram(a)), Some(Data::ExponentialHistogram(b))) => {
            b.data_points = a.data_points.split_off(at);
        }
        (Some(Data::Summary(a)), Some(Data::Summary(b))) => b.data_points = a.data_points.split_off(at),
        _ => {}
    }
    (metric, rest)
}

/// Cuts a request in two with half of the points each, in their order; gives it back where there are fewer than two.
pub fn halve_points(
    request: ExportMetricsServiceRequest,
) -> Result<(ExportMetricsServiceRequest, ExportMetricsServiceRequest), ExportMetricsServiceRequest> {
    let count = count_points(&request);
    if count < 2 {
        return Err(request);
    }
    let mut room = count / 2;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for resource in request.resource_metrics {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for scope in resource.scope_metrics {
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for metric in scope.metrics {
                let points = points_in(&metric);
                if points <= room {
                    room -= points;
                    before.push(metric);
                } else if room == 0 {
                    after.push(metric);
                } else {
                    let (a, b) = halve_metric(metric, room);
                    room = 0;
                    before.push(a);
                    after.push(b);
                }
            }
            for (side, metrics) in [(&mut left, before), (&mut right, after)] {
                if !metrics.is_empty() {
                    side.push(ScopeMetrics {
                        scope: scope.scope.clone(),
                        metrics,
                        schema_url: scope.schema_url.clone(),
                    });
                }
            }
        }
        for (side, scope_metrics) in [(&mut first, left), (&mut second, right)] {
            if !scope_metrics.is_empty() {
                side.push(ResourceMetrics {
                    resource: resource.resource.clone(),
                    scope_metrics,
                    schema_url: resource.schema_url.clone(),
                });
            }
        }
    }
    Ok((
        ExportMetricsServiceRequest { resource_metrics: first },
        ExportMetricsServiceRequest { resource_metrics: second },
    ))
}
