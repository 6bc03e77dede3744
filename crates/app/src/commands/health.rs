//! `anteroom health`: a container's health check without any other program.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use url::Url;

use super::{read, say};
use crate::cli::HealthArgs;

/// Asks `/health` of a server on this machine; plain http is enough there.
pub(super) fn run(args: HealthArgs, path: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let url = match args.url {
        Some(url) => url,
        None => {
            let server = read(path)?.settings.server;
            let host = match server.host.as_str() {
                "0.0.0.0" => "127.0.0.1".to_owned(),
                "::" => "[::1]".to_owned(),
                host if host.contains(':') => format!("[{host}]"),
                host => host.to_owned(),
            };
            Url::parse(&format!("http://{host}:{}", server.port))?
        }
    };
    if url.scheme() != "http" {
        bail!("only http is spoken here; give the address of the server itself, not of a proxy");
    }
    let (host, port) = (
        url.host_str().unwrap_or("127.0.0.1"),
        url.port_or_known_default().unwrap_or(80),
    );
    let address = (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()?
        .next()
        .with_context(|| format!("`{host}` has no address"))?;
    let patience = Duration::from_secs(5);
    let mut stream =
        TcpStream::connect_timeout(&address, patience).with_context(|| format!("nothing listens at {address}"))?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).context("no answer")?;
    if &head[9..] != b"200" {
        bail!("unhealthy: {}", String::from_utf8_lossy(&head[9..]));
    }
    say("healthy");
    Ok(ExitCode::SUCCESS)
}
