//! Any text as a kubeconfig, a proxy with its exemptions and a target of gRPC: no panic.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::path::Path;

use net::Url;
use net::grpc::Endpoint;
use net::kubernetes::Cluster;
use net::proxy::ProxyRules;

fuzz::target!(|input: (&str, &str)| {
    let (text, other) = input;
    let _ = Cluster::of_kubeconfig(text, "", Path::new("/"));
    let _ = Cluster::of_kubeconfig(text, other, Path::new("/"));
    let environment = |name: &str| match name {
        "HTTP_PROXY" => Some("http://proxy:3128".to_owned()),
        "NO_PROXY" => Some(text.to_owned()),
        _ => None,
    };
    let proxies = ProxyRules::from_environment(environment).expect("the proxy is one");
    if let Ok(url) = Url::parse(other) {
        let _ = proxies.select(&url);
    }
    let _ = ProxyRules::parse_proxy(text);
    let _ = Endpoint::parse(text);
});
