//! Every way of rotating a file, while the component runs and while it does not.

use std::path::Path;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Rotation {
    Rename,
    RenameAndCompress,
    DeleteAndCreate,
    CopyAndTruncate,
    CopyTruncateAndCompress,
    SymlinkSwap,
    RenameElsewhere,
}

const ALL: [Rotation; 7] = [
    Rotation::Rename,
    Rotation::RenameAndCompress,
    Rotation::DeleteAndCreate,
    Rotation::CopyAndTruncate,
    Rotation::CopyTruncateAndCompress,
    Rotation::SymlinkSwap,
    Rotation::RenameElsewhere,
];

fn compress(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let packed = tail::handle::pack(tail::Codec::Gzip, &bytes);
    std::fs::write(
        path.with_file_name(format!("{}.gz", path.file_name().unwrap().to_str().unwrap())),
        packed,
    )
    .unwrap();
    std::fs::remove_file(path).unwrap();
}

impl Rotation {
    /// Makes the file at the target's path; `path` may be a link.
    fn create(self, rig: &Rig, text: &str) {
        if matches!(self, Self::SymlinkSwap) {
            std::fs::create_dir_all(rig.at("real")).unwrap();
            append(&rig.at("real/0.log"), text);
            std::os::unix::fs::symlink("real/0.log", rig.at("a.log")).unwrap();
        } else {
            rig.write("a.log", text);
        }
    }

    /// Rotates; the path holds `text` then.
    fn rotate(self, rig: &Rig, text: &str) {
        let (path, old) = (rig.at("a.log"), rig.at("a.log.1"));
        match self {
            Self::Rename => std::fs::rename(&path, old).unwrap(),
            Self::RenameAndCompress => {
                std::fs::rename(&path, &old).unwrap();
                compress(&old);
            }
            Self::DeleteAndCreate => std::fs::remove_file(&path).unwrap(),
            Self::CopyAndTruncate => {
                std::fs::copy(&path, old).unwrap();
                std::fs::File::create(&path).unwrap();
            }
            Self::CopyTruncateAndCompress => {
                std::fs::copy(&path, &old).unwrap();
                std::fs::File::create(&path).unwrap();
                compress(&old);
            }
            Self::SymlinkSwap => {
                std::os::unix::fs::symlink("real/1.log", rig.at("next")).unwrap();
                rig.write("real/1.log", "");
                std::fs::rename(rig.at("next"), &path).unwrap();
            }
            Self::RenameElsewhere => std::fs::rename(&path, rig.at("archived")).unwrap(),
        }
        append(&path, text);
    }

    /// Nobody can write to what is left of the old file.
    fn copies(self) -> bool {
        matches!(self, Self::CopyAndTruncate | Self::CopyTruncateAndCompress)
    }

    fn compresses(self) -> bool {
        matches!(self, Self::RenameAndCompress | Self::CopyTruncateAndCompress)
    }

    /// Whether the rest of the old file is nowhere to be found after a stop.
    fn destroys(self) -> bool {
        matches!(self, Self::DeleteAndCreate)
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_rotated_while_lines_wait_is_read_to_its_end_and_every_line_comes_once() {
    for rotation in ALL {
        for end in ["\n", "", "\r\n"] {
            let mut rig = Rig::new();
            rotation.create(&rig, &numbered(0..100));
            rig.start(&rig.target("a.log")).await;
            rig.until(100).await;
            rig.refuse();
            let rest = numbered(100..200);
            rig.write("a.log", &format!("{}{end}", rest.strip_suffix('\n').unwrap()));
            rig.asked().await;
            rotation.rotate(&rig, &numbered(200..300));
            rig.accept();
            eprintln!("{rotation:?} {end:?}");
            // The last line of the old file may have no end: it is waited for.
            let mut lines: Vec<usize> = (0..300).collect();
            if end.is_empty() && !rotation.copies() {
                lines.retain(|n| *n != 199);
                lines.push(199);
            }
            rig.expect(lines.into_iter()).await;
            rig.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_rotated_while_nobody_runs_is_found_and_its_rest_is_read_first() {
    for rotation in ALL {
        for end in ["\n", ""] {
            let mut rig = Rig::new();
            rotation.create(&rig, &numbered(0..100));
            rig.start(&rig.target("a.log")).await;
            rig.until(100).await;
            rig.stop().await;
            let rest = numbered(100..200);
            rig.write("a.log", &format!("{}{end}", rest.strip_suffix('\n').unwrap()));
            rotation.rotate(&rig, &numbered(200..300));
            rig.start(&rig.target("a.log")).await;
            eprintln!("{rotation:?} {end:?}");
            let mut lines: Vec<usize> = (0..300).collect();
            if rotation.destroys() {
                lines.retain(|n| !(100..200).contains(n));
            } else if end.is_empty() && !rotation.compresses() {
                lines.retain(|n| *n != 199);
                lines.push(199);
            }
            rig.expect(lines.into_iter()).await;
            rig.stop().await;
        }
    }
}

/// Rotates with the real program.
fn logrotate(rig: &Rig, options: &str) {
    let config = rig.at("logrotate.conf");
    let text = format!("{:?} {{\nrotate 9\nsize 1\nmissingok\n{options}\n}}\n", rig.at("a.log"));
    std::fs::write(&config, text).unwrap();
    let command = std::process::Command::new("/usr/sbin/logrotate")
        .args(["--force", "--state"])
        .arg(rig.at("logrotate.state"))
        .arg(&config)
        .output();
    let output = command.expect("logrotate is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(start_paused = true)]
#[ignore = "needs logrotate"]
async fn rotations_of_logrotate_lose_and_repeat_nothing() {
    use std::os::unix::fs::PermissionsExt;
    for options in [
        "create",
        "create\ncompress",
        "create\ncompress\ndelaycompress",
        "copytruncate",
        "copytruncate\ncompress",
    ] {
        let mut rig = Rig::new();
        // It refuses folders that others may write to.
        std::fs::set_permissions(rig.at("."), std::fs::Permissions::from_mode(0o755)).unwrap();
        let body = rig.target("a.log");
        rig.write("a.log", &numbered(0..100));
        rig.start(&body).await;
        rig.until(100).await;
        for round in 1..6 {
            let stopped = round % 2 == 0;
            if stopped {
                rig.stop().await;
            } else {
                rig.refuse();
            }
            rig.write("a.log", &numbered(round * 100..round * 100 + 50));
            logrotate(&rig, options);
            rig.write("a.log", &numbered(round * 100 + 50..round * 100 + 100));
            if stopped {
                rig.start(&body).await;
            }
            rig.accept();
            eprintln!("{options:?} {round}");
            rig.until(round * 100 + 100).await;
        }
        rig.expect(0..600).await;
        rig.stop().await;
    }
}
