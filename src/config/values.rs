//! From the text of a setting to its value; an error says what would be right.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    domain::{JobKind, Secret, ServingPrecision, nearest},
    telemetry::LogFormat,
};

/// A whole number of at least `least`.
pub fn number<T: TryFrom<u64>>(least: u64) -> impl Fn(&str) -> Result<T, String> {
    number_within(least, u64::MAX)
}

/// A whole number from `least` to `most`.
pub fn number_within<T: TryFrom<u64>>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let number = text.replace('_', "").parse::<u64>().map_err(|_| "must be a whole number such as 8".to_owned())?;
        if number < least {
            return Err(format!("must be at least {least}"));
        }
        if number > most {
            return Err(format!("must be at most {most}"));
        }
        T::try_from(number).map_err(|_| "is too large".to_owned())
    }
}

/// An address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// Yes or no.
pub fn truth(text: &str) -> Result<bool, String> {
    // The Hub's own variables say it in all these ways.
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A folder, made absolute. No shell has seen what stands in a file, so `~/` is the account's own folder here.
pub fn folder(text: &str) -> Result<PathBuf, String> {
    let home = text.strip_prefix("~/").zip(std::env::home_dir());
    let folder = home.map_or_else(|| PathBuf::from(text), |(rest, home)| home.join(rest));
    std::path::absolute(folder).map_err(|error| format!("must be a folder: {error}"))
}

/// What a server is asked with. Never repeated.
pub fn secret(text: &str) -> Result<Secret, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| Secret::new(text.to_owned())).ok_or_else(|| "must be ASCII text without spaces".to_owned())
}

/// The name of a device; whether it is there is another question.
pub fn device(text: &str) -> Result<String, String> {
    let known = text == "cpu" || text == "cuda" || text.strip_prefix("cuda:").is_some_and(|n| n.parse::<u16>().is_ok());
    known.then(|| text.to_owned()).ok_or_else(|| "must be cpu, cuda or cuda:N with N counted from 0".to_owned())
}

/// The arithmetic of inference.
pub fn precision(text: &str) -> Result<ServingPrecision, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| "must be auto, bf16, fp32 or int8".to_owned())
}

/// Kinds of jobs, separated by commas.
pub fn kinds(text: &str) -> Result<Vec<JobKind>, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err("must name at least one kind: annotation, distillation, evaluation".to_owned());
    }
    let known = JobKind::ALL.map(JobKind::as_str);
    let kind = |name: &&str| name.parse().map_err(|_| format!("{name:?} is not a kind of job{}", nearest(name, known)));
    names.iter().map(kind).collect()
}

/// Names, separated by commas.
pub fn names(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> =
        text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { Err("must have at least one name".to_owned()) } else { Ok(names) }
}

/// A log filter in `tracing`'s syntax.
pub fn filter(text: &str) -> Result<String, String> {
    let right = |problem| format!("is not a log filter such as info or debug,sqlx=warn: {problem}");
    crate::telemetry::check_filter(text).map(|()| text.to_owned()).map_err(right)
}

/// How lines are logged.
pub fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

/// An address of the service, without a trailing slash.
pub fn service_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        return Err("must be an address such as http://127.0.0.1:8080".to_owned());
    }
    if text.contains('@') {
        return Err("must hold no user or password".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_with_what_would_be_right() {
        assert_eq!(number::<usize>(1)("0").unwrap_err(), "must be at least 1");
        assert_eq!(number::<u32>(1)("99999999999").unwrap_err(), "is too large");
        assert_eq!(number_within::<usize>(1, 1024)("100000000000000").unwrap_err(), "must be at most 1024");
        assert!(number::<u32>(1)("-3").unwrap_err().contains("such as 8"));
        assert!(kinds("anotation").unwrap_err().contains("did you mean \"annotation\"?"));
        assert!(kinds(" , ").unwrap_err().contains("at least one"));
        assert!(filter("debug=no=way").unwrap_err().contains("sqlx=warn"));
        for text in ["127.0.0.1:8080", "ftp://h", "http://", "http://u:p@h"] {
            assert!(service_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn good_values_are_read() {
        assert_eq!(number::<u32>(1)("1_000").unwrap(), 1000);
        assert_eq!(kinds("evaluation, annotation").unwrap(), [JobKind::Evaluation, JobKind::Annotation]);
        assert_eq!(service_url("http://h:1/").unwrap(), "http://h:1");
        assert_eq!(folder("~/a").ok(), std::env::home_dir().map(|home| home.join("a")));
        assert_eq!(folder("/b/~").unwrap(), PathBuf::from("/b/~"));
        assert!(device("cuda:3").is_ok() && device("cuda:x").is_err() && device("gpu").is_err());
    }
}
