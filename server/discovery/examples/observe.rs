//! Prints what the observer tells of this host, one update a line, until it is ended:
//! `observe [cgroup base]`.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    let settings = porthole_discovery::Settings::new(std::env::args().nth(1));
    let (ours, theirs) = UnixStream::pair()?;
    let observer = std::thread::spawn(move || porthole_discovery::observe(ours.into(), &settings));
    print(theirs)?;
    match observer.join() {
        Ok(Err(failure)) => Err(std::io::Error::other(failure)),
        _ => Ok(()),
    }
}

fn print(mut stream: UnixStream) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u32::from_le_bytes(length) as usize];
        stream.read_exact(&mut message)?;
        message.push(b'\n');
        out.write_all(&message)?;
        out.flush()?;
    }
    Ok(())
}
