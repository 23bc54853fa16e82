//! A bare clone, as shallow as possible: what the remote calls a revision, and the objects of that commit.
//!
//! Data path: ask for the references that can be meant → pick a commit → fetch it with one commit of history.
//! Invariant: a commit that is given out is in the clone with all its files.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
use gix::credentials::helper::Action;
use gix::progress::Discard;
use gix::protocol::handshake::Ref;
use gix::protocol::transport::client::TransportWithoutIO as _;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::fetch::{Prepare, Shallow, Tags};
use gix::remote::{Direction, ref_map};

use crate::origin::Origin;

/// Every fetch leaves a pack; a clone with more of them is made anew rather than kept for ever.
const MAX_PACKS: usize = 32;

/// Why there is no commit or no work tree.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The remote does not answer or refuses.
    Remote(String),
    /// A fetch broke off, though the clone looks sound.
    Fetch(String),
    /// What is asked for does not exist.
    Request(String),
    /// The clone on disk cannot be used; a new one may.
    Clone(String),
}

impl Failed {
    pub(crate) fn clone<E: std::error::Error>(doing: &str) -> impl FnOnce(E) -> Self + '_ {
        move |error| Self::Clone(format!("{doing}: {}", chain(&error)))
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Remote(m) | Self::Fetch(m) | Self::Request(m) | Self::Clone(m) => m,
        }
    }
}

/// An error with what caused it, outermost first.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

/// A clone at hand.
pub(crate) struct Bare<'a> {
    pub(crate) repository: gix::Repository,
    origin: &'a Origin,
    /// Made just now, so that there is nothing to gain from making it anew.
    pub(crate) new: bool,
}

impl<'a> Bare<'a> {
    /// Opens the clone of `origin` in `dir`, or makes an empty one.
    pub(crate) fn open(dir: &Path, origin: &'a Origin, settings: &[String]) -> Result<Self, Failed> {
        let options = || {
            gix::open::Options::isolated()
                .with(gix::sec::Trust::Full)
                .config_overrides(settings.iter().cloned())
        };
        // A text that git keeps for people: it says whose clone this is.
        let description = dir.join("description");
        let ours = std::fs::read_to_string(&description).is_ok_and(|text| text == origin.shown());
        if ours && let Ok(repository) = gix::open_opts(dir, options()) {
            return Ok(Self { repository, origin, new: false });
        }
        remove(dir)?;
        let made = std::fs::create_dir_all(dir).map_err(|e| e.to_string()).and_then(|()| {
            let create = gix::create::Options::default();
            gix::ThreadSafeRepository::init_opts(dir, gix::create::Kind::Bare, create, options())
                .map_err(|e| chain(&e))
        });
        let repository = made
            .map_err(|e| Failed::Clone(format!("{} cannot be made a repository: {e}", dir.display())))?
            .to_thread_local();
        std::fs::write(&description, origin.shown()).map_err(Failed::clone("writing the description"))?;
        Ok(Self { repository, origin, new: true })
    }

    /// The commit that a revision means now. Tags go before branches, as in Alloy.
    pub(crate) fn commit_of(&self, revision: &str, interrupt: &AtomicBool) -> Result<ObjectId, Failed> {
        if let Ok(id) = ObjectId::from_hex(revision.as_bytes()) {
            // What a commit is never changes: no need to ask.
            if self.has(id) {
                return Ok(id);
            }
            let specs = [format!("+{id}:refs/import/{id}")];
            // Not every server gives out commits by their name.
            return match self.fetch(&specs, |_| Some(id), interrupt) {
                Ok(Some(id)) if self.has(id) => Ok(id),
                Err(Failed::Remote(message)) => Err(Failed::Remote(message)),
                _ => self.expression(revision, interrupt),
            };
        }
        let names = match revision.starts_with("refs/") {
            true => vec![revision.to_string()],
            false => vec![format!("refs/tags/{revision}"), format!("refs/heads/{revision}")],
        };
        let valid = names.iter().all(|name| gix::validate::reference::name(name.as_str().into()).is_ok());
        if valid {
            let specs: Vec<_> = names.iter().map(|name| format!("+{name}:{name}")).collect();
            let found =
                self.fetch(&specs, |refs| names.iter().find_map(|name| find(refs, name)), interrupt)?;
            if let Some(commit) = found {
                return Ok(commit);
            }
        }
        if !valid || is_expression(revision) {
            return self.expression(revision, interrupt);
        }
        Err(self.unknown(revision))
    }

    fn has(&self, id: ObjectId) -> bool {
        self.repository.find_object(id).is_ok_and(|object| object.peel_to_tree().is_ok())
    }

    fn unknown(&self, revision: &str) -> Failed {
        let shown = self.origin.shown();
        Failed::Request(format!("{shown} has no branch, tag or commit {revision:?}: correct revision"))
    }

