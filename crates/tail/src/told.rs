//! What the kernel's word about files may be, whoever hears it.

use std::path::PathBuf;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux' inotify is listened to"))]
pub enum Told {
    /// A name in a watched folder came or went.
    Name(PathBuf),
    /// A watched file changed; the number is the one it was armed with.
    File(u64),
    /// Events were lost: anything may have happened.
    Everything,
}
