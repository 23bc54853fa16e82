//! Work that would hold up the other tasks of its thread.

/// Runs `work`; beside the other tasks where there is `much` of it and the runtime has threads for that.
pub fn heavy<R>(much: bool, work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let threads = || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if much && threads() { tokio::task::block_in_place(work) } else { work() }
}
