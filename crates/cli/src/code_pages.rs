//! Pages of code that only the start of the program used: of its own file, and of the libraries that the loader has mapped.
//!
//! To read and check a configuration the program runs through code that it does not run again, and the system maps
//! sixteen pages around each one that is touched: most of the memory that an idle collector seems to use is code of its
//! start. These mappings are let go at its end, before data takes memory of its own, again when all paths have run for the
//! first time, and now and then from then on (a reload runs the same code). A page that is needed again comes from the
//! system's cache of the file: what remains mapped is what is in use.
//!
//! Invariant: only mappings that were there before the program had a second thread, that cannot be written and hold no
//! page of the process' own are let go. The loader made them, and nobody unmaps them.

use std::ops::Range;
use std::time::Duration;

/// From one time to the next, beginning with the end of the first load.
const FIRST: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(30)];
/// And from then on.
const EVERY: Duration = Duration::from_secs(600);

/// The mappings of the program and its libraries.
pub struct CodePages {
    #[cfg_attr(
        not(any(target_os = "linux", test)),
        expect(dead_code, reason = "only Linux lets go of them")
    )]
    mapped: Vec<Range<usize>>,
}

impl CodePages {
    /// What the loader has mapped; to be asked for before there are threads. Empty where there is no `/proc`.
    pub fn of_the_loader() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self { mapped: maps.lines().filter_map(unwritable_file).collect() }
    }

    /// Lets the pages go for as long as the program runs.
    pub async fn keep_few(self) {
        let pages = std::sync::Arc::new(self);
        for wait in FIRST.into_iter().chain(std::iter::repeat(EVERY)) {
            tokio::time::sleep(wait).await;
            let these = pages.clone();
            // Reading `smaps` walks the tables of pages: about a millisecond.
            let freed = tokio::task::spawn_blocking(move || these.let_go()).await;
            if let Ok(Err(error)) = freed {
                tracing::debug!(%error, "pages of code that is not used stay mapped");
                return;
            }
        }
    }

    /// Lets go of what is mapped now.
    #[cfg(target_os = "linux")]
    fn let_go(&self) -> std::io::Result<()> {
        use rustix::mm::{Advice, madvise};

        for range in self.clean(&std::fs::read_to_string("/proc/self/smaps")?) {
            let start = std::ptr::with_exposed_provenance_mut(range.start);
            // SAFETY: the range is a private mapping of a file without write permission and without a page of its own,
            // which the loader made before `main` and nobody unmaps. The file of a program or library in use is
            // replaced, not written. What is read there afterwards is therefore, byte for byte, what was there before.
            #[expect(
                unsafe_code,
                reason = "there is no safe name for pages that can be read again from a file"
            )]
            unsafe {
                madvise(start, range.len(), Advice::LinuxDontNeed)?;
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn let_go(&self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Those mappings in a text of `smaps` (`proc_pid_smaps(5)`) all of whose pages are the file's: code and constants.
    /// Those that the loader or a debugger has written to have pages of their own (`Anonymous`).
    #[cfg(any(target_os = "linux", test))]
    fn clean(&self, smaps: &str) -> Vec<Range<usize>> {
        let mut clean = Vec::new();
        let mut current = None;
        for line in smaps.lines() {
            if let Some(kilobytes) = line.strip_prefix("Anonymous:") {
                let range: Option<Range<usize>> = current.take();
                if kilobytes.trim() == "0 kB" {
                    clean.extend(range);
                }
            } else if addresses(line).is_some() {
                current = unwritable_file(line).filter(|range| self.mapped.contains(range));
            }
        }
        clean
    }
}

/// The addresses of a private mapping of a file that cannot be written, from its line in `maps`:
/// `55eb99d30000-55eb9a8bd000 r-xp 00964000 fe:00 9981048 /usr/bin/ferroalloy`.
fn unwritable_file(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is_unwritable = matches!(fields.next(), Some("r-xp" | "r--p"));
    let is_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    addresses(line).filter(|_| is_unwritable && is_file)
}

/// The addresses at the beginning of a mapping's line.
fn addresses(line: &str) -> Option<Range<usize>> {
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
c000-d000 r--s 00000000 08:01 14 /var/lib/data
Anonymous:             0 kB
d000-e000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";

    #[test]
    fn only_unwritten_mappings_of_files_that_cannot_be_written_are_let_go() {
        let pages = CodePages { mapped: SMAPS.lines().filter_map(unwritable_file).collect() };
        assert_eq!(pages.clean(SMAPS), [0x5000..0x6000, 0x6000..0x8000, 0xa000..0xb000]);
    }

    #[test]
    fn what_was_mapped_later_or_is_no_longer_the_same_mapping_is_left_alone() {
        let pages = CodePages { mapped: vec![0x5000..0x6000, 0x6000..0x8000, 0xa000..0xc000] };
        assert_eq!(pages.clean(SMAPS), [0x5000..0x6000, 0x6000..0x8000]);
    }

    #[test]
    fn nothing_of_a_text_that_is_no_smaps_is_let_go() {
        let text = "Anonymous: 0 kB\nx-y r-xp 0 0 0 /bin/ferroalloy\n";
        assert!(CodePages { mapped: vec![0..1, 1..2] }.clean(text).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn code_and_constants_read_the_same_after_they_were_let_go_and_fewer_pages_are_mapped() {
        let text = include_str!("default.alloy");
        let before = checksum(text);
        let pages = CodePages::of_the_loader();
        // Whatever the test's program has touched so far is more than what the next lines touch.
        let mapped = file_pages();
        pages.let_go().expect("madvise");
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
