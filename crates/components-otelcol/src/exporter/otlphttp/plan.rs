//! Everything about the client that follows from the configuration, without I/O.

use std::sync::Arc;
use std::time::Duration;

use component::{BuildCx, Error};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};
use net::{ClientOptions, Poster, shown_url};

use super::args::{self, Args};
use super::post::Post;
use crate::auth::Handler;
use crate::exporter::sending::{Queueing, Setup, Writing};
use crate::signals::Kind;

/// As Go's clients.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Plans for the three signals, or what is wrong with the arguments.
pub(super) fn plans(args: &Args, cx: &BuildCx) -> Result<Setup, Error> {
    let client = &args.client;
    let poster = poster(client, cx)?;
    let headers = headers(client, cx)?;
    let (encoding, word) = client.compression.encoding();
    let level = client.level().map_err(|message| Error::argument("client", message))?;
    let queueing = Queueing {
        queue: args.sending_queue.clone(),
        retry: args.retry_on_failure.clone(),
        timeout: client.timeout,
        most_at_once: usize::try_from(client.max_conns_per_host).ok().filter(|most| *most > 0),
    };
    let plan = |kind: Kind| {
        let url = match args.url(kind) {
            Ok(url) => url,
            Err(why) => return Err((kind, why)),
        };
        let post = Post {
            client: poster.clone(),
            shown_url: shown_url(&url),
            url,
            headers: headers.clone(),
            auth: client.auth.clone(),
            timeout: client.timeout,
            writing: Writing { json: args.encoding == "json", encoding, word, level },
        };
        Ok(queueing.plan(kind, "", Arc::new(post), cx))
    };
    let mut setup = Setup { shows: args.debug_metrics.clone(), ..Setup::default() };
    for planned in Kind::ALL.map(plan) {
        match planned {
            Ok(plan) => setup.plans.push(plan),
            Err((kind, why)) => {
                setup.nowhere.push((kind, format!("{} have no endpoint: {why}", kind.name())))
            }
        }
    }
    Ok(setup)
}

fn poster(client: &args::Client, cx: &BuildCx) -> Result<Poster, Error> {
    let idle = match client.max_idle_conns_per_host {
        0 => client.max_idle_conns,
        some => some,
    };
    let silence = Some(client.http2_read_idle_timeout).filter(|silence| !silence.is_zero());
    let options = ClientOptions {
        connect_timeout: CONNECT_TIMEOUT.min(client.timeout),
        idle_timeout: client.idle_conn_timeout,
        max_idle_per_host: if client.disable_keep_alives { 0 } else { idle.max(0) as usize },
        signer: client.auth.as_ref().map(Handler::signer),
        tls: client.tls().extras(),
        http2_ping: silence.map(|silence| (silence, client.http2_ping_timeout)),
        ..ClientOptions::new(cx.services().user_agent())
    };
    Poster::new(&client.http(), options).map_err(|e| Error::argument("client", e.to_string()))
}

/// The headers that every request has. The user's do not replace the protocol's.
fn headers(client: &args::Client, cx: &BuildCx) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::try_from(cx.services().user_agent());
    headers.insert(USER_AGENT, agent.expect("name and version of the program are plain text"));
    for (name, value) in &client.headers {
        match args::header(name, value).map_err(|message| Error::argument("headers", message))? {
            Some((name, value)) => drop(headers.insert(name, value)),
            None => tracing::warn!(header = %name, "headers cannot set this header; it is left out"),
        }
    }
    Ok(headers)
}
