//! Positions of others and of our own, whole and damaged.

use super::*;

fn alloys(path: &Path, labels: &str, offset: usize) -> String {
    format!("positions:\n  ? path: {}\n    labels: '{labels}'\n  : \"{offset}\"\n", path.display())
}

fn put(rig: &Rig, text: &[u8]) {
    let path = rig.positions_path();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn positions_of_alloy_are_gone_on_from_and_kept_in_its_format() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..200));
    let done = numbered(0..100).len();
    put(&rig, alloys(&rig.at("a.log"), "{job=\"x\"}", done).as_bytes());
    rig.start(&rig.target("a.log")).await;
    rig.expect(100..200).await;
    rig.stop().await;
    let text = std::fs::read_to_string(rig.positions_path()).unwrap();
    let entry = alloys(&rig.at("a.log"), "{job=\"x\"}", numbered(0..200).len());
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| !l.trim_start().starts_with('#'));
        lines.map(|l| l.replace('\'', "").trim().to_string()).collect()
    };
    assert_eq!(values(&text), values(&entry));
}

#[tokio::test(start_paused = true)]
async fn a_position_beyond_the_file_starts_it_anew_and_one_for_other_labels_is_another() {
    for (labels, offset) in [("{job=\"x\"}", 1 << 20), ("{job=\"y\"}", 70), ("{}", 70)] {
        let mut rig = Rig::new();
        rig.write("a.log", &numbered(0..20));
        put(&rig, alloys(&rig.at("a.log"), labels, offset).as_bytes());
        rig.start(&rig.target("a.log")).await;
        rig.expect(0..20).await;
    }
}

