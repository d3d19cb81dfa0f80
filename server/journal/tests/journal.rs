//! A relay over real pipes and a real pty: what comes out of the journal is what went in.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use porthole_journal::{Files, Limit, Pumped, Reader, Relay, Run, Sources, create};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::{Mark, Record, Stream};
use porthole_protocol::session::Size;
use rustix::pipe::{PipeFlags, pipe_with};

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe")
}

struct Two {
    relay: Relay,
    stdout: File,
    stderr: File,
    reader: Reader,
    /// Ends of the holding pipe that outlive the relay, as the monitor's do.
    holding: (OwnedFd, OwnedFd),
}

fn two(files: &Files) -> Two {
    let (out_read, out_write) = pipe();
    let (err_read, err_write) = pipe();
    let holding = pipe();
    let relay = relay(
        Sources::Pipes {
            stdout: out_read,
            stderr: err_read,
        },
        &holding,
        files,
        1_000_000,
    );
    let files = files.try_clone().expect("more descriptors");
    Two {
        relay,
        stdout: out_write.into(),
        stderr: err_write.into(),
        reader: Reader::new(files.journal, files.index),
        holding,
    }
}

fn relay(sources: Sources, holding: &(OwnedFd, OwnedFd), files: &Files, now_us: u64) -> Relay {
    let files = files.try_clone().expect("more descriptors");
    let pipe = (
        holding.0.try_clone().expect("a descriptor"),
        holding.1.try_clone().expect("a descriptor"),
    );
    Relay::take_over(
        sources,
        pipe,
        files.journal.into(),
        files.index.into(),
        now_us,
    )
    .expect("taking over")
}

fn content(reader: &Reader) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(reader.end().expect("its end").0).expect("a size")];
    let count = reader.read_at(Seq(0), &mut bytes).expect("its bytes");
    assert_eq!(count, bytes.len());
    bytes
}

fn runs(reader: &Reader) -> Vec<(u64, u64, Stream)> {
    let end = reader.end().expect("its end");
    let (mut at, mut runs) = (Seq(0), Vec::<(u64, u64, Stream)>::new());
    while let Some(Run { to, stream, .. }) = reader.run(at, end).expect("a run") {
        match runs.last_mut() {
            Some(last) if last.2 == stream => last.1 = to.0,
            _ => runs.push((at.0, to.0, stream)),
        }
        at = to;
    }
    runs
}

fn records(reader: &Reader) -> Vec<Record> {
    let mut cursor = reader.cursor(Seq(0)).expect("a cursor");
    std::iter::from_fn(|| reader.next(&mut cursor).expect("a record")).collect()
}

#[test]
fn each_byte_keeps_its_stream() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut two = two(&create(directory.path()).expect("a journal"));
    for (stream, text) in [
        (Stream::Stdout, "one\n"),
        (Stream::Stderr, "two\n"),
        (Stream::Stderr, "three\n"),
        (Stream::Stdout, "four\n"),
    ] {
        let source = if stream == Stream::Stdout {
            &mut two.stdout
        } else {
            &mut two.stderr
        };
        source.write_all(text.as_bytes()).expect("writing");
        assert_eq!(
            two.relay.pump(stream, 2_000_000).expect("pumping"),
            Pumped::Moved(text.len())
        );
        assert_eq!(
            two.relay.pump(stream, 2_000_000).expect("pumping"),
            Pumped::WouldBlock
        );
    }
    assert_eq!(content(&two.reader), b"one\ntwo\nthree\nfour\n");
    assert_eq!(
        runs(&two.reader),
        [
            (0, 4, Stream::Stdout),
            (4, 14, Stream::Stderr),
            (14, 19, Stream::Stdout)
        ]
    );
}

#[test]
fn a_stream_whose_writers_are_gone_has_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut two = two(&create(directory.path()).expect("a journal"));
    two.stdout.write_all(b"last words").expect("writing");
    drop(two.stdout);
    let mut pump = || two.relay.pump(Stream::Stdout, 1).expect("pumping");
    assert_eq!(pump(), Pumped::Moved(10));
    assert_eq!(pump(), Pumped::EndOfFile);
    assert_eq!(pump(), Pumped::EndOfFile);
    assert!(two.relay.source(Stream::Stdout).is_none());
    assert!(two.relay.source(Stream::Stderr).is_some());
}

