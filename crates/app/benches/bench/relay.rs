//! What a call to a model costs, beside a call straight to the same upstream and, where it is installed and
//! `BENCH_NGINX` is set, beside nginx's `proxy_pass`.

use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{
    Connection, Fallible, Process, anteroom, at, cpu_seconds, free_port, has, median, ms, out, pinned, post,
    resident_kb, role, sign_up, spread, wait_for, wrk_with,
};

const PATH: &str = "/v1/chat/completions";
const WHOLE: &str = r#"{"model":"fast","messages":[{"role":"user","content":"say hello"}]}"#;
const STREAM: &str = r#"{"model":"fast","stream":true,"messages":[{"role":"user","content":"say hello"}]}"#;
/// Connections that ask at once.
const AT_ONCE: &str = "-c64";
const ROUNDS: usize = 5;
/// Tokens of each of the streams by which the cost of a token is told.
const TOKENS: u32 = 2000;
const READERS: u32 = 8;
/// Streams that are held open.
const OPEN: usize = 1000;

/// Somebody whom calls are made to.
struct Way {
    name: &'static str,
    port: u16,
    headers: String,
    /// The process whose cost counts; of the upstream nobody asks.
    pid: Option<u32>,
}

pub fn run() -> Fallible<()> {
    let upstream_port = free_port()?;
    let _upstream = role("1", &["upstream"], upstream_port)?;
    let server = anteroom(Some(upstream_port))?;
    let token = sign_up(server.port, "relay@example.com", "token")?;
    let mut ways = vec![Way {
        name: "direct",
        port: upstream_port,
        headers: String::new(),
        pid: None,
    }];
    let folder = tempfile::tempdir()?;
    let nginx = match std::env::var_os("BENCH_NGINX") {
        Some(_) => Some(nginx(folder.path(), upstream_port)?),
        None => None,
    };
    if let Some((process, port)) = &nginx {
        ways.push(Way {
            name: "nginx",
            port: *port,
            headers: String::new(),
            pid: Some(process.0.id()),
        });
    }
    ways.push(Way {
        name: "anteroom",
        port: server.port,
        headers: format!("Authorization: Bearer {token}\r\n"),
        pid: Some(server.process.0.id()),
    });
    one_at_a_time(&ways)?;
    many_at_once(&ways, folder.path())?;
    tokens(&ways)?;
    open_streams(&ways)
}

/// nginx as one process on the server's core, which passes all to the upstream over connections that stay.
fn nginx(folder: &Path, upstream: u16) -> Fallible<(Process, u16)> {
    let (port, at) = (free_port()?, folder.display());
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
    fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
    keepalive_requests 100000000;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let process = Process(pinned("0", Path::new("nginx")).arg("-c").arg(&file).spawn()?);
    wait_for(port)?;
    Ok((process, port))
}

fn one_at_a_time(ways: &[Way]) -> Fallible<()> {
    out("relay, one call at a time, with authentication, quota and usage row");
    for (name, body, first) in [("whole answer", WHOLE, false), ("first token", STREAM, true)] {
        let mut asked = Vec::new();
        for way in ways {
            asked.push((Connection::open(way.port)?, post(PATH, &way.headers, body), Vec::new()));
        }
        for round in 0..2200 {
            for (connection, request, times) in &mut asked {
                let time = connection.timed(request, first)?;
                if round >= 200 {
                    times.push(time);
                }
            }
        }
        let mut direct = asked[0].2.clone();
        let (direct_50, direct_99) = (at(&mut direct, 50), at(&mut direct, 99));
        for (way, (_, _, times)) in ways.iter().zip(&mut asked) {
            let (p50, p99) = (at(times, 50), at(times, 99));
            out(&format!(
                "  {name:<13} {:<9} {}  added p50 {:>7.3} ms  p99 {:>7.3} ms",
                way.name,
                spread(times),
                ms(p50) - ms(direct_50),
                ms(p99) - ms(direct_99)
            ));
        }
    }
    out("");
    Ok(())
}

