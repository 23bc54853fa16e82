//! Lines of Apache's `htpasswd`: `user:hash`.
//!
//! The hashes: `{SHA}` and bcrypt; text that begins like no hash is the password itself. Apache's own MD5 and
//! the hashes of `crypt` are not known: they are refused, never taken for a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::super::same;

/// As high as Apache's `htpasswd` goes. A check takes ten seconds then, and twice as long for each more.
const MOST_COST: u32 = 17;

/// How one password is stored.
enum Stored<'a> {
    Sha1(&'a str),
    Bcrypt(&'a str),
    Plain(&'a str),
}

impl<'a> Stored<'a> {
    fn of(text: &'a str) -> Option<Self> {
        if let Some(hash) = text.strip_prefix("{SHA}") {
            return Some(Self::Sha1(hash));
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            return Some(Self::Bcrypt(text));
        }
        // `$apr1$`, `$1$`, `$5$`, `$6$`, `{SSHA}` and whatever else looks like a hash.
        let is_hash = text.starts_with('$') || (text.starts_with('{') && text.contains('}'));
        (!is_hash).then_some(Self::Plain(text))
    }

    fn is(&self, password: &str) -> bool {
        match self {
            Self::Sha1(hash) => {
                same(STANDARD.encode(Sha1::digest(password.as_bytes())).as_bytes(), hash.as_bytes())
            }
            // What is no hash after all fits nothing.
            Self::Bcrypt(hash) => {
                cost(hash).is_some_and(|cost| cost <= MOST_COST)
                    && bcrypt::verify(password, hash).unwrap_or(false)
            }
            Self::Plain(text) => same(text.as_bytes(), password.as_bytes()),
        }
    }
}

/// Of a bcrypt hash: `$2b$12$…`.
fn cost(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

fn entries(lines: &str) -> impl Iterator<Item = &str> {
    lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Tells what is wrong with lines.
pub(super) fn check(lines: &str) -> Result<(), String> {
    for (number, line) in entries(lines).enumerate() {
        let Some((user, stored)) = line.split_once(':') else {
            return Err(format!("entry {} is not user:password", number + 1));
        };
        match Stored::of(stored) {
            Some(Stored::Bcrypt(hash)) if cost(hash).is_some_and(|cost| cost > MOST_COST) => {
                return Err(format!(
                    "the password of {user:?} would take minutes to check: use a bcrypt cost of at most {MOST_COST}"
                ));
            }
            Some(_) => {}
            None => {
                return Err(format!(
                    "the password of {user:?} is stored in a way that is not supported: use bcrypt"
                ));
            }
        }
    }
    Ok(())
}

/// Whether the first entry of a user has this password.
pub(super) fn knows(lines: &str, user: &str, password: &str) -> bool {
    let mut users = entries(lines).filter_map(|line| line.split_once(':'));
    let stored = users.find(|(name, _)| *name == user).and_then(|(_, stored)| Stored::of(stored));
    stored.is_some_and(|stored| stored.is(password))
}

/// Reads any text as lines; for `tests/fuzz/fuzz_targets/credential_files.rs` only.
pub(super) fn read_arbitrary(lines: &str, user: &str, password: &str) {
    let is_fit = check(lines).is_ok();
    // What bcrypt costs, a line says.
    if lines.contains("$2") {
        return;
    }
    knows(lines, user, password);
    let first = entries(lines).next().and_then(|line| line.split_once(':'));
    if is_fit && let Some((user, Some(Stored::Plain(stored)))) = first.map(|(u, s)| (u, Stored::of(s))) {
        assert!(knows(lines, user, stored), "what is stored as it is opens");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "# users\n\nplain:open\nsha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n\
        crypt:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\nold:$apr1$abc$def\n";

    #[test]
    fn a_password_is_known_however_it_is_stored() {
        let cases = [
            ("plain", "open", true),
            ("plain", "Open", false),
            ("sha", "password", true),
            ("sha", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", false),
            ("crypt", "myPassword", true),
            ("crypt", "mypassword", false),
            ("old", "$apr1$abc$def", false),
            ("nobody", "", false),
            ("# users", "", false),
        ];
        for (user, password, expected) in cases {
            assert_eq!(knows(LINES, user, password), expected, "{user} {password}");
        }
    }

    #[test]
    fn what_cannot_be_checked_is_told_before_anybody_is_turned_away() {
        assert!(check("a:b").is_ok());
        assert!(check("a").is_err_and(|e| e.contains("entry 1")));
        // Checking it would not end within a day.
        let dear = "a:$2b$31$......................AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(check(dear).is_err_and(|e| e.contains("at most 17")) && !knows(dear, "a", "a"));
        assert!(check(LINES).is_err_and(|e| e.contains("\"old\"") && e.contains("bcrypt")));
    }
}
