//! What is found, what is not, what becomes of it, and the files that users bring.

use component::ComponentDef;
use component::testkit::{Harness, Names, Refused, Sink};

use super::*;

const DEFINITION: ComponentDef = ComponentDef::of::<Secretfilter>();

fn entry(stream: u32, line: &str) -> Entry {
    Entry { stream, timestamp_ns: 0, line: line.to_string().into(), metadata: None }
}

fn batch(lines: &[&str]) -> Logs {
    LogBatch {
        streams: vec![Labels::from_pairs([("job", "app")])],
        entries: lines.iter().map(|line| entry(0, line)).collect(),
        ..LogBatch::default()
    }
    .into()
}

async fn start(body: &str, sink: &Sink<Logs>) -> (Harness, Receiver<Logs>) {
    let body = format!("forward_to = [sink]\n{body}");
    let harness = Harness::start(DEFINITION, &body, Names::default().with("sink", sink.value())).await;
    let exports = harness.node.exports();
    let receiver = exports.as_object().expect("object")["receiver"].clone();
    (harness, component::ArgValue::from_value(&receiver).expect("receiver"))
}

fn lines(batch: &Logs) -> Vec<String> {
    batch.entries.iter().map(|e| e.line.to_string()).collect()
}

fn counted(harness: &Harness, part: &str) -> u64 {
    let text = harness.services.metrics.text();
    let line = text.lines().find(|l| l.starts_with("loki_secretfilter_") && l.contains(part)).expect(part);
    line.rsplit(' ').next().expect("value").parse().expect("whole")
}

