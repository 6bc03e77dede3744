//! What `scripts/bench` runs: Anteroom on one core, the load on the other, and beside each number what it is to be
//! measured by, in the same run. A benchmark is a program, not a test: it asserts nothing.
//!
//! Roles (first argument): none, the whole run; `relay`, only what is asked of models; `soak SECONDS`, streams that many
//! read slowly; `bare PORT`, an actix handler that does nothing; `upstream PORT`, a model provider; `bcrypt COST SECONDS`,
//! bcrypt and nothing else.
#![expect(clippy::disallowed_methods, reason = "what is measured is started")]

mod relay;
mod soak;
mod upstream;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["bare", port] => serve(port.parse()?, bare),
        ["upstream", port] => serve(port.parse()?, upstream::routes),
        ["relay"] => relay::run(),
        ["soak", seconds] => soak::run(Duration::from_secs(seconds.parse()?)),
        ["bcrypt", cost, seconds] => bcrypt_alone(cost.parse()?, Duration::from_secs(seconds.parse()?)),
        [] => run(),
        other => Err(format!("unknown role {other:?}").into()),
    }
}

// ---- the things to be measured by -------------------------------------------------------------------------

fn serve(port: u16, routes: fn(&mut web::ServiceConfig)) -> Fallible<()> {
    let server = HttpServer::new(move || App::new().configure(routes))
        .workers(1)
        .tcp_nodelay(true);
    actix_web::rt::System::new().block_on(async move { server.bind(("127.0.0.1", port))?.run().await })?;
    Ok(())
}

