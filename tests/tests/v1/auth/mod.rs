//! `/v1/auth`

mod lockout;
mod login;
mod logout;
mod refresh;
mod session;
mod signup;
mod tokens;