#[test]
fn a_terminal_without_processes_has_ended_for_now() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let (master, name) = pty();
    let slave = File::options().read(true).write(true).open(&name);
    let slave = slave.expect("the slave");
    let mut relay = relay(Sources::Tty(master), &pipe(), &files, 1);
    (&slave).write_all(b"hello\n").expect("writing");
    assert_eq!(
        relay.pump(Stream::Tty, 1).expect("pumping"),
        Pumped::Moved(7)
    );
    assert_eq!(
        relay.pump(Stream::Tty, 1).expect("pumping"),
        Pumped::WouldBlock
    );
    drop(slave);
    assert_eq!(
        relay.pump(Stream::Tty, 1).expect("pumping"),
        Pumped::EndOfFile
    );
    let slave = File::options().read(true).write(true).open(&name);
    let slave = slave.expect("the slave again");
    (&slave).write_all(b"again\n").expect("writing");
    assert_eq!(
        relay.pump(Stream::Tty, 1).expect("pumping"),
        Pumped::Moved(7)
    );
    let files = files.try_clone().expect("more descriptors");
    let reader = Reader::new(files.journal, files.index);
    assert_eq!(content(&reader), b"hello\r\nagain\r\n");
    assert_eq!(runs(&reader), [(0, 14, Stream::Tty)]);
}

#[test]
fn a_floods_chunks_are_joined_and_a_lone_one_waits_for_none() {
    const FLOOD: usize = 200_000;
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let (master, name) = pty();
    let slave = File::options().read(true).write(true).open(&name);
    let mut slave = slave.expect("the slave");
    let mut relay = relay(Sources::Tty(master), &pipe(), &files, 1);
    slave.write_all(b"x").expect("writing");
    let mut gather = || relay.gather(Stream::Tty, 1).expect("gathering");
    assert_eq!(gather(), Some(Pumped::Moved(1)));
    assert_eq!(gather(), Some(Pumped::WouldBlock));
    let mut flooding = slave.try_clone().expect("a descriptor");
    let flood = std::thread::spawn(move || flooding.write_all(&[b'x'; FLOOD]));
    let (mut came, mut longest) = (0, 0);
    while came < FLOOD {
        if let Some(Pumped::Moved(count)) = gather() {
            came += count;
            longest = longest.max(count);
        }
    }
    flood.join().expect("a thread").expect("writing");
    assert_eq!(gather(), Some(Pumped::WouldBlock));
    assert_eq!(came, FLOOD);
    // Each is at most what a terminal holds, or there would be none to join.
    assert!((4097..=16 * 1024).contains(&longest), "{longest}");
    assert_eq!(relay.seq(), Seq(1 + FLOOD as u64));
}

fn pty() -> (OwnedFd, String) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
    let master = master.expect("a pty");
    grantpt(&master).expect("granting");
    unlockpt(&master).expect("unlocking");
    let flags = fcntl_getfl(&master).expect("flags");
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).expect("non-blocking");
    let name = ptsname(&master, Vec::new()).expect("its name");
    (master, name.into_string().expect("ASCII"))
}

#[test]
fn what_was_in_the_pipe_comes_first_and_keeps_its_stream() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let mut two = two(&files);
    two.stderr.write_all(b"before").expect("writing");
    two.relay.pump(Stream::Stderr, 1).expect("pumping");
    drop(two.relay);
    // As if it had been killed between its two splices.
    File::from(two.holding.1.try_clone().expect("a descriptor"))
        .write_all(b" held")
        .expect("writing");
    let (out_read, out_write) = pipe();
    let (err_read, _err_write) = pipe();
    File::from(out_write).write_all(b" after").expect("writing");
    let sources = Sources::Pipes {
        stdout: out_read,
        stderr: err_read,
    };
    let mut relay = relay(sources, &two.holding, &files, 2);
    assert_eq!(relay.seq(), Seq(11));
    relay.pump(Stream::Stdout, 2).expect("pumping");
    assert_eq!(content(&two.reader), b"before held after");
    assert_eq!(
        runs(&two.reader),
        [(0, 11, Stream::Stderr), (11, 17, Stream::Stdout)]
    );
}