fn bare(config: &mut web::ServiceConfig) {
    config.route(
        "/",
        web::get().to(|| async {
            HttpResponse::Ok()
                .content_type("application/json")
                .body(r#"{"status":"ok"}"#)
        }),
    );
}

fn bcrypt_alone(cost: u32, length: Duration) -> Fallible<()> {
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < length {
        bcrypt::hash("a password of the usual length", cost)?;
        count += 1;
    }
    out(&format!("{}", f64::from(count) / begun.elapsed().as_secs_f64()));
    Ok(())
}

// ---- the run ----------------------------------------------------------------------------------------------

fn out(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A process on a core of its own, killed at the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["-c", core])
        .arg(program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command
}

fn free_port() -> Fallible<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> Fallible<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            return Err(format!("nothing listens on port {port}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn role(core: &str, words: &[&str], port: u16) -> Fallible<Process> {
    let process = Process(
        pinned(core, &std::env::current_exe()?)
            .args(words)
            .arg(port.to_string())
            .spawn()?,
    );
    wait_for(port)?;
    Ok(process)
}

struct Server {
    process: Process,
    port: u16,
    started_in: Duration,
    _data: tempfile::TempDir,
}

/// Limits that are counted but never reached, lockout included.
const COUNTED: [(&str, &str); 6] = [
    ("RECOVER_PER_MINUTE", "1000000"),
    ("LOGIN_PER_MINUTE", "1000000"),
    ("SIGNUP_PER_MINUTE", "1000000"),
    ("DEFAULT_PER_MINUTE", "1000000"),
    ("LOCKOUT_FREE_FAILURES", "1000000"),
    ("LOCKOUT_ADDRESS_FREE_FAILURES", "1000000"),
];

fn anteroom(upstream: Option<u16>) -> Fallible<Server> {
    anteroom_with(upstream, &[("PROTECTION__ENABLED".to_owned(), "false".to_owned())])
}

/// One that counts what logins are counted by.
fn counting(bcrypt_cost: u32) -> Fallible<Server> {
    let counted = COUNTED.map(|(name, value)| (format!("PROTECTION__{name}"), value.to_owned()));
    let mut set = vec![("PASSWORDS__BCRYPT_COST".to_owned(), bcrypt_cost.to_string())];
    set.extend(counted);
    anteroom_with(None, &set)
}

fn anteroom_with(upstream: Option<u16>, set: &[(String, String)]) -> Fallible<Server> {
    let binary =
        std::env::var_os("ANTEROOM_BIN").map_or_else(|| PathBuf::from("target/release/anteroom"), PathBuf::from);
    let binary = binary
        .canonicalize()
        .map_err(|e| format!("{}: {e}; scripts/bench builds it", binary.display()))?;
    let (port, data) = (free_port()?, tempfile::tempdir()?);
    // What operators run: production's logs, one line of JSON a request. Limits are off, or they would be measured, but
    // for logins, whose attempts are booked in production.
    let mut command = pinned("0", &binary);
    command
        .current_dir(data.path())
        .env("PORT", port.to_string())
        .env("ANTEROOM__METRICS__PORT", "0")
        .env("ANTEROOM__LOG__FORMAT", "json")
        .envs(set.iter().map(|(name, value)| (format!("ANTEROOM__{name}"), value)))
        .env("ANTEROOM__BILLING__DEFAULT_PLAN", "free")
        .env("ANTEROOM__SERVER__WORKERS", "1")
        .env("ANTEROOM__PASSWORDS__HASH_THREADS", "1")
        .env("ANTEROOM__PASSWORDS__MAX_WAIT_MS", "60000")
        .env("ANTEROOM_CONFIG", data.path().join("bench.toml"))
        .stderr(Stdio::null());
    std::fs::write(
        data.path().join("bench.toml"),
        "[[billing.plans]]\nkey = \"free\"\nname = \"Free\"\nversion = 1\nmodels = \"all\"\nentitlements = [{ key = \"messages\", kind = \"metered\", limit = 100000000, window = \"day\" }]\n[ai]\ndaily_spend_cap_usd = 1000000.0\n",
    )?;
    if let Some(upstream) = upstream {
        command
            .env("OPENAI_BASE_URL", format!("http://127.0.0.1:{upstream}/v1"))
            .env("OPENAI_API_KEY", "none")
            .env("ANTEROOM__AI__TOTAL_TIMEOUT_MS", "86400000")
            .env("AI_MODELS", "fast");
    }
    let begun = Instant::now();
    let process = Process(command.spawn()?);
    wait_for(port)?;
    let mut connection = Connection::open(port)?;
    connection.exchange(&get("/health", ""))?;
    Ok(Server {
        process,
        port,
        started_in: begun.elapsed(),
        _data: data,
    })
}

fn resident_kb(pid: u32) -> Fallible<u64> {
    // taskset replaces itself by the program, so the process is the server's.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
}

/// Seconds of processor time that a process has taken.
fn cpu_seconds(pid: u32) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks = ticks.sum::<Result<u32, _>>()?;
    // Linux tells it in hundredths, whatever its own clock is.
    Ok(f64::from(ticks) / 100.0)
}

fn run() -> Fallible<()> {
    out("Anteroom on core 0, the load on core 1; the store is SQLite.\n");
    start_and_memory()?;
    session_checks()?;
    logins()?;
    known_and_unknown()?;
    relay::run()
}

fn start_and_memory() -> Fallible<()> {
    // The first start makes everything: key, database, schema.
    let server = anteroom(None)?;
    thread::sleep(Duration::from_secs(2));
    let resident = resident_kb(server.process.0.id())?;
    out(&format!(
        "start to first answer (empty folder)  {:>8.0} ms",
        server.started_in.as_secs_f64() * 1e3
    ));
    out(&format!(
        "idle memory (resident)                {:>8.1} MB\n",
        f64::from(u32::try_from(resident)?) / 1024.0
    ));
    Ok(())
}

fn wrk(port: u16, path: &str, headers: &[String]) -> Fallible<f64> {
    wrk_with(port, path, headers, &["-c32", "-d2s"])
}

fn wrk_with(port: u16, path: &str, headers: &[String], options: &[&str]) -> Fallible<f64> {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "wrk", "-t1"]).args(options);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("http://127.0.0.1:{port}{path}")).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") {
        return Err(format!("refused requests:\n{text}").into());
    }
    let line = text
        .lines()
        .find(|l| l.starts_with("Requests/sec:"))
        .ok_or_else(|| format!("no rate in:\n{text}"))?;
    Ok(line.split_whitespace().nth(1).ok_or("no rate")?.parse()?)
}

