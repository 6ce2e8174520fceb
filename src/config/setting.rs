//! What one setting is: its names, its default, and who reads it.

/// What the variables of this program begin with.
pub const PREFIX: &str = "STEPWISE_";

/// Variables of others that say what a setting of ours does; ours counts first.
const OTHERS: [(&str, &str); 5] = [
    ("database_url", "DATABASE_URL"),
    ("hub_endpoint", "HF_ENDPOINT"),
    ("hub_cache", "HF_HUB_CACHE"),
    ("hub_token", "HF_TOKEN"),
    ("hub_offline", "HF_HUB_OFFLINE"),
];

/// One setting, which a flag, a variable and the file can all give.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file, in `stepwise settings` and in messages; its flag and its variable are made of it.
    pub key: &'static str,
    /// What stands for the value in `--help`.
    pub value: &'static str,
    /// What it is where nobody says otherwise.
    pub default: Preset,
    /// Whether its value may hold a password.
    pub secret: bool,
    /// The commands that read it.
    pub commands: &'static [&'static str],
    /// What it is for.
    pub meaning: &'static str,
}

/// A default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// This value.
    Is(&'static str),
    /// Found out at the start; in words.
    Found(&'static str),
    /// None.
    Nothing,
}

impl Setting {
    /// Its flag, without the dashes.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// Its variables; the first that is set and not empty counts.
    pub fn variables(&self) -> impl Iterator<Item = String> + use<> {
        let key = self.key;
        let others = OTHERS.into_iter().filter(move |(setting, _)| *setting == key).map(|(_, name)| name.to_owned());
        std::iter::once(format!("{PREFIX}{}", key.to_uppercase())).chain(others)
    }

    /// Whether a command takes its flag and reads it. `doctor` and `settings` look at all of them.
    pub fn is_read_by(&self, command: &str) -> bool {
        ["doctor", "settings"].contains(&command) || self.commands.contains(&command)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::find;

    use super::*;

    #[test]
    fn a_setting_is_named_alike_everywhere_and_read_from_others_variables_too() {
        let setting = find("database_url").unwrap();
        assert_eq!(setting.flag(), "database-url");
        assert_eq!(setting.variables().collect::<Vec<_>>(), ["STEPWISE_DATABASE_URL", "DATABASE_URL"]);
        assert_eq!(find("listen").unwrap().variables().collect::<Vec<_>>(), ["STEPWISE_LISTEN"]);
        for (key, _) in OTHERS {
            assert!(find(key).is_some(), "{key} is no setting");
        }
    }
}
