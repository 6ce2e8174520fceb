//! The tasks that have a name: the paper's four benchmarks, and `text` for everything else. The paper never released its
//! prompts; their surface forms follow from the teacher's published completions, and the worked examples here are ours.

use crate::domain::{LabelSet, Scorer, SurfaceForm, TaskDefinition, WorkedExample};

/// The built-in tasks' names.
pub fn names() -> [&'static str; 5] {
    ["esnli", "anli", "cqa", "svamp", "text"]
}

/// The built-in task of this name.
pub fn find(name: &str) -> Option<TaskDefinition> {
    let (label_set, scorer, form, shown): (_, _, _, &[[&str; 3]]) = match name {
        "esnli" => (nli(), Scorer::ExactMatch, SurfaceForm::Esnli, &ESNLI),
        "anli" => (nli(), Scorer::ExactMatch, SurfaceForm::Anli, &ANLI),
        "cqa" => (LabelSet::Choices, Scorer::ExactMatch, SurfaceForm::Cqa, &CQA),
        "svamp" => (LabelSet::Open, Scorer::Arithmetic, SurfaceForm::Svamp, &SVAMP),
        "text" => (LabelSet::Open, Scorer::ExactMatch, SurfaceForm::Text, &[]),
        _ => return None,
    };
    let worked_examples = shown.iter().map(worked_example).collect();
    Some(TaskDefinition { name: name.to_owned(), label_set, scorer, form, instructions: None, worked_examples })
}

fn nli() -> LabelSet {
    LabelSet::Fixed(["entailment", "neutral", "contradiction"].map(str::to_owned).to_vec())
}

fn worked_example(parts: &[&str; 3]) -> WorkedExample {
    let [input, rationale, label] = parts.map(str::to_owned);
    WorkedExample { input, rationale, label }
}

const ESNLI: [[&str; 3]; 3] = [
    [
        "Two girls are building a snowman in a garden.</s>The girls are asleep in bed.",
        "Girls who build a snowman in a garden are not asleep in bed.",
        "contradiction",
    ],
    ["A man in a red cap sells apples at a market.</s>A man sells fruit.", "Apples are fruit.", "entailment"],
    [
        "A woman waits for a bus in the rain.</s>The woman is late for work.",
        "A woman who waits for a bus is not necessarily late, nor on her way to work.",
        "neutral",
    ],
];

const ANLI: [[&str; 3]; 3] = [
    [
        "The old mill on the river was closed in 1931 and reopened as a museum in 1978.</s>The mill was a museum in 1950.",
        "The mill became a museum only in 1978. In 1950 it was closed.",
        "contradiction",
    ],
    [
        "Lena Marsh wrote four novels, the last of which, Salt, won two prizes.</s>Lena Marsh wrote more than three books.",
        "The premise says that she wrote four novels, and four is more than three.",
        "entailment",
    ],
    [
        "The ferry crosses the bay twice a day and carries up to sixty cars.</s>The ferry is painted white.",
        "The premise says how often the ferry crosses and what it carries. It does not mention its color.",
        "neutral",
    ],
];

const CQA: [[&str; 3]; 3] = [
    [
        "Where would you put a wet umbrella when you come home?\nAnswer Choices:\n(a) bookshelf\n(b) hallway stand\n\
         (c) oven\n(d) bed\n(e) cloud",
        "The answer must be a place near the door where water does no harm. Of the above choices, only a hallway stand is.",
        "hallway stand",
    ],
    [
        "What does a baker need early in the morning?\nAnswer Choices:\n(a) flour\n(b) snow\n(c) lawn mower\n\
         (d) tent\n(e) violin",
        "The answer must be something that bread is made of. Of the above choices, only flour is.",
        "flour",
    ],
    [
        "The audience stood up and clapped, what had the singer done?\nAnswer Choices:\n(a) left early\n(b) slept\n\
         (c) forgot the words\n(d) lost her voice\n(e) sung well",
        "The answer must be something that pleases an audience. Of the above choices, only singing well does.",
        "sung well",
    ],
];

const SVAMP: [[&str; 3]; 3] = [
    [
        "Omar had 7 pears. He gave 3 of them to his sister.\nHow many pears does he have left?",
        "Omar started with 7 pears and gave 3 away. So he has 7 - 3 = 4 pears left.",
        "(7 - 3)",
    ],
    [
        "A box holds 6 eggs. The shop has 12 boxes and 5 baskets.\nHow many eggs do the boxes hold?",
        "There are 12 boxes with 6 eggs each. The baskets do not matter. So they hold 12 * 6 = 72 eggs.",
        "(12 * 6)",
    ],
    [
        "Rita read 4 pages on Monday and 9 pages on Tuesday. Her book has 30 pages.\nHow many pages must she still read?",
        "Rita has read 4 + 9 = 13 pages of 30. So she must still read 30 - 13 = 17 pages.",
        "(30 - (4 + 9))",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AnswerForm;
    use crate::task::{answer, prompt, scoring};

    #[test]
    fn every_name_is_found_and_no_other() {
        assert!(names().into_iter().all(|name| find(name).is_some_and(|task| task.name == name)));
        assert_eq!(find("squad"), None);
    }

    #[test]
    fn a_worked_example_parses_to_its_own_label_and_rationale_in_every_form() {
        for (task, form) in
            names().into_iter().filter_map(find).flat_map(|task| AnswerForm::ALL.map(|form| (task.clone(), form)))
        {
            for example in &task.worked_examples {
                let shown = TaskDefinition { worked_examples: vec![example.clone()], ..task.clone() };
                let text = prompt::chat(&shown, form, "x").remove(1).content;
                let unshown = TaskDefinition { worked_examples: vec![], ..task.clone() };
                let asked = prompt::chat(&unshown, form, &example.input).remove(1).content;
                let parsed = answer::parse(&task, form, &example.input, text.strip_prefix(&asked).unwrap(), false);
                assert!(scoring::is_correct(&task, &parsed.label.unwrap(), &example.label), "{}", task.name);
                assert_eq!(parsed.rationale.as_ref(), Some(&example.rationale));
            }
        }
    }
}
