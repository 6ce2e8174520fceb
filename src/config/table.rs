//! The README's tables of settings, made of the lists that the program itself reads.

use super::{
    setting::{Preset, Setting},
    settings::{CONFIG, LISTS, SETTINGS},
};
use crate::teacher::TEACHER_KEYS;

/// Both tables, as the README has them.
pub fn markdown() -> String {
    let head = "| in the file | variable | flag | default | read by | meaning |\n|---|---|---|---|---|---|\n";
    let config = row("", &CONFIG);
    let settings: String = SETTINGS.iter().map(|setting| row(&format!("`{}`", setting.key), setting)).collect();
    let lists: String = LISTS.iter().map(|[key, meaning]| format!("| `{key}` | | | none | | {meaning} |\n")).collect();
    let teachers = "\n| key of `[[teachers]]` | default | meaning |\n|---|---|---|\n";
    let keys: String = TEACHER_KEYS.iter().map(|[key, default, meaning]| teacher_row(key, default, meaning)).collect();
    format!("{head}{config}{settings}{lists}{teachers}{keys}")
}

fn row(key: &str, setting: &Setting) -> String {
    let variables: Vec<String> = setting.variables().map(|name| format!("`{name}`")).collect();
    let default = match setting.default {
        Preset::Is(value) => format!("`{value}`"),
        Preset::Found(words) => words.to_owned(),
        Preset::Nothing => "none".to_owned(),
    };
    let Setting { value, commands, meaning, .. } = setting;
    let (flag, variables, commands) = (setting.flag(), variables.join(", "), commands.join(", "));
    format!("| {key} | {variables} | `--{flag} {value}` | {default} | {commands} | {meaning} |\n")
}

fn teacher_row(key: &str, default: &str, meaning: &str) -> String {
    let default = if default.is_empty() { "required" } else { default };
    format!("| `{key}` | {default} | {meaning} |\n")
}
