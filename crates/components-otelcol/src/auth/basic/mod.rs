//! `otelcol.auth.basic`: user name and password.

mod htpasswd;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use component::eval::{Invalid, Secret};
use component::otel::DebugMetrics;
use component::{Arguments, BuildCx, Error, Pure, Stability};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use net::Credential;

use super::{AuthExports, Denied, Handler, Scheme, secret_header};

/// `otelcol.auth.basic`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Args {
    /// User name, for clients and servers alike.
    #[arg(default)]
    pub username: String,
    /// Password, for clients and servers alike.
    #[arg(default)]
    pub password: Secret,
    /// Who a client says it is.
    #[arg(block)]
    pub client_auth: Option<ClientAuth>,
    /// Whom a server believes.
    #[arg(block)]
    pub htpasswd: Option<Htpasswd>,
    /// The component's own metrics.
    #[arg(block, no_effect = "the component has no metrics of its own")]
    pub debug_metrics: DebugMetrics,
}

/// Who a client says it is.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct ClientAuth {
    /// User name.
    #[arg(default)]
    pub username: String,
    /// File with the user name; read again for every request.
    #[arg(default)]
    pub username_file: String,
    /// Password.
    #[arg(default)]
    pub password: Secret,
    /// File with the password; read again for every request.
    #[arg(default)]
    pub password_file: String,
}

/// Whom a server believes: lines `user:password` as of Apache's `htpasswd`.
#[derive(Clone, Debug, Default, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct Htpasswd {
    /// File with such lines; read again for every request.
    #[arg(default)]
    pub file: String,
    /// Such lines; they come before those of the file.
    #[arg(default)]
    pub inline: String,
}

/// The component.
pub struct Basic;

impl Pure for Basic {
    const NAME: &'static str = "otelcol.auth.basic";
    const STABILITY: Stability = Stability::GenerallyAvailable;
    const DOCS: &'static str = include_str!("docs.md");
    type Args = Args;
    type Exports = AuthExports;

    fn evaluate(args: &Args, cx: &BuildCx) -> Result<AuthExports, Error> {
        Ok(AuthExports { handler: Handler::new(cx.id(), Scheme::Basic(args.clone())) })
    }
}

impl Args {
    fn validate(&self) -> Result<(), Invalid> {
        if self.username.is_empty() && self.client_auth.is_none() && self.htpasswd.is_none() {
            return Err(Invalid::field("username", "username, client_auth or htpasswd is needed"));
        }
        if self.username.contains(':') {
            return Err(Invalid::field("username", "cannot contain a colon"));
        }
        if self.username.is_empty() && !self.password.is_empty() {
            return Err(Invalid::field("password", "a password is of no use without username"));
        }
        Ok(())
    }

    /// User name and password of a client.
    pub(super) fn client(&self) -> Option<(Credential, Credential)> {
        match &self.client_auth {
            Some(auth) => Some((
                Credential::from_args(&Secret::from(auth.username.as_str()), &auth.username_file),
                Credential::from_args(&auth.password, &auth.password_file),
            )),
            None if self.username.is_empty() => None,
            None => Some((
                Credential::Inline(Secret::from(self.username.as_str())),
                Credential::Inline(self.password.clone()),
            )),
        }
    }

    pub(super) async fn sign(&self, headers: &mut HeaderMap) -> Result<(), net::Error> {
        let Some((username, password)) = self.client() else { return Ok(()) };
        let (username, password) = (username.read().await?, password.read().await?);
        let text = STANDARD.encode(format!("{}:{}", username.reveal(), password.reveal()));
        headers.insert(AUTHORIZATION, secret_header(&AUTHORIZATION, &format!("Basic {text}"))?);
        Ok(())
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        const NONE: Denied = Denied::Unauthenticated("user name and password are needed");
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(NONE)?;
        let (scheme, text) = given.split_once(' ').ok_or(NONE)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(NONE);
        }
        let text = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(NONE)?;
        let (user, password) = text.split_once(':').ok_or(NONE)?;
        let lines = self.lines().await.map_err(|e| Denied::Broken(e.to_string()))?;
        let (user, password) = (user.to_owned(), password.to_owned());
        // The hashes are made to take long.
        let known = tokio::task::spawn_blocking(move || {
            lines.iter().any(|lines| htpasswd::knows(lines.reveal(), &user, &password))
        });
        match known.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denied::Unauthenticated("user name or password is wrong")),
            Err(error) => Err(Denied::Broken(error.to_string())),
        }
    }

    /// What a server believes.
    async fn lines(&self) -> Result<Vec<Secret>, net::Error> {
        let mut lines = Vec::new();
        match &self.htpasswd {
            Some(htpasswd) => {
                lines.push(Secret::from(htpasswd.inline.as_str()));
                if !htpasswd.file.is_empty() {
                    lines.push(Credential::File(htpasswd.file.as_str().into()).read().await?);
                }
            }
            None if self.username.is_empty() => {}
            None => lines.push(Secret::from(format!("{}:{}", self.username, self.password.reveal()))),
        }
        Ok(lines)
    }
}

impl ClientAuth {
    fn validate(&self) -> Result<(), Invalid> {
        if self.username.is_empty() == self.username_file.is_empty() {
            return Err(Invalid::field("username", "one of username and username_file is needed"));
        }
        if !self.password.is_empty() && !self.password_file.is_empty() {
            return Err(Invalid::field("password_file", "password and password_file exclude each other"));
        }
        if self.username.contains(':') {
            return Err(Invalid::field("username", "cannot contain a colon"));
        }
        Ok(())
    }
}

impl Htpasswd {
    fn validate(&self) -> Result<(), Invalid> {
        if self.file.is_empty() && self.inline.is_empty() {
            return Err(Invalid::field("inline", "file or inline is needed"));
        }
        htpasswd::check(&self.inline).map_err(|message| Invalid::field("inline", message))
    }
}

/// Reads any text as lines of users; for `tests/fuzz` only.
#[doc(hidden)]
pub fn read_arbitrary(lines: &str, user: &str, password: &str) {
    htpasswd::read_arbitrary(lines, user, password);
}
