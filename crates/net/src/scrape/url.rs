//! From a target's labels to the URL that is scraped.
//!
//! As prometheus/scrape: `Target.URL`.

use std::collections::BTreeMap;

use ::url::Url;

/// The label with the URL's scheme.
pub const SCHEME: &str = "__scheme__";
/// Labels of this prefix are parameters of the query.
pub const PARAM_PREFIX: &str = "__param_";

/// Checks an address as far as its shape tells.
///
/// # Errors
/// In words for the user.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid host:port: remove scheme and path from __address__"));
    }
    Ok(())
}

/// The URL of a target. `params` are the arguments'; the value of a label `__param_…` stands in the place of the first
/// of its name.
///
/// # Errors
/// In words for the user.
pub fn target_url<'a>(
    scheme: &str,
    address: &str,
    path: &str,
    params: &'a BTreeMap<String, Vec<String>>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Url, String> {
    if scheme != "http" && scheme != "https" {
        return Err(format!("__scheme__ {scheme:?} is neither http nor https"));
    }
    let mut url = Url::parse(&format!("{scheme}://{address}"))
        .map_err(|e| format!("{address:?} is not a valid host:port: {e}"))?;
    url.set_path(path);
    let mut params: BTreeMap<&str, Vec<&str>> =
        params.iter().map(|(k, v)| (k.as_str(), v.iter().map(String::as_str).collect())).collect();
    for (name, value) in labels {
        if let Some(name) = name.strip_prefix(PARAM_PREFIX) {
            let values = params.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    if params.values().any(|values| !values.is_empty()) {
        let mut query = url.query_pairs_mut();
        for (name, values) in &params {
            for value in values {
                query.append_pair(name, value);
            }
        }
    }
    Ok(url)
}
