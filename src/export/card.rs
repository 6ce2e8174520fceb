//! The model card: what a model learned, how it wants to be asked, how good it is, and what it cannot do. It says what is
//! known of this model, by its lineage, its method and whose labels it learned, and nothing where nothing is known.

mod asking;
mod calibration;
mod figures;
mod front_matter;
mod seeds;

use std::fmt::Write;

use serde_json::{Map, Value};

use self::figures::figures;
use crate::domain::{
    LabelSet, LabelSource, LearnedTexts, Lineage, Method, PartLengths, RationaleChoice, RationaleShuffle, Split,
    StudentCard, Truncated,
};

/// A model and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it wants to be asked; none for a folder that does not say.
    pub card: Option<&'a StudentCard>,
    /// Its id; none for a folder.
    pub id: Option<&'a str>,
    /// Figures that are kept of it outside its folder, by metric name.
    pub metrics: &'a Map<String, Value>,
    /// What it was made of and how; none where that is not known.
    pub lineage: Option<&'a Lineage>,
}

/// The card as `README.md`: front matter for the Hub, then a page for people.
pub fn render(subject: &Subject<'_>) -> String {
    let parts = [
        front_matter::render(subject),
        introduction(subject),
        learned(subject),
        asking::render(subject.card),
        accuracy(subject),
        calibration::render(subject),
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
}

fn introduction(subject: &Subject<'_>) -> String {
    let parameters =
        subject.metric("parameters").map(|count| format!(" with {count:.0} parameters")).unwrap_or_default();
    let answers = match subject.card.map(|card| card.method) {
        None => ". Nothing came with it that says what it learned",
        Some(Method::StepByStep) => " that answers with a label, and with a rationale on request",
        Some(Method::Standard) => " that answers with a label",
        Some(Method::RationaleThenLabel) => " that writes a rationale and then a label",
    };
    let trained = subject.lineage.map_or("", trained);
    format!("# {}\n\nA T5{parameters}{answers}{trained}.\n", subject.name)
}

/// How it was trained, as the end of a sentence.
fn trained(lineage: &Lineage) -> &'static str {
    match (lineage.method, lineage.label_source) {
        (Method::StepByStep, LabelSource::Teacher) => {
            ", trained on a teacher's labels and rationales by Distilling Step-by-Step (Hsieh et al., 2023, arXiv 2305.02301)"
        }
        (Method::StepByStep, LabelSource::GroundTruth) => {
            ", trained on ground truth and rationales by Distilling Step-by-Step (Hsieh et al., 2023, arXiv 2305.02301)"
        }
        (Method::Standard, LabelSource::Teacher) => ", trained on a teacher's labels alone (standard distillation)",
        (Method::Standard, LabelSource::GroundTruth) => ", trained on ground truth alone (standard fine-tuning)",
        (Method::RationaleThenLabel, LabelSource::Teacher) => {
            ", trained on a teacher's rationales and labels as one text"
        }
        (Method::RationaleThenLabel, LabelSource::GroundTruth) => {
            ", trained on rationales and ground truth as one text"
        }
    }
}

fn learned(subject: &Subject<'_>) -> String {
    let Some(card) = subject.card else { return String::new() };
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
    if let Some(LearnedTexts { max_lengths, truncated }) = card.learned {
        let PartLengths { input, label, rationale } = max_lengths;
        let Truncated { inputs, labels, rationales, rows } = truncated;
        let _ = writeln!(
            text,
            "| learned from | at most {input} tokens of an input, {label} of a label, {rationale} of a rationale; cut there: \
             {inputs} inputs, {labels} labels, {rationales} rationales, in {rows} rows |"
        );
    }
    text
}

fn accuracy(subject: &Subject<'_>) -> String {
    let figures = figures(subject);
    let mut text = "## Accuracy\n\n".to_owned();
    if figures.is_empty() {
        let nothing = "No figure of its training is recorded.\n";
        return subject.lineage.map_or_else(String::new, |_| text + nothing);
    }
    text += "Share of rows that it answers with their label in its own words (greedy), 0 to 1.";
    let is_finished = subject.lineage.is_some_and(|lineage| lineage.step.is_none());
    if is_finished && figures.iter().any(|figure| figure.split == Split::Validation) {
        text += " The validation rows had a say in which step was kept.";
    }
    text += "\n\n| rows | scored by | accuracy |\n|---|---|---|\n";
    for figure in &figures {
        let _ = writeln!(text, "| {} | {} | {:.4} |", figure.rows(), figure.scored_by, figure.accuracy);
    }
    if figures.iter().any(|figure| figure.scored_by.has_teacher()) {
        text += "\nA row that is scored by the teacher's label tells whether the student agrees with the teacher, mistakes included, \
                 not whether it is right.\n";
    }
    text + &seeds::render(subject.card)
}

fn data(subject: &Subject<'_>) -> String {
    let Some(lineage) = subject.lineage else { return String::new() };
    let mut text =
        "## Data\n\n| use | file | rows in it | digest | labels and rationales by |\n|---|---|---|---|---|\n"
            .to_owned();
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
        lineage.base,
        lineage.job,
        lineage.seed.unwrap_or(lineage.hyperparameters.seed)
    );
    if let Some(commit) = &lineage.base_commit {
        let _ = writeln!(text, "- base's commit: `{commit}`");
    }
    if let Some(id) = subject.id {
        let _ = writeln!(text, "- id: `{id}`");
    }
    if let Some(step) = lineage.step {
        let _ = writeln!(text, "- step: {step}; these are the weights of an unfinished training");
    }
    if lineage.method == Method::StepByStep {
        let _ = writeln!(text, "- alpha: {} (weight of the label's loss)", lineage.alpha);
    }
    if lineage.rationales != RationaleChoice::default() {
        let _ = writeln!(text, "- rationales: `{}`", serde_json::to_string(&lineage.rationales).unwrap_or_default());
    }
    let _ = writeln!(text, "- hyperparameters: `{hyperparameters}`");
    text
}

fn limitations(subject: &Subject<'_>) -> String {
    let mut text = "## Limitations\n\n".to_owned();
    let mut add = |sentence: &str| {
        let _ = writeln!(text, "- {sentence}");
    };
    if subject.card.is_some_and(|card| card.method == Method::StepByStep) {
        add(
            "The rationale is a second task of the same network. It did not cause the label, and the two may disagree.",
        );
    }
    if subject.lineage.is_some_and(|lineage| lineage.label_source == LabelSource::Teacher) {
        add("It learned a teacher's labels: the teacher's mistakes and leanings are in it.");
    }
    if subject.lineage.is_some_and(|lineage| lineage.rationales.shuffle != RationaleShuffle::None) {
        add("A control: its rationales were shuffled while it learned, so what it writes for one means nothing.");
    }
    if subject.lineage.is_none() {
        add("Nothing is known here of the data that it learned from.");
    }
    if subject.card.is_some_and(|card| !matches!(card.task.label_set, LabelSet::Open)) {
        add(
            "`generate` may write something that is no label. `stepwise` scores every label of the set and takes the likeliest, \
             so the two can differ.",
        );
    }
    add(calibration::limitation(subject));
    if let Some(card) = subject.card {
        add(&format!("An input of more than {} tokens is cut at its end.", card.max_input_length));
        let learned = card.learned.map_or(u32::MAX, |learned| learned.max_lengths.input);
        if learned < card.max_input_length {
            add(&format!("It learned from inputs of at most {learned} tokens: longer ones are read, but untried."));
        }
    }
    text
}

/// A JSON string, which is one of YAML's and of Python's too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
