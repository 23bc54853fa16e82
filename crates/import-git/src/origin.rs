//! Where a repository is and who to be there.
//!
//! Invariants: what [`Origin::shown`] and [`Origin::scrub`] give holds no secret; a private key given as text
//! is on disk, readable by its owner only, no longer than one fetch takes.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gix::sec::identity::Account;
use gix::url::Scheme;

use crate::{BasicAuth, SshKey};

/// An address with its credentials.
pub(crate) struct Origin {
    url: gix::Url,
    identity: Option<Account>,
    key: Option<Key>,
    /// The ssh program; another one in tests.
    pub(crate) ssh: String,
}

/// The private key to show to an ssh server.
enum Key {
    Text(String),
    File(String),
}

impl Origin {
    /// Reads an address as git does: `https://`, `ssh://`, `git://`, `file://`, `user@host:path`, or a path.
    pub(crate) fn new(
        repository: &str,
        basic_auth: Option<&BasicAuth>,
        ssh_key: Option<&SshKey>,
    ) -> Result<Self, String> {
        // The parser's own message would repeat the address, and with it a password.
        let mut url = gix::url::parse(repository)
            .map_err(|_| "repository is not an address that git understands".to_string())?;
        let http = matches!(url.scheme, Scheme::Http | Scheme::Https);
        let ssh = url.scheme == Scheme::Ssh;
        if !http && !ssh && !matches!(url.scheme, Scheme::Git | Scheme::File) {
            let message = format!("repository: {} is not supported; use https, ssh, git or file", url.scheme);
            return Err(message);
        }
        if url.password().is_some() && !http {
            return Err("repository: only http and https take a password; use ssh_key with ssh".to_string());
        }
        if basic_auth.is_some() && !http {
            return Err("basic_auth is for http and https; use ssh_key with an ssh address".to_string());
        }
        if ssh_key.is_some() && !ssh {
            return Err("ssh_key is for ssh; use basic_auth with an https address".to_string());
        }
        let mut identity = None;
        if http && (url.user().is_some() || url.password().is_some()) {
            let password = url.set_password(None).unwrap_or_default();
            identity = url.set_user(None).map(|user| account(&user, &password));
        }
        if let Some(auth) = basic_auth {
            identity = Some(account(&auth.username, auth.password.reveal()));
        }
        let mut key = None;
        if let Some(ssh_key) = ssh_key {
            if !ssh_key.username.is_empty() {
                url.set_user(Some(ssh_key.username.clone()));
            }
            key = match (ssh_key.key.reveal(), ssh_key.key_file.as_str()) {
                ("", "") => None,
                ("", file) => Some(Key::File(file.to_string())),
                (text, _) => Some(Key::Text(text.to_string())),
            };
        }
        Ok(Self { url, identity, key, ssh: "ssh".to_string() })
    }

    /// The address, absolute where it is a path.
    pub(crate) fn url(&self) -> gix::Url {
        let mut url = self.url.clone();
        if let Ok(here) = std::env::current_dir()
            && url.canonicalize(&here).is_err()
        {
            return self.url.clone();
        }
        url
    }

    /// User and password to send.
    pub(crate) fn identity(&self) -> Option<Account> {
        self.identity.clone()
    }

    /// The address without password.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.url();
        url.set_password(None);
        url.to_bstring().to_string()
    }

    /// A message without what must not be shown.
    pub(crate) fn scrub(&self, message: &str) -> String {
        match self.identity.as_ref().map(|i| i.password.as_str()).filter(|p| !p.is_empty()) {
            Some(password) => message.replace(password, "***"),
            None => message.to_string(),
        }
    }

    /// What it means that the server is not content with who we are.
    pub(crate) fn refusal(&self) -> &'static str {
        match (&self.url.scheme, &self.identity) {
            (Scheme::Ssh, _) => "the server refuses the user or the key",
            (_, Some(_)) => "the server refuses the credentials",
            (_, None) => "the server wants credentials",
        }
    }

    /// What to do where the remote cannot be used.
    pub(crate) fn advice(&self) -> &'static str {
        match self.url.scheme {
            Scheme::Ssh => {
                "check the address, the ssh_key, that the program ssh is installed and that the host is in known_hosts"
            }
            Scheme::File => {
                "check the path, and that the program git is installed: it serves local repositories"
            }
            Scheme::Http | Scheme::Https if self.identity.is_none() => {
                "check the address and the network; a private repository needs a basic_auth block"
            }
            _ => "check the address, the network and the credentials",
        }
    }

    /// Settings of git for one fetch; what is returned with them must live as long as the fetch.
    pub(crate) fn settings(&self, data: &Path) -> Result<(Vec<String>, Option<KeyFile>), String> {
        if self.url.scheme != Scheme::Ssh {
            return Ok((Vec::new(), None));
        }
        // Nobody can answer a question; a host that is gone must not hold the fetch for ever.
        let mut command = quoted(&self.ssh)
            + " -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4";
        let mut written = None;
        let file = match &self.key {
            None => None,
            Some(Key::File(file)) => match std::fs::File::open(file) {
                Ok(_) => Some(file.clone()),
                Err(e) => return Err(format!("ssh_key: key_file {file} cannot be read: {e}")),
            },
            Some(Key::Text(text)) => {
                let file = KeyFile::write(data, text)?;
                let path = file.0.display().to_string();
                written = Some(file);
                Some(path)
            }
        };
        if let Some(file) = file {
            command += &format!(" -o IdentitiesOnly=yes -i {}", quoted(&file));
        }
        Ok((vec![format!("core.sshCommand={command}"), "ssh.variant=ssh".to_string()], written))
    }
}

