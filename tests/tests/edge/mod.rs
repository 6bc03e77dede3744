//! What every request passes, whatever it asks for.

mod bad_input;
mod cors;
mod headers;
mod hosts;
mod limits;
mod refusals;
