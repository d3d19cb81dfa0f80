//! Bytes that a process chose, as text that can be shown.
//!
//! Names and arguments of processes are bytes without an encoding. What comes out of here is one
//! line of valid UTF-8 without control characters and without the characters that reorder the
//! text around them: each of those, and each invalid byte, is U+FFFD.

use std::char::REPLACEMENT_CHARACTER;

/// How many bytes all arguments of a process have together at most, as text.
pub(crate) const ARGS_BYTES: usize = 4096;

/// How many arguments are told at most; 4 KiB of empty ones would be 4096.
pub(crate) const ARGS_COUNT: usize = 1024;

/// These bytes as one line of text.
pub(crate) fn line(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().chars().map(shown));
        if !chunk.invalid().is_empty() {
            text.push(REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// What `/proc/PID/cmdline` holds, split into its arguments; shortened to [`ARGS_BYTES`] and
/// [`ARGS_COUNT`].
pub(crate) fn args(cmdline: &[u8]) -> Vec<String> {
    if cmdline.is_empty() {
        return Vec::new();
    }
    let mut left = ARGS_BYTES;
    let mut args = Vec::new();
    for bytes in cmdline
        .strip_suffix(b"\0")
        .unwrap_or(cmdline)
        .split(|b| *b == 0)
    {
        let mut arg = line(bytes);
        if arg.len() > left {
            arg.truncate(arg.floor_char_boundary(left));
            if !arg.is_empty() {
                args.push(arg);
            }
            break;
        }
        left -= arg.len();
        args.push(arg);
        if args.len() == ARGS_COUNT {
            break;
        }
    }
    args
}

const fn shown(c: char) -> char {
    match c {
        // C0, DEL and C1; line and paragraph separators; marks, embeddings, overrides and
        // isolates that turn the direction of the text around them (UAX #9).
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{061c}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strange_names_become_one_line() {
        assert_eq!(line(b"bash"), "bash");
        assert_eq!(line("käse 日本".as_bytes()), "käse 日本");
        assert_eq!(line(b"a\nb\x1b[2J"), "a\u{fffd}b\u{fffd}[2J");
        assert_eq!(line(b"\xff\xfeok"), "\u{fffd}\u{fffd}ok");
        assert_eq!(line("x\u{202e}gpj.exe".as_bytes()), "x\u{fffd}gpj.exe");
        assert_eq!(line(b""), "");
    }

    #[test]
    fn arguments_keep_their_borders() {
        assert_eq!(args(b""), Vec::<String>::new());
        assert_eq!(args(b"sh\0-c\0echo a b\0"), ["sh", "-c", "echo a b"]);
        assert_eq!(args(b"sh\0\0x\0"), ["sh", "", "x"]);
        // setproctitle(3) leaves no zero at the end.
        assert_eq!(args(b"nginx: worker"), ["nginx: worker"]);
        assert_eq!(args(b"\0"), [""]);
    }

    #[test]
    fn arguments_are_shortened_whole_characters_at_a_time() {
        let long = "é".repeat(4000);
        let cut = args(long.as_bytes());
        assert_eq!(cut, ["é".repeat(2048)]);
        assert_eq!(args(&[0; 5000]).len(), ARGS_COUNT);
        let exact = "x".repeat(ARGS_BYTES);
        assert_eq!(args(format!("{exact}\0y\0").as_bytes()), [exact]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_safely(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let args = args(&bytes);
            prop_assert!(args.iter().map(String::len).sum::<usize>() <= ARGS_BYTES);
            prop_assert!(args.len() <= ARGS_COUNT);
            prop_assert!(args.iter().all(|a| !a.chars().any(char::is_control)));
            prop_assert!(!line(&bytes).chars().any(char::is_control));
        }

        #[test]
        fn plain_arguments_are_told_as_they_are(
            words in proptest::collection::vec("[ -~é]{0,30}", 1..40)
        ) {
            let cmdline: Vec<u8> = words.iter().flat_map(|w| [w.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(args(&cmdline), words);
        }
    }
}
