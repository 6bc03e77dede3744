//! Configuration, wiring, commands. The binary is thin: everything it does can be started from here, as the
//! end-to-end tests do.

pub mod cli;
pub mod commands;
pub mod config;
mod jobs;
mod log_output;
mod logging;
mod metrics;
mod migrations;
mod payments;
mod plans;
mod providers;
mod secret_file;
mod server;
mod system;
mod target_metrics;
mod telemetry;
mod wiring;

pub use logging::{Output, start as start_logging};
pub use server::{Running, serve};
pub use wiring::{Adapters, Services, open_store};
