//! Answers in every form, and texts that are none.

use super::*;
use crate::task::builtin;

pub(super) const CHOICES: &str = "Where?\nAnswer Choices:\n(a) zoo\n(b) New York\n(c) pond";

pub(super) fn read_by(name: &str, input: &str, text: &str) -> ParsedAnswer {
    parse(&builtin::find(name).unwrap(), AnswerForm::RationaleThenLabel, input, text, false)
}

fn desk() -> TaskDefinition {
    let labels = ["refund", "exchange", "reject"].map(str::to_owned).to_vec();
    TaskDefinition { label_set: LabelSet::Fixed(labels), ..TaskDefinition::default() }
}

#[test]
fn each_form_gives_its_rationale_and_label_and_drops_what_runs_on() {
    for (name, text, rationale, label) in [
        ("esnli", " It rains.\nAnswer: neutral\n\nPremise: A\nAnswer: entailment", "It rains.", "neutral"),
        ("esnli", "It rains.\nAnswer: entailment\n\nPre", "It rains.", "entailment"),
        ("anli", "It rains. So the answer is neutral.\n\nPremise: B. So the answer is x.", "It rains.", "neutral"),
        ("cqa", "Only NY. So the answer is (b) New York.\n\nQ: What?", "Only NY.", "New York"),
        ("anli", "It rains. So the answer is Neutral.", "It rains.", "neutral"),
        ("svamp", "So 2 + 3. The answer is (2 + 3).\n\nQ: There are", "So 2 + 3.", "(2 + 3)"),
        ("text", "Reasoning: because\nAnswer: blue sky\n\nInput: b\nAnswer: c", "because", "blue sky"),
    ] {
        let parsed = read_by(name, CHOICES, text);
        assert_eq!(parsed.status, AnnotationStatus::Valid, "{name}: {parsed:?}");
        assert_eq!((parsed.rationale.as_deref(), parsed.label.as_deref()), (Some(rationale), Some(label)));
    }
}

#[test]
fn a_label_is_written_as_its_set_writes_it() {
    let parsed = parse(&desk(), AnswerForm::RationaleThenLabel, "", "In time.\nAnswer: **Refund.**\n", false);
    assert_eq!(parsed.label.as_deref(), Some("refund"));
}

#[test]
fn a_label_outside_the_set_is_invalid_and_the_reason_names_the_set() {
    let parsed =
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "In time.\nAnswer: store credit\n\nInput: x", false);
    assert_eq!((parsed.status, parsed.label), (AnnotationStatus::Invalid, None));
    assert_eq!(parsed.reason.unwrap(), r#"label "store credit" is not one of: refund, exchange, reject"#);
    let two = read_by("cqa", CHOICES, "Both. So the answer is either (a) zoo or (c) pond.");
    assert_eq!(two.status, AnnotationStatus::Invalid);
}

#[test]
fn an_equation_without_a_value_is_invalid() {
    for text in ["The answer is (25 + x).", "The answer is 5.", "The answer is (8 / 4) and (6 / 4)."] {
        assert_eq!(read_by("svamp", "", text).status, AnnotationStatus::Invalid, "{text}");
    }
}

#[test]
fn empty_refused_and_cut_off_answers_are_told_apart() {
    assert_eq!(parse(&desk(), AnswerForm::RationaleThenLabel, "", " \n", false).reason.unwrap(), "the text is empty");
    assert_eq!(
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "I’m sorry, but I can't.", false).status,
        AnnotationStatus::Refused
    );
    assert_eq!(
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "The order is in", true).status,
        AnnotationStatus::Truncated
    );
    assert_eq!(
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "In time.\nAnswer: ref", true).status,
        AnnotationStatus::Truncated
    );
    assert_eq!(
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "In time.\n\nInput: x", true).status,
        AnnotationStatus::Invalid
    );
    assert_eq!(
        parse(&desk(), AnswerForm::RationaleThenLabel, "", "In time.\nAnswer: reject\n\nInput: x", true).status,
        AnnotationStatus::Valid
    );
}