fn session_checks() -> Fallible<()> {
    let bare_port = free_port()?;
    let _bare = role("0", &["bare"], bare_port)?;
    let server = anteroom(None)?;
    let (token, cookie) = (
        sign_up(server.port, "token@example.com", "token")?,
        sign_up(server.port, "cookie@example.com", "cookie")?,
    );
    let asked = [
        ("bare actix handler", bare_port, "/", vec![]),
        ("GET /health", server.port, "/health", vec![]),
        (
            "session check by cookie",
            server.port,
            "/v1/auth/session",
            vec![format!("Cookie: {cookie}")],
        ),
        (
            "session check by bearer token",
            server.port,
            "/v1/auth/session",
            vec![format!("Authorization: Bearer {token}")],
        ),
    ];
    // In turns, since a machine's pace changes from one minute to the next; each is held against the bare handler of
    // its own round.
    let (mut rates, mut ratios) = (vec![Vec::new(); asked.len()], vec![Vec::new(); asked.len()]);
    for _ in 0..ROUNDS {
        let mut bare = 0.0;
        for (at, (_, port, path, headers)) in asked.iter().enumerate() {
            let rate = wrk(*port, path, headers)?;
            if at == 0 {
                bare = rate;
            }
            rates[at].push(rate);
            ratios[at].push(rate / bare * 100.0);
        }
    }
    out(&format!(
        "requests a second (32 connections), medians of {ROUNDS} rounds in turns"
    ));
    for (at, (name, ..)) in asked.iter().enumerate() {
        let (low, high) = (least(&ratios[at]), most(&ratios[at]));
        out(&format!(
            "  {name:<35} {:>8.0}   {:>5.1} % of bare ({low:.1} to {high:.1})",
            median(&mut rates[at]),
            median(&mut ratios[at])
        ));
    }
    out("");
    Ok(())
}

/// Rounds of the session checks; an odd number has a median.
const ROUNDS: usize = 7;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn logins() -> Fallible<()> {
    let length = Duration::from_secs(20);
    let alone = pinned("0", &std::env::current_exe()?)
        .args(["bcrypt", "12", "10"])
        .stdout(Stdio::piped())
        .output()?;
    let alone: f64 = String::from_utf8_lossy(&alone.stdout).trim().parse()?;
    let server = counting(12)?;
    let port = server.port;
    let token = sign_up(port, "login@example.com", "token")?;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let request = post(
                    "/v1/auth/login",
                    "",
                    r#"{"email":"login@example.com","password":"correct horse battery"}"#,
                );
                let Ok(mut connection) = Connection::open(port) else {
                    return;
                };
                while !stop.load(Ordering::Relaxed) && connection.exchange(&request).is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_secs(1));
    let (before, begun) = (done.load(Ordering::Relaxed), Instant::now());
    // Fifty a second on a fixed schedule: a late answer delays nothing but itself.
    let check = get("/v1/auth/session", &format!("Authorization: Bearer {token}\r\n"));
    let mut connection = Connection::open(port)?;
    let mut times = Vec::new();
    for tick in 0..u32::try_from(length.as_millis() / 20)? {
        let due = begun + Duration::from_millis(20) * tick;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connection.exchange(&check)?;
        times.push(due.elapsed());
    }
    let rate = f64::from(u32::try_from(done.load(Ordering::Relaxed) - before)?) / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let _ = client.join();
    }
    out("logins a second and core (bcrypt cost 12)");
    out(&format!("  {:<35} {alone:>8.2}", "bcrypt alone"));
    out(&format!(
        "  {:<35} {rate:>8.2}   {:>5.1} % of bcrypt alone",
        "logins",
        rate / alone * 100.0
    ));
    out(&format!(
        "  session checks meanwhile, 50 a second: {}\n",
        spread(&mut times)
    ));
    Ok(())
}

