//! What one request costs over loopback: a scrape's worth of body in, a small body out.
#![expect(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use std::hint::black_box;

use bytes::Bytes;
use component::BoxFuture;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Request as HttpRequest, Response};
use net::args::HttpClientArgs;
use net::server::{Handler, whole};
use net::{Client, ClientOptions, Request, Server, ServerOptions, Url};

struct Page(Bytes);

impl Handler for Page {
    fn handle(&self, _request: HttpRequest<Bytes>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(std::future::ready(Response::new(self.0.clone())))
    }
}

fn exchange(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    net::install_provider();
    let mut group = c.benchmark_group("exchange");
    for (name, size) in [("256B", 256), ("1MiB", 1 << 20)] {
        let page = whole(Page(Bytes::from(vec![b'x'; size])));
        let server =
            runtime.block_on(Server::bind("bench", "127.0.0.1", 0, ServerOptions::default(), page)).unwrap();
        let url = Url::parse(&format!("http://{}/metrics", server.address())).unwrap();
        let args = HttpClientArgs { bearer_token: "t".into(), ..Default::default() };
        let client = Client::new(&args, ClientOptions::new("bench")).unwrap();
        let mut buffer = Vec::new();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                buffer.clear();
                runtime.block_on(async {
                    let response = client.send(Request::get(url.clone())).await.unwrap();
                    response.read_into(&mut buffer, 1 << 21).await.unwrap();
                });
                black_box(buffer.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
