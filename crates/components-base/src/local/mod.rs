//! `local.*`: what is on this machine.

mod file;

pub use file::File;
