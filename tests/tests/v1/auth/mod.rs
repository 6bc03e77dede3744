//! `/v1/auth`

mod email;
mod lockout;
mod login;
mod logout;
mod password;
mod refresh;
mod session;
mod signup;
mod tokens;
