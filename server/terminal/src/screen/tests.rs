use super::*;
use looks::{above, looks};
use proptest::prelude::*;

const SIZE: Size = Size { cols: 20, rows: 6 };

fn fed(bytes: &[u8]) -> Screen {
    let mut screen = Screen::new(SIZE, true, Seq(0));
    screen.feed(bytes);
    screen
}

/// Pieces of what programs write.
pub(crate) fn output() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{1,30}",
        "[äöü€漢字😀]{1,12}",
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\t".to_owned()),
        Just("\u{1b}[?1049h".to_owned()),
        Just("\u{1b}[?1049l".to_owned()),
        Just("\u{1b}[2J\u{1b}[H".to_owned()),
        Just("\u{1b}c".to_owned()),
        Just("\u{1b}[!p".to_owned()),
        Just("\u{1b}7".to_owned()),
        Just("\u{1b}8".to_owned()),
        Just("\u{1b}=".to_owned()),
        Just("\u{1b}>".to_owned()),
        Just("\u{1b}[2;4r".to_owned()),
        Just("\u{1b}M".to_owned()),
        Just("\u{1b}(0lqk\u{1b}(B".to_owned()),
        (0u8..=6).prop_map(|shape| format!("\u{1b}[{shape} q")),
        "[a-z ]{0,9}".prop_map(|title| format!("\u{1b}]0;{title}\u{7}")),
        "[a-z ]{0,9}".prop_map(|title| format!("\u{1b}]2;{title}\u{1b}\\")),
        Just("\u{1b}[22;0t".to_owned()),
        Just("\u{1b}[23;0t".to_owned()),
        (
            proptest::sample::select(
                &[
                    1u16, 6, 7, 12, 25, 45, 9, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015,
                    1016, 2004, 66,
                ][..]
            ),
            any::<bool>()
        )
            .prop_map(|(mode, on)| format!("\u{1b}[?{mode}{}", if on { 'h' } else { 'l' })),
        (1u16..9, 1u16..25).prop_map(|(row, col)| format!("\u{1b}[{row};{col}H")),
        (0u8..108).prop_map(|sgr| format!("\u{1b}[{sgr}m")),
        (any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(r, g, b)| format!("\u{1b}[38;2;{r};{g};{b};48:5:{g}m")),
        (0u8..4).prop_map(|what| format!("\u{1b}[{what}K")),
        (
            1u8..5,
            proptest::sample::select(&['L', 'M', 'P', '@', 'S', 'T', 'X', 'A', 'B', 'C', 'D'][..])
        )
            .prop_map(|(count, what)| format!("\u{1b}[{count}{what}")),
        // Questions, which are nobody's business but the program's.
        Just("\u{1b}[c\u{1b}[6n\u{1b}[?u\u{1b}]11;?\u{7}\u{1b}P+q544e\u{1b}\\".to_owned()),
        // A size, which is the viewer's business.
        Just("\u{1b}[8;50;132t".to_owned()),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_screen_drawn_from_its_dump_is_the_same(output in output()) {
        let screen = fed(output.as_bytes());
        let checkpoint = screen.checkpoint();
        let restored = Screen::restore(&checkpoint);
        prop_assert_eq!(looks(&restored), looks(&screen));
        prop_assert_eq!(above(&restored), above(&screen));
        prop_assert_eq!(restored.seq(), checkpoint.seq);
    }

    /// Wherever output is cut, what goes on from the snapshot's place leads to the same screen.
    #[test]
    fn a_snapshot_and_what_follows_it_make_the_whole(
        output in output(), cut in any::<proptest::sample::Index>()
    ) {
        let cut = cut.index(output.len() + 1);
        let checkpoint = fed(&output.as_bytes()[..cut]).checkpoint();
        prop_assert!(checkpoint.seq.0 <= cut as u64);
        let mut restored = Screen::restore(&checkpoint);
        restored.feed(&output.as_bytes()[usize::try_from(checkpoint.seq.0).expect("a size")..]);
        prop_assert_eq!(looks(&restored), looks(&fed(output.as_bytes())));
    }

    #[test]
    fn any_bytes_can_be_fed_and_drawn(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let screen = fed(&bytes);
        let restored = Screen::restore(&screen.checkpoint());
        prop_assert_eq!(looks(&restored), looks(&screen));
    }

    /// A dump asks nothing: no browser answers for a program what another one answered.
    #[test]
    fn a_dump_asks_no_questions(output in output()) {
        let dump = String::from_utf8(fed(output.as_bytes()).checkpoint().dump).expect("text");
        for question in ["\u{1b}[c", "\u{1b}[6n", "\u{1b}[?u", ";?\u{7}", "\u{1b}P"] {
            prop_assert!(!dump.contains(question), "{question:?}");
        }
    }
}

#[test]
fn a_snapshot_goes_on_from_before_a_sequence_that_is_half_there() {
    for (output, settled) in [
        ("ab\u{1b}[3", 2),
        ("ab\u{1b}]0;tit", 2),
        ("ab\u{1b}]0;title\u{1b}", 2),
        ("ab\u{1b}[\n3", 2),
        ("ab\u{1b}[31m", 7),
        ("ab€", 5),
    ] {
        assert_eq!(
            fed(output.as_bytes()).checkpoint().seq,
            Seq(settled),
            "{output:?}"
        );
    }
    assert_eq!(fed(&"ab€".as_bytes()[..4]).checkpoint().seq, Seq(2));
}

#[test]
fn colours_are_written_so_that_xterm_js_reads_them() {
    let screen = fed(b"\x1b[38;2;1;2;3mx:y");
    let dump = String::from_utf8(screen.checkpoint().dump).expect("text");
    assert!(dump.contains("38;2;1;2;3"), "{dump:?}");
    assert!(dump.contains("x:y"), "{dump:?}");
}

#[test]
fn lines_above_the_screen_are_kept() {
    let text: String = (0..100).map(|line| format!("line {line}\r\n")).collect();
    let screen = fed(text.as_bytes());
    let restored = Screen::restore(&screen.checkpoint());
    let lines = restored.terminal.primary_screen().text();
    assert_eq!(lines[0], "line 0");
    assert_eq!(lines[99], "line 99");
    assert_eq!(
        restored.text(),
        "line 95\nline 96\nline 97\nline 98\nline 99\n"
    );
}

#[test]
fn a_screen_of_pipes_needs_no_carriage_returns() {
    let mut screen = Screen::new(SIZE, false, Seq(0));
    screen.feed(b"one\ntwo\n");
    assert_eq!(screen.text(), "one\ntwo\n");
    assert_eq!(Screen::restore(&screen.checkpoint()).text(), "one\ntwo\n");
}

/// Blanks that were never written are not part of a line, or xterm.js wraps them into empty lines
/// when the window becomes narrower.
#[test]
fn lines_end_with_their_last_character() {
    let screen = fed(b"ab\r\n\x1b[41m c \x1b[m\r\nd   \r\n$ ");
    let dump = String::from_utf8(screen.checkpoint().dump).expect("text");
    assert!(
        dump.starts_with("\x1b[1Hab\x1b[2H\x1b[0;41m c \x1b[m\x1b[3Hd\x1b[4H$\x1b[4;3H"),
        "{dump:?}"
    );
}
