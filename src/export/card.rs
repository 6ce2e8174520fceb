//! The model card: what a model learned, how it wants to be asked, how good it is, and what it cannot do.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::domain::{
    DataSource, LabelSet, LabelSource, Lineage, Method, StudentCard, TaskDefinition, metric, single_target,
};

/// A model and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it wants to be asked.
    pub card: &'a StudentCard,
    /// Its id; none for a folder.
    pub id: Option<&'a str>,
    /// Accuracies and the like, by metric name.
    pub metrics: &'a Map<String, Value>,
    /// What it was made of and how; none where that is not known.
    pub lineage: Option<&'a Lineage>,
}

/// The card as `README.md`: front matter for the Hub, then a page for people.
pub fn render(subject: &Subject<'_>) -> String {
    let parts = [
        front_matter(subject),
        introduction(subject),
        learned(subject),
        asking(subject),
        accuracy(subject),
        data(subject),
        lineage(subject),
        limitations(subject),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

impl Subject<'_> {
    fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name)?.as_f64()
    }

    /// Accuracies with the rows that they were found on.
    fn accuracies(&self) -> Vec<(&'static str, f64, String)> {
        let file = |source: Option<&DataSource>| source.map(|source| source.filename.clone());
        let test = self.lineage.and_then(|lineage| file(lineage.test.as_ref()));
        let held_back = || "training rows held back".to_owned();
        let validation = self.lineage.and_then(|lineage| file(lineage.validation.as_ref())).unwrap_or_else(held_back);
        let rows = [
            // A checkpoint on the way has the figure of the step alone.
            ("validation", self.metric("validation_accuracy").or(self.metric(metric::LABEL_ACCURACY)), validation),
            ("test", self.metric("test_accuracy"), test.unwrap_or_default()),
        ];
        rows.into_iter().filter_map(|(split, value, rows)| Some((split, value?, rows))).collect()
    }
}

/// A YAML string: JSON's are a part of YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn front_matter(subject: &Subject<'_>) -> String {
    let mut text = "---\nlibrary_name: transformers\npipeline_tag: text2text-generation\n".to_owned();
    if let Some(lineage) = subject.lineage.filter(|lineage| lineage.base != "from_scratch") {
        let _ = writeln!(text, "base_model: {}", quoted(&lineage.base));
    }
    let _ = writeln!(text, "tags:\n- t5\n- stepwise\n- distilling-step-by-step\n- {}", quoted(&subject.card.task.name));
    let accuracies = subject.accuracies();
    if !accuracies.is_empty() {
        let _ = writeln!(text, "model-index:\n- name: {}\n  results:", quoted(subject.name));
    }
    for (split, value, rows) in accuracies {
        let _ = writeln!(
            text,
            "  - task: {{type: text2text-generation, name: {}}}\n    dataset: {{name: {}, type: jsonl, split: {split}}}\n    \
             metrics:\n    - {{type: accuracy, name: {split} accuracy, value: {value}}}",
            quoted(&subject.card.task.name),
            quoted(&rows)
        );
    }
    text + "---\n"
}

fn introduction(subject: &Subject<'_>) -> String {
    let parameters =
        subject.metric("parameters").map(|count| format!(" with {count:.0} parameters")).unwrap_or_default();
    format!(
        "# {}\n\nA T5{parameters} that answers with a label{}, trained by Distilling Step-by-Step (Hsieh et al., 2023, \
         arXiv 2305.02301).\n",
        subject.name,
        if subject.card.method == Method::Standard { "" } else { ", and with a rationale on request" },
    )
}

fn learned(subject: &Subject<'_>) -> String {
    let card = subject.card;
    let how = match card.method {
        Method::StepByStep => "`step_by_step`: label and rationale as two tasks, told apart by a prefix",
        Method::Standard => "`standard`: labels alone",
        Method::RationaleThenLabel => "`rationale_then_label`: rationale and label in one text",
    };
    let labels = match &card.task.label_set {
        LabelSet::Fixed(labels) => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        LabelSet::Choices => "the choices in the input".to_owned(),
        LabelSet::Open => "any text".to_owned(),
    };
    let mut text = format!(
        "## What it learned\n\n| | |\n|---|---|\n| task | `{}` |\n| labels | {labels} |\n| method | {how} |\n",
        card.task.name
    );
    if let Some(lineage) = subject.lineage {
        let whose = match lineage.label_source {
            LabelSource::Teacher => "those that the teacher gave",
            LabelSource::GroundTruth => "ground truth",
        };
        let _ = writeln!(text, "| labels learned | {whose} |");
    }
    let _ = writeln!(
        text,
        "| reads and writes | {} tokens of an input, {} of a label, {} of a rationale |",
        card.max_input_length, card.max_label_length, card.max_rationale_length
    );
    text
}

