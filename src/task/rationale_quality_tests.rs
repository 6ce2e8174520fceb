//! Crafted rationales, good and bad; real ones are counted in `tests/it/rationale_quality.rs`.

use RationaleFault::{ContradictsLabel, EmptyOfLabel, RepeatsItself, RestatesInput};

use super::*;
use crate::task::builtin;

const SHOP: &str =
    "Where do you buy bread?\nAnswer Choices:\n(a) bakery\n(b) city\n(c) math\n(d) math class\n(e) the end of";

#[track_caller]
fn finds(task: &TaskDefinition, input: &str, label: &str, rationale: &str, faults: &[RationaleFault]) {
    assert_eq!(RationaleChecks::of(task).faults(input, label, rationale), faults, "{label}: {rationale}");
}

fn desk(labels: &[&str]) -> TaskDefinition {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    TaskDefinition { label_set: LabelSet::Fixed(labels), ..TaskDefinition::default() }
}

#[test]
fn another_label_at_the_end_contradicts_its_own() {
    let desk = desk(&["refund", "exchange", "reject"]);
    for (label, rationale, is_fault) in [
        ("refund", "It came late, so the customer gets an exchange.", true),
        ("refund", "It came late. So the answer is exchange.", true),
        ("refund", "A refund was asked for. The answer is: reject", true),
        ("refund", "They wanted an exchange. It arrived broken, so a refund is due.", false),
        ("refund", "They wanted an exchange. It arrived broken.", false),
        ("refund", "It came in time, so there is no reason to reject it.", false),
        ("refund", "The customer does not want an exchange.", false),
        ("reject", "It was rejected rather than exchanged for a refund.", false),
        ("refund", "Either an exchange or to reject it would be wrong.", false),
        ("refund", "It came in time and it is broken.", false),
    ] {
        finds(&desk, "a parcel", label, rationale, if is_fault { &[ContradictsLabel] } else { &[] });
    }
}

#[test]
fn everyday_words_name_a_label_only_where_they_are_said_to_be_the_answer() {
    let task = desk(&["yes", "no"]);
    finds(&task, "q", "yes", "There is no receipt and none is needed here.", &[]);
    finds(&task, "q", "yes", "A receipt is needed here, so the answer is no.", &[ContradictsLabel]);
}

#[test]
fn a_choice_is_named_by_any_form_of_its_words() {
    let cqa = builtin::find("cqa").unwrap();
    for (label, rationale, faults) in [
        ("bakery", "It must be a place with bread. Of the above choices, only bakeries have bread.", &[][..]),
        ("city", "Of the above choices, only cities have it.", &[]),
        ("city", "Of the above choices, only bakeries have it.", &[ContradictsLabel, EmptyOfLabel]),
        ("math class", "Of the above choices, only a math class has it.", &[]),
        ("math", "Of the above choices, only a math class has it.", &[]),
        ("bakery", "Of the above choices, only a math class has it.", &[ContradictsLabel, EmptyOfLabel]),
        ("bakery", "Of the above choices, only a shop has it.", &[EmptyOfLabel]),
        ("the end of", "Of the above choices, only the end has it.", &[]),
    ] {
        finds(&cqa, SHOP, label, rationale, faults);
    }
}

#[test]
fn arithmetic_that_comes_to_another_value_contradicts_its_label() {
    let svamp = builtin::find("svamp").unwrap();
    for (label, rationale, faults) in [
        ("(7 - 3)", "He had 7 and gave 3. So he has 7 - 3 = 4 left.", &[][..]),
        ("(7 - 3)", "He had 7 and gave 3. So he has 7 - 3 = 5 left.", &[ContradictsLabel]),
        ("(68 - 36)", "36 - 68 = -32. So 32 more got off.", &[]),
        ("(1216 / 16)", "16 * x = 1216. So x = 1216 / 16.", &[]),
        ("(193 / 15)", "193 / 15 = 12.87 pages.", &[]),
        ("(244 * 146)", "In 146 days that is 244 * 146 = 35,624 drums.", &[]),
        ("(244 * 146)", "In 146 days that is 244 * 146 = 35,984 drums.", &[ContradictsLabel]),
        ("(2 * 5)", "Nothing is said of how many there are.", &[EmptyOfLabel]),
        ("(25 + x)", "There are 25 and some more.", &[]),
    ] {
        finds(&svamp, "q", label, rationale, faults);
    }
}

