//! The block as a configuration has it.

use component::Services;
use component::eval::syntax::{self, Diagnostic, Source};
use component::eval::{self, Scope};
use component::testkit::Names;
use runtime::{FetchCx, ImportSource};

use super::World;
use crate::Args;

fn decode(body: &str) -> Result<Args, Vec<Diagnostic>> {
    let source = Source::new("t", body);
    let (file, _) = syntax::parse(&source);
    match eval::decode::<Args>(&source, &file.body, None, &Scope::new(&Names::default())) {
        (Some(args), _) => Ok(args),
        (None, problems) => Err(problems),
    }
}

#[test]
fn defaults_are_those_of_alloy() {
    let args = decode("repository = \"https://h/r.git\"\npath = \"a.alloy\"").unwrap();
    assert_eq!(args.revision, "main");
    assert_eq!(args.poll(), Some(std::time::Duration::from_secs(60)));
    let off = decode("repository = \"https://h/r.git\"\npath = \"a\"\npull_frequency = \"0s\"").unwrap();
    assert_eq!(off.poll(), None);
}

#[test]
fn what_cannot_work_is_refused_where_it_stands() {
    let good = "repository = \"git@h:r.git\"\npath = \"a.alloy\"\n";
    assert!(decode(good).is_ok());
    for (more, part) in [
        ("revision = \"HEAD\"", "revision cannot be HEAD"),
        ("revision = \"FETCH_HEAD\"", "revision cannot be FETCH_HEAD"),
        ("basic_auth {\nusername = \"u\"\npassword = \"hunter2\"\n}", "basic_auth is for http"),
        ("ssh_key {\nusername = \"u\"\nkey_file = \"k\"\npassphrase = \"hunter2\"\n}", "passphrase"),
        ("ssh_key { }", "username"),
    ] {
        let problems = decode(&format!("{good}{more}")).unwrap_err();
        let text = format!("{problems:?}");
        assert!(text.contains(part), "{more}: {text}");
        let message = &problems[0].message;
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert!(decode("repository = \"git@h:r.git\"\npath = \"../a.alloy\"").is_err());
}

#[tokio::test]
async fn a_fetch_gives_the_texts_and_module_path_is_the_root_of_the_work_tree() {
    let world = World::new();
    world.commit(&[("m/a.alloy", "1")]);
    let body = format!("repository = {:?}\npath = \"m/a.alloy\"", world.remote());
    let args = decode(&body).unwrap();
    let cx = FetchCx { data_path: world.data(), services: Services::for_tests(world.dir.path()) };
    let texts = args.fetch(&cx).await.unwrap();
    assert_eq!(texts[0].text, "1");
    let root = args.module_path("inherited", &cx);
    assert_eq!(root, world.data().join("repo").display().to_string());
    assert_eq!(texts[0].name, format!("{root}/m/a.alloy"));
}