fn account(username: &str, password: &str) -> Account {
    Account { username: username.to_string(), password: password.to_string(), oauth_refresh_token: None }
}

/// A word of a shell command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A private key on disk for as long as this lives: ssh takes keys from files only.
pub(crate) struct KeyFile(PathBuf);

impl KeyFile {
    fn write(data: &Path, text: &str) -> Result<Self, String> {
        let path = data.join("ssh-key");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(data)?;
            // One that a killed process left.
            if path.exists() {
                std::fs::remove_file(&path)?;
            }
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.trim_end().as_bytes())?;
            file.write_all(b"\n")
        };
        let file = Self(path.clone());
        write().map_err(|e| format!("ssh_key: {} cannot be written: {e}", path.display()))?;
        Ok(file)
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "the copy of the ssh key cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic() -> BasicAuth {
        BasicAuth { username: "u".to_string(), password: "hunter2".into() }
    }

    fn key(text: &str, file: &str) -> SshKey {
        SshKey {
            username: "git".to_string(),
            key: text.into(),
            key_file: file.to_string(),
            passphrase: "".into(),
        }
    }

    #[test]
    fn credentials_fit_the_kind_of_address_or_are_refused() {
        for (address, with_basic, with_key, works) in [
            ("https://h/r.git", true, false, true),
            ("http://h/r.git", true, false, true),
            ("https://h/r.git", false, true, false),
            ("ssh://git@h/r.git", false, true, true),
            ("git@h:r.git", false, true, true),
            ("git@h:r.git", true, false, false),
            ("ssh://git:pw@h/r.git", false, false, false),
            ("git://h/r.git", false, false, true),
            ("git://h/r.git", true, false, false),
            ("/srv/r.git", false, false, true),
            ("/srv/r.git", false, true, false),
            ("file:///srv/r.git", false, false, true),
            ("ext::sh -c id", false, false, false),
            ("", false, false, false),
        ] {
            let (basic, key) = (basic(), key("k", ""));
            let origin = Origin::new(address, with_basic.then_some(&basic), with_key.then_some(&key));
            assert_eq!(origin.is_ok(), works, "{address} {with_basic} {with_key}");
        }
    }

    #[test]
    fn what_is_shown_has_no_password_whether_it_was_in_the_address_or_in_the_block() {
        let origin = Origin::new("https://u:hunter2@h/r.git", None, None).unwrap();
        assert_eq!(origin.shown(), "https://h/r.git");
        assert_eq!(origin.identity(), Some(account("u", "hunter2")));
        assert_eq!(origin.scrub("https://u:hunter2@h/ failed"), "https://u:***@h/ failed");
        let origin = Origin::new("https://h/r.git", Some(&basic()), None).unwrap();
        assert_eq!(origin.scrub("hunter2"), "***");
        let error = Origin::new("https://u:hunter2@[h/r.git", None, None).err().unwrap();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_key_given_as_text_is_in_a_file_of_its_owner_only_while_it_is_needed() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let origin = Origin::new("host:r.git", None, Some(&key("PRIVATE", ""))).unwrap();
        let (settings, file) = origin.settings(data.path()).unwrap();
        let path = data.path().join("ssh-key");
        assert!(settings[0].contains(&format!("-i '{}'", path.display())), "{settings:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "PRIVATE\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
        assert_eq!(origin.url().user(), Some("git"));
    }

    #[test]
    fn a_key_file_that_is_not_there_is_named() {
        let origin = Origin::new("host:r.git", None, Some(&key("", "/nowhere/it's"))).unwrap();
        let error = origin.settings(Path::new("/nowhere")).err().unwrap();
        assert!(error.contains("/nowhere/it's cannot be read"), "{error}");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