#[test]
fn half_a_record_is_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let mut two = two(&files);
    two.relay.mark(Mark::Start, 5).expect("a mark");
    let torn = two.reader.try_clone().expect("a reader");
    files
        .index
        .write_all_at(&[0xff; 7], Record::LEN as u64)
        .expect("writing");
    assert_eq!(records(&torn).len(), 1);
    let (out_read, _a) = pipe();
    let (err_read, _b) = pipe();
    let sources = Sources::Pipes {
        stdout: out_read,
        stderr: err_read,
    };
    let mut relay = relay(sources, &two.holding, &files, 2);
    relay.mark(Mark::End(3), 6).expect("a mark");
    let marks: Vec<_> = records(&torn).iter().map(|record| record.mark).collect();
    assert_eq!(marks, [Mark::Start, Mark::End(3)]);
}

#[test]
fn the_end_is_said_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut two = two(&create(directory.path()).expect("a journal"));
    two.stdout.write_all(b"x").expect("writing");
    two.relay.pump(Stream::Stdout, 1).expect("pumping");
    two.relay.finish(7, 2).expect("the end");
    two.relay.pump(Stream::Stdout, 90_000).expect("pumping");
    two.relay.finish(7, 100_000).expect("the end again");
    let ends = records(&two.reader)
        .iter()
        .filter(|record| matches!(record.mark, Mark::End(_)))
        .count();
    assert_eq!(ends, 1);
}

#[test]
fn the_index_stays_small_and_knows_times_and_sizes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut two = two(&create(directory.path()).expect("a journal"));
    let small = Size { cols: 10, rows: 5 };
    // A byte each millisecond for two seconds.
    for step in 0..2000_u64 {
        if step == 1000 {
            two.relay
                .mark(Mark::Resize(small), step * 1000)
                .expect("a mark");
        }
        two.stdout.write_all(b".").expect("writing");
        two.relay
            .pump(Stream::Stdout, 1 + step * 1000)
            .expect("pumping");
    }
    let count = records(&two.reader).len();
    assert!((150..=210).contains(&count), "{count} records");
    let at = two.reader.since(1_500_000).expect("a place").0;
    assert!((1490..=1520).contains(&at), "byte {at}");
    assert_eq!(two.reader.size_at(Seq(999)).expect("a size"), None);
    assert_eq!(two.reader.size_at(Seq(1000)).expect("a size"), Some(small));
    assert_eq!(two.reader.size_at(Seq(1999)).expect("a size"), Some(small));
}

#[test]
fn times_never_go_back_though_the_clock_be_set_back() {
    const HOUR: u64 = 3_600_000_000;
    const NOW: u64 = 1_700_000_000_000_000;
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let mut two = two(&files);
    let mut write = |relay: &mut Relay, text: &[u8], at: u64| {
        two.stdout.write_all(text).expect("writing");
        relay.pump(Stream::Stdout, at).expect("pumping");
    };
    write(&mut two.relay, b"before ", NOW);
    write(&mut two.relay, b"ahead ", NOW + HOUR);
    write(&mut two.relay, b"back ", NOW + 1_000_000);
    // Another reader, and other marks, know the latest time too.
    drop(std::mem::replace(
        &mut two.relay,
        relay(
            Sources::Pipes {
                stdout: pipe().0,
                stderr: pipe().0,
            },
            &two.holding,
            &files,
            NOW + 2_000_000,
        ),
    ));
    let mark = Mark::Resize(Size { cols: 10, rows: 5 });
    two.relay.mark(mark, NOW + 3_000_000).expect("a mark");
    two.relay.mark(Mark::Start, NOW + 2 * HOUR).expect("a mark");
    let times: Vec<u64> = records(&two.reader).iter().map(|r| r.time_us).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times.last(), Some(&(NOW + 2 * HOUR)));
    // Whatever time is asked for, nothing that came at it or later is left out.
    let since = |at| two.reader.since(at).expect("a place").0;
    assert_eq!(since(NOW), 0);
    assert_eq!(
        since(NOW + 1_000_000),
        7,
        "from \"ahead\" on, with \"back\""
    );
    assert_eq!(since(NOW + HOUR), 7);
    assert_eq!(since(NOW + HOUR + 1), 18);
}

