//! `/metrics`: figures by model, in a form that Prometheus reads, and bounded in number.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::{
    app::TestApp,
    student::{desk_labels, write_seeded_student},
};

/// A sample: its name, its labels and its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// What Prometheus would read; panics at what it would not.
struct Exposition {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Exposition {
    async fn of(app: &TestApp) -> Self {
        let answer = app.get("/metrics").await;
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        let text = String::from_utf8(answer.bytes).unwrap();
        let (mut types, mut helped, mut samples) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(helped.insert(help.split_once(' ').unwrap().0.to_owned()), "helped twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "typed twice: {line}");
            } else {
                samples.push(sample(line));
            }
        }
        let exposition = Self { types, samples };
        exposition.check();
        exposition
    }

    /// Every sample belongs to a typed family, no series comes twice, and histograms add up.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for (name, labels, _) in &self.samples {
            assert!(seen.insert((name, labels)), "a series comes twice: {name} {labels:?}");
            let family = self.family(name);
            assert!(family.starts_with("stepwise_"), "{family}");
            assert_eq!(self.types[family] == "counter", family.ends_with("_total"), "{family}");
        }
        for (family, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            self.check_histogram(family);
        }
    }

    fn family<'a>(&'a self, name: &'a str) -> &'a str {
        let stems = ["", "_bucket", "_sum", "_count"].into_iter().filter_map(|end| name.strip_suffix(end));
        stems.into_iter().find(|stem| self.types.contains_key(*stem)).unwrap_or_else(|| panic!("{name} has no type"))
    }

    fn check_histogram(&self, family: &str) {
        for (_, labels, count) in self.named(&format!("{family}_count")) {
            let of_series =
                |found: &BTreeMap<String, String>| found.iter().filter(|(name, _)| *name != "le").eq(labels.iter());
            let bucket = format!("{family}_bucket");
            let buckets: Vec<_> = self.named(&bucket).filter(|(_, found, _)| of_series(found)).collect();
            let bounds: Vec<f64> = buckets.iter().map(|(_, found, _)| found["le"].parse().unwrap()).collect();
            assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY), "{family}: {bounds:?}");
            assert!(buckets.iter().map(|(.., value)| value).is_sorted(), "{family} is not cumulative");
            assert_eq!(buckets.last().unwrap().2, *count, "{family}");
        }
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |(found, ..)| found == name)
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.named(name).find(|(_, labels, _)| *labels == wanted).map(|(.., value)| *value)
    }

    /// Every model that any series names.
    fn models(&self) -> BTreeSet<&str> {
        self.samples.iter().filter_map(|(_, labels, _)| labels.get("model")).map(String::as_str).collect()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(plain(name) || name.contains("e2e"), "{line}");
    let labels = labels.strip_suffix('}').unwrap();
    let pairs = labels.split_terminator(',').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(plain(name), "{line}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
        (name.to_owned(), value.to_owned())
    });
    (name.to_owned(), pairs.collect(), value.parse().unwrap())
}

#[tokio::test]
async fn figures_come_by_model_and_only_of_models_in_memory() {
    let app = TestApp::start().await;
    for (seed, name) in ["desk-1", "desk-2", "desk-3"].into_iter().enumerate() {
        write_seeded_student(&app, name, desk_labels(), seed as u64);
    }
    let ask = async |model: &str| {
        let body = json!({"model": model, "inputs": ["late", "torn"], "include": ["rationale"]});
        app.post("/v1/predictions", body).await.status
    };
    let before = Exposition::of(&app).await;
    assert_eq!((before.models(), before.value("stepwise_models_loaded", &[])), (BTreeSet::new(), Some(0.0)));
    assert_eq!((ask("desk-1").await, ask("desk-2").await, ask("made up").await), (200, 200, 404));
    let found = Exposition::of(&app).await;
    assert_eq!(found.models(), BTreeSet::from(["desk-1", "desk-2"]));
    let one = [("model", "desk-1")];
    let answered = [("model", "desk-1"), ("outcome", "answered")];
    assert_eq!(found.value("stepwise_inference_requests_total", &answered), Some(2.0));
    for gauge in ["running", "waiting"] {
        assert_eq!(found.value(&format!("stepwise_inference_requests_{gauge}"), &one), Some(0.0));
    }
    for histogram in ["queue_time_seconds", "time_to_first_token_seconds", "e2e_latency_seconds"] {
        assert_eq!(found.value(&format!("stepwise_inference_{histogram}_count"), &one), Some(2.0), "{histogram}");
    }
    for some in [
        "inference_prompt_tokens_total",
        "inference_generation_tokens_total",
        "inference_batch_size_count",
        "model_memory_bytes",
    ] {
        assert!(found.value(&format!("stepwise_{some}"), &one).unwrap() > 0.0, "{some}");
    }
    assert_eq!(found.value("stepwise_models_loaded", &[]), Some(2.0));
    assert_eq!(found.value("stepwise_model_loads_total", &[("outcome", "loaded")]), Some(2.0));
    // There is room for two: the third takes the place of the first, and of its series.
    assert_eq!(ask("desk-3").await, 200);
    let found = Exposition::of(&app).await;
    assert_eq!(found.models(), BTreeSet::from(["desk-2", "desk-3"]));
    assert_eq!(found.value("stepwise_model_evictions_total", &[]), Some(1.0));
    std::fs::write(app.models_dir.join("desk-1/model.safetensors"), b"no tensors").unwrap();
    assert_eq!(ask("desk-1").await, 400);
    let found = Exposition::of(&app).await;
    assert_eq!(found.value("stepwise_model_loads_total", &[("outcome", "failed")]), Some(1.0));
    for of in ["requests", "tokens"] {
        assert_eq!(found.value("stepwise_inference_admitted", &[("of", of)]), Some(0.0));
    }
}