fn asking(subject: &Subject<'_>) -> String {
    let card = subject.card;
    let (label, length) = (quoted(&card.label_prefix), card.max_label_length);
    let (questions, note) = match (&card.rationale_prefix, card.method) {
        (_, Method::RationaleThenLabel) => (
            format!("print(ask({label} + text, {}))", card.max_label_length + card.max_rationale_length),
            format!("The answer reads `rationale{}label`.", single_target::SEPARATOR),
        ),
        (Some(prefix), Method::StepByStep) => (
            format!(
                "print(ask({label} + text, {length}))  # the label\nprint(ask({} + text, {}))  # the rationale",
                quoted(prefix),
                card.max_rationale_length
            ),
            "The prefix says which of its two tasks is meant.".to_owned(),
        ),
        _ => (
            format!("print(ask({label} + text, {length}))  # the label"),
            "The prefix is part of what it learned.".to_owned(),
        ),
    };
    format!(
        "## How to ask it\n\n```python\nfrom transformers import AutoTokenizer, T5ForConditionalGeneration\n\n\
         folder = \"PATH/TO/THIS/FOLDER\"\ntokenizer = AutoTokenizer.from_pretrained(folder)\n\
         model = T5ForConditionalGeneration.from_pretrained(folder)\n\n\ndef ask(question, max_new_tokens):\n    \
         inputs = tokenizer(question, return_tensors=\"pt\", truncation=True, max_length={})\n    \
         output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1)\n    \
         return tokenizer.decode(output[0], skip_special_tokens=True).rstrip()\n\n\ntext = \"…\"\n{questions}\n```\n\n{note} \
         In `stepwise`, put the folder below `models_dir` and ask for it by the folder's name: prefixes and label set are in \
         `stepwise.json`.\n",
        card.max_input_length
    )
}

fn accuracy(subject: &Subject<'_>) -> String {
    let accuracies = subject.accuracies();
    if accuracies.is_empty() {
        return "## Accuracy\n\nNot measured while it was trained.\n".to_owned();
    }
    let mut text =
        "## Accuracy\n\nShare of labels that are right in the model's own words (greedy), 0 to 1. The validation rows \
                    had a say in which step was kept; the test rows had none.\n\n| rows | accuracy |\n|---|---|\n"
            .to_owned();
    for (split, value, rows) in accuracies {
        let _ = writeln!(text, "| {split}: {rows} | {value:.4} |");
    }
    text
}

fn data(subject: &Subject<'_>) -> String {
    let Some(lineage) = subject.lineage else { return String::new() };
    let mut text =
        "## Data\n\n| use | file | rows | digest | labels and rationales by |\n|---|---|---|---|---|\n".to_owned();
    let training = lineage.training.iter().map(|source| ("training", source));
    let validation = lineage.validation.iter().map(|source| ("validation", source));
    let test = lineage.test.iter().map(|source| ("test", source));
    for (used_for, source) in training.chain(validation).chain(test) {
        let teacher = source.teacher.as_deref().map_or_else(String::new, |teacher| format!("teacher `{teacher}`"));
        let _ =
            writeln!(text, "| {used_for} | {} | {} | `{}` | {teacher} |", source.filename, source.rows, source.digest);
    }
    if let Some(fraction) = lineage.validation_fraction {
        let _ = writeln!(text, "\nOf the training rows, {:.4} % were held back for validation.", fraction * 100.0);
    }
    text
}

fn lineage(subject: &Subject<'_>) -> String {
    let Some(lineage) = subject.lineage else { return String::new() };
    let hyperparameters = serde_json::to_string(&lineage.hyperparameters).unwrap_or_default();
    let mut text = format!(
        "## Lineage\n\n- base: `{}`\n- job: `{}`\n- seed: {}\n",
        lineage.base, lineage.job, lineage.hyperparameters.seed
    );
    if let Some(id) = subject.id {
        let _ = writeln!(text, "- id: `{id}`");
    }
    if let Some(step) = lineage.step {
        let _ = writeln!(text, "- step: {step}; these are the weights of an unfinished training");
    }
    if lineage.method == Method::StepByStep {
        let _ = writeln!(text, "- alpha: {} (weight of the label's loss)", lineage.alpha);
    }
    let _ = writeln!(text, "- hyperparameters: `{hyperparameters}`");
    text
}

fn limitations(subject: &Subject<'_>) -> String {
    let mut text = "## Limitations\n\n".to_owned();
    let mut add = |sentence: &str| {
        let _ = writeln!(text, "- {sentence}");
    };
    if subject.card.method == Method::StepByStep {
        add(
            "The rationale is a second task of the same network. It did not cause the label, and the two may disagree.",
        );
    }
    if subject.lineage.is_some_and(|lineage| lineage.label_source == LabelSource::Teacher) {
        add("It learned a teacher's labels: the teacher's mistakes and leanings are in it.");
    }
    if subject.lineage.is_none() {
        add("Nothing is known here of the data that it learned from.");
    }
    if has_label_set(&subject.card.task) {
        add(
            "`generate` may write something that is no label. `stepwise` scores every label of the set and takes the likeliest, \
             so the two can differ.",
        );
    }
    add("Probabilities are the network's own and not calibrated.");
    add(&format!("An input of more than {} tokens is cut at its end.", subject.card.max_input_length));
    text
}

fn has_label_set(task: &TaskDefinition) -> bool {
    !matches!(task.label_set, LabelSet::Open)
}
