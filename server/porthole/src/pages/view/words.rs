//! Values as people read them.

use porthole_protocol::container::Timestamp;

use crate::world::Watched;

/// The text with everything that would not be seen, or would move what is seen, made visible:
/// control characters as their pictures, characters that change the direction as their numbers.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut out, c);
    }
    out
}

/// As [`visible`], but lines stay lines.
pub fn visible_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' {
            out.push(c);
        } else {
            push_visible(&mut out, c);
        }
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}')),
        '\x7f' => out.push('\u{2421}'),
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
        c => out.push(c),
    }
}

/// A command line as a shell would have to be given it.
pub fn command_line<S: AsRef<str>>(words: &[S]) -> String {
    visible(&shell_words::join(words))
}

/// A process's command line. One that has rewritten its own, as `nginx: worker process` does, left a
/// sentence and no words.
pub fn process_line(args: &[String]) -> String {
    match args.first() {
        Some(first) if first.contains(' ') => visible(&args.join(" ")),
        _ => command_line(args),
    }
}

/// Who is at a session: how many, and whose window sets the size. Nothing where nobody is.
pub fn watching(watched: &Watched) -> Option<String> {
    match (watched.viewers, &watched.driver) {
        (0, _) => None,
        (viewers, Some(driver)) => Some(format!("{viewers}, {} drives", visible(driver))),
        (viewers, None) => Some(viewers.to_string()),
    }
}

/// So many cores: `1 core`, `0.5 cores`.
pub fn cores(cpus: f64) -> String {
    if (cpus - 1.0).abs() < f64::EPSILON {
        "1 core".to_owned()
    } else {
        format!("{cpus} cores")
    }
}

/// What the kernel answered, without the number that the standard library puts behind its words.
pub fn unnumbered(text: &str) -> &str {
    match text.rsplit_once(" (os error ") {
        Some((words, number)) if number.ends_with(')') => words,
        _ => text,
    }
}

/// A size in bytes: `18.2 MiB`.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!(
        "{} {}",
        text.strip_suffix(".0").unwrap_or(&text),
        UNITS[unit]
    )
}

/// A size that a person wrote: `512 MiB`, `512m`, `1.5g`, `4194304`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    if !number.contains('.') {
        return None;
    }
    let value = number.parse::<f64>().ok()?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction of a unit; the digits admit neither sign nor infinity"
    )]
    let size = (value * factor as f64) as u64;
    Some(size)
}

/// A moment for the eye: `2026-11-24 06:38:01 UTC`.
pub fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(clock)) => format!("{day} {clock} UTC"),
        _ => text,
    }
}

/// A moment as an element: a script writes how long ago it was, the title says when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// RFC 3339.
    pub machine: String,
    /// For people.
    pub text: String,
}

impl From<Timestamp> for When {
    fn from(time: Timestamp) -> Self {
        Self {
            machine: time.to_string(),
            text: moment(time),
        }
    }
}

/// A message as a sentence: some begin small and end without a full stop, to be put together with
/// others elsewhere.
pub fn sentence(text: &str) -> String {
    let mut chars = text.trim_end().chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?', ':']) {
        out.push('.');
    }
    visible_lines(&out)
}

/// `1 process`, `2 processes`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_stays_unseen() {
        assert_eq!(visible("a\x1b[31mb\r\n\0"), "a␛[31mb␍␊␀");
        assert_eq!(visible("abc\u{202e}gpj"), "abc⟨U+202E⟩gpj");
        assert_eq!(visible("größe 日本 👍"), "größe 日本 👍");
        assert_eq!(visible_lines("a\nb\r"), "a\nb␍");
    }

    #[test]
    fn the_kernels_words_have_no_number() {
        assert_eq!(unnumbered("Not allowed (os error 1)"), "Not allowed");
        assert_eq!(unnumbered("it is (as it is)"), "it is (as it is)");
    }

    #[test]
    fn a_message_becomes_a_sentence() {
        assert_eq!(sentence("no such file"), "No such file.");
        assert_eq!(sentence("Übel! \n"), "Übel!");
        assert_eq!(sentence(""), "");
        assert_eq!(sentence("a\x1bb"), "A␛b.");
    }

    #[test]
    fn sizes_read_back() {
        assert_eq!(bytes(512 << 20), "512 MiB");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes((1 << 20) - 1), "1 MiB");
        for (text, size) in [
            ("512 MiB", 512 << 20),
            ("512m", 512 << 20),
            ("4194304", 4_194_304),
            ("1.5g", 3 << 29),
        ] {
            assert_eq!(parse_bytes(text), Some(size), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "1e9", "99999999999999999999", "1..5"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_command_line_keeps_its_words_apart() {
        assert_eq!(command_line(&["sh", "-c", "echo a"]), "sh -c 'echo a'");
    }
}
