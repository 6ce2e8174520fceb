//! `/metrics`: Prometheus's text format. Labels are routes, statuses, kinds and states, never an id: each value of a
//! label is a time series that a server keeps.

use std::time::Duration;

use axum::{extract::State, http::header, response::IntoResponse};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::AppState;
use crate::{
    domain::{JobKind, JobState},
    inference::Engine,
};

/// Counters and gauges of the interface. The registry is open to other rooms of the process.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    admitted: IntGaugeVec,
    jobs: IntGaugeVec,
    connections: IntGaugeVec,
}

impl ApiMetrics {
    /// Fresh counters in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let build = gauge(&registry, "stepwise_build_info", "The running version; always 1", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let requests = counter(
            &registry,
            "stepwise_http_requests_total",
            "Requests answered, by route and status",
            &["method", "route", "status"],
        );
        let durations = HistogramOpts::new("stepwise_http_request_duration_seconds", "Time to answer a request");
        let durations = HistogramVec::new(durations, &["method", "route"]).expect("names and labels are valid");
        register(&registry, durations.clone());
        let help = "What waits or is answered and bounds what may come: inputs, and tokens of inputs";
        let admitted = gauge(&registry, "stepwise_inference_admitted", help, &["of"]);
        let jobs = gauge(&registry, "stepwise_jobs", "Jobs that there are", &["kind", "state"]);
        let connections = gauge(&registry, "stepwise_db_pool_connections", "Connections to the database", &["state"]);
        Self { registry, requests, durations, admitted, jobs, connections }
    }

    /// Where other rooms of the process register their own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts an answered request.
    pub fn observe(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        // A made-up method is a label of the client's choice.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method);
        let method = if known { method } else { "other" };
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.durations.with_label_values(&[method, route]).observe(elapsed.as_secs_f64());
    }

    /// Shows what an engine counts as well.
    pub fn add_engine(&self, engine: &Engine) {
        for collector in engine.metrics().collectors() {
            self.registry.register(collector).expect("an interface has one engine, whose names are its own");
        }
    }

    fn set_admitted(&self, engine: &Engine) {
        for (of, count) in [("requests", engine.waiting()), ("tokens", engine.waiting_tokens())] {
            self.admitted.with_label_values(&[of]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn set_jobs(&self, counts: &[(JobKind, JobState, i64)]) {
        // A pair without a job says 0: a series that disappears keeps its last value in a dashboard.
        for (kind, state) in JobKind::ALL.into_iter().flat_map(|kind| JobState::ALL.map(|state| (kind, state))) {
            self.jobs.with_label_values(&[kind.as_str(), state.as_str()]).set(0);
        }
        for (kind, state, count) in counts {
            self.jobs.with_label_values(&[kind.as_str(), state.as_str()]).set(*count);
        }
    }

    fn set_connections(&self, open: u32, idle: usize) {
        let idle = i64::try_from(idle).unwrap_or(i64::MAX);
        self.connections.with_label_values(&["idle"]).set(idle);
        self.connections.with_label_values(&["used"]).set((i64::from(open) - idle).max(0));
    }
}

impl Default for ApiMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Figures for Prometheus. While the database is down, those about jobs keep their last value.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus's text format", content_type = "text/plain", body = String)))]
pub async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    match state.store.job_counts().await {
        Ok(counts) => state.metrics.set_jobs(&counts),
        Err(error) => tracing::warn!(%error, "jobs cannot be counted"),
    }
    let (open, idle) = state.store.pool_figures();
    state.metrics.set_connections(open, idle);
    state.metrics.set_admitted(&state.engine);
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&state.metrics.registry.gather(), &mut text);
    encoded.expect("writing to memory cannot fail, and names were checked when they were registered");
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text)
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counter = IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid");
    register(registry, counter.clone());
    counter
}

fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let gauge = IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid");
    register(registry, gauge.clone());
    gauge
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("every name is registered once");
}