    /// A part of a commit's name, or a walk from a name such as `main~2`: only the whole history can tell.
    fn expression(&self, revision: &str, interrupt: &AtomicBool) -> Result<ObjectId, Failed> {
        let specs = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"].map(String::from);
        let shallow = match self.repository.is_shallow() {
            Ok(true) => Shallow::undo(),
            _ => Shallow::NoChange,
        };
        let prepared = self.ask(&specs)?;
        self.receive(prepared, shallow, interrupt)?;
        let id = [revision.to_string(), format!("origin/{revision}")]
            .iter()
            .find_map(|spec| self.repository.rev_parse_single(spec.as_str()).ok())
            .ok_or_else(|| self.unknown(revision))?;
        let commit = id.object().and_then(|object| object.peel_to_commit());
        commit.map(|commit| commit.id).map_err(|_| self.unknown(revision))
    }

    /// Asks for references, lets `pick` choose a commit, and fetches it where it is not here.
    fn fetch(
        &self,
        specs: &[String],
        pick: impl Fn(&[Ref]) -> Option<ObjectId>,
        interrupt: &AtomicBool,
    ) -> Result<Option<ObjectId>, Failed> {
        let prepared = self.ask(specs)?;
        let Some(commit) = pick(&prepared.ref_map().remote_refs) else {
            return Ok(None);
        };
        if !self.has(commit) {
            let packs = std::fs::read_dir(self.repository.objects.store_ref().path().join("pack"));
            if packs.is_ok_and(|entries| entries.count() > 2 * MAX_PACKS) {
                return Err(Failed::Clone(format!("it holds the packs of {MAX_PACKS} fetches")));
            }
            self.receive(prepared, Shallow::DepthAtRemote(std::num::NonZeroU32::MIN), interrupt)?;
        }
        Ok(Some(commit))
    }

    fn ask(&self, specs: &[String]) -> Result<Prepare<'static, '_, Box<dyn Transport + Send>>, Failed> {
        let asked = || -> Result<_, gix::Error> {
            let remote = self.repository.remote_at_without_url_rewrite(self.origin.url())?;
            let remote = remote.with_fetch_tags(Tags::None);
            let remote = remote.with_refspecs(specs.iter().map(String::as_str), Direction::Fetch)?;
            let mut connection = remote.connect(Direction::Fetch)?;
            if let Some(identity) = self.origin.identity() {
                // Sent with the first request, as Alloy does; the transport forgets it where a redirect
                // leads to another host.
                connection.transport_mut().set_identity(identity)?;
            }
            // Instead of git's own way, which starts helpers and asks at the terminal.
            let refusal = self.origin.refusal();
            connection.set_credentials(move |action| match action {
                Action::Get(_) => Err(gix::error::message(refusal).into()),
                Action::Store(_) | Action::Erase(_) => Ok(None),
            });
            connection.prepare_fetch(Discard, ref_map::Options::default())
        };
        asked().map_err(|e| {
            let (shown, why, advice) = (self.origin.shown(), chain(&e), self.origin.advice());
            Failed::Remote(self.origin.scrub(&format!("{shown}: {why}; {advice}")))
        })
    }

    fn receive(
        &self,
        prepared: Prepare<'_, '_, Box<dyn Transport + Send>>,
        shallow: Shallow,
        interrupt: &AtomicBool,
    ) -> Result<(), Failed> {
        let received = prepared.with_shallow(shallow).receive(Discard, interrupt);
        received.map(drop).map_err(|e| {
            let message = format!("{}: fetching: {}", self.origin.shown(), chain(&e));
            let message = self.origin.scrub(&message);
            if self.is_sound() { Failed::Fetch(message) } else { Failed::Clone(message) }
        })
    }

    /// Whether everything that the clone has a name for is in it, as far as a short look tells.
    fn is_sound(&self) -> bool {
        let all = |names: &gix::reference::iter::Platform<'_>| -> Result<bool, gix::Error> {
            Ok(names
                .all()?
                .all(|name| name.is_ok_and(|name| name.try_id().is_some_and(|id| self.has(id.detach())))))
        };
        self.repository.references().is_ok_and(|names| all(&names).unwrap_or(false))
    }
}

/// What a reference points to, through a tag.
fn find(refs: &[Ref], wanted: &str) -> Option<ObjectId> {
    refs.iter().find_map(|r| match r {
        Ref::Peeled { full_ref_name, object, .. }
        | Ref::Direct { full_ref_name, object }
        | Ref::Symbolic { full_ref_name, object, .. } => {
            (full_ref_name.as_bytes() == wanted.as_bytes()).then_some(*object)
        }
        Ref::Unborn { .. } => None,
    })
}

/// Whether a revision that names no reference can still mean a commit.
fn is_expression(revision: &str) -> bool {
    let hex = revision.len() >= 4 && revision.bytes().all(|b| b.is_ascii_hexdigit());
    hex || revision.starts_with("origin/")
}

/// Removes what is at a path, if anything is.
pub(crate) fn remove(path: &Path) -> Result<(), Failed> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    removed.map_err(|e| Failed::Clone(format!("{} cannot be removed: {e}", path.display())))
}
