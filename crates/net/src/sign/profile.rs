//! Profiles of AWS' shared files, `~/.aws/credentials` and `~/.aws/config`.

use std::path::PathBuf;

use component::eval::Secret;

use super::aws::AwsEnvironment;
use super::sigv4::Keys;
use crate::error::{Error, Kind};
use crate::token::Token;

/// A profile of the shared files.
#[derive(Clone)]
pub(super) struct Profile {
    name: String,
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Profile {
    pub(super) fn new(name: &str, environment: &AwsEnvironment) -> Self {
        let name = match name {
            "" => environment.var("AWS_PROFILE").unwrap_or_else(|| "default".into()),
            name => name.to_owned(),
        };
        let home = environment.var("HOME").map(PathBuf::from);
        let file = |var: &str, default: &str| {
            environment.var(var).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(default)))
        };
        Self {
            name,
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
            config: file("AWS_CONFIG_FILE", ".aws/config"),
        }
    }

    /// A value of the profile, from either file.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        // The config file calls all but the default one "profile NAME".
        let in_config =
            if self.name == "default" { self.name.clone() } else { format!("profile {}", self.name) };
        [(&self.credentials, &self.name), (&self.config, &in_config)].into_iter().find_map(
            |(file, section)| ini_value(&std::fs::read_to_string(file.as_ref()?).ok()?, section, key),
        )
    }

    /// Its keys; an error where they come in a way that is not supported.
    pub(super) fn keys(&self) -> Result<Option<Token<Keys>>, Error> {
        let (Some(access_key), Some(secret_key)) =
            (self.get("aws_access_key_id"), self.get("aws_secret_access_key"))
        else {
            let other = ["role_arn", "sso_session", "sso_start_url", "credential_process"];
            return match other.iter().find(|key| self.get(key).is_some()) {
                Some(key) => {
                    let message = format!(
                        "AWS profile {:?} gets its keys through {key}, which is not supported: \
                         use keys in the profile, role_arn of the sigv4 block, or the environment",
                        self.name
                    );
                    Err(Error::new(Kind::Credentials, message))
                }
                None => Ok(None),
            };
        };
        let session_token = self.get("aws_session_token").map(Secret::from);
        let keys = Keys { access_key, secret_key: secret_key.into(), session_token };
        // Others may rotate the file; five minutes are what AWS' SDKs allow for.
        Ok(Some(Token::lasting(keys, Some(300))))
    }

    /// What to say where the profile was asked for and has no keys.
    pub(super) fn missing(&self) -> Error {
        Error::new(
            Kind::Credentials,
            format!("AWS profile {:?} has no keys in the shared credentials file", self.name),
        )
    }
}

fn ini_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.split_whitespace().eq(section.split_whitespace());
        } else if inside
            && let Some((k, v)) = line.split_once('=')
            && k.trim() == key
        {
            return Some(v.trim().to_owned());
        }
    }
    None
}

/// Reads any text as a shared file; for `tests/fuzz/fuzz_targets/credential_files.rs` only.
pub(super) fn read_arbitrary(text: &str, section: &str, key: &str) {
    if let Some(value) = ini_value(text, section, key) {
        assert!(text.contains(&value) && value == value.trim());
        let written = format!("[{section}]\n{key} = {value}\n");
        // Names that could stand in such a file.
        let plain = |name: &str| name == name.trim() && !name.contains(['[', ']', '=', '\n', '\r']);
        if plain(section) && plain(key) {
            assert_eq!(ini_value(&written, section, key), Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_in_both_files_under_its_two_names() {
        let text = "[default]\na = 1\n# x\n[profile two]\na=2\n";
        assert_eq!(ini_value(text, "default", "a").as_deref(), Some("1"));
        assert_eq!(ini_value(text, "profile two", "a").as_deref(), Some("2"));
        assert_eq!(ini_value(text, "two", "a"), None);
    }
}
