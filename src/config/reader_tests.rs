//! Which of several values counts, and what is refused.

use std::{collections::BTreeMap, io::Write};

use super::*;
use crate::config::SETTINGS;

/// Settings by flag, by variable and by file.
fn given(flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str) -> GivenSettings {
    let mut config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    config.write_all(file.as_bytes()).unwrap();
    let (_, path) = config.keep().unwrap();
    let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned()));
    let flags: BTreeMap<_, _> = flags.chain([("config", path.to_str().unwrap().to_owned())]).collect();
    GivenSettings::new(flags, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn faults(reading: &Reading) -> String {
    reading.faults.iter().map(|fault| format!("{fault}\n")).collect()
}

#[test]
fn a_flag_wins_over_a_variable_that_over_the_file_and_that_over_the_default() {
    let file = "threads = 3\nmax_models = 7\nmax_waiting = 9\n";
    let variables = [("STEPWISE_THREADS", "4"), ("STEPWISE_MAX_MODELS", "8")];
    let reading = given(&[("threads", "5")], &variables, file).read();
    let settings = &reading.settings;
    let found = (settings.threads, settings.max_models, settings.max_waiting, settings.database_connections);
    assert_eq!(found, (5, 8, 9, 10));
    let origins =
        ["threads", "max_models", "max_waiting", "device"].map(|key| reading.origin(key).unwrap().to_string());
    assert_eq!(origins[..2], ["--threads", "variable STEPWISE_MAX_MODELS"]);
    assert!(origins[2].ends_with(".toml:3") && origins[3] == "default", "{origins:?}");
}

#[test]
fn every_setting_of_the_list_is_read_and_every_default_is_good() {
    let reading = GivenSettings::default().read();
    let mut read: Vec<_> = reading.effective.iter().map(|effective| effective.key).collect();
    let mut known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    read.sort_unstable();
    known.sort_unstable();
    assert_eq!(read, known);
    assert_eq!(faults(&reading), "");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_where_it_came_from() {
    let reading =
        given(&[("threads", "0")], &[("STEPWISE_DATABASE_CONNECTIONS", "1")], "\nprecision = 'fp16'\nno_such = 1\n")
            .read();
    let text = faults(&reading);
    assert_eq!(reading.faults.len(), 4, "{text}");
    assert!(text.contains("threads = \"0\" (--threads): must be at least 1"), "{text}");
    assert!(text.contains("(variable STEPWISE_DATABASE_CONNECTIONS): must be at least 2"), "{text}");
    assert!(text.contains(".toml:2): must be auto, bf16, fp32 or int8"), "{text}");
    assert!(text.contains(".toml:3): there is no such setting"), "{text}");
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    let reading = given(&[], &[("STEPWISE_THREADS", "100000000000000")], "").read();
    let fault = "threads = \"100000000000000\" (variable STEPWISE_THREADS): must be at most 1024";
    assert_eq!(faults(&reading).trim_end(), fault);
    assert!((1..=1024).contains(&reading.settings.threads));
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    assert_eq!(given(&[], &[("STEPWISE_MAX_MODELS", "")], "").read().settings.max_models, 32);
}

#[test]
fn the_databases_own_variable_counts_where_ours_is_not_set() {
    let (ours, common) = (("STEPWISE_DATABASE_URL", "postgres://a/b"), ("DATABASE_URL", "postgres://c/d"));
    let shown =
        |variables: &[(&str, &str)]| given(&[], variables, "").read().settings.database_url.unwrap().to_string();
    assert_eq!((shown(&[common]), shown(&[ours, common])), ("postgres://c/d".to_owned(), "postgres://a/b".to_owned()));
}

#[test]
fn the_hub_is_found_by_its_own_variables() {
    let found = |variables: &[(&str, &str)], file: &str| {
        let reading = given(&[], variables, file).read();
        (reading.settings.hub_cache.display().to_string(), reading.origin("hub_cache").unwrap().to_string())
    };
    let (home, hub) = (("HOME", "/home/a"), ("HF_HOME", "/hf"));
    let place = |place: &str, origin: &str| (place.to_owned(), origin.to_owned());
    assert_eq!(found(&[home], ""), place("/home/a/.cache/huggingface/hub", "default"));
    assert_eq!(found(&[home, ("XDG_CACHE_HOME", "/c")], ""), place("/c/huggingface/hub", "default"));
    assert_eq!(found(&[home, hub], ""), place("/hf/hub", "variable HF_HOME"));
    assert_eq!(found(&[hub], "hub_cache = '/mine'").0, "/mine");
    assert_eq!(found(&[hub, ("HF_HUB_CACHE", "/c")], "hub_cache = '/mine'"), place("/c", "variable HF_HUB_CACHE"));
    let variables = [("HF_ENDPOINT", "http://mirror/"), ("HF_TOKEN", "hf_hidden"), ("HF_HUB_OFFLINE", "YES")];
    let reading = given(&[], &variables, "").read();
    let settings = &reading.settings;
    assert_eq!((settings.hub_endpoint.as_str(), settings.hub_offline), ("http://mirror", true));
    assert_eq!(settings.hub_token.as_ref().unwrap().reveal(), "hf_hidden");
    assert!(!format!("{reading:?}").contains("hidden"));
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    let reading = given(&[], &[("DATABASE_URL", "mysql://u:hidden@h")], "").read();
    assert!(faults(&reading).starts_with("database_url (variable DATABASE_URL)"), "{}", faults(&reading));
    assert!(!format!("{reading:?}").contains("hidden"));
    assert!(!faults(&given(&[], &[("HF_TOKEN", "hf hidden")], "").read()).contains("hidden"));
    let reading = given(&[("url", "http://u:hidden@h")], &[], "").read();
    assert_eq!(faults(&reading), "url (--url): must hold no user or password\n");
}

#[test]
fn a_variable_that_a_command_does_not_read_may_say_what_it_likes() {
    let foreign = || given(&[], &[("DATABASE_URL", "mysql://h")], "").read();
    assert!(foreign().accept("watch").is_ok());
    assert!(foreign().accept("serve").is_err());
    assert!(given(&[], &[], "database_url = 'mysql://h'").read().accept("watch").is_err(), "a file is ours");
}

#[test]
fn a_server_on_every_address_is_asked_at_this_machines_own() {
    assert_eq!(given(&[], &[], "listen = '0.0.0.0:80'").read().settings.url, "http://127.0.0.1:80");
    assert_eq!(given(&[], &[], "listen = '[::]:80'").read().settings.url, "http://[::1]:80");
}

#[test]
fn two_teachers_of_one_name_are_refused() {
    let teacher = "[[teachers]]\nname = 'a'\nbase_url = 'http://h/v1'\nmodel = 'm'\n";
    assert!(faults(&given(&[], &[], &teacher.repeat(2)).read()).contains("\"a\" is defined twice"));
}

#[test]
fn a_misspelled_variable_is_pointed_out() {
    let reading = given(&[], &[("STEPWISE_THREAD", "3"), ("STEPWISE_TEACHER_KEY", "k")], "").read();
    assert_eq!(reading.warnings, ["the variable STEPWISE_THREAD is no setting; did you mean STEPWISE_THREADS?"]);
}
