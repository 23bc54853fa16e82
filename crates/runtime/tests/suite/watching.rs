//! Reloading from files: what counts as a change, and how requests are merged.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eval::Value;
use runtime::{ConfigSource, Reloader};

use crate::world::{export, folder, load, runtime};

fn value(n: u32) -> String {
    format!("test.value \"v\" {{ value = {n} }}")
}

async fn until_value(reloader: &Reloader, n: i64) {
    let wait = async {
        while export(reloader.runtime(), "test.value.v", "value") != Some(Value::from(n)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("is reloaded within 30 s");
}

/// Kubernetes: the file is a link through `..data`, which is itself replaced by a rename.
fn swap_config_map(folder: &Path, version: &str, text: &str) {
    let data = folder.join(format!("..{version}"));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("config.alloy"), text).unwrap();
    let link = folder.join("..data_tmp");
    std::os::unix::fs::symlink(format!("..{version}"), &link).unwrap();
    std::fs::rename(&link, folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_replaced_or_swapped_is_reloaded() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    swap_config_map(folder.path(), "one", &value(1));
    std::os::unix::fs::symlink("..data/config.alloy", &file).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(file.clone()));
    reloader.reload().await.unwrap();
    let loads = Arc::new(Mutex::new(0));
    let watching = {
        let (reloader, loads) = (reloader.clone(), loads.clone());
        tokio::spawn(async move {
            reloader.watch(Duration::from_secs(3600), |_| *loads.lock().unwrap() += 1).await
        })
    };
    // The watch has to be in place before anything changes.
    tokio::time::sleep(Duration::from_millis(200)).await;
    swap_config_map(folder.path(), "two", &value(2));
    until_value(&reloader, 2).await;
    let temporary = folder.path().join(".config.alloy.swp");
    std::fs::write(&temporary, value(3)).unwrap();
    std::fs::rename(&temporary, &file).unwrap();
    until_value(&reloader, 3).await;
    std::fs::write(&file, value(4)).unwrap();
    until_value(&reloader, 4).await;
    watching.abort();
    assert_eq!(*loads.lock().unwrap(), 3);
}

/// Watches, telling each load as its first error or "loaded". The watch is in place when this returns.
async fn watched(
    reloader: &Reloader,
    poll: Duration,
) -> (Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let watching = {
        let (reloader, told) = (reloader.clone(), told.clone());
        tokio::spawn(async move {
            let report = |result: &Result<_, runtime::LoadError>| {
                let line = result.as_ref().map_or_else(ToString::to_string, |_| "loaded".to_string());
                told.lock().unwrap().push(line);
            };
            reloader.watch(poll, report).await;
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    (told, watching)
}

#[tokio::test]
async fn a_burst_of_changes_is_one_load_and_the_same_content_is_none() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    std::fs::write(&file, value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(file.clone()));
    reloader.reload().await.unwrap();
    let (told, watching) = watched(&reloader, Duration::from_secs(3600)).await;
    // As a program writes that is interrupted again and again: half a text in between, and a broken one.
    for n in 2..40 {
        std::fs::write(&file, "test.value \"v\" {").unwrap();
        std::fs::write(&file, value(n)).unwrap();
    }
    until_value(&reloader, 39).await;
    assert_eq!(*told.lock().unwrap(), ["loaded"], "38 changes in a moment are one load");
    // The same once more, by every way of writing; the change behind it shows that these were noticed and are over.
    std::fs::write(&file, value(39)).unwrap();
    let beside = folder.path().join("beside");
    std::fs::write(&beside, value(39)).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    std::fs::write(&file, value(40)).unwrap();
    until_value(&reloader, 40).await;
    watching.abort();
    assert_eq!(*told.lock().unwrap(), ["loaded", "loaded"]);
}

#[tokio::test]
async fn files_that_come_and_go_in_a_directory_are_reloaded() {
    let folder = folder();
    let other = |n: u32| value(n).replace("\"v\"", "\"w\"");
    std::fs::write(folder.path().join("a.alloy"), value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(folder.path().to_path_buf()));
    reloader.reload().await.unwrap();
    let (_, watching) = watched(&reloader, Duration::from_secs(3600)).await;
    let until_other = async |wanted: Option<i64>| {
        let wait = async {
            while export(reloader.runtime(), "test.value.w", "value") != wanted.map(Value::from) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("is reloaded within 30 s");
    };
    std::fs::write(folder.path().join("b.alloy"), other(2)).unwrap();
    until_other(Some(2)).await;
    std::fs::write(folder.path().join("b.alloy"), other(3)).unwrap();
    until_other(Some(3)).await;
    std::fs::remove_file(folder.path().join("b.alloy")).unwrap();
    until_other(None).await;
    assert_eq!(export(reloader.runtime(), "test.value.v", "value"), Some(Value::from(1_i64)));
    watching.abort();
}

#[tokio::test]
async fn a_watch_tells_once_of_a_file_that_is_no_text_and_not_of_one_that_is_away() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    std::fs::write(&file, value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(file.clone()));
    reloader.reload().await.unwrap();
    let (told, watching) = watched(&reloader, Duration::from_millis(50)).await;
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    std::fs::write(&file, b"// \xff\n").unwrap();
    let wait = async {
        while told.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("is told");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(*told.lock().unwrap(), ["these bytes are not valid UTF-8"]);
    assert_eq!(export(reloader.runtime(), "test.value.v", "value"), Some(Value::from(1_i64)));
    std::fs::write(&file, value(2)).unwrap();
    until_value(&reloader, 2).await;
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn without_notices_the_file_is_polled_and_the_same_content_is_no_change() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    std::fs::write(&file, value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(folder.path().to_path_buf()));
    reloader.reload().await.unwrap();
    let loads = Mutex::new(0);
    let watch = reloader.watch(Duration::from_secs(10), |_| *loads.lock().unwrap() += 1);
    let ended = tokio::time::timeout(Duration::from_secs(35), watch).await;
    assert!(ended.is_err() && *loads.lock().unwrap() == 0, "nothing has changed");
}

#[tokio::test]
async fn concurrent_requests_are_merged_and_all_get_an_answer() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    std::fs::write(&file, value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(file.clone()));
    reloader.reload().await.unwrap();
    std::fs::write(&file, "broken {").unwrap();
    let requests = (0..50).map(|_| {
        let reloader = reloader.clone();
        tokio::spawn(async move { reloader.reload().await })
    });
    for request in requests.collect::<Vec<_>>() {
        assert!(request.await.unwrap().is_err());
    }
    let failures = reloader.runtime().services().metrics.text();
    let failures =
        failures.lines().find(|l| l.starts_with("alloy_config_load_failures_total")).unwrap().to_string();
    let count: u32 = failures.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..50).contains(&count), "{count} loads for 50 requests");
}

fn translated(text: String) -> runtime::Translated {
    runtime::Translated { source: syntax::Source::new("converted", text), warnings: Vec::new() }
}

#[tokio::test]
async fn what_a_conversion_warns_of_is_in_the_answer_of_each_load() {
    let folder = folder();
    let file = folder.path().join("config.yml");
    let convert: runtime::Convert = Arc::new(|source| {
        let warning = syntax::Diagnostic {
            severity: syntax::Severity::Warning,
            ..syntax::Diagnostic::plain("dropped", "a key is left out")
        };
        Ok(runtime::Translated { warnings: vec![warning], ..translated(source.text().to_string()) })
    });
    let reloader = Reloader::new(runtime(), ConfigSource::Converted { path: file.clone(), convert });
    for text in [r#"test.value "v" { value = 1 }"#, r#"test.value "v" { value = 2 }"#] {
        std::fs::write(&file, text).unwrap();
        let loaded = reloader.reload().await.unwrap();
        assert_eq!(loaded.warnings.iter().map(|d| d.code).collect::<Vec<_>>(), ["dropped"]);
    }
    std::fs::write(&file, r#"test.absent "v" { }"#).unwrap();
    let refused = reloader.reload().await.expect_err("no such component");
    assert!(refused.diagnostics.iter().any(|d| d.code == "dropped"), "{refused:?}");
}

#[tokio::test]
async fn a_file_in_another_language_is_converted_at_each_load_and_a_failure_changes_nothing() {
    let folder = folder();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "v: 1").unwrap();
    let convert: runtime::Convert = Arc::new(|source| match source.text().strip_prefix("v: ") {
        Some(n) => Ok(translated(format!("test.value \"v\" {{ value = {n} }}"))),
        None => Err(vec![syntax::Diagnostic::plain("yaml", "there is no v")]),
    });
    let reloader = Reloader::new(runtime(), ConfigSource::Converted { path: file.clone(), convert });
    reloader.reload().await.unwrap();
    std::fs::write(&file, "w: 2").unwrap();
    let refused = reloader.reload().await.expect_err("cannot be converted");
    assert!(!refused.applied && refused.diagnostics[0].message == "there is no v");
    assert_eq!(export(reloader.runtime(), "test.value.v", "value"), Some(Value::from(1_i64)));
    std::fs::write(&file, "v: 3").unwrap();
    reloader.reload().await.unwrap();
    assert_eq!(export(reloader.runtime(), "test.value.v", "value"), Some(Value::from(3_i64)));
}

#[tokio::test]
async fn a_converted_configuration_has_the_folder_of_its_file_as_its_path() {
    let folder = folder();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "anything").unwrap();
    let convert: runtime::Convert =
        Arc::new(|_| Ok(translated("test.value \"v\" { value = module_path }".into())));
    let reloader = Reloader::new(runtime(), ConfigSource::Converted { path: file, convert });
    reloader.reload().await.unwrap();
    let path = export(reloader.runtime(), "test.value.v", "value");
    assert_eq!(path, Some(Value::from(folder.path().display().to_string().as_str())));
}

