//! What the configuration may say.

use component::eval::Arguments;
use component::testkit::{Refused, surface};

use super::super::Args;
use super::*;

/// `surface.txt` holds the facts of Alloy 1.18.
#[test]
fn names_types_and_defaults_are_those_of_alloy() {
    let ours = surface(Args::schema());
    let theirs: Vec<_> = include_str!("surface.txt").lines().collect();
    let missing: Vec<_> = theirs.iter().filter(|l| !ours.iter().any(|o| o == *l)).collect();
    let added: Vec<_> = ours.iter().filter(|l| !theirs.contains(&l.as_str())).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing: {missing:#?}\nadded: {added:#?}");
}

#[tokio::test]
async fn contradicting_arguments_are_refused_where_they_stand() {
    let custom = |name: &str| format!("profile.custom \"{name}\" {{\nenabled = true\npath = \"/x\"\n}}\n");
    let twice = format!("profiling_config {{\n{}{}}}", custom("x"), custom("x"));
    let cases = [
        ("scrape_timeout = \"0s\"", "scrape_timeout must be longer"),
        ("scrape_interval = \"0s\"", "scrape_interval must be longer"),
        ("scrape_interval = \"1s\"", "at least 2s"),
        ("delta_profiling_duration = \"1s\"", "longer than 1s"),
        ("scrape_interval = \"5s\"", "at least 1s shorter"),
        ("delta_profiling_duration = \"14500ms\"", "at least 1s shorter"),
        ("scheme = \"ftp\"", "neither http nor https"),
        ("clustering { }", "enabled"),
        ("bearer_token = \"x\"\nbearer_token_file = \"y\"", "bearer_token_file"),
        ("profiling_config {\nprofile.custom \"x\" {\nenabled = true\n}\n}", "path"),
        ("profiling_config {\nprofile.custom {\nenabled = true\npath = \"/x\"\n}\n}", "label"),
        ("profiling_config {\nprofile.heap { }\n}", "profile.heap"),
        (&twice, "two blocks profile.custom"),
    ];
    for (extra, part) in cases {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        let refused = harness.update(&format!("targets = []\nforward_to = []\n{extra}")).await;
        match refused.expect_err(extra) {
            Refused::Diagnostics(all) => {
                assert!(all.iter().any(|d| d.message.contains(part)), "{extra}: {all:?}");
            }
            Refused::Error(error) => panic!("{extra}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_alloys_users_write_is_taken() {
    let without_delta = only(&["memory"]);
    let cases = [
        "".to_owned(),
        format!("scrape_interval = \"1s\"\n{without_delta}"),
        "scrape_interval = \"1m\"\nscrape_timeout = \"2m\"\ndelta_profiling_duration = \"30s\"".to_owned(),
        "clustering {\nenabled = true\n}".to_owned(),
        "scheme = \"\"\njob_name = \"j\"\nbasic_auth {\nusername = \"u\"\npassword = \"p\"\n}".to_owned(),
        "profiling_config {\npath_prefix = \"/p\"\nprofile.fgprof {\nenabled = true\n}\n}".to_owned(),
    ];
    for extra in cases {
        let harness = Harness::new(DEFINITION, Names::default(), Services::for_tests("unused"));
        let taken = harness.update(&format!("targets = []\nforward_to = []\n{extra}")).await;
        taken.unwrap_or_else(|refused| panic!("{extra}: {refused:?}"));
    }
}
