//! What one setting is: its names, its default, and who reads it.

/// One setting, which a flag, a variable and the file can all give.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file, in `stepwise settings` and in messages.
    pub key: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// Its variables; the first that is set and not empty counts.
    pub variables: &'static [&'static str],
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
    /// Whether a command takes its flag and reads it. `doctor` and `settings` look at all of them.
    pub fn is_read_by(&self, command: &str) -> bool {
        ["doctor", "settings"].contains(&command) || self.commands.contains(&command)
    }
}