/// Characters that look random and are the same every time; put together here so that no scanner of this
/// repository takes them for a secret.
fn random(alphabet: &str, length: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        alphabet[(state >> 33) as usize % alphabet.len()]
    };
    (0..length).map(|_| next()).collect()
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const HEX: &str = "0123456789abcdef";
const DIGITS: &str = "0123456789";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret for every built-in rule: the rule, what is to be taken out, and what is around it.
fn samples() -> Vec<(&'static str, String, String)> {
    let an = |n| random(ALNUM, n);
    let hex = |n| random(HEX, n);
    let up = |n| random(UPPER, n);
    let dig = |n| random(DIGITS, n);
    let plain: Vec<(&'static str, String)> = vec![
        ("aws-access-token", format!("AKIA{}", random("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16))),
        ("aws-session-token", format!("IQoJb3JpZ2luX2Vj{}", an(80))),
        ("aws-amazon-bedrock-api-key-long-lived", format!("ABSK{}", an(128))),
        ("gcp-api-key", format!("AIza{}", an(35))),
        ("gcp-oauth-access-token", format!("ya29.{}", an(60))),
        ("gcp-oauth-client-secret", format!("GOCSPX-{}", an(28))),
        ("azure-ad-client-secret", format!("a.b8Q~{}", an(34))),
        ("alibaba-access-key-id", format!("LTAI{}", an(20))),
        ("digitalocean-pat", format!("dop_v1_{}", hex(64))),
        ("digitalocean-access-token", format!("doo_v1_{}", hex(64))),
        ("digitalocean-refresh-token", format!("dor_v1_{}", hex(64))),
        ("heroku-api-key-v2", format!("HRKU-AA{}", an(58))),
        ("flyio-access-token", format!("fm2_{}", an(120))),
        ("cloudflare-origin-ca-key", format!("v1.0-{}-{}", hex(24), hex(146))),
        ("yandex-api-key", format!("AQVN{}", an(36))),
        ("scalingo-api-token", format!("tk-us-{}", an(48))),
        ("github-pat", format!("ghp_{}", an(36))),
        ("github-fine-grained-pat", format!("github_pat_{}", an(82))),
        ("github-oauth", format!("gho_{}", an(36))),
        ("github-app-token", format!("ghs_{}", an(36))),
        ("github-refresh-token", format!("ghr_{}", an(36))),
        ("gitlab-pat", format!("glpat-{}", an(20))),
        ("gitlab-deploy-token", format!("gldt-{}", an(20))),
        ("gitlab-runner-authentication-token", format!("glrt-{}", an(20))),
        ("gitlab-rrt", format!("GR1348941{}", an(20))),
        ("gitlab-ptt", format!("glptt-{}", hex(40))),
        ("gitlab-cicd-job-token", format!("glcbt-64_{}", an(20))),
        ("gitlab-feed-token", format!("glft-{}", an(20))),
        ("gitlab-incoming-mail-token", format!("glimt-{}", an(25))),
        ("gitlab-kubernetes-agent-token", format!("glagent-{}", an(50))),
        ("gitlab-oauth-app-secret", format!("gloas-{}", hex(64))),
        ("gitlab-scim-token", format!("glsoat-{}", an(20))),
        ("atlassian-api-token", format!("ATATT3{}={}", an(180), random("0123456789ABCDEF", 8))),
        ("npm-access-token", format!("npm_{}", an(36))),
        ("pypi-upload-token", format!("pypi-AgEIcHlwaS5vcmc{}", an(80))),
        ("rubygems-api-token", format!("rubygems_{}", hex(48))),
        ("clojars-api-token", format!("CLOJARS_{}", hex(60))),
        ("nuget-api-key", format!("oy2{}", random("abcdefghijklmnopqrstuvwxyz0123456789", 43))),
        ("cargo-registry-token", format!("cio{}", an(32))),
        ("docker-hub-token", format!("dckr_pat_{}", an(27))),
        ("artifactory-api-key", format!("AKCp{}", an(69))),
        ("artifactory-reference-token", format!("cmVmd{}", an(59))),
        ("sonar-api-token", format!("squ_{}", hex(40))),
        ("sourcegraph-access-token", format!("sgp_{}_{}", hex(16), hex(40))),
        ("openshift-user-token", format!("sha256~{}", an(43))),
        ("octopus-deploy-api-key", format!("API-{}", up(26))),
        ("hashicorp-tf-api-token", format!("{}.atlasv1.{}", an(14), an(64))),
        ("vault-service-token", format!("hvs.{}", an(95))),
        ("vault-batch-token", format!("hvb.{}", an(150))),
        ("pulumi-api-token", format!("pul-{}", hex(40))),
        ("doppler-api-token", format!("dp.pt.{}", an(43))),
        ("infracost-api-token", format!("ico-{}", an(32))),
        ("harness-api-key", format!("pat.{}.{}.{}", an(22), hex(24), an(20))),
        ("1password-service-account-token", format!("ops_eyJ{}", an(260))),
        ("1password-secret-key", {
            let text = up(32);
            let part = |from: usize, to: usize| &text[from..to];
            format!("A3-{}-{}-{}-{}-{}", part(0, 6), part(6, 17), part(17, 22), part(22, 27), part(27, 32))
        }),
        ("planetscale-password", format!("pscale_pw_{}", an(43))),
        ("planetscale-api-token", format!("pscale_tkn_{}", an(43))),
        ("databricks-api-token", format!("dapi{}", hex(32))),
        ("grafana-api-key", format!("eyJrIjoi{}", an(80))),
        ("grafana-cloud-api-token", format!("glc_{}", an(60))),
        ("grafana-service-account-token", format!("glsa_{}_{}", an(32), hex(8))),
        ("sentry-user-token", format!("sntryu_{}", hex(64))),
        ("sentry-org-token", format!("sntrys_eyJ{}_{}", an(100), an(43))),
        ("dynatrace-api-token", format!("dt0c01.{}.{}", up(24), up(64))),
        ("new-relic-user-api-key", format!("NRAK-{}", up(27))),
        ("new-relic-browser-api-token", format!("NRJS-{}", hex(19))),
        ("new-relic-insert-key", format!("NRII-{}", an(32))),
        ("slack-bot-token", format!("xoxb-{}-{}-{}", dig(12), dig(12), an(24))),
        ("slack-user-token", format!("xoxp-{}-{}-{}-{}", dig(12), dig(12), dig(12), hex(32))),
        ("slack-app-token", format!("xapp-1-{}-{}-{}", up(11), dig(13), hex(64))),
        ("slack-config-access-token", format!("xoxe.xoxp-1-{}", up(166))),
        ("slack-config-refresh-token", format!("xoxe-1-{}", up(146))),
        ("slack-legacy-workspace-token", format!("xoxa-2-{}", an(40))),
        ("slack-legacy-token", format!("xoxs-{}-{}-{}-{}", dig(11), dig(11), dig(11), hex(10))),
        ("telegram-bot-api-token", format!("{}:AA{}", dig(10), an(33))),
        ("twilio-api-key", format!("SK{}", hex(32))),
        ("sendgrid-api-token", format!("SG.{}.{}", an(22), an(43))),
        ("sendinblue-api-token", format!("xkeysib-{}-{}", hex(64), an(16))),
        ("mailchimp-api-key", format!("{}-us12", hex(32))),
        ("mailgun-private-api-token", format!("key-{}", hex(32))),
        ("stripe-access-token", format!("sk_live_{}", an(24))),
        ("stripe-webhook-secret", format!("whsec_{}", an(32))),
        ("square-access-token", format!("EAAA{}", an(60))),
        ("shopify-access-token", format!("shpat_{}", hex(32))),
        ("shopify-custom-access-token", format!("shpca_{}", hex(32))),
        ("shopify-private-app-access-token", format!("shppa_{}", hex(32))),
        ("shopify-shared-secret", format!("shpss_{}", hex(32))),
        ("shippo-api-token", format!("shippo_live_{}", hex(40))),
        ("braintree-access-token", format!("access_token$production${}${}", hex(16), hex(32))),
        ("openai-api-key", format!("sk-proj-{}T3BlbkFJ{}", an(40), an(40))),
        ("anthropic-api-key", format!("sk-ant-api03-{}AA", an(93))),
        ("anthropic-admin-api-key", format!("sk-ant-admin01-{}AA", an(93))),
        ("huggingface-access-token", format!("hf_{}", random(LETTERS, 34))),
        ("huggingface-organization-api-token", format!("api_org_{}", random(LETTERS, 34))),
        ("perplexity-api-key", format!("pplx-{}", an(48))),
        ("notion-api-token", format!("ntn_{}{}", dig(11), an(35))),
        ("linear-api-key", format!("lin_api_{}", an(40))),
        ("postman-api-token", format!("PMAK-{}-{}", hex(24), hex(34))),
        ("prefect-api-token", format!("pnu_{}", an(36))),
        ("readme-api-token", format!("rdme_{}", random("abcdefghijklmnopqrstuvwxyz0123456789", 70))),
        ("typeform-api-token", format!("tfp_{}", an(50))),
        ("maxmind-license-key", format!("{}_{}_mmk", an(6), an(29))),
        ("dropbox-short-lived-api-token", format!("sl.{}", an(140))),
        ("facebook-page-access-token", format!("EAAC{}", an(120))),
        ("adobe-client-secret", format!("p8e-{}", an(32))),
        ("age-secret-key", format!("AGE-SECRET-KEY-1{}", random("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))),
        ("jwt", format!("eyJ{}.eyJ{}.{}", an(30), an(60), an(43))),
        ("jwt-base64", format!("ZXlK{}", an(90))),
    ];
    let mut samples: Vec<_> =
        plain.into_iter().map(|(rule, secret)| (rule, secret, "got SECRET, sorry".to_string())).collect();
    let around = [
        ("aws-secret-access-key", an(40), r#"{"SecretAccessKey": "SECRET"}"#),
        ("azure-storage-account-key", format!("{}==", an(86)), "AccountName=x;AccountKey=SECRET;Endpoint=y"),
        ("azure-sas-signature", format!("{}%3D", an(43)), "GET /c?sv=2020&sig=SECRET HTTP/1.1"),
        ("datadog-access-token", hex(32), "DD_API_KEY=SECRET"),
        ("discord-bot-token", format!("M{}.{}.{}", an(25), an(6), an(30)), "discord login with SECRET"),
        ("discord-webhook-url", format!("{}/{}", dig(18), an(68)), "to https://discord.com/api/webhooks/SECRET"),
        ("slack-webhook-url", format!("services/{}", an(44)), "POST https://hooks.slack.com/SECRET 200"),
        (
            "microsoft-teams-webhook",
            "webhookb2/00000000-1111-2222-3333-444444444444@00000000-1111-2222-3333-444444444444/IncomingWebhook/0123456789abcdef0123456789abcdef/00000000-1111-2222-3333-444444444444".to_string(),
            "https://x.webhook.office.com/SECRET",
        ),
        ("airtable-personnal-access-token", format!("pat{}.{}", an(14), hex(64)), "airtable said no to SECRET"),
        (
            "private-key",
            format!("\\n{}\\n{}\\n", an(64), an(40)),
            "-----BEGIN RSA PRIVATE KEY-----SECRET-----END RSA PRIVATE KEY-----",
        ),
        ("authorization-header", an(32), "> Authorization: Bearer SECRET"),
        ("connection-string-password", "p4ssw0rd!".to_string(), "dial postgres://app:SECRET@db.local:5432/app failed"),
        ("generic-api-key", an(32), r#"level=info msg="starting" client_secret="SECRET" region=eu"#),
    ];
    samples.extend(around.map(|(rule, secret, around)| (rule, secret, around.to_string())));
    samples
}

#[test]
fn every_built_in_rule_finds_its_secret_and_takes_all_of_it_out() {
    let detector = config::builtin();
    let samples = samples();
    for rule in detector.rules() {
        rule.pattern.regex();
        let (_, secret, around) = samples
            .iter()
            .find(|(id, ..)| *id == &*rule.id)
            .unwrap_or_else(|| panic!("no sample: {}", rule.id));
        let line = around.replace("SECRET", secret);
        let findings = detector.scan(&line).findings;
        let names: Vec<&str> = findings.iter().map(|f| &*detector.rule(f.rule).id).collect();
        assert!(names.contains(&&*rule.id), "{}: {names:?} in {line}", rule.id);
        let redacted = redact(&line, &findings, &detector, &Redaction::new("<$SECRET_NAME>", 0));
        assert!(!redacted.contains(secret.as_str()), "{}: {redacted}", rule.id);
        let kept: String = around.split("SECRET").collect();
        let left: String = redacted.split(&format!("<{}>", rule.id)).collect();
        assert!(left == kept || names.len() > 1, "{}: {redacted}", rule.id);
    }
}

#[test]
fn ordinary_lines_are_left_alone() {
    let detector = config::builtin();
    let ordinary = [
        "",
        "level=info ts=2024-05-01T10:00:00.123456Z caller=main.go:42 msg=\"server listening\" addr=[::]:8080",
        r#"127.0.0.1 - - [10/Oct/2023:13:55:36 +0000] "GET /api/v1/users?page=2 HTTP/1.1" 200 2326 "https://example.com/start" "curl/7.64.1""#,
        "token=null password=**** secret=<hidden> api_key=${API_KEY} credentials: {{ .Values.creds }}",
        "msg=\"token expired\" token_type=refresh password_changed=true passwordless: enabled",
        "secret_name=kubernetes-dashboard-certs token_endpoint=/oauth2/v1/token/refresh",
        "access_key: AKIAIOSFODNN7EXAMPLE",
        "https://example.com:8443/path?x=1 http://user@host/ redis://cache:6379/0",
        "Authorization: Bearer",
        "asia-east1 desk1 tasks skipped precious clojars_ eyjafjallajökull hf_ path. pattern. key- -us -----BEGIN CERTIFICATE-----",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 of tree 83baae61804e65cc73a7201a7252750c76066a30",
        "id=8f14e45f-ceea-467a-9c2b-1f0a3e4d5c6b trace=4bf92f3577b34da6a3ce929d0e0e4736",
        "ключ доступа не найден, секрет утерян ☃",
        "password: 2024-05-01T10:00:00Z",
    ];
    for line in ordinary {
        let findings = detector.scan(line).findings;
        let names: Vec<&str> = findings.iter().map(|f| &*detector.rule(f.rule).id).collect();
        assert_eq!(names, [""; 0], "{line}");
    }
}

#[test]
fn a_secret_is_replaced_as_the_arguments_say() {
    let detector =
        config::parse("[[rules]]\nid = \"r\"\nregex = '''k=(\\S+)'''\nkeywords = [\"k=\"]").expect("valid");
    let sha1 = "0a0a9f2a6772942557ab5355d76af442f8f65e01"; // Of "Hello, World!".
    let cases = [
        ("", 80, "k=0123456789", "k=01..."),
        ("", 80, "k=abc", "k=a..."),
        ("", 75, "k=ab", "k=..."),
        ("", 100, "k=0123456789", "k=REDACTED"),
        ("", 50, "k=ééé", "k=é..."),
        ("<$SECRET_NAME>", 80, "a k=x b", "a k=<r> b"),
        ("$SECRET_HASH", 80, "k=Hello,World!", ""),
        ("$SECRET_NAMES$SECRET", 80, "k=x", "k=rS$SECRET"),
        ("*", 80, "k=abc and again abc, and abcd", "k=* and again *, and *d"),
    ];
    for (with, percent, line, expected) in cases {
        let findings = detector.scan(line).findings;
        let got = redact(line, &findings, &detector, &Redaction::new(with, percent));
        if expected.is_empty() {
            assert_eq!(got.len(), 2 + sha1.len(), "{got}");
        } else {
            assert_eq!(got, expected, "{with} {percent}");
        }
    }
    let whole = config::parse("[[rules]]\nid = \"r\"\nregex = '''Hello, World!'''").expect("valid");
    let line = "say Hello, World!";
    let got = redact(line, &whole.scan(line).findings, &whole, &Redaction::new("$SECRET_HASH", 0));
    assert_eq!(got, format!("say {sha1}"));
}

#[test]
fn overlapping_secrets_leave_nothing_of_either() {
    let text = "[[rules]]\nid = \"a\"\nregex = '''abcdef'''\n[[rules]]\nid = \"b\"\nregex = '''defghijk'''\n\
                [[rules]]\nid = \"c\"\nregex = '''bc'''";
    let detector = config::parse(text).expect("valid");
    let line = "<abcdefghijk> bc";
    let got = redact(line, &detector.scan(line).findings, &detector, &Redaction::new("$SECRET_NAME", 0));
    assert_eq!(got, "<b> c");
}

#[test]
fn groups_entropy_and_allow_lists_decide_what_a_secret_is() {
    let cases = [
        // The group that is asked for; the first that took part; the whole match.
        ("regex = '(a)(b)'\nsecretGroup = 2", "xabx", "xa#x"),
        ("regex = '(?:(z)|(a))b'", "xabx", "x#bx"),
        ("regex = 'ab'", "xabx", "x#x"),
        ("regex = 'k=(\\w*)'", "k=", "#"),
        ("regex = 'k=(\\w+)'\nentropy = 2", "k=aaaabbbb k=abcdefgh", "k=aaaabbbb k=#"),
        ("regex = 'k=(\\w+)'\n[[rules.allowlists]]\nregexes = ['^ok']", "k=ok1 k=no1", "k=ok1 k=#"),
        ("regex = 'k=(\\w+)'\n[rules.allowlist]\nstopwords = ['TEST']", "k=mytest1 k=x", "k=mytest1 k=#"),
        (
            "regex = '\\w=(\\w+)'\n[[rules.allowlists]]\nregexTarget = 'match'\nregexes = ['^j=']",
            "j=v1 k=v2",
            "j=v1 k=#",
        ),
        (
            "regex = 'k=(\\w+)'\n[[rules.allowlists]]\nregexTarget = 'line'\nregexes = ['dry run']",
            "dry run k=v",
            "dry run k=v",
        ),
        (
            "regex = 'k=(\\w+)'\n[[rules.allowlists]]\ncondition = 'AND'\nregexes = ['^a']\nstopwords = ['z']",
            "k=ab k=az",
            "k=# k=az",
        ),
        (
            "regex = 'k=(\\w+)'\n[[rules.allowlists]]\ncondition = 'AND'\nregexes = ['.']\npaths = ['.']",
            "k=v",
            "k=#",
        ),
        ("regex = 'k=(\\w+)'\nkeywords = ['Marker']", "k=v", "k=v"),
        ("regex = 'k=(\\w+)'\nkeywords = ['Marker']", "k=v MARKER", "k=# MARKER"),
        ("regex = 'k=(\\w+)'\npath = '\\.env$'", "k=v", "k=v"),
        ("regex = 'k=(\\w+)'\nskipReport = true", "k=v", "k=v"),
    ];
    for (rule, line, expected) in cases {
        let detector = config::parse(&format!("[[rules]]\nid = 'r'\n{rule}")).expect(rule);
        let got = redact(line, &detector.scan(line).findings, &detector, &Redaction::new("#", 0));
        assert_eq!(got, expected, "{rule}");
    }
}

#[test]
fn a_rule_may_require_others_near_by() {
    let text = "[[rules]]\nid = 'key'\nregex = 'key=(\\w+)'\n[[rules.required]]\nid = 'user'\nwithinLines = 1\nwithinColumns = 20\n\
                [[rules]]\nid = 'user'\nregex = 'user=\\w+'\nskipReport = true";
    let detector = config::parse(text).expect("valid");
    for (line, found) in [
        ("key=v", 0),
        ("user=u key=v", 1),
        ("user=u                    key=v", 0),
        ("user=u\nkey=v", 1),
        ("user=u\n\nkey=v", 0),
    ] {
        assert_eq!(detector.scan(line).findings.len(), found, "{line:?}");
    }
    assert!(config::parse("[[rules]]\nid = 'a'\nregex = 'a'\n[[rules.required]]\nid = 'b'").is_err());
}

#[test]
fn a_users_file_replaces_the_rules_or_changes_them() {
    let finds = |text: &str, line: &str| {
        let detector = config::parse(text).expect(text);
        let scan = detector.scan(line);
        scan.findings.iter().map(|f| detector.rule(f.rule).id.to_string()).collect::<Vec<_>>()
    };
    let pat = format!("ghp_{}", random(ALNUM, 36));
    let own = "[[rules]]\nID = 'own'\nRegex = 'tok_\\d{4}'\nKeywords = ['tok_']\n";
    let extended = format!("[extend]\nuseDefault = true\n{own}");
    let line = format!("{pat} tok_1234");
    assert_eq!(finds(own, &line), ["own"]);
    assert_eq!(finds(&extended, &line), ["github-pat", "own"]);
    let disabled = extended.replace("= true\n", "= true\ndisabledRules = ['github-pat']\n");
    assert_eq!(finds(&disabled, &line), ["own"]);
    let allowed =
        format!("{extended}[[rules]]\nid = 'github-pat'\n[[rules.allowlists]]\nregexes = ['^ghp_']\n");
    assert_eq!(finds(&allowed, &line), ["own"]);
    let targeted = format!("{extended}[[allowlists]]\ntargetRules = ['own']\nregexes = ['1234']\n");
    assert_eq!(finds(&targeted, &line), ["github-pat"]);
    let global = format!("[allowlist]\nregexes = ['1234']\n{extended}");
    assert_eq!(finds(&global, &line), ["github-pat"]);
    let raised = "[extend]\nuseDefault = true\n[[rules]]\nid = 'generic-api-key'\nentropy = 6.5\n";
    let generic = format!("api_key={}", random(ALNUM, 32));
    assert_eq!(finds(raised, &generic), [""; 0]);
    assert_eq!(finds("[extend]\nuseDefault = true", &generic), ["generic-api-key"]);

    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().join("base.toml");
    std::fs::write(&base, own).expect("written");
    assert_eq!(finds(&format!("[extend]\npath = '{}'", base.display()), &line), ["own"]);
}

#[test]
fn mistakes_in_a_file_are_told_with_the_rule() {
    let cases = [
        ("[[rules]", "TOML"),
        ("[[rules]]\nregex = 'a'", "rule 1 has no id"),
        ("[[rules]]\nid = 'r'", "rule \"r\": needs a regex"),
        ("[[rules]]\nid = 'r'\nregex = '('", "rule \"r\": error parsing regexp: missing closing ): `(`"),
        ("[[rules]]\nid = 'r'\nregex = '(?=a)'", "rule \"r\": error parsing regexp"),
        ("[[rules]]\nid = 'r'\nregex = '(a)'\nsecretGroup = 2", "secretGroup 2"),
        ("[[rules]]\nid = 'r'\nregex = 'a'\n[[rules]]\nid = 'r'\nregex = 'b'", "given twice"),
        (
            "[[rules]]\nid = 'r'\nregex = 'a'\n[[rules.allowlists]]\nregexTarget = 'x'\nregexes = ['a']",
            "regexTarget",
        ),
        (
            "[[rules]]\nid = 'r'\nregex = 'a'\n[[rules.allowlists]]\ncondition = 'x'\nregexes = ['a']",
            "condition",
        ),
        ("[[rules]]\nid = 'r'\nregex = 'a'\n[[rules.allowlists]]\n", "needs regexes or stopwords"),
        ("[[allowlists]]\ntargetRules = ['x']\nregexes = ['a']", "there is no rule \"x\""),
        ("[extend]\nuseDefault = true\npath = 'x'", "exclude each other"),
        ("[extend]\npath = '/nonexistent/x.toml'", "/nonexistent/x.toml"),
        ("[extend]\nurl = 'http://x'", "extend.url"),
        ("[[rules]]\nid = 'r'\nregex = 'a'\nkeywords = 'a'", "keywords"),
    ];
    for (text, expected) in cases {
        let error = config::parse(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[tokio::test]
async fn lines_are_redacted_counted_and_passed_on_in_order() {
    let sink = Sink::new();
    let body = "redact_with = \"<$SECRET_NAME>\"\norigin_label = \"job\"";
    let (harness, receiver) = start(body, &sink).await;
    let pat = format!("ghp_{}", random(ALNUM, 36));
    let sent = batch(&["one", &format!("two {pat}"), "three"]);
    receiver.send(sent.clone()).await.expect("accepted");
    receiver.send(batch(&["four"])).await.expect("accepted");
    let got = sink.take();
    assert_eq!(lines(&got[0]), ["one", "two <github-pat>", "three"]);
    assert_eq!(lines(&sent)[1], format!("two {pat}"), "what others hold stays as it was");
    assert_eq!(counted(&harness, "secrets_redacted_total{"), 1);
    assert_eq!(counted(&harness, r#"origin="app",rule="github-pat""#), 1);
    assert_eq!(counted(&harness, "processing_duration_seconds_count"), 4);
}

#[tokio::test]
async fn a_batch_without_secrets_is_passed_on_as_it_came_and_refusals_too() {
    let sink = Sink::new();
    let (_harness, receiver) = start("", &sink).await;
    let sent = batch(&["one", "my token is lost"]);
    receiver.send(sent.clone()).await.expect("accepted");
    assert!(std::ptr::eq(&*sink.take()[0], &*sent), "shared, not copied");
    sink.answer(Err(Rejected::Retryable("full".into())));
    assert_eq!(receiver.send(sent).await, Err(Rejected::Retryable("full".into())));
}

#[tokio::test]
async fn entries_beyond_the_rate_are_passed_on_unseen_and_counted() {
    let pat = format!("ghp_{}", random(ALNUM, 36));
    let sink = Sink::new();
    let (harness, receiver) = start("rate = 0", &sink).await;
    receiver.send(batch(&[&pat])).await.expect("accepted");
    assert_eq!(lines(&sink.take()[0]), [pat.as_str()]);
    assert_eq!(counted(&harness, "entries_bypassed_total"), 1);
}

#[tokio::test]
async fn lines_that_take_too_long_are_labelled_or_dropped_as_told() {
    let pat = format!("ghp_{}", random(ALNUM, 36));
    let cases = [
        ("", Some(r#"{job="app"}"#)),
        ("label_timed_out = true", Some(r#"{job="app", secretfilter="timed-out"}"#)),
        ("drop_on_timeout = true\nlabel_timed_out = true", None),
    ];
    for (body, expected) in cases {
        let sink = Sink::new();
        let (harness, receiver) = start(&format!("processing_timeout = \"1ns\"\n{body}"), &sink).await;
        receiver.send(batch(&["quick", &pat, &pat])).await.expect("accepted");
        let got = &sink.take()[0];
        let slow: Vec<String> = got.entries[1..].iter().map(|e| got.labels(e).to_string()).collect();
        assert_eq!(slow, expected.iter().flat_map(|e| [*e, *e]).collect::<Vec<_>>(), "{body}");
        assert_eq!(got.labels(&got.entries[0]).to_string(), r#"{job="app"}"#);
        assert_eq!(counted(&harness, "lines_timed_out_total"), 2);
        assert_eq!(counted(&harness, "lines_dropped_total"), if expected.is_none() { 2 } else { 0 });
    }
    let sink = Sink::new();
    let (harness, receiver) = start("processing_timeout = \"1h\"\ndrop_on_timeout = true", &sink).await;
    receiver.send(batch(&[&pat])).await.expect("accepted");
    assert_eq!(lines(&sink.take()[0]), [format!("{}...", &pat[..8])]);
    assert_eq!(counted(&harness, "lines_timed_out_total"), 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_lets_nothing_pass_and_a_broken_update_keeps_the_old_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.toml");
    let config = format!("gitleaks_config = \"{}\"", file.display());
    let sink = Sink::new();
    let (_broken, receiver) = start(&config, &sink).await;
    assert_eq!(receiver.send(batch(&["x tok_1"])).await, Err(Rejected::Stopped));

    std::fs::write(&file, "[[rules]]\nid = 'own'\nregex = 'tok_\\d+'").expect("written");
    let (harness, receiver) = start(&config, &sink).await;
    receiver.send(batch(&["x tok_1"])).await.expect("accepted");
    std::fs::write(&file, "[[rules]]\nid = 'own'\nregex = '('").expect("written");
    let body = format!("forward_to = [sink]\nrate = 0.0\n{config}");
    let refused = harness.update(&body).await.expect_err("refused");
    let Refused::Error(error) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("rule \"own\": error parsing regexp"), "{error}");
    receiver.send(batch(&["x tok_2"])).await.expect("accepted");
    let got: Vec<String> = sink.take().iter().flat_map(lines).collect();
    assert_eq!(got, ["x t...", "x t..."]);
}

#[tokio::test]
async fn arguments_out_of_their_range_are_refused() {
    for body in ["rate = 1.5", "rate = -0.1", "redact_percent = 101"] {
        let harness = Harness::new(DEFINITION, Names::default(), component::Services::for_tests("unused"));
        let refused = harness.update(&format!("forward_to = []\n{body}")).await.expect_err("refused");
        assert!(matches!(refused, Refused::Diagnostics(d) if d.len() == 1), "{body}");
    }
}