fn many_at_once(ways: &[Way], folder: &Path) -> Fallible<()> {
    let script = folder.join("post.lua");
    std::fs::write(&script, format!("wrk.method = 'POST'\nwrk.body = '{WHOLE}'\n"))?;
    let script = script.to_str().ok_or("no text")?;
    let mut found = vec![(Vec::new(), Vec::new()); ways.len()];
    for _ in 0..ROUNDS {
        for (way, (rates, costs)) in ways.iter().zip(&mut found) {
            let mut headers = vec!["Content-Type: application/json".to_owned()];
            headers.extend(way.headers.lines().map(str::to_owned));
            let before = way.pid.map(cpu_seconds).transpose()?;
            let begun = Instant::now();
            let rate = wrk_with(way.port, PATH, &headers, &[AT_ONCE, "-d4s", "-s", script])?;
            let asked = rate * begun.elapsed().as_secs_f64();
            rates.push(rate);
            if let (Some(pid), Some(before)) = (way.pid, before) {
                costs.push((cpu_seconds(pid)? - before) / asked * 1e6);
            }
        }
    }
    out(&format!(
        "whole answers a second (64 connections), medians of {ROUNDS} rounds in turns; the load shares its core with the upstream"
    ));
    for (way, (rates, costs)) in ways.iter().zip(&mut found) {
        let cost = if costs.is_empty() {
            String::new()
        } else {
            format!("   {:>6.1} µs of processor time a call", median(costs))
        };
        out(&format!("  {:<9} {:>8.0}{cost}", way.name, median(rates)));
    }
    out("");
    Ok(())
}

/// What a streamed token costs the one who passes it on, however long it takes.
fn tokens(ways: &[Way]) -> Fallible<()> {
    out(&format!(
        "streamed tokens a second of processor time ({READERS} streams of {TOKENS} tokens at once)"
    ));
    let body = STREAM.replace("\"stream\"", &format!("\"max_tokens\":{TOKENS},\"stream\""));
    for way in ways {
        let Some(pid) = way.pid else { continue };
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let before = cpu_seconds(pid)?;
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    let (port, request) = (way.port, post(PATH, &way.headers, &body));
                    thread::spawn(move || {
                        let mut streams = 0_u32;
                        let Ok(mut connection) = Connection::open(port) else {
                            return streams;
                        };
                        while streams < 10 && connection.exchange(&request).is_ok() {
                            streams += 1;
                        }
                        streams
                    })
                })
                .collect();
            let streams: u32 = readers.into_iter().filter_map(|reader| reader.join().ok()).sum();
            if streams < READERS * 10 {
                return Err(format!("{} ended {streams} streams of {}", way.name, READERS * 10).into());
            }
            rates.push(f64::from(streams * TOKENS) / (cpu_seconds(pid)? - before));
        }
        out(&format!("  {:<9} {:>8.0}", way.name, median(&mut rates)));
    }
    out("");
    Ok(())
}

/// A body that is answered with a token after each pause, for hours.
pub fn paced(milliseconds: u32) -> String {
    STREAM.replace(
        "\"stream\"",
        &format!("\"pace_ms\":{milliseconds},\"max_tokens\":1000000,\"stream\""),
    )
}

/// Asks for a stream.
pub fn ask(port: u16, request: &str) -> Fallible<Connection> {
    let mut connection = Connection::open(port)?;
    std::io::Write::write_all(&mut connection.stream, request.as_bytes())?;
    Ok(connection)
}

/// Returns when its first token has come.
pub fn answered(mut connection: Connection) -> Fallible<Connection> {
    let mut piece = [0; 4096];
    while !has(&connection.buffer, b"data: ") {
        let n = connection.stream.read(&mut piece)?;
        if n == 0 || connection.buffer.len() > 1 << 16 {
            return Err(String::from_utf8_lossy(&connection.buffer).into_owned().into());
        }
        connection.buffer.extend_from_slice(&piece[..n]);
    }
    connection.buffer = Vec::new();
    Ok(connection)
}

fn open_streams(ways: &[Way]) -> Fallible<()> {
    out(&format!(
        "memory of {OPEN} open streams, a token a second each, after ten seconds"
    ));
    for way in ways {
        let Some(pid) = way.pid else { continue };
        let before = resident_kb(pid)?;
        let request = post(PATH, &way.headers, &paced(1000));
        // All are asked for before any is waited for: the first token of each takes as long as every other.
        let asked = (0..OPEN).map(|_| ask(way.port, &request));
        let streams = asked.collect::<Fallible<Vec<_>>>()?.into_iter().map(answered);
        let streams = streams.collect::<Fallible<Vec<_>>>()?;
        thread::sleep(Duration::from_secs(10));
        let after = resident_kb(pid)?;
        out(&format!(
            "  {:<9} {:>8.1} MB more than {:.1} MB",
            way.name,
            (f64::from(u32::try_from(after)?) - f64::from(u32::try_from(before)?)) / 1024.0,
            f64::from(u32::try_from(before)?) / 1024.0
        ));
        drop(streams);
    }
    Ok(())
}
