//! Test files run through the crate as the command does it, with all components of the program.

mod golden;
mod junit;
