//! `/v1/auth`

mod email;
mod link_down;
mod lockout;
mod login;
mod logout;
mod password;
mod refresh;
mod security_cases;
mod session;
mod signup;
mod tokens;
