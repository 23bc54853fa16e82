//! Pages of the program's own code that only its start used.
//!
//! To read and check a configuration the program runs through code that it does not run again, and the system maps
//! sixteen pages around each one that is touched: most of the memory that an idle collector seems to use is code of its
//! start. These mappings are let go a moment after the start and now and then after it (a reload runs the same code). A
//! page that is needed again comes from the system's cache of the file: what remains mapped is what is in use.
//!
//! Invariant: only mappings of the program's file that cannot be written and hold no page of the process' own are let go.

#[cfg(any(target_os = "linux", test))]
use std::ops::Range;
use std::time::Duration;

/// From the end of the first load to the first time.
const SETTLED: Duration = Duration::from_secs(2);
/// And from then on.
const EVERY: Duration = Duration::from_secs(600);

/// Lets the pages go for as long as the program runs.
pub async fn keep_few() {
    tokio::time::sleep(SETTLED).await;
    loop {
        // Reading `smaps` walks the tables of pages: about a millisecond.
        let freed = tokio::task::spawn_blocking(let_go).await;
        if let Ok(Err(error)) = freed {
            tracing::debug!(%error, "pages of code that is not used stay mapped");
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Lets go of what is mapped now.
#[cfg(target_os = "linux")]
fn let_go() -> std::io::Result<()> {
    use rustix::mm::{Advice, madvise};

    let program = std::fs::read_link("/proc/self/exe")?;
    let Some(program) = program.to_str() else { return Ok(()) };
    for range in clean_mappings(&std::fs::read_to_string("/proc/self/smaps")?, program) {
        let start = std::ptr::with_exposed_provenance_mut(range.start);
        // SAFETY: the range is a private mapping of the program's file without write permission and without a page
        // of its own, which the loader made and nobody unmaps; the file of a running program cannot be written. What
        // is read there afterwards is therefore, byte for byte, what was there before.
        #[expect(unsafe_code, reason = "there is no safe name for pages that can be read again from a file")]
        unsafe {
            madvise(start, range.len(), Advice::LinuxDontNeed)?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn let_go() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The mappings of a program in a text of `smaps` (`proc_pid_smaps(5)`) all of whose pages are the file's: the code and
/// the constants. Those that the loader or a debugger has written to have pages of their own (`Anonymous`).
#[cfg(any(target_os = "linux", test))]
fn clean_mappings(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut clean = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(range) = heading(line) {
            let is_ours =
                line.split_once('/').is_some_and(|(_, path)| program.strip_prefix('/') == Some(path));
            let permissions = line.split_whitespace().nth(1);
            current = (is_ours && matches!(permissions, Some("r-xp" | "r--p"))).then_some(range);
        } else if let Some(kilobytes) = line.strip_prefix("Anonymous:") {
            let range = current.take();
            if kilobytes.trim() == "0 kB" {
                clean.extend(range);
            }
        }
    }
    clean
}

/// The addresses in the first line of a mapping: `55eb99d30000-55eb9a8bd000 r-xp …`.
#[cfg(any(target_os = "linux", test))]
fn heading(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
5000-6000 r--p 00000000 08:01 12 /bin/ferroalloy
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr
6000-8000 r-xp 00001000 08:01 12 /bin/ferroalloy
Anonymous:             0 kB
8000-9000 r--p 00003000 08:01 12 /bin/ferroalloy
Anonymous:             4 kB
9000-a000 rw-p 00004000 08:01 12 /bin/ferroalloy
Anonymous:             0 kB
a000-b000 r-xp 00000000 08:01 13 /lib/libc.so.6
Anonymous:             0 kB
b000-c000 rw-p 00000000 00:00 0
Anonymous:             0 kB
c000-d000 r--p 00000000 08:01 14 /bin/ferroalloy (deleted)
Anonymous:             0 kB
";

    #[test]
    fn only_unwritten_mappings_of_the_program_that_cannot_be_written_are_let_go() {
        assert_eq!(clean_mappings(SMAPS, "/bin/ferroalloy"), [0x5000..0x6000, 0x6000..0x8000]);
    }

    #[test]
    fn nothing_of_a_text_that_is_no_smaps_is_let_go() {
        assert!(clean_mappings("Anonymous: 0 kB\nx-y r-xp /bin/ferroalloy\n", "/bin/ferroalloy").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn code_and_constants_read_the_same_after_they_were_let_go_and_fewer_pages_are_mapped() {
        let text = include_str!("default.alloy");
        let before = checksum(text);
        // Whatever the test's program has touched so far is more than what the next lines touch.
        let mapped = file_pages();
        let_go().expect("madvise");
        assert!(file_pages() < mapped, "{} of {mapped} pages", file_pages());
        assert_eq!(checksum(text), before);
    }

    #[cfg(target_os = "linux")]
    fn checksum(text: &str) -> u64 {
        text.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
    }

    /// Pages of files that are mapped now: `statm`, field 3, as `proc_pid_statm(5)`.
    #[cfg(target_os = "linux")]
    fn file_pages() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
        statm.split_whitespace().nth(2).and_then(|n| n.parse().ok()).expect("a number")
    }
}
