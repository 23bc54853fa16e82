//! Tests that need more than one module: formats, the log's model, the queue, the simulation.

mod fake_fs;
mod format;
mod model;
mod queue;
mod simulation;
mod threads;