#[test]
fn a_label_without_reasoning_is_valid_and_has_no_rationale() {
    let parsed = parse(&desk(), AnswerForm::RationaleThenLabel, "", "Answer: reject", false);
    assert_eq!((parsed.status, parsed.rationale), (AnnotationStatus::Valid, None));
}

/// What is read of the desk's answer in another form than the paper's.
fn desk_says(form: AnswerForm, text: &str) -> ParsedAnswer {
    parse(&desk(), form, "", text, false)
}

pub(super) fn parts(parsed: &ParsedAnswer) -> (Option<&str>, Option<&str>) {
    (parsed.label.as_deref(), parsed.rationale.as_deref())
}

#[test]
fn thoughts_before_the_answer_are_not_its_rationale() {
    for text in [
        "<think>\nAnswer: reject?\nInput: no\n</think>\nIn time.\nAnswer: refund",
        "so</think>In time.\nAnswer: refund",
    ] {
        let parsed = desk_says(AnswerForm::RationaleThenLabel, text);
        assert_eq!(parts(&parsed), (Some("refund"), Some("In time.")), "{parsed:?}");
    }
    let endless = parse(&desk(), AnswerForm::RationaleThenLabel, "", "<think>hm. Answer: refund", true);
    assert_eq!(endless.status, AnnotationStatus::Truncated);
    let silent = parse(&desk(), AnswerForm::RationaleThenLabel, "", "", true);
    assert_eq!(silent.status, AnnotationStatus::Truncated, "all tokens went into thoughts that are not shown");
}

