//! Many streams whose readers are slower than they are: memory must not grow.

use std::io::{ErrorKind, Read as _};
use std::thread;
use std::time::{Duration, Instant};

use super::relay::{answered, ask, paced};
use super::{Fallible, anteroom, free_port, out, post, resident_kb, role, sign_up};

const STREAMS: usize = 512;
/// Milliseconds between two tokens, which are 170 bytes each.
const PACE: u32 = 20;
/// What a reader takes, each time that its turn comes.
const PIECE: usize = 256;
const TURN: Duration = Duration::from_millis(100);

pub fn run(length: Duration) -> Fallible<()> {
    let upstream_port = free_port()?;
    let _upstream = role("1", &["upstream"], upstream_port)?;
    let server = anteroom(Some(upstream_port))?;
    let token = sign_up(server.port, "soak@example.com", "token")?;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let request = post("/v1/chat/completions", &bearer, &paced(PACE));
    let pid = server.process.0.id();
    let idle = megabytes(pid)?;
    let opens = || -> Fallible<_> {
        let stream = answered(ask(server.port, &request)?)?.stream;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut streams = (0..STREAMS).map(|_| opens()).collect::<Fallible<Vec<_>>>()?;
    let (begun, mut samples, mut bytes, mut again) = (Instant::now(), vec![megabytes(pid)?], 0_u64, 0_u32);
    let mut piece = [0; PIECE];
    while begun.elapsed() < length {
        let turn = Instant::now();
        for stream in &mut streams {
            match stream.read(&mut piece) {
                Ok(n) if n > 0 => bytes += u64::try_from(n)?,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // One that has ended is begun anew, and told of.
                _ => {
                    again += 1;
                    *stream = opens()?;
                }
            }
        }
        if begun.elapsed().as_secs() >= u64::try_from(samples.len())? {
            samples.push(megabytes(pid)?);
        }
        thread::sleep(TURN.saturating_sub(turn.elapsed()));
    }
    let took = begun.elapsed().as_secs_f64();
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let (min, max) = (super::least(&samples), super::most(&samples));
    out(&format!(
        "{STREAMS} streams for {took:.0} s, a token each {PACE} ms, each reader at most {PIECE} bytes each {} ms",
        TURN.as_millis()
    ));
    out(&format!(
        "  read {:.1} MB; {again} streams ended and were begun anew",
        f64::from(u32::try_from(bytes / 1024)?) / 1024.0
    ));
    out(&format!(
        "  resident, {} samples: idle {idle:.1} MB, first {first:.1}, min {min:.1}, max {max:.1}, last {last:.1}",
        samples.len()
    ));
    // Buffers fill at first; what grows from quarter to quarter is a leak.
    let quarter = (samples.len() / 4).max(1);
    for (at, part) in samples.chunks(quarter).take(4).enumerate() {
        out(&format!(
            "  quarter {}: {:.1} to {:.1} MB",
            at + 1,
            super::least(part),
            super::most(part)
        ));
    }
    Ok(())
}

fn megabytes(pid: u32) -> Fallible<f64> {
    Ok(f64::from(u32::try_from(resident_kb(pid)?)?) / 1024.0)
}
