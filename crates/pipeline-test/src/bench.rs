//! What all nodes of one test share: what the test gives, and what it has found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use component::BoxFuture;
use component::http::{COMPONENT_PREFIX, Handler, Request, Response, text_response};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use net::Url;
use parking_lot::Mutex;

use crate::journal::Journal;
use crate::nodes::TestNode;
use crate::spec::{Answer, Asked, Stub, TestCase};

/// The bench of a test.
pub(crate) struct Bench {
    pub(crate) journal: Arc<Journal>,
    pub(crate) server: Server,
    stubs: Vec<Stub>,
    files: BTreeMap<String, String>,
    nodes: Mutex<BTreeMap<String, Weak<TestNode>>>,
    broken: Mutex<Vec<String>>,
    read: Mutex<BTreeSet<String>>,
}

impl Bench {
    pub(crate) fn new(test: &TestCase) -> Arc<Self> {
        Arc::new(Self {
            journal: Arc::default(),
            server: Server { answers: Mutex::new(test.answers.clone()), unanswered: Mutex::default() },
            stubs: test.stubs.clone(),
            files: test.files.clone(),
            nodes: Mutex::default(),
            broken: Mutex::default(),
            read: Mutex::default(),
        })
    }

    /// What stands in place of a component.
    pub(crate) fn stub(&self, id: &str) -> Option<&Stub> {
        self.stubs.iter().find(|s| s.component == id)
    }

    /// The stubs, for a check that each has met its component.
    pub(crate) fn stubs(&self) -> &[Stub] {
        &self.stubs
    }

    /// What the test gives for a file.
    pub(crate) fn file(&self, path: &str) -> Option<&str> {
        let content = self.files.get(path)?;
        self.read.lock().insert(path.to_string());
        Some(content)
    }

    /// The files of the test that somebody has read.
    pub(crate) fn files_read(&self) -> BTreeSet<String> {
        self.read.lock().clone()
    }

    pub(crate) fn register(&self, id: &str, node: &Arc<TestNode>) {
        self.nodes.lock().insert(id.to_string(), Arc::downgrade(node));
    }

    pub(crate) fn node(&self, id: &str) -> Option<Arc<TestNode>> {
        self.nodes.lock().get(id)?.upgrade()
    }

    /// The test cannot say anything about the pipeline.
    pub(crate) fn broken(&self, message: String) {
        let mut broken = self.broken.lock();
        if !broken.contains(&message) {
            broken.push(message);
        }
    }

    /// All that breaks the test.
    pub(crate) fn all_broken(&self) -> Vec<String> {
        let mut all = self.broken.lock().clone();
        all.extend(self.server.unanswered.lock().iter().cloned());
        all
    }
}

/// Answers for servers and exporters.
pub(crate) struct Server {
    answers: Mutex<Vec<Answer>>,
    unanswered: Mutex<BTreeSet<String>>,
}

impl Server {
    /// From now on; later answers go before earlier ones.
    pub(crate) fn add(&self, answers: &[Answer]) {
        self.answers.lock().extend(answers.iter().cloned());
    }

    /// The answer to a request, or why there is none. A user and a password in the URL are nobody's business.
    pub(crate) fn ask(&self, method: &str, url: &Url) -> Result<Response, String> {
        let mut shown = url.clone();
        // Only what has no host takes neither.
        let _ = shown.set_username("").and_then(|()| shown.set_password(None));
        shown.set_fragment(None);
        let whole = shown.to_string();
        shown.set_query(None);
        let bare = shown.as_str();
        let is_asked = |answer: &&Answer| match &answer.to {
            Asked::Url(wanted) => {
                (wanted.matches(&whole) || wanted.matches(bare) || wanted.matches(bare.trim_end_matches('/')))
                    && answer.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method))
            }
            Asked::Component(_) => false,
        };
        let answers = self.answers.lock();
        let mut fitting = answers.iter().rev().filter(is_asked);
        // An answer for this method goes before one for any.
        let any = fitting.clone().next();
        match fitting.find(|a| a.method.is_some()).or(any) {
            Some(answer) => give(answer),
            None => {
                drop(answers);
                let message = format!(
                    "{method} {bare} was asked for and the test gives no answer: add http: [{{ url: {bare:?}, body: … }}]"
                );
                self.unanswered.lock().insert(message.clone());
                Err(message)
            }
        }
    }

    fn page(&self, component: &str) -> Response {
        let answers = self.answers.lock();
        let page = answers.iter().rev().find(|a| matches!(&a.to, Asked::Component(id) if id == component));
        match page {
            Some(answer) => {
                give(answer).unwrap_or_else(|message| text_response(StatusCode::SERVICE_UNAVAILABLE, message))
            }
            None => {
                let message = format!(
                    "{component} was scraped and the test gives no page: add http: [{{ component: {component}, body: … }}]"
                );
                self.unanswered.lock().insert(message.clone());
                text_response(StatusCode::NOT_FOUND, message)
            }
        }
    }
}

fn give(answer: &Answer) -> Result<Response, String> {
    if answer.refuse {
        return Err("the connection is refused".to_string());
    }
    let mut response = Response::new(answer.body.clone());
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(|e| e.to_string())?;
    let headers = response.headers_mut();
    for (name, value) in &answer.headers {
        let (name, value) = net::request_header(name, value)?;
        headers.append(name, value);
    }
    if !headers.contains_key(http::header::CONTENT_TYPE) {
        let open_metrics = answer.body.trim_ascii_end().ends_with(b"# EOF");
        let kind = if open_metrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4; charset=utf-8"
        };
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    Ok(response)
}

/// The network of the HTTP clients.
pub(crate) struct Network(pub(crate) Arc<Bench>);

impl net::StandIn for Network {
    fn answer(
        &self,
        method: &Method,
        url: &Url,
        _headers: &HeaderMap,
        _body: &Bytes,
    ) -> Result<Response, String> {
        self.0.server.ask(method.as_str(), url)
    }
}

/// The pages of exporters that do not look at the machine.
pub(crate) struct Pages(pub(crate) Arc<Bench>);

impl Handler for Pages {
    fn handle<'a>(&'a self, path: &'a str, _request: Request) -> BoxFuture<'a, Response> {
        let component = path.strip_prefix(COMPONENT_PREFIX).unwrap_or(path);
        let component = component.strip_suffix("/metrics").unwrap_or(component);
        let response = self.0.server.page(component);
        Box::pin(std::future::ready(response))
    }
}