/// What an answer's time tells about whether an address has an account: 500 of each in turns.
fn known_and_unknown() -> Fallible<()> {
    let server = counting(10)?;
    sign_up(server.port, "known@example.com", "token")?;
    let mut connection = Connection::open(server.port)?;
    out("known and unknown addresses, 500 of each in turns (bcrypt cost 10)");
    for (name, path, rest) in [
        (
            "login, wrong password",
            "/v1/auth/login",
            r#","password":"a wrong password""#,
        ),
        ("forgotten password", "/v1/auth/password/forgot", ""),
    ] {
        let ask = |email: &str| post(path, "", &format!(r#"{{"email":"{email}"{rest}}}"#));
        let (known, unknown) = (ask("known@example.com"), ask("nobody@example.com"));
        connection.any(&known, false)?;
        if has(&connection.buffer, b"no_such_route") {
            out(&format!("  {name:<22} is not in this version"));
            continue;
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for round in 0..520 {
            let (x, y) = (connection.any(&known, false)?, connection.any(&unknown, false)?);
            if round >= 20 {
                a.push(x);
                b.push(y);
            }
        }
        let (known, unknown) = (ms(at(&mut a, 50)), ms(at(&mut b, 50)));
        out(&format!("  {name:<22} known    {}", spread(&mut a)));
        out(&format!("  {name:<22} unknown  {}", spread(&mut b)));
        out(&format!(
            "  {name:<22} medians differ by {:>5.2} %",
            (unknown / known - 1.0) * 100.0
        ));
    }
    out("");
    Ok(())
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times
        .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn spread(times: &mut [Duration]) -> String {
    format!(
        "p50 {:>7.3} ms  p99 {:>7.3} ms  ({} times)",
        ms(at(times, 50)),
        ms(at(times, 99)),
        times.len()
    )
}

// ---- a client that costs little ---------------------------------------------------------------------------

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n")
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One kept-open connection with blocking reads.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> Fallible<Self> {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(1 << 16),
        })
    }

    /// Sends a request and reads the whole answer.
    fn exchange(&mut self, request: &str) -> Fallible<String> {
        self.timed(request, false)?;
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }

    /// The time until the whole answer, or until its first event.
    fn timed(&mut self, request: &str, first_event: bool) -> Fallible<Duration> {
        let time = self.any(request, first_event)?;
        if !self.buffer.starts_with(b"HTTP/1.1 2") {
            return Err(String::from_utf8_lossy(&self.buffer).into_owned().into());
        }
        Ok(time)
    }

    /// The same, whatever the answer is.
    fn any(&mut self, request: &str, first_event: bool) -> Fallible<Duration> {
        self.buffer.clear();
        let begun = Instant::now();
        let mut first = None;
        self.stream.write_all(request.as_bytes())?;
        let mut chunk = [0; 1 << 14];
        while !self.whole() {
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err("the connection was closed".into());
            }
            self.buffer.extend_from_slice(&chunk[..n]);
            if first.is_none() && has(&self.buffer, b"data: ") {
                first = Some(begun.elapsed());
            }
        }
        let total = begun.elapsed();
        Ok(first.filter(|_| first_event).unwrap_or(total))
    }

    fn whole(&self) -> bool {
        let Some(head) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            return false;
        };
        let (head, body) = self.buffer.split_at(head + 4);
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        match text
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split('\r').next()?.parse::<usize>().ok())
        {
            Some(length) => body.len() >= length,
            None => body.ends_with(b"0\r\n\r\n"),
        }
    }
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|w| w == word)
}

/// Signs somebody up; answers the access token, or the cookie.
fn sign_up(port: u16, email: &str, transport: &str) -> Fallible<String> {
    let body = format!(r#"{{"email":"{email}","password":"correct horse battery","transport":"{transport}"}}"#);
    let answer = Connection::open(port)?.exchange(&post("/v1/auth/signup", "", &body))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    if transport == "cookie" {
        let line = head
            .lines()
            .find(|l| l.to_ascii_lowercase().starts_with("set-cookie: "))
            .ok_or("no cookie")?;
        return Ok(line[12..].split(';').next().unwrap_or_default().to_owned());
    }
    let body: serde_json::Value = serde_json::from_str(body)?;
    Ok(body["access_token"].as_str().ok_or("no token")?.to_owned())
}
