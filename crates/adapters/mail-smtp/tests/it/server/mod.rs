//! A mail server that does as it is told: takes mails, or fails at a step. It speaks as much SMTP as a client needs.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done at a step instead of what it asks for.
#[derive(Debug, Clone)]
pub enum Reply {
    Say(&'static str),
    /// Nothing for this long; then on as if nothing had been.
    Late(Duration),
    HangUp,
}

#[derive(Debug, Default)]
struct State {
    replies: HashMap<&'static str, VecDeque<Reply>>,
    mails: Vec<Vec<u8>>,
    connections: Vec<TcpStream>,
    commands: Vec<String>,
    away: bool,
}

/// A mail server.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let state = Arc::clone(&shared);
                if state.lock().unwrap().away {
                    return;
                }
                state.lock().unwrap().connections.push(stream.try_clone().unwrap());
                // A client that goes away ends the conversation, in whatever way.
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    /// At the next time of this step (`greeting`, a command, `message`) do this.
    pub fn next(&self, step: &'static str, reply: Reply) {
        self.state
            .lock()
            .unwrap()
            .replies
            .entry(step)
            .or_default()
            .push_back(reply);
    }

    pub fn mails(&self) -> Vec<Vec<u8>> {
        self.state.lock().unwrap().mails.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections.len()
    }

    /// The commands so far.
    pub fn commands(&self) -> Vec<String> {
        self.state.lock().unwrap().commands.clone()
    }

    /// Hangs up everywhere and listens no more.
    pub fn go_away(&self) {
        let mut state = self.state.lock().unwrap();
        state.away = true;
        for connection in &state.connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        // The listener looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

/// Does what was asked for at a step. `None`: hang up. `Some(true)`: it has been answered.
fn told(step: &str, stream: &TcpStream, state: &Mutex<State>) -> Option<bool> {
    let reply = state
        .lock()
        .unwrap()
        .replies
        .get_mut(step)
        .and_then(VecDeque::pop_front);
    match reply {
        None => Some(false),
        Some(Reply::Say(line)) => say(stream, line).map(|()| true),
        Some(Reply::Late(pause)) => {
            std::thread::sleep(pause);
            Some(false)
        }
        Some(Reply::HangUp) => {
            let _ = stream.shutdown(Shutdown::Both);
            None
        }
    }
}

fn say(mut stream: &TcpStream, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).ok()
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    if !told("greeting", stream, state)? {
        say(stream, "220 scripted ESMTP")?;
    }
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        state.lock().unwrap().commands.push(line.trim().to_owned());
        let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_uppercase();
        if told(&verb, stream, state)? {
            continue;
        }
        match verb.as_str() {
            "EHLO" => say(
                stream,
                "250-scripted\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000",
            )?,
            "AUTH" => say(stream, "235 2.7.0 in")?,
            "DATA" => {
                say(stream, "354 go on")?;
                let mail = body(&mut lines)?;
                if !told("message", stream, state)? {
                    state.lock().unwrap().mails.push(mail);
                    say(stream, "250 2.0.0 taken")?;
                }
            }
            "QUIT" => {
                say(stream, "221 bye")?;
                return None;
            }
            "MAIL" | "RCPT" | "NOOP" | "RSET" => say(stream, "250 2.0.0 fine")?,
            _ => say(stream, "502 5.5.1 unknown")?,
        }
    }
}

/// Up to the line with a dot; a doubled dot at a line's start is one (RFC 5321 section 4.5.2).
fn body(lines: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut mail = Vec::new();
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        if line == b".\r\n" {
            return Some(mail);
        }
        mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
