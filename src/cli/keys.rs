//! `stepwise keys`: API keys, straight in the database, so that the first one can be made. It needs no running service; the
//! database is the one of `database_url`, or else the private one of `stepwise up` in `data_dir`, running or not.

use std::{fmt::Write, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{CommandError, launch, preflight, print, up};
use crate::{
    clock::Clock,
    config::{GivenSettings, Settings},
    domain::{ApiKey, KEY_ENTROPY, KeyId, KeyText, ProjectId, Scope},
    postgres::{Cluster, ClusterError},
    store::{NewApiKey, Store},
};

/// Connections that one command needs.
const CONNECTIONS: u32 = 2;
/// Longest name of a key, in characters.
const LONGEST_NAME: usize = 100;

/// What to do with keys.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    given: GivenSettings,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a key and print it, this once; from the first key on the service takes no requests without one
    Create {
        /// What people call it: whoever or whatever holds it
        #[arg(long, value_parser = name)]
        name: String,
        /// What it may do: read, submit, infer, admin, separated by commas; none includes another
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<Scope>,
        /// Whose files, jobs and models it reaches; a name that is new makes a project
        #[arg(long, value_name = "NAME", value_parser = name, default_value = "default")]
        project: String,
        /// How long it is good, such as 12h or 30d; for ever when left out
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<Duration>,
    },
    /// List every key; secrets are stored nowhere and cannot be shown
    List,
    /// Revoke a key; a running service refuses it within 30 seconds
    Revoke {
        /// Its id, as `keys list` shows it: the 8 letters and digits behind sw_
        #[arg(value_name = "ID")]
        id: KeyId,
    },
}

/// Does it.
pub fn run(arguments: Arguments) -> Result<(), CommandError> {
    let settings = preflight::settings_for("keys", &arguments.given)?;
    launch::block_on(async {
        let (store, cluster) = database(&settings).await?;
        let done = act(&store, arguments.task).await;
        drop(cluster);
        done
    })
}

/// The database, with the cluster that was started for the command alone.
async fn database(settings: &Settings) -> Result<(Store, Option<Cluster>), CommandError> {
    if let Some(url) = &settings.database_url {
        return Ok((migrated(url.reveal()).await?, None));
    }
    let folder = settings.data_dir.join("postgres");
    match Cluster::start(&folder) {
        Ok(cluster) => {
            cluster.create_database(up::DATABASE).await?;
            let store = migrated(&cluster.url(up::DATABASE)).await?;
            Ok((store, Some(cluster)))
        }
        Err(ClusterError::InUse(_)) => Ok((migrated(&running(&folder)?).await?, None)),
        Err(error) => Err(error.into()),
    }
}

/// The address of the server that `stepwise up` runs.
fn running(folder: &Path) -> Result<String, CommandError> {
    let url = Cluster::url_of_running(folder, up::DATABASE);
    url.ok_or_else(|| {
        format!("{} is in use, and its server does not run yet; try again in a moment", folder.display()).into()
    })
}

async fn migrated(url: &str) -> Result<Store, CommandError> {
    let store = Store::connect(url, CONNECTIONS).await?;
    store.migrate().await?;
    Ok(store)
}

async fn act(store: &Store, task: Task) -> Result<(), CommandError> {
    match task {
        Task::Create { name, scopes, project, expires } => {
            let project = store.project_named(&project, ProjectId(Clock::system().new_id())).await?;
            let scopes = scopes.into_iter().collect();
            create(store, |key| NewApiKey { key, project, name, scopes, lifetime: expires }).await
        }
        Task::List => print(&table(&store.list_api_keys().await?)),
        Task::Revoke { id } if store.revoke_api_key(&id).await? => {
            eprintln!("key {id} is revoked; a running service refuses it within 30 seconds");
            Ok(())
        }
        Task::Revoke { id } => Err(format!("there is no key {id}; `stepwise keys list` shows all").into()),
    }
}

async fn create(store: &Store, with: impl FnOnce(KeyText) -> NewApiKey) -> Result<(), CommandError> {
    let mut chance = [0; KEY_ENTROPY];
    getrandom::fill(&mut chance).map_err(|error| format!("this machine has no random bytes to give: {error}"))?;
    let key = KeyText::new(&chance);
    store.create_api_key(&with(key.clone())).await?;
    eprintln!("key {} is made; it is shown this once and stored nowhere, so keep it:", key.id);
    print(&format!("{}\n", key.reveal()))
}

/// A line a key.
fn table(keys: &[ApiKey]) -> String {
    let mut text = format!(
        "{:<8}  {:<8}  {:<24}  {:<16}  {:<24}  {:<16}  {:<16}  {:<16}  state\n",
        "id", "ends in", "name", "project", "scopes", "created", "expires", "last used"
    );
    for key in keys {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let state = match key {
            ApiKey { revoked_at: Some(_), .. } => "revoked",
            ApiKey { is_expired: true, .. } => "expired",
            _ => "good",
        };
        let _ = writeln!(
            text,
            "{:<8}  {:<8}  {:<24}  {:<16}  {:<24}  {:<16}  {:<16}  {:<16}  {state}",
            key.id.as_str(),
            key.last_four,
            key.name,
            key.project,
            scopes.join(","),
            moment(Some(key.created_at)),
            moment(key.expires_at),
            moment(key.last_used_at),
        );
    }
    text
}

fn moment(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string())
}

/// A name that fits a line.
fn name(text: &str) -> Result<String, String> {
    let fits = (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("must be 1 to {LONGEST_NAME} characters of one line")) }
}

/// A number of minutes, hours or days.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong =
        || "must be a number of minutes, hours or days above 0, such as 90m, 12h or 30d, up to 36500d".to_owned();
    let (number, minutes) = [("m", 1), ("h", 60), ("d", 24 * 60)]
        .into_iter()
        .find_map(|(unit, minutes)| Some((text.strip_suffix(unit)?, minutes)))
        .ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let minutes = number.checked_mul(minutes).filter(|minutes| (1..=36500 * 24 * 60).contains(minutes));
    minutes.map(|minutes| Duration::from_secs(minutes * 60)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_number_with_a_unit() {
        for (text, seconds) in [("90m", 5400), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(lifetime(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "30", "0d", "-1d", "1.5h", "36501d", "99999999999999999999d", "30 d", "30s"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert!(name("the dashboard").is_ok());
        for text in ["", "a\nb", "a\u{1b}[2J", "x".repeat(101).as_str()] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }
}
