//! The allocator, and the profile of the heap that one of the two choices keeps.
//!
//! mimalloc is the default: small, quick to build. With the feature `jemalloc` the program keeps a sample of
//! its allocations with their stacks (one in 512 KiB), which `/debug/pprof/heap` shows in pprof's format.

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

#[cfg(all(test, feature = "jemalloc"))]
mod tests {
    #[test]
    fn the_heap_profile_is_compressed_with_gzip() {
        let kept: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
        let profile = super::profile().expect("this build keeps one").expect("a profile");
        assert!(profile.starts_with(&[0x1f, 0x8b]) && profile.len() > 200, "{} bytes", profile.len());
        assert_eq!(kept.len(), 64);
    }
}
