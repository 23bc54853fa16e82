//! What pages of other sites may send to a receiver (the Fetch standard, section 3.2).

use bytes::Bytes;
use component::Arguments;
use component::eval::Invalid;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

/// `cors`
#[derive(Clone, Debug, PartialEq, Arguments)]
#[arguments(validate = Self::validate)]
pub struct CorsArgs {
    /// Origins of pages that may send; each may have one `*`. Without any, no page may.
    #[arg(default)]
    pub allowed_origins: Vec<String>,
    /// Headers that they may set beside `Accept` and `Content-Type`; `*` stands for all.
    #[arg(default = vec!["X-Requested-With".to_string()])]
    pub allowed_headers: Vec<String>,
    /// Headers of answers that they may read.
    #[arg(default)]
    pub exposed_headers: Vec<String>,
    /// Seconds for which browsers may remember what they were told; 0 leaves it to them.
    #[arg(default)]
    pub max_age: i64,
}

impl CorsArgs {
    fn validate(&self) -> Result<(), Invalid> {
        if let Some(origin) = self.allowed_origins.iter().find(|o| o.matches('*').count() > 1) {
            let message = format!("{origin:?} has more than one *");
            return Err(Invalid::field("allowed_origins", message));
        }
        let headers =
            [("allowed_headers", &self.allowed_headers), ("exposed_headers", &self.exposed_headers)];
        for (field, names) in headers {
            if let Some(bad) = names.iter().find(|n| HeaderName::try_from(n.as_str()).is_err()) {
                return Err(Invalid::field(field, format!("{bad:?} is not the name of a header")));
            }
        }
        if self.max_age < 0 {
            return Err(Invalid::field("max_age", "max_age must not be negative"));
        }
        Ok(())
    }
}

/// A [`CorsArgs`] at work.
#[derive(Clone, Debug)]
pub struct CorsPolicy {
    origins: Vec<(String, Option<String>)>,
    headers: Vec<String>,
    any_header: bool,
    exposed: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
}

impl CorsPolicy {
    /// `None` where nothing is allowed.
    pub fn new(args: &CorsArgs) -> Option<Self> {
        let origin = |text: &String| {
            let text = text.to_ascii_lowercase();
            match text.split_once('*') {
                Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
                None => (text, None),
            }
        };
        let always = ["accept", "content-type"].map(String::from);
        let headers = args.allowed_headers.iter().map(|h| h.to_ascii_lowercase());
        (!args.allowed_origins.is_empty()).then(|| Self {
            origins: args.allowed_origins.iter().map(origin).collect(),
            headers: always.into_iter().chain(headers).collect(),
            any_header: args.allowed_headers.iter().any(|h| h == "*"),
            exposed: (!args.exposed_headers.is_empty())
                .then(|| HeaderValue::try_from(args.exposed_headers.join(", ")).ok())
                .flatten(),
            max_age: (args.max_age > 0).then(|| HeaderValue::from(args.max_age)),
            credentials: true,
        })
    }

    /// Pages may not send what the browser knows of its user.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        self.credentials = false;
        self
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
        self.origins.iter().any(|(before, after)| match after {
            None => *before == origin,
            Some(after) => {
                origin.len() >= before.len() + after.len()
                    && origin.starts_with(before.as_str())
                    && origin.ends_with(after.as_str())
            }
        })
    }

    /// The answer to a browser's question before it sends; `None` where the request is none.
    pub fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<Response<Bytes>> {
        let wanted = request.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| method == Method::OPTIONS)?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin, Access-Control-Request-Headers"));
        let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
        let fine = request.get(ORIGIN).is_some_and(|origin| self.allows(origin))
            && wanted == "POST"
            && asked.is_none_or(|asked| self.allows_headers(asked));
        if fine {
            self.grant(request, headers);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
            if let Some(asked) = asked {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            if let Some(max_age) = &self.max_age {
                headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
            }
        }
        Some(response)
    }

    fn allows_headers(&self, asked: &HeaderValue) -> bool {
        let Ok(asked) = asked.to_str() else { return false };
        let mut names = asked.split(',').map(|n| n.trim().to_ascii_lowercase()).filter(|n| !n.is_empty());
        self.any_header || names.all(|name| self.headers.contains(&name))
    }

    /// Lets the page of a request read its answer.
    pub fn mark(&self, request: &HeaderMap, response: &mut HeaderMap) {
        response.append(VARY, HeaderValue::from_static("Origin"));
        if request.get(ORIGIN).is_some_and(|origin| self.allows(origin)) {
            self.grant(request, response);
            if let Some(exposed) = &self.exposed {
                response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
    }

    fn grant(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if let Some(origin) = request.get(ORIGIN) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if self.credentials {
                response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(origins: &[&str], headers: &[&str]) -> CorsPolicy {
        let strings = |all: &[&str]| all.iter().map(|s| (*s).to_string()).collect();
        let args = CorsArgs {
            allowed_origins: strings(origins),
            allowed_headers: strings(headers),
            exposed_headers: vec!["X-A".into(), "X-B".into()],
            max_age: 9,
        };
        assert_eq!(args.validate(), Ok(()));
        CorsPolicy::new(&args).expect("an origin is allowed")
    }

    fn asks(origin: &'static str, headers: &'static str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(ORIGIN, HeaderValue::from_static(origin));
        map.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        map.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(headers));
        map
    }

    #[test]
    fn only_pages_of_allowed_origins_may_send() {
        for (allowed, origin, expected) in [
            ("*", "http://any", true),
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.example", true),
            ("https://a.example", "https://a.example.evil", false),
            ("https://*.example", "https://b.example", true),
            ("https://*.example", "https://example", false),
            ("https://*.example", "http://b.example", false),
        ] {
            let policy = policy(&[allowed], &[]);
            let answer = policy.preflight(&Method::OPTIONS, &asks(origin, "content-type")).expect("asked");
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            assert_eq!(
                answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
                expected,
                "{allowed} {origin}"
            );
            let mut headers = HeaderMap::new();
            policy.mark(&asks(origin, ""), &mut headers);
            assert_eq!(headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), expected);
            assert!(headers.contains_key(VARY));
        }
    }

    #[test]
    fn headers_are_those_listed_and_what_requests_need() {
        let asked = |headers: &[&str], wanted| {
            let answer = policy(&["*"], headers).preflight(&Method::OPTIONS, &asks("http://x", wanted));
            answer.expect("asked").headers().contains_key(ACCESS_CONTROL_ALLOW_HEADERS)
        };
        assert!(asked(&["X-Key"], "content-type, x-key"));
        assert!(!asked(&["X-Key"], "x-other"));
        assert!(asked(&["*"], "x-other"));
        let policy = policy(&["*"], &[]);
        assert!(policy.preflight(&Method::POST, &asks("http://x", "")).is_none());
        assert!(policy.preflight(&Method::OPTIONS, &HeaderMap::new()).is_none());
        assert!(CorsPolicy::new(&component::eval::Arguments::defaults()).is_none());
    }
}
