//! What a teacher's settings may be.

use super::*;
use crate::domain::Tokens;

#[test]
fn a_table_of_the_configuration_makes_a_teacher() {
    let settings: TeacherSettings = toml::from_str(
        "name = 'a'\nbase_url = 'http://h/v1/'\nmodel = 'm'\napi_key_env = 'K'\nrequest_timeout_seconds = 5\nusd_per_million_input_tokens = 2.0",
    )
    .unwrap();
    assert_eq!(settings.endpoint().unwrap().as_str(), "http://h/v1/chat/completions");
    assert_eq!((settings.max_concurrency, settings.request_timeout), (16, Duration::from_secs(5)));
    assert_eq!(settings.prices().cost_usd(Tokens { input: 500_000, output: 7 }), 1.0);
}

#[test]
fn unknown_fields_and_keys_in_the_file_are_refused() {
    let table = "name = 'a'\nbase_url = 'http://h/v1'\nmodel = 'm'\n";
    for extra in ["api_key = 'k'", "timeout = 3", "request_timeout_seconds = 0"] {
        assert!(toml::from_str::<TeacherSettings>(&format!("{table}{extra}")).is_err(), "{extra}");
    }
}

#[test]
fn what_is_left_out_is_named_by_what_can_be() {
    let read = |extra: &str| {
        let table = format!("name = 'a'\nbase_url = 'http://h/v1'\nmodel = 'm'\n{extra}");
        toml::from_str::<TeacherSettings>(&table).map_err(|error| error.message().to_owned())
    };
    let reasoning = "max_tokens_parameter = 'max_completion_tokens'\nleave_out = ['temperature', 'stop', 'seed', 'idempotency_key']";
    let settings = read(reasoning).unwrap();
    assert_eq!(settings.max_tokens_parameter, MaxTokensParameter::MaxCompletionTokens);
    assert_eq!(settings.leave_out.len(), 4);
    for (wrong, right) in
        [("leave_out = ['top_p']", "`idempotency_key`"), ("max_tokens_parameter = 'n'", "`max_tokens`")]
    {
        let error = read(wrong).unwrap_err();
        assert!(error.contains(right), "{error}");
    }
}

#[test]
fn an_address_that_cannot_be_used_or_would_leak_is_refused() {
    for url in ["", "host:8000", "ftp://h", "http://user:pw@h/v1", "http://h/v1?key=k"] {
        let error = TeacherSettings::new("a", url, "m").endpoint().unwrap_err();
        assert!(!error.to_string().contains("pw"), "{error}");
    }
}

#[test]
fn a_key_that_is_not_set_is_named_by_its_variable() {
    let mut settings = TeacherSettings::new("a", "http://h/v1", "m");
    settings.api_key_env = Some("STEPWISE_NO_SUCH_KEY".to_owned());
    assert!(settings.key().unwrap_err().to_string().contains("STEPWISE_NO_SUCH_KEY"));
}

#[test]
fn every_fault_is_named_and_a_key_in_the_variables_place_is_not_shown() {
    let mut settings = TeacherSettings::new("a", "ftp://h", "m");
    settings.api_key_env = Some("sk-hidden".to_owned());
    settings.max_concurrency = 0;
    settings.tokens_per_minute = Some(0);
    settings.usd_per_million_input_tokens = -1.0;
    let faults = settings.faults();
    assert_eq!(faults.len(), 5, "{faults:?}");
    assert!(!faults.concat().contains("sk-hidden"), "{faults:?}");
}

#[test]
fn the_table_of_keys_names_exactly_those_that_are_read() {
    let error = toml::from_str::<TeacherSettings>("no_such_key = 1").unwrap_err().message().to_owned();
    let listed = error.split_once("expected one of").unwrap().1;
    let read: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
    assert_eq!(TEACHER_KEYS.map(|[key, ..]| key).to_vec(), read);
}

#[test]
fn a_key_is_not_shown() {
    let mut settings = TeacherSettings::new("a", "http://h/v1", "m");
    settings.api_key = Some(Secret::new("sk-hidden".to_owned()));
    assert!(!format!("{settings:?}").contains("sk-hidden"));
}
