//! Prints what the observer tells of this host, one update a line, until it is ended:
//! `observe [cgroup base]`. With `observe --stdin MILLISECONDS [cgroup base]` it is the observer
//! alone, standard input is the socket that it tells it over, and it corrects itself that often.
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let alone = args.next_if(|arg| arg == "--stdin").is_some();
    let correction = alone.then(|| args.next()).flatten();
    let mut settings = porthole_discovery::Settings::new(args.next());
    if alone {
        let millis = correction.and_then(|millis| millis.parse().ok());
        let millis = millis.ok_or(std::io::ErrorKind::InvalidInput)?;
        settings.correction = std::time::Duration::from_millis(millis);
        let stream = std::io::stdin().as_fd().try_clone_to_owned()?;
        return porthole_discovery::observe(stream, &settings).map_err(std::io::Error::other);
    }
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