#[test]
fn beyond_its_limit_the_oldest_goes_and_the_index_says_so() {
    const CONTENT: u64 = 1024 * 1024;
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let mut two = two(&files);
    two.relay.set_limit(Limit::of_content(CONTENT));
    let chunk: Vec<u8> = (0..4096_u32).map(|i| (i % 251) as u8 + 1).collect();
    for step in 0..1000_u64 {
        two.stdout.write_all(&chunk).expect("writing");
        two.relay
            .pump(Stream::Stdout, 1 + step * 1000)
            .expect("pumping");
    }
    let (end, kept) = (two.relay.seq().0, two.relay.kept_from().0);
    assert_eq!(end, 4096 * 1000);
    assert!(end - kept <= CONTENT && end - kept >= CONTENT / 2, "{kept}");
    assert_eq!(two.reader.kept_from().expect("a place"), Seq(kept));
    let mut bytes = vec![0; usize::try_from(end - kept).expect("a size")];
    two.reader.read_at(Seq(kept), &mut bytes).expect("reading");
    assert!(bytes.iter().all(|&byte| byte != 0));
    assert!(
        two.reader
            .run(Seq(kept), Seq(end))
            .expect("a run")
            .is_some()
    );
    let dropped = records(&two.reader)
        .iter()
        .rev()
        .find_map(|record| match record.mark {
            Mark::Dropped(units) => Some(u64::from(units) * Mark::DROP_UNIT),
            _ => None,
        });
    assert_eq!(dropped, Some(kept));
    assert!(blocks(directory.path(), "output") <= 2 * CONTENT);
}

#[test]
fn beyond_the_indexs_limit_content_goes_with_its_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = create(directory.path()).expect("a journal");
    let mut two = two(&files);
    two.relay.set_limit(Limit {
        content: u64::MAX,
        index: 64 * 1024,
    });
    let size = Size { cols: 33, rows: 11 };
    two.relay.mark(Mark::Resize(size), 1).expect("a mark");
    for step in 0..20_000_u64 {
        let (source, stream) = if step % 2 == 0 {
            (&mut two.stdout, Stream::Stdout)
        } else {
            (&mut two.stderr, Stream::Stderr)
        };
        source
            .write_all(if step % 2 == 0 {
                &[b'o'; 100]
            } else {
                &[b'e'; 100]
            })
            .expect("writing");
        two.relay.pump(stream, 1 + step * 20_000).expect("pumping");
    }
    let kept = two.relay.kept_from();
    assert!(kept.0 > 0 && kept < two.relay.seq());
    assert!(blocks(directory.path(), "index") <= 2 * 64 * 1024);
    assert_eq!(two.reader.size_at(kept).expect("a size"), Some(size));
    let end = two.relay.seq();
    let mut at = kept;
    while at < end {
        let run = two.reader.run(at, end).expect("a run").expect("a record");
        let mut bytes = vec![0; usize::try_from(run.to.0 - at.0).expect("a size")];
        two.reader.read_at(at, &mut bytes).expect("reading");
        let letter = if run.stream == Stream::Stdout {
            b'o'
        } else {
            b'e'
        };
        assert!(bytes.iter().all(|&byte| byte == letter), "at {at}");
        at = run.to;
    }
}

/// Bytes that a file has on disk.
fn blocks(directory: &Path, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(directory.join(name)).expect("metadata");
    metadata.blocks() * 512
}

#[test]
fn files_are_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().join("a/b");
    drop(create(&directory).expect("a journal"));
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("metadata");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("output")), 0o600);
    assert_eq!(mode(&directory.join("index")), 0o600);
    assert!(porthole_journal::open(&directory).is_ok());
    assert!(porthole_journal::open(&directory.join("c")).is_err());
}
