//! The allocator, and the profile of the heap that one of the two choices keeps.
//!
//! mimalloc is the default: small, quick to build. With the feature `jemalloc` the program keeps a sample of
//! its allocations with their stacks (one in 512 KiB), which `/debug/pprof/heap` shows in pprof's format.
//!
//! Memory comes in small pages. Huge ones made the resident memory of a scraping process half as large again, that of an
//! idle one twice as large, and saved no CPU time. mimalloc asks for huge pages, on systems that give them to those who
//! ask too, and it takes memory before `main`; so that is too late to decline them.

#[cfg(not(feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads before `main`: profiling on, few arenas, memory given back after a second.
#[cfg(feature = "jemalloc")]
#[expect(unsafe_code, reason = "jemalloc looks for its settings under this symbol")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] =
    b"prof:true,prof_active:true,lg_prof_sample:19,narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:1000\0";

/// Runs before `main` and before the first allocation: what has a number in this section's name comes before the
/// initialisers that have none.
#[cfg(target_os = "linux")]
#[used]
#[expect(unsafe_code, reason = "there is no other place before the first allocation")]
#[unsafe(link_section = ".init_array.00090")]
static SMALL_PAGES: extern "C" fn() = {
    // It makes one system call by the registers: whatever is initialised later is not needed.
    extern "C" fn small_pages() {
        // Where the kernel does not know the call, memory is only larger.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
    small_pages
};

/// The live heap in pprof's format, compressed with gzip; `None` if this build keeps no profile.
#[cfg(feature = "jemalloc")]
pub fn profile() -> Option<Result<Vec<u8>, String>> {
    let Some(control) = jemalloc_pprof::PROF_CTL.as_ref() else {
        return Some(Err("the allocator's profiler is not available".to_string()));
    };
    let mut control = match control.try_lock() {
        Ok(control) => control,
        Err(_) => return Some(Err("another heap profile is being taken".to_string())),
    };
    Some(control.dump_pprof().map_err(|e| e.to_string()))
}

/// The live heap in pprof's format, compressed with gzip; `None` if this build keeps no profile.
#[cfg(not(feature = "jemalloc"))]
pub fn profile() -> Option<Result<Vec<u8>, String>> {
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_was_taken_before_main_is_in_small_pages() {
        // `proc_pid_status(5)`: the process may have none; and `proc_pid_smaps(5)`: it has none.
        let status = std::fs::read_to_string("/proc/self/status").expect("status");
        assert!(!status.contains("THP_enabled:\t1"), "{status}");
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let huge = |line: &&str| line.starts_with("AnonHugePages:") && !line.ends_with(" 0 kB");
        assert_eq!(smaps.lines().filter(huge).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[cfg(feature = "jemalloc")]
    #[test]
    fn the_heap_profile_is_compressed_with_gzip() {
        let kept: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
        let profile = super::profile().expect("this build keeps one").expect("a profile");
        assert!(profile.starts_with(&[0x1f, 0x8b]) && profile.len() > 200, "{} bytes", profile.len());
        assert_eq!(kept.len(), 64);
    }
}