#[tokio::test(start_paused = true)]
async fn positions_of_promtail_are_taken_over_once() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..200));
    let legacy = rig.at("promtail.yaml");
    let text = format!("positions:\n  {}: \"{}\"\n", rig.at("a.log").display(), numbered(0..150).len());
    std::fs::write(&legacy, text).unwrap();
    let body = format!("{}legacy_positions_file = {legacy:?}", rig.target("a.log"));
    rig.start(&body).await;
    rig.expect(150..200).await;
    rig.stop().await;
    rig.write("a.log", &numbered(200..210));
    rig.start(&body).await;
    rig.expect(150..210).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_positions_file_is_set_aside_and_the_argument_decides_for_what_it_lost() {
    for (policy, expected) in [("restart_from_beginning", 0..10), ("restart_from_end", 0..0), ("skip", 0..0)]
    {
        let mut rig = Rig::new();
        rig.write("a.log", &numbered(0..10));
        put(&rig, b"positions:\n  ? path: /some\n    labels: {{{\n");
        let body = format!("{}on_positions_file_error = {policy:?}", rig.target("a.log"));
        rig.start(&body).await;
        rig.expect(expected.clone()).await;
        assert!(rig.positions_path().with_extension("yml.damaged").exists());
        rig.write("a.log", &numbered(10..20));
        let more = if policy == "skip" { 0 } else { 10 };
        rig.expect(expected.chain(10..10 + more)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_a_positions_file_is_cut_the_component_starts_and_no_line_is_missing() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    rig.start(&rig.target("a.log")).await;
    rig.until(10).await;
    rig.stop().await;
    let text = std::fs::read(rig.positions_path()).unwrap();
    for cut in (0..text.len()).step_by(7) {
        put(&rig, &text[..cut]);
        rig.lines.clear();
        rig.start(&rig.target("a.log")).await;
        // It is whole as soon as the value is.
        let again = if text[..cut].ends_with(b"# en") || cut + 6 >= text.len() { 0 } else { 10 };
        let _ = again;
        rig.rest().await;
        rig.stop().await;
        let expected: Vec<String> = (0..10).map(|n| format!("line {n}")).collect();
        assert!(rig.lines.is_empty() || rig.lines == expected, "cut at {cut}: {:?}", rig.lines);
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_deleted_with_its_target_and_kept_at_the_end() {
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..10));
    rig.start(&rig.target("a.log")).await;
    rig.until(10).await;
    rig.stop().await;
    let count = |rig: &Rig| tail::positions::load(&rig.positions_path()).records.len();
    assert_eq!(count(&rig), 1);
    rig.start("targets = []").await;
    rig.rest().await;
    assert_eq!(count(&rig), 1, "a target that was never there has not left");
    rig.update(&rig.target("a.log")).await;
    rig.rest().await;
    rig.update("targets = []").await;
    rig.rest().await;
    assert_eq!(count(&rig), 0);
    rig.stop().await;
    rig.expect(0..10).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_position_a_file_may_start_at_its_last_line() {
    for (text, expected) in [("line 0\nline 1\n", 2..3), ("line 0\nline", 2..3), ("", 2..3)] {
        let mut rig = Rig::new();
        rig.write("a.log", text);
        rig.start(&format!("{}tail_from_end = true", rig.target("a.log"))).await;
        rig.rest().await;
        rig.write("a.log", if text.ends_with("line") { " 2\n" } else { "line 2\n" });
        rig.expect(expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_files_are_read_once_whatever_their_format_and_goes_on_after_a_stop() {
    use tail::handle::{Codec, pack};
    for (format, codec) in [("gz", Codec::Gzip), ("z", Codec::Zlib), ("bz2", Codec::Bzip2)] {
        let mut rig = Rig::new();
        let text = numbered(0..100_000);
        std::fs::write(rig.at("a"), pack(codec, text.strip_suffix('\n').unwrap().as_bytes())).unwrap();
        let block =
            format!("decompression {{\nenabled = true\nformat = {format:?}\ninitial_delay = \"5s\"\n}}");
        let body = format!("{}{block}", rig.target("a"));
        rig.start(&body).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        rig.collect();
        assert!(rig.lines.is_empty(), "it is waited before the first read");
        rig.until(1).await;
        rig.refuse();
        rig.asked().await;
        rig.stop().await;
        assert!(rig.lines.len() < 100_000);
        rig.accept();
        rig.start(&body).await;
        rig.expect(0..100_000).await;
        rig.stop().await;
        rig.start(&body).await;
        rig.expect(0..100_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_decoded_as_they_are_marked_or_configured() {
    let text = "Grüße\r\nline two\n";
    let utf16 = |mark: bool, big: bool| -> Vec<u8> {
        let units = text.encode_utf16();
        let units = mark.then_some(0xFEFF).into_iter().chain(units);
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    };
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let marked: Vec<u8> = b"\xEF\xBB\xBF".iter().copied().chain(text.bytes()).collect();
    for (bytes, encoding, first) in [
        (text.as_bytes().to_vec(), "", "Grüße"),
        (marked, "", "Grüße"),
        (utf16(true, false), "", "Grüße"),
        (utf16(true, true), "windows-1252", "Grüße"),
        (utf16(false, false), "UTF-16LE", "Grüße"),
        (utf16(false, true), "UTF-16", "Grüße"),
        (latin.clone(), "ISO-8859-1", "Grüße"),
        (latin.clone(), "windows-1252", "Grüße"),
        (latin, "", "Gr\u{FFFD}\u{FFFD}e"),
    ] {
        let mut rig = Rig::new();
        let path = rig.at("a.log");
        std::fs::write(&path, &bytes).unwrap();
        rig.start(&format!("{}encoding = {encoding:?}", rig.target("a.log"))).await;
        rig.until(2).await;
        // In the middle of the file the mark still holds.
        rig.stop().await;
        append_bytes(&path, &bytes[bytes.len() - if bytes.len() > 30 { 18 } else { 9 }..]);
        rig.start(&format!("{}encoding = {encoding:?}", rig.target("a.log"))).await;
        rig.until(3).await;
        assert_eq!(rig.lines, [first, "line two", "line two"], "{encoding}");
        let failures = rig.metric("loki_source_file_encoding_failures_total", &path);
        assert_eq!(failures, None, "only the first line failed, before the stop");
    }
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    std::fs::File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn arguments_that_cannot_be_honoured_are_refused() {
    let rig = Rig::new();
    let names = || Names::default().with("sink", rig.port.receiver().to_value());
    for (text, at_fault) in [
        ("encoding = \"klingon\"", "encoding"),
        ("on_positions_file_error = \"panic\"", "on_positions_file_error"),
        ("file_match {\nsync_period = \"0s\"\n}", "sync_period"),
        ("decompression {\nenabled = true\nformat = \"rar\"\n}", "format"),
    ] {
        let harness = Harness::new(DEF, names(), Services::for_tests(rig.storage.path()));
        let refused =
            harness.update(&format!("targets = []\nforward_to = [sink]\n{text}")).await.unwrap_err();
        assert!(format!("{refused:?}").contains(at_fault), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_no_number_is_for_the_argument_to_decide() {
    for (policy, expected) in
        [("restart_from_beginning", 0..20), ("restart_from_end", 10..20), ("skip", 0..0)]
    {
        let mut rig = Rig::new();
        rig.write("a.log", &numbered(0..10));
        let text = format!(
            "positions:\n  ? path: {}\n    labels: '{{job=\"x\"}}'\n  : 'x1'\n",
            rig.at("a.log").display()
        );
        put(&rig, text.as_bytes());
        rig.start(&format!("{}on_positions_file_error = {policy:?}", rig.target("a.log"))).await;
        rig.rest().await;
        rig.write("a.log", &numbered(10..20));
        rig.expect(expected).await;
    }
}
