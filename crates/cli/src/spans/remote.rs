//! `jaeger_remote`: the strategy that a server gives, asked for again and again.
//!
//! The answer is `SamplingStrategyResponse` of Jaeger's API (`sampling.proto`) in JSON. Until the first one, and
//! while the server cannot be asked, the strategy before stays.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use component::Error;
use net::args::HttpClientArgs;
use net::{Client, ClientOptions, Request};
use serde_json::Value;
use tracing::Instrument as _;

use super::sampler::{Bucket, Sampler};
use super::{JaegerRemote, Shared, export};

/// A strategy of this size is a mistake.
const MAX_ANSWER: usize = 1 << 20;

/// The task that asks for as long as there is somebody to tell.
///
/// # Errors
/// If there is no asking at the URL.
pub(super) fn ask(
    args: &JaegerRemote,
    user_agent: &str,
    shared: Weak<Shared>,
) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let mut url = net::post_url(&args.url).map_err(|message| Error::argument("url", message))?;
    url.query_pairs_mut().append_pair("service", "alloy");
    let client = Client::new(&HttpClientArgs::default(), ClientOptions::new(user_agent));
    let client = client.map_err(|e| Error::argument("url", e.to_string()))?;
    let (interval, most) =
        (args.refresh_interval, usize::try_from(args.max_operations).unwrap_or(usize::MAX));
    let asking = async move {
        let mut asks = tokio::time::interval(interval);
        asks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            asks.tick().await;
            let answer = once(&client, Request::get(url.clone())).await;
            let Some(shared) = shared.upgrade() else { return };
            match answer.and_then(|text| strategy(&text, most)) {
                Ok(sampler) => shared.sampler.store(Arc::new(sampler)),
                Err(error) => tracing::warn!(error, "no sampling strategy; the one before stays"),
            }
        }
    };
    // Asking is no trace to keep.
    Ok(asking.instrument(tracing::info_span!(parent: None, export::SPAN)))
}

async fn once(client: &Client, request: Request) -> Result<Bytes, String> {
    let response = client.send_ok(request).await.map_err(|e| e.to_string())?;
    response.bytes(MAX_ANSWER).await.map_err(|e| e.to_string())
}

/// What an answer says, with at most so many operations.
fn strategy(answer: &[u8], most: usize) -> Result<Sampler, String> {
    let answer: Value =
        serde_json::from_slice(answer).map_err(|e| format!("the strategy is no JSON: {e}"))?;
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64).filter(|n| n.is_finite());
    let fraction =
        |of: &Value| number(&of["probabilisticSampling"], "samplingRate").map(|f| f.clamp(0.0, 1.0));
    if let Some(operations) = answer.get("operationSampling").filter(|o| o.is_object()) {
        let others = number(operations, "defaultSamplingProbability").unwrap_or(0.0).clamp(0.0, 1.0);
        let least = number(operations, "defaultLowerBoundTracesPerSecond").unwrap_or(0.0).max(0.0);
        let list = operations["perOperationStrategies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let one = |entry: &Value| {
            let name = entry["operation"].as_str()?.to_string();
            Some((name, (fraction(entry)?, Bucket::new(least))))
        };
        let by_name: HashMap<_, _> = list.iter().filter_map(one).take(most).collect();
        return Ok(Sampler::PerOperation { by_name, others });
    }
    // The type is a name or a number, and left out where it is the first.
    let limits = matches!(&answer["strategyType"], Value::String(s) if s == "RATE_LIMITING")
        || answer["strategyType"] == 1;
    let sampler = if limits {
        number(&answer["rateLimitingSampling"], "maxTracesPerSecond").map(|n| Sampler::Rate(Bucket::new(n)))
    } else {
        fraction(&answer).map(Sampler::fraction)
    };
    sampler.ok_or_else(|| "the strategy has neither a probability nor a rate".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_strategies_are_read() {
        let read = |text: &str| strategy(text.as_bytes(), 1);
        let half = r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.5}}"#;
        assert!(matches!(read(half), Ok(Sampler::Fraction(f)) if f == 0.5));
        assert!(matches!(
            read(r#"{"probabilisticSampling":{"samplingRate":7}}"#),
            Ok(Sampler::Fraction(1.0))
        ));
        let rate = r#"{"strategyType":1,"rateLimitingSampling":{"maxTracesPerSecond":3}}"#;
        assert!(matches!(read(rate), Ok(Sampler::Rate(_))));
        let named = r#"{"operationSampling":{"defaultSamplingProbability":0.25,"perOperationStrategies":[
            {"operation":"a","probabilisticSampling":{"samplingRate":1}},
            {"operation":"b","probabilisticSampling":{"samplingRate":0}}]}}"#;
        let Ok(Sampler::PerOperation { by_name, others }) = read(named) else { panic!("by operation") };
        assert_eq!((by_name.len(), by_name["a"].0, others), (1, 1.0, 0.25));
        for broken in ["", "[]", "{}", r#"{"strategyType":"RATE_LIMITING"}"#] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
