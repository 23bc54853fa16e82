//! `local.*`: what is on this machine.

mod file;
mod file_match;

pub use file::File;
pub use file_match::FileMatch;