#[tokio::test]
async fn a_reload_whose_file_cannot_be_read_counts_as_a_failure() {
    let folder = folder();
    let file = folder.path().join("config.alloy");
    std::fs::write(&file, value(1)).unwrap();
    let reloader = Reloader::new(runtime(), ConfigSource::Path(file.clone()));
    reloader.reload().await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(!reloader.reload().await.unwrap_err().applied);
    let text = reloader.runtime().services().metrics.text();
    for line in ["alloy_config_last_load_successful 0", "alloy_config_load_failures_total 1"] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_hash_is_that_of_the_configuration_in_force_even_if_a_part_of_it_failed() {
    let runtime = runtime();
    let hash = |runtime: &runtime::Runtime| {
        let text = runtime.services().metrics.text();
        text.lines().find(|l| l.starts_with("alloy_config_hash{")).map(str::to_owned).expect("a hash")
    };
    load(&runtime, &value(1)).await.unwrap();
    let first = hash(&runtime);
    assert!(!load(&runtime, "broken {").await.unwrap_err().applied);
    assert_eq!(hash(&runtime), first);
    let failing = format!("{}\ntest.faulty \"f\" {{ how = \"build error\" }}", value(1));
    assert!(load(&runtime, &failing).await.unwrap_err().applied);
    assert_ne!(hash(&runtime), first);
}
