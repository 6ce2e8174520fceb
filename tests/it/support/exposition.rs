//! What Prometheus reads, read as it would.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::{Registry, TextEncoder};
use stepwise::inference::Engine;

use super::{app::TestApp, service::Client};

/// A sample: its name, its labels and its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// What Prometheus would read; panics at what it would not.
pub struct Exposition {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Exposition {
    /// What a service shows.
    pub async fn of(app: &TestApp) -> Self {
        let answer = app.get("/metrics").await;
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Self::read(&String::from_utf8(answer.bytes).unwrap())
    }

    /// What a service of its own process shows.
    pub async fn of_service(client: &Client) -> Self {
        Self::read(&client.text("/metrics").await)
    }

    /// What an engine shows.
    pub fn of_engine(engine: &Engine) -> Self {
        let registry = Registry::new();
        engine.metrics().collectors().into_iter().for_each(|collector| registry.register(collector).unwrap());
        Self::read(&TextEncoder::new().encode_to_string(&registry.gather()).unwrap())
    }

    fn read(text: &str) -> Self {
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

    /// A sample of exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.named(name).find(|(_, labels, _)| *labels == wanted).map(|(.., value)| *value)
    }

    /// All samples with these labels among others, together.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        };
        self.named(name).filter(|(_, labels, _)| has(labels)).map(|(.., value)| value).sum()
    }

    /// Every model that any series names.
    pub fn models(&self) -> BTreeSet<&str> {
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
