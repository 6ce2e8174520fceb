//! PostgreSQL's address, which may hold a password.

use std::fmt;

use crate::domain::{Secret, nearest};

/// Parameters that PostgreSQL's client understands. Others are refused: it would log them with their values.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// An address such as `postgres://user:password@host/database`. `Display` and `Debug` show it without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Secret);

impl DatabaseUrl {
    /// Takes an address that looks like one of PostgreSQL's.
    ///
    /// # Errors
    /// Says what would be right, and never repeats the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err("must be an address such as postgres://user:password@host:5432/database".to_owned());
        }
        let mut names = pairs(parts(text).1).map(|pair| pair.split('=').next().unwrap_or(pair));
        if let Some(name) = names.find(|name| !PARAMETERS.contains(name) && !name.starts_with("options[")) {
            // A name with other signs may be the tail of a password that was not percent-encoded.
            let shown = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            let name = if shown { format!("{name:?}") } else { "(not shown)".to_owned() };
            return Err(format!("has the unknown parameter {name}{}", nearest(&name, PARAMETERS)));
        }
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// The whole address, for connecting.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, parameters) = parts(self.reveal());
        f.write_str(&without_password(address))?;
        for (place, pair) in pairs(parameters).enumerate() {
            let mark = if place == 0 { '?' } else { '&' };
            match pair.split_once('=') {
                Some((name @ "password", _)) => write!(f, "{mark}{name}=…")?,
                _ => write!(f, "{mark}{pair}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The address proper and its parameters. A question mark before the last `@` is part of a password that was not
/// percent-encoded.
fn parts(url: &str) -> (&str, &str) {
    let host = url.rfind('@').unwrap_or(0);
    match url[host..].find('?') {
        Some(mark) => (&url[..host + mark], &url[host + mark + 1..]),
        None => (url, ""),
    }
}

fn pairs(parameters: &str) -> impl Iterator<Item = &str> {
    parameters.split('&').filter(|pair| !pair.is_empty())
}

/// Hides too much rather than too little: a password that was not percent-encoded may hold any sign, so everything
/// from the first colon to the last `@` goes.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return "…".to_owned() };
    match rest.rsplit_once('@') {
        None => address.to_owned(),
        Some((user, host)) => match user.split_once(':') {
            None => address.to_owned(),
            Some((user, _)) => format!("{scheme}://{user}:…@{host}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for (address, shown) in [
            ("postgres://u:pw@h:1/d?sslmode=require", "postgres://u:…@h:1/d?sslmode=require"),
            ("postgresql://u:p/w@x@h/d", "postgresql://u:…@h/d"),
            ("postgres://u:p?w@h/d", "postgres://u:…@h/d"),
            ("postgres://u@h/d?password=pw&host=/run", "postgres://u@h/d?password=…&host=/run"),
            ("postgres:///d?host=/run", "postgres:///d?host=/run"),
        ] {
            let url = DatabaseUrl::parse(address).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
            assert_eq!(url.reveal(), address);
        }
    }

    #[test]
    fn both_spellings_of_a_parameter_are_taken() {
        let parameters = "ssl-mode=disable&sslmode=disable&ssl-root-cert=/ca&ssl-ca=/ca&sslrootcert=/ca&ssl-cert=/c";
        DatabaseUrl::parse(&format!("postgres://u@h/d?{parameters}")).unwrap();
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for address in ["", "u:pw@h/d", "mysql://u:pw@h/d", "postgres://u@h/d?passwort=pw"] {
            let error = DatabaseUrl::parse(address).unwrap_err();
            assert!(!error.contains("pw@") && !error.contains("=pw"), "{error}");
        }
        assert!(DatabaseUrl::parse("postgres://h/d?passwort=x").unwrap_err().contains("did you mean \"password\"?"));
    }
}
