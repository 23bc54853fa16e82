//! What Logplex sends, and what hostile clients do.

use component::ComponentDef;

use super::super::http_intake::bench::Bench;
use super::*;
use crate::source::bench::keep_all;

const DEFINITION: ComponentDef = ComponentDef::of::<Heroku>();
const POST: &str = "POST /heroku/api/v1/drain?env=prod&env=eu&a%20b=c HTTP/1.1\r\n";

fn framed(messages: &[&str]) -> String {
    messages.iter().map(|m| format!("{} {m}", m.len())).collect()
}

#[tokio::test]
async fn what_is_known_of_a_message_is_in_labels_for_rules() {
    let extra = "labels = {own = \"x\", heroku_drain_app = \"own\"}\nrelabel_rules = rules\nuse_incoming_timestamp = true";
    let bench = Bench::start_with(DEFINITION, extra, "", keep_all("__(.+)")).await;
    let body = framed(&[
        "<158>1 2022-06-13T14:52:23.621815+00:00 host heroku router - at=info method=GET\n",
        "<190>1 2022-06-13T14:52:23.621816+00:00 host app web.1 id two words",
    ]);
    let answer = bench.send(&format!("{POST}X-Scope-OrgID: team\r\n"), body.as_bytes()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    let labels = |app: &str, id: &str, proc: &str| {
        format!(
            "{{__tenant_id__=\"team\", heroku_drain_app=\"{app}\", heroku_drain_host=\"host\", \
             heroku_drain_log_id=\"{id}\", \"heroku_drain_param_a b\"=\"c\", heroku_drain_param_env=\"prod,eu\", \
             heroku_drain_proc=\"{proc}\", own=\"x\", tenant_id__=\"team\"}}"
        )
    };
    assert_eq!(
        bench.entries(),
        [
            (labels("heroku", "-", "router"), 1_655_131_943_621_815_000, "at=info method=GET".to_owned()),
            (labels("app", "id", "web.1"), 1_655_131_943_621_816_000, "two words".to_owned()),
        ]
    );
}

#[tokio::test]
async fn a_broken_message_costs_itself_only_and_is_counted() {
    let bench = Bench::start(DEFINITION, "").await;
    let good = "<190>1 2022-06-13T14:52:23.621816+00:00 host app web.1 - good";
    let body = framed(&[good, "no syslog at all", good]);
    assert_eq!(bench.send(POST, body.as_bytes()).await.status, 400);
    assert_eq!(bench.lines(), vec![("{}".to_owned(), "good".to_owned()); 2]);
    assert_eq!(bench.metric("loki_source_heroku_drain_parsing_errors_total"), 1.0);
    let cut = format!("{}99 <190>1", framed(&[good]));
    assert_eq!(bench.send(POST, cut.as_bytes()).await.status, 400);
    assert_eq!(bench.lines().len(), 1);
    assert_eq!(bench.metric("loki_source_heroku_drain_parsing_errors_total"), 2.0);
}

#[tokio::test]
async fn entries_have_the_time_of_now_unless_that_of_messages_is_wanted() {
    let bench = Bench::start(DEFINITION, "").await;
    let before = crate::intake::now_ns();
    let body = framed(&["<190>1 2022-06-13T14:52:23.621816+00:00 host app web.1 - x"]);
    assert_eq!(bench.send(POST, body.as_bytes()).await.status, 204);
    let (_, time, _) = bench.entries().remove(0);
    assert!((before..=crate::intake::now_ns()).contains(&time));
}
