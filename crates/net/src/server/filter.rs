//! Basic authentication of the program's own server: which paths need it, and whether it is right.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use component::eval::Secret;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::handler::{ResponseBody, text};
use crate::args::{ServiceAuth, ServiceFilter};
use crate::auth::basic;

/// The `auth` block at work.
#[derive(Clone, Debug)]
pub struct BasicFilter {
    username: String,
    password: Secret,
    filter: ServiceFilter,
}

impl BasicFilter {
    /// `None` where the block asks for nothing.
    pub fn new(args: &ServiceAuth) -> Option<Self> {
        let basic = args.basic.as_ref()?;
        Some(Self {
            username: basic.username.clone(),
            password: basic.password.clone(),
            filter: args.filter.clone(),
        })
    }

    /// Whether a path is protected. Alloy compares prefixes.
    pub fn protects(&self, path: &str) -> bool {
        let listed = self.filter.paths.iter().any(|prefix| path.starts_with(prefix.as_str()));
        listed == self.filter.authenticate_matching_paths
    }

    /// `None`: go on. Otherwise the refusal to answer with.
    pub fn refuse(&self, path: &str, headers: &HeaderMap) -> Option<Response<ResponseBody>> {
        if !self.protects(path) {
            return None;
        }
        let expected = basic(&self.username, self.password.reveal());
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        // Digests, so that the comparison takes the same time for every length.
        let (given, expected) = (digest(&SHA256, given), digest(&SHA256, expected.as_bytes()));
        if verify_slices_are_equal(given.as_ref(), expected.as_ref()).is_ok() {
            return None;
        }
        let mut response = text(StatusCode::UNAUTHORIZED, "unauthorized\n");
        let challenge = HeaderValue::from_static("Basic realm=\"Restricted\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ServiceBasicAuth;

    fn filter(filter: ServiceFilter) -> BasicFilter {
        let basic = ServiceBasicAuth { username: "u".into(), password: "p".into() };
        BasicFilter::new(&ServiceAuth { basic: Some(basic), filter }).unwrap()
    }

    #[test]
    fn an_absent_filter_protects_all_paths_and_the_others_what_they_list() {
        let listed =
            |matching| ServiceFilter { paths: vec!["/api".into()], authenticate_matching_paths: matching };
        for (rules, path, protected) in [
            (ServiceFilter::default(), "/", true),
            (ServiceFilter { authenticate_matching_paths: true, ..ServiceFilter::default() }, "/", false),
            (listed(true), "/api/v0", true),
            (listed(true), "/metrics", false),
            (listed(false), "/api/v0", false),
            (listed(false), "/metrics", true),
        ] {
            assert_eq!(filter(rules.clone()).protects(path), protected, "{rules:?} {path}");
        }
    }

    #[test]
    fn only_the_right_name_and_password_pass() {
        let filter = filter(ServiceFilter::default());
        let with =
            |name: &str, password: &str| [(AUTHORIZATION, basic(name, password))].into_iter().collect();
        assert!(filter.refuse("/", &with("u", "p")).is_none());
        for headers in [HeaderMap::new(), with("u", "q"), with("v", "p"), with("u", "")] {
            let refusal = filter.refuse("/", &headers).unwrap();
            assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED);
            assert!(refusal.headers().contains_key(WWW_AUTHENTICATE));
        }
    }
}