#[test]
fn a_copy_of_the_input_is_no_reason() {
    let input = "The lamp was bought nine days ago. It has a crack.";
    let task = desk(&["refund", "reject"]);
    finds(&task, input, "refund", "The lamp was bought nine days ago.", &[RestatesInput]);
    finds(&task, input, "refund", "the lamp was bought NINE days ago; it has a crack!", &[RestatesInput]);
    finds(&task, input, "refund", "The lamp was bought nine days ago, and 30 are in time.", &[]);
    finds(&task, input, "refund", "It has a crack.", &[]);
}

#[test]
fn saying_it_again_is_no_reason() {
    let task = desk(&["refund", "reject"]);
    let looped = "The customer has a receipt for it. ".repeat(3);
    finds(&task, "q", "refund", &looped, &[RepeatsItself]);
    let list = "The dog is not a man. The dog is not a cat. The dog is not a gun. The dog is not a bird.";
    finds(&task, "q", "refund", list, &[RepeatsItself]);
    let twice = "It must be something that people eat. Of these, only bread is something that people eat.";
    finds(&task, "q", "refund", twice, &[]);
}

#[test]
fn a_bare_label_is_no_reason() {
    let task = desk(&["store credit", "reject"]);
    for rationale in ["So the answer is store credit.", "Store credit.", "N/A", "-", "None."] {
        finds(&task, "q", "store credit", rationale, &[EmptyOfLabel]);
    }
    for rationale in ["It's raining.", "A man is a person.", "因为包裹来晚了"] {
        finds(&task, "q", "store credit", rationale, &[]);
    }
}

#[test]
fn fingerprints_are_those_of_the_words() {
    assert_eq!(fingerprint("A man is  a person."), fingerprint("a MAN is a person"));
    assert_ne!(fingerprint("A man is a person."), fingerprint("A person is a man."));
}

#[test]
fn a_label_inside_of_a_longer_one_is_not_named() {
    let task = desk(&["refund", "store", "store credit", "credit", "full store credit now"]);
    for (rationale, is_fault) in [
        ("So they get store credit.", true),
        ("So they get full store credit now.", true),
        ("So they get store credit, and credit.", false),
        ("So they get full store credit now, not store credit.", true),
    ] {
        finds(&task, "q", "refund", rationale, if is_fault { &[ContradictsLabel] } else { &[] });
    }
}

/// Each pair of places of one label would be compared: thirteen billion times for the first text.
#[test]
fn one_label_over_and_over_is_looked_at_once() {
    let task = desk(&["refund", "exchange", "exchange card"]);
    let checks = RationaleChecks::of(&task);
    for (part, count) in [("exchange ", 116_000), ("exchange card ", 58_000), ("not exchange ", 58_000)] {
        let faults = checks.faults("q", "refund", &part.repeat(count));
        assert_eq!(faults.contains(&ContradictsLabel), part != "not exchange ", "{part}");
    }
}

#[test]
fn hostile_texts_are_examined_to_their_end() {
    let texts =
        ["= ".repeat(200_000), "a ".repeat(200_000), "é".repeat(200_000), "1=1,".repeat(100_000), "\n(a) a".repeat(50)];
    for name in builtin::names() {
        let task = builtin::find(name).unwrap();
        for text in &texts {
            RationaleChecks::of(&task).faults(text, text, text);
        }
    }
}
