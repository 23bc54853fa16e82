//! Any texts as files of `/proc` and `/sys`: what reads them does not panic, and what `prometheus.exporter.unix` makes of
//! them is a page of metrics.
//!
//! The first line of an input says who reads; then come files: the path, a line feed, the text, and a byte of value 1
//! behind each.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::fs;
use std::path::{Component, Path};

use components_discovery::process;
use components_exporters::unix::{Collectors, Config};
use components_otelcol::processor::memory_limiter;
use signal::exposition::write_text;

/// Whether a path stays below the root.
fn is_below(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.contains('\0')
        && parts.clone().count() > 0
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn write(root: &Path, files: &str) {
    for (path, text) in files.split('\x01').filter_map(|file| file.split_once('\n')) {
        let place = root.join(path);
        // Names may be too long, or a file may be in the place of a folder.
        if is_below(path) && fs::create_dir_all(place.parent().expect("below the root")).is_ok() {
            let _ = fs::write(place, text);
        }
    }
}

fn collect(root: &Path, collector: &str) {
    let path = |name: &str| root.join(name).display().to_string();
    let mut config = Config {
        procfs_path: path("proc"),
        sysfs_path: path("sys"),
        rootfs_path: path("rootfs"),
        udev_data_path: path("udev"),
        set_collectors: vec![collector.to_owned()],
        ..Config::default()
    };
    config.textfile.directory = path("textfile");
    let Ok(mut collectors) = Collectors::new(&config) else { return };
    let mut page = String::new();
    write_text(&collectors.collect_all(), &mut page);
    let read = components_exporters::text::parse(&page);
    assert!(read.is_ok(), "{}\n{page}", read.expect_err("it is not"));
}

fuzz::target!(|text: &str| {
    let Some((reader, files)) = text.split_once('\n') else { return };
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), files);
    match reader {
        "discovery.process" => process::read_arbitrary(folder.path()),
        "otelcol.processor.memory_limiter" => memory_limiter::read_arbitrary(folder.path()),
        collector => collect(folder.path(), collector),
    }
});