#[test]
fn a_label_may_come_first() {
    for text in [
        "refund\nReasoning: In time.",
        " Refund.\n\nIn time.\n\nInput: x\nAnswer: reject",
        "Answer: refund\nReasoning: In time.",
        "**Answer:** refund\n\n**Reasoning:** In time.",
        "refund. Reasoning: In time.",
    ] {
        let parsed = desk_says(AnswerForm::LabelThenRationale, text);
        assert_eq!(parts(&parsed), (Some("refund"), Some("In time.")), "{text:?} {parsed:?}");
    }
    let parsed = desk_says(AnswerForm::LabelThenRationale, "refund");
    assert_eq!((parsed.status, parsed.rationale), (AnnotationStatus::Valid, None));
    let parsed = desk_says(AnswerForm::LabelThenRationale, "In time.\nAnswer: refund");
    assert_eq!(parsed.reason.unwrap(), r#"label "In time." is not one of: refund, exchange, reject"#);
}

#[test]
fn a_rationale_that_was_cut_off_after_its_label_is_not_learned() {
    let cut = |text| parse(&desk(), AnswerForm::LabelThenRationale, "", text, true);
    assert_eq!(cut("refund\nReasoning: In ti").status, AnnotationStatus::Truncated);
    assert_eq!(cut("refund\nReasoning: In time.\n\nInput: an").status, AnnotationStatus::Valid);
}

#[test]
fn an_object_is_found_alone_in_a_fence_and_behind_a_sentence() {
    for text in [
        r#"{"rationale":"In time.","label":"refund"}"#,
        "```json\n{\n  \"label\": \"Refund\",\n  \"rationale\": \" In time. \"\n}\n```",
        r#"The set is {refund}: {"rationale":"In time.","label":"refund"} Done. {"label":"reject"}"#,
        r#"[{"note":1},{"rationale":"In time.","label":"refund","certain":true}]"#,
        "<think>{\"label\":\"reject\"}</think>{\"rationale\":\"In time.\",\"label\":\"refund\"}",
    ] {
        let parsed = desk_says(AnswerForm::Json, text);
        assert_eq!(parts(&parsed), (Some("refund"), Some("In time.")), "{text} {parsed:?}");
    }
}

#[test]
fn json_without_a_label_of_the_set_says_so() {
    for (text, reason) in [
        (r#"{"rationale":"In time."}"#, r#"the text holds no JSON object with a "label""#),
        (r#"{"rationale":"In time.","label":null}"#, r#"the text holds no JSON object with a "label""#),
        (r#"{"rationale":"In time.","label":["refund"]}"#, r#"the text holds no JSON object with a "label""#),
        (r#"{"rationale":"In time.","label":"#, r#"the text holds no JSON object with a "label""#),
        (r#"{"label":7}"#, r#"label "7" is not one of: refund, exchange, reject"#),
    ] {
        let parsed = desk_says(AnswerForm::Json, text);
        assert_eq!((parsed.status, parsed.reason.as_deref()), (AnnotationStatus::Invalid, Some(reason)), "{text}");
    }
    let cut = parse(&desk(), AnswerForm::Json, "", r#"{"rationale":"In ti"#, true);
    assert_eq!(cut.status, AnnotationStatus::Truncated);
    let whole = parse(&desk(), AnswerForm::Json, "", r#"{"rationale":"r","label":"refund"}  "#, true);
    assert_eq!(whole.status, AnnotationStatus::Valid);
}

#[test]
fn the_benchmarks_labels_are_read_in_the_other_forms() {
    for (name, form, text, label) in [
        ("cqa", AnswerForm::LabelThenRationale, "(b) New York\nReasoning: r", "New York"),
        ("cqa", AnswerForm::LabelThenRationale, "(b)\nReasoning: r", "New York"),
        ("cqa", AnswerForm::LabelThenRationale, "B.\nReasoning: r", "New York"),
        ("cqa", AnswerForm::Json, r#"{"rationale":"r","label":"new york"}"#, "New York"),
        ("cqa", AnswerForm::Json, r#"{"rationale":"r","label":"(b) new york"}"#, "New York"),
        ("svamp", AnswerForm::LabelThenRationale, "(2 + 3) = 5\nReasoning: r", "(2 + 3)"),
        ("svamp", AnswerForm::Json, r#"{"rationale":"r","label":"2 + 3"}"#, "2 + 3"),
        ("svamp", AnswerForm::Json, r#"{"rationale":"r","label":5}"#, "5"),
        ("esnli", AnswerForm::LabelThenRationale, "Neutral\nr", "neutral"),
    ] {
        let parsed = parse(&builtin::find(name).unwrap(), form, CHOICES, text, false);
        assert_eq!(parts(&parsed), (Some(label), Some("r")), "{text} {parsed:?}");
    }
    for torn in ["(a) pond\nReasoning: r", "(b) or (c)\nReasoning: r", "(d)\nReasoning: r"] {
        let parsed = parse(&builtin::find("cqa").unwrap(), AnswerForm::LabelThenRationale, CHOICES, torn, false);
        assert_eq!(parsed.status, AnnotationStatus::Invalid, "{torn} {parsed:?}");
    }
}

/// No text makes the parser panic, overflow its stack or take more than a moment for each byte.
#[test]
fn hostile_texts_are_no_more_than_unreadable() {
    let mut texts: Vec<String> =
        ["{", "[", "{\"a\":", "{\"label\":[", "(", "((a)", "\"", "\\u", "<think>", "</think>", "Answer:", "é{", "\0"]
            .into_iter()
            .map(|part| part.repeat(1_000_000 / part.len()))
            .collect();
    texts.push(format!("{{\"label\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)));
    texts.extend(
        ["Answer:(", "So the answer is(a)(", "The answer is)(", "{\"label\":\"\\ud800\"}", "(é"].map(str::to_owned),
    );
    for name in builtin::names() {
        let task = builtin::find(name).unwrap();
        for form in AnswerForm::ALL {
            for text in &texts {
                let parsed = parse(&task, form, text, text, false);
                assert!(parsed.reason.is_none_or(|reason| reason.len() < 2000), "{name}");
            }
        }
    }
}
