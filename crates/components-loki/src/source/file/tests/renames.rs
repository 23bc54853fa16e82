//! What happened to names while nobody ran: files numbered up, compressed, renamed, and links led on.

use super::*;

fn pattern(rig: &Rig, pattern: &str) -> String {
    format!(
        "targets = [{{__path__ = {:?}, job = \"x\"}}]\nfile_match {{\nenabled = true\n}}\n",
        rig.at(pattern)
    )
}

/// So many numbered lines in all, whatever their order; each once.
async fn expect_any_order(rig: &mut Rig, count: usize) {
    rig.until(count).await;
    rig.rest().await;
    let mut numbers: Vec<usize> = rig.lines.iter().map(|l| l[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
}

fn compress(rig: &Rig, from: &str, to: &str) {
    let bytes = std::fs::read(rig.at(from)).unwrap();
    std::fs::write(rig.at(to), tail::handle::pack(tail::Codec::Gzip, &bytes)).unwrap();
    std::fs::remove_file(rig.at(from)).unwrap();
}

fn rename(rig: &Rig, from: &str, to: &str) {
    std::fs::rename(rig.at(from), rig.at(to)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn rotated_files_that_were_numbered_up_meanwhile_are_not_read_again() {
    // Moved, or copied as on file systems that cannot rename: then nothing but content tells.
    for copied in [false, true] {
        let mut rig = Rig::new();
        let up = |rig: &Rig, from: &str, to: &str| {
            if copied {
                std::fs::copy(rig.at(from), rig.at(to)).unwrap();
                std::fs::remove_file(rig.at(from)).unwrap();
            } else {
                rename(rig, from, to);
            }
        };
        rig.write("app.log", &numbered(0..100));
        rig.start(&pattern(&rig, "app.log*")).await;
        rig.until(100).await;
        rig.rest().await;
        rename(&rig, "app.log", "app.log.1");
        rig.write("app.log", &numbered(100..200));
        rig.until(200).await;
        rig.rest().await;
        rig.stop().await;
        rig.write("app.log", &numbered(200..250));
        up(&rig, "app.log.1", "app.log.2");
        up(&rig, "app.log", "app.log.1");
        rig.write("app.log", &numbered(250..300));
        eprintln!("copied: {copied}");
        rig.start(&pattern(&rig, "app.log*")).await;
        expect_any_order(&mut rig, 300).await;
        rig.stop().await;
        // And once more, by more than one.
        up(&rig, "app.log.2", "app.log.4");
        up(&rig, "app.log.1", "app.log.3");
        up(&rig, "app.log", "app.log.2");
        rig.write("app.log.1", &numbered(300..320));
        rig.write("app.log", &numbered(320..340));
        rig.start(&pattern(&rig, "app.log*")).await;
        expect_any_order(&mut rig, 340).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn rotated_files_that_were_compressed_meanwhile_are_not_read_again() {
    let mut rig = Rig::new();
    rig.write("app.log", &numbered(0..100));
    rig.start(&pattern(&rig, "app.log*")).await;
    rig.until(100).await;
    rig.rest().await;
    rename(&rig, "app.log", "app.log.1");
    rig.write("app.log", &numbered(100..200));
    rig.until(200).await;
    rig.rest().await;
    rig.stop().await;
    compress(&rig, "app.log.1", "app.log.2.gz");
    rig.write("app.log", &numbered(200..250));
    compress(&rig, "app.log", "app.log.1.gz");
    rig.write("app.log", &numbered(250..300));
    rig.start(&pattern(&rig, "app.log*")).await;
    expect_any_order(&mut rig, 300).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rotated_file_that_was_done_is_known_by_its_content_even_if_it_was_never_a_target() {
    let mut rig = Rig::new();
    rig.write("app.log", &numbered(0..100));
    rig.start(&rig.target("app.log")).await;
    rig.until(100).await;
    rename(&rig, "app.log", "app.log.1");
    rig.write("app.log", &numbered(100..200));
    rig.until(200).await;
    rig.rest().await;
    rig.stop().await;
    rename(&rig, "app.log.1", "app.log.2");
    rig.start(&pattern(&rig, "app.log*")).await;
    rig.rest().await;
    expect_any_order(&mut rig, 200).await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_renamed_meanwhile_is_gone_on_with_and_one_that_is_like_it_is_another() {
    for (start, more) in [("", 200), ("tail_from_end = true\n", 200)] {
        let mut rig = Rig::new();
        rig.write("a.log", "");
        rig.start(&format!("{}{start}", pattern(&rig, "*.log"))).await;
        rig.rest().await;
        rig.write("a.log", &numbered(0..100));
        rig.until(100).await;
        rig.rest().await;
        rig.stop().await;
        rig.write("a.log", &numbered(100..200));
        rename(&rig, "a.log", "b.log");
        rig.start(&format!("{}{start}", pattern(&rig, "*.log"))).await;
        expect_any_order(&mut rig, more).await;
        rig.stop().await;
    }
    let mut rig = Rig::new();
    rig.write("a.log", &numbered(0..100));
    rig.start(&pattern(&rig, "*.log")).await;
    rig.until(100).await;
    rig.stop().await;
    std::fs::copy(rig.at("a.log"), rig.at("a2.log")).unwrap();
    rig.start(&pattern(&rig, "*.log")).await;
    rig.until(200).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_led_on_several_times_meanwhile_loses_none_of_the_files_between() {
    for removed in [false, true] {
        let mut rig = Rig::new();
        std::fs::create_dir(rig.at("real")).unwrap();
        let lead = |rig: &Rig, to: &str| {
            std::os::unix::fs::symlink(to, rig.at("next")).unwrap();
            rename(rig, "next", "web.log");
        };
        rig.write("real/0.log", &numbered(0..100));
        lead(&rig, "real/0.log");
        rig.start(&rig.target("web.log")).await;
        rig.until(100).await;
        rig.stop().await;
        // As a kubelet does it: rotated by size, then the container was started anew, twice.
        rename(&rig, "real/0.log", "real/0.log.20260101-101500");
        rig.write("real/0.log", &numbered(100..150));
        rename(&rig, "real/0.log", "real/0.log.20260101-111500");
        compress(&rig, "real/0.log.20260101-111500", "real/0.log.20260101-111500.gz");
        rig.write("real/0.log", &numbered(150..200));
        rig.write("real/1.log.20260102-101500", &numbered(200..220));
        rig.write("real/1.log", &numbered(220..250));
        rig.write("real/2.log", &numbered(250..300));
        if removed {
            std::fs::remove_file(rig.at("real/0.log.20260101-101500")).unwrap();
        }
        lead(&rig, "real/2.log");
        rig.start(&rig.target("web.log")).await;
        eprintln!("removed: {removed}");
        rig.expect(0..300).await;
        rig.stop().await;
        rig.start(&rig.target("web.log")).await;
        rig.expect(0..300).await;
        rig.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn files_beside_a_link_that_are_none_of_its_are_left_alone() {
    let mut rig = Rig::new();
    std::fs::create_dir(rig.at("real")).unwrap();
    rig.write("real/5.log", &numbered(0..100));
    for other in ["real/4.log", "real/9.log", "real/5.txt", "real/x.log"] {
        rig.write(other, "of another\n");
    }
    std::os::unix::fs::symlink("real/5.log", rig.at("web.log")).unwrap();
    rig.start(&rig.target("web.log")).await;
    rig.until(100).await;
    rig.stop().await;
    rename(&rig, "real/5.log", "real/gone");
    std::fs::remove_file(rig.at("real/gone")).unwrap();
    rig.write("real/6.log", &numbered(100..200));
    std::os::unix::fs::symlink("real/6.log", rig.at("next")).unwrap();
    rename(&rig, "next", "web.log");
    rig.start(&rig.target("web.log")).await;
    rig.expect(0..200).await;
    rig.stop().await;
}
