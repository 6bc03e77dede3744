//! `/v1/auth`

mod login;
mod logout;
mod refresh;
mod session;
mod signup;
