//! The scripted teacher's faults over real HTTP: each is met, told apart by the client, and kept in the teacher's books.

use std::{collections::BTreeSet, io::Write, time::Duration};

use serde_json::Value;
use stepwise::{
    domain::AnswerForm,
    outbound::install_tls,
    task::{builtin, prompt},
    teacher::{
        Completion, CompletionRequest, TeacherClient, TeacherError, TeacherSettings,
        scripted::{Books, Faults, Memory, ScriptedSettings, ScriptedTeacher},
    },
};
use tempfile::NamedTempFile;

use crate::support::teacher::question;

const INPUT: &str = "A dog runs.</s>A pet moves.";

/// A scripted teacher that does this wrong, with its books.
struct Scripted {
    address: String,
    books: Books,
    _answers: NamedTempFile,
}

impl Scripted {
    async fn start(mix: &str, scale: f64, memory: Memory) -> Self {
        let mut answers = NamedTempFile::new().unwrap();
        let line = serde_json::json!({"input": INPUT, "llm_output": "A dog is a pet.\nAnswer: entailment"});
        writeln!(answers, "{line}").unwrap();
        let faults = Some(Faults { mix: mix.parse().unwrap(), seed: 5, scale });
        let settings = ScriptedSettings { faults, memory, ..ScriptedSettings::new(answers.path().to_owned()) };
        let teacher = ScriptedTeacher::bind(settings).await.unwrap();
        let (address, books) = (teacher.local_addr().to_string(), teacher.books());
        tokio::spawn(teacher.run(std::future::pending()));
        Self { address, books, _answers: answers }
    }

    /// Asks the one question under a key; a pace without limits, so that push-backs of other calls do not delay this one.
    async fn ask(&self, key: &str, timeout: Duration) -> Result<Completion, TeacherError> {
        let task = builtin::find("esnli").unwrap();
        let settings = TeacherSettings::new("scripted", &format!("http://{}/v1", self.address), "m");
        let settings = TeacherSettings { request_timeout: timeout, ..settings };
        let request = CompletionRequest {
            max_output_tokens: 64,
            idempotency_key: Some(key.to_owned()),
            ..question(prompt::chat(&task, AnswerForm::default(), INPUT))
        };
        TeacherClient::new(settings).unwrap().complete(&request).await
    }

    async fn error(&self, key: &str, timeout_ms: u64) -> TeacherError {
        let error = self.ask(key, Duration::from_millis(timeout_ms)).await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        error
    }
}

#[tokio::test]
async fn a_limited_call_is_a_push_back_whose_wish_is_read_in_both_forms_unless_it_is_absurd() {
    let teacher = Scripted::start("limited=1", 100.0, Memory::None).await;
    let mut wishes = Vec::new();
    for number in 0..120 {
        let error = teacher.error(&number.to_string(), 10_000).await;
        assert!(error.is_push_back() && error.is_rate_limit(), "{error:?}");
        wishes.push(error.retry_after());
    }
    let absurd = wishes.iter().filter(|wish| wish.is_none()).count();
    assert!((1..20).contains(&absurd), "{absurd} of 120");
    // Up to four hundred seconds: every wish that was kept is one that was meant.
    assert!(wishes.iter().flatten().all(|wish| *wish <= Duration::from_secs(400)), "{wishes:?}");
    // Dates have whole seconds, numbers have thousandths; when a date is read, part of a second is gone.
    assert!(wishes.iter().flatten().any(|wish| wish.subsec_nanos() % 1_000_000 != 0), "no date among them");
    assert!(wishes.iter().flatten().any(|wish| wish.subsec_nanos() % 1_000_000 == 0), "no number among them");
    assert_eq!((teacher.books.tally().calls, teacher.books.tally().billed), (120, 0));
}

#[tokio::test]
async fn failures_resets_hangs_and_trickles_are_told_apart() {
    let failing = Scripted::start("failing=1", 1.0, Memory::None).await;
    let mut statuses = BTreeSet::new();
    for number in 0..30 {
        match failing.error(&number.to_string(), 10_000).await {
            TeacherError::Status { status, .. } => statuses.insert(status.as_u16()),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(statuses, BTreeSet::from([500, 502, 529]));
    let reset = Scripted::start("reset=1", 1.0, Memory::None).await;
    assert!(matches!(reset.error("a", 10_000).await, TeacherError::BrokenOff { .. }));
    let hang = Scripted::start("hang=1", 1.0, Memory::None).await;
    assert!(matches!(hang.error("a", 200).await, TeacherError::TimedOut { .. }));
    let trickle = Scripted::start("trickle=1", 0.5, Memory::None).await;
    assert!(matches!(trickle.error("a", 6_000).await, TeacherError::TooSlow { .. }));
}

#[tokio::test]
async fn bad_replies_are_named_by_what_is_wrong_with_them() {
    let teacher = Scripted::start("bad=1", 1.0, Memory::None).await;
    let mut seen = BTreeSet::new();
    for number in 0..80 {
        let what = match teacher.ask(&number.to_string(), Duration::from_secs(10)).await {
            Ok(completion) if completion.finish_reason.as_deref() == Some("length") => "cut short",
            Ok(completion) => {
                assert!(completion.text.ends_with("Answer: something else"), "{completion:?}");
                "wrong label"
            }
            Err(TeacherError::BadReply { reason, .. }) => {
                let told = ["not JSON", "in the midst", "no choices", "announces", "has more than"];
                told.into_iter().find(|part| reason.contains(part)).unwrap_or_else(|| panic!("{reason}"))
            }
            Err(other) => panic!("{other:?}"),
        };
        seen.insert(what);
    }
    let all = ["announces", "cut short", "has more than", "in the midst", "no choices", "not JSON", "wrong label"];
    assert_eq!(seen, BTreeSet::from(all));
}

#[tokio::test]
async fn an_answer_that_stands_twice_in_a_reply_is_taken_once() {
    let teacher = Scripted::start("twice=1", 1.0, Memory::None).await;
    let completion = teacher.ask("a", Duration::from_secs(10)).await.unwrap();
    assert_eq!(completion.text, "A dog is a pet.\nAnswer: entailment");
    assert_eq!(teacher.books.tally().faults["twice"], 1);
}

#[tokio::test]
async fn a_remembered_key_is_charged_for_once_whatever_became_of_the_reply() {
    let teacher = Scripted::start("reset=0.5", 1.0, Memory::ByKey).await;
    for key in ["a", "b", "c"] {
        while teacher.ask(key, Duration::from_secs(10)).await.is_err() {}
        teacher.ask(key, Duration::from_secs(10)).await.ok();
    }
    install_tls();
    let reply = reqwest::get(format!("http://{}/tally", teacher.address)).await.unwrap();
    let tally: Value = reply.json().await.unwrap();
    assert_eq!((&tally["questions"], &tally["billed"], &tally["billed_twice"]), (&3.into(), &3.into(), &0.into()));
    assert!(tally["calls"].as_u64().unwrap() >= 6, "{tally}");
    assert_eq!(tally["came_at"].as_array().unwrap().len() as u64, tally["calls"].as_u64().unwrap());
}
