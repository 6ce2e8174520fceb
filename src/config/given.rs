//! What a person said on the command line and in the environment. Implemented by hand rather than derived, so that the
//! one list of settings makes the flags, and every value's origin is known.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::{
    fault::Origin,
    file::File,
    setting::{PREFIX, Preset, Setting},
    settings::{CONFIG, SETTINGS},
    values,
};
use crate::domain::{Secret, nearest};

/// The folder of everything that `huggingface_hub` keeps.
const HUB_HOME: &str = "HF_HOME";
/// The account's folder of caches.
const CACHE_HOME: &str = "XDG_CACHE_HOME";
/// The account's folder.
const HOME: &str = "HOME";

/// Flags and variables as they were given. Values may hold secrets, so they are kept as such.
#[derive(Debug, Clone, Default)]
pub struct GivenSettings {
    flags: BTreeMap<&'static str, Secret>,
    variables: BTreeMap<String, Secret>,
}

impl GivenSettings {
    /// These flags by key, and the environment by name.
    pub fn new(flags: BTreeMap<&'static str, String>, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let flags = flags.into_iter().map(|(key, value)| (key, Secret::new(value))).collect();
        // A variable that is set to nothing is not set: compose files and unit files cannot say it otherwise.
        let told = variables.into_iter().filter(|(_, value)| !value.is_empty());
        Self { flags, variables: told.map(|(name, value)| (name, Secret::new(value))).collect() }
    }

    /// A setting's value by flag or variable, and which it was.
    pub(super) fn find(&self, setting: &'static Setting) -> Option<(String, Origin)> {
        if let Some(value) = self.flags.get(setting.key) {
            return Some((value.reveal().to_owned(), Origin::Flag(setting.flag())));
        }
        setting.variables().find_map(|name| {
            let value = self.variables.get(&name)?;
            Some((value.reveal().to_owned(), Origin::Variable(name)))
        })
    }

    /// Where the Hub's cache is unless a setting says so, by the rules of `huggingface_hub`: in `HF_HOME`, else in the account's
    /// folder of caches. An account without a home has it where the command is run.
    pub(super) fn hub_cache(&self) -> (PathBuf, Origin) {
        let folder = |name: &str| self.variables.get(name).map(|value| PathBuf::from(value.reveal()));
        if let Some(home) = self.variables.get(HUB_HOME).and_then(|home| values::folder(home.reveal()).ok()) {
            return (home.join("hub"), Origin::Variable(HUB_HOME.to_owned()));
        }
        let caches = folder(CACHE_HOME).or_else(|| folder(HOME).map(|home| home.join(".cache")));
        let cache = caches.unwrap_or_else(|| PathBuf::from(".cache")).join("huggingface/hub");
        (std::path::absolute(&cache).unwrap_or(cache), Origin::Default)
    }

    /// The configuration file, if one is named.
    pub(super) fn file(&self) -> File {
        let named = self.find(&CONFIG);
        named.map_or_else(File::default, |(path, origin)| File::read(&PathBuf::from(path), origin))
    }

    /// Variables that look like settings that were misspelled. No more than a warning: other programs may set their own.
    pub(super) fn misspelled(&self) -> Vec<String> {
        let known: Vec<String> = SETTINGS.iter().chain([&CONFIG]).flat_map(Setting::variables).collect();
        let unknown = self.variables.keys().filter(|name| name.starts_with(PREFIX) && !known.contains(name));
        let bare = || known.iter().filter_map(|name| name.strip_prefix(PREFIX));
        let advice = |name: &String| nearest(name.trim_start_matches(PREFIX), bare());
        unknown
            .filter_map(|name| {
                let meant = advice(name).split('"').nth(1)?.to_owned();
                Some(format!("the variable {name} is no setting; did you mean {PREFIX}{meant}?"))
            })
            .collect()
    }
}

impl Args for GivenSettings {
    fn augment_args(command: Command) -> Command {
        let name = command.get_name().to_owned();
        let read = [&CONFIG].into_iter().chain(SETTINGS).filter(|setting| setting.is_read_by(&name));
        // A command with commands of its own takes its flags before and behind their names.
        let has_commands = name == "keys";
        command.args(read.map(|setting| argument(setting).global(has_commands)).collect::<Vec<_>>())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GivenSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |setting: &'static Setting| {
            let value = matches.try_get_one::<String>(setting.key).ok().flatten()?;
            Some((setting.key, value.clone()))
        };
        Ok(Self::new([&CONFIG].into_iter().chain(SETTINGS).filter_map(flag).collect(), environment()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Every value is taken as text: what is wrong with it is told with all other faults, not alone and first.
fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        Preset::Is(value) | Preset::Found(value) => format!(" [default: {}]", value.replace('`', "")),
        Preset::Nothing => String::new(),
    };
    let variables: Vec<String> = setting.variables().collect();
    let help = format!("{}{default} [{}]", sentence(setting.meaning), variables.join(", "));
    let argument =
        Arg::new(setting.key).long(setting.flag()).value_name(setting.value).help(help).action(ArgAction::Set);
    if setting.value == "BOOL" { argument.num_args(0..=1).default_missing_value("true") } else { argument }
}

/// The meaning as the other lines of a help text begin.
fn sentence(meaning: &str) -> String {
    let (first, rest) = meaning.split_at(1);
    format!("{}{}", first.to_uppercase(), rest.replace('`', ""))
}

/// The variables that may be meant for us and can be read as text.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let known: Vec<String> = SETTINGS.iter().flat_map(Setting::variables).collect();
    let places = [HUB_HOME, CACHE_HOME, HOME];
    text.filter(move |(name, _)| name.starts_with(PREFIX) || known.contains(name) || places.contains(&name.as_str()))
}
