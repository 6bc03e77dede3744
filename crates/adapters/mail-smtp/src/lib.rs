//! A mailer that speaks SMTP to a mail server.
