//! Modules: running instances of bodies, and the blocks that make them.

pub(crate) mod arguments;
pub(crate) mod custom;
pub mod file;
pub(crate) mod foreach;
pub mod import;
pub(crate) mod instance;
pub(crate) mod tree;
pub(crate) mod tree_node;
