//! Bytes to characters, however they are cut.

/// What stands for bytes that are no UTF-8.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Decodes UTF-8 that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The first bytes of a character whose other bytes have not come.
    begun: Vec<u8>,
}

impl Decoder {
    /// Gives each character, with how many bytes it has, to `each`.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(char, usize)) {
        while !self.begun.is_empty() {
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            self.begun.push(byte);
            match std::str::from_utf8(&self.begun) {
                Ok(text) => {
                    text.chars().for_each(|ch| each(ch, ch.len_utf8()));
                    self.begun.clear();
                    bytes = rest;
                }
                Err(error) => match error.error_len() {
                    None => bytes = rest,
                    // All but this byte is no character; this byte may begin one.
                    Some(_) => {
                        each(REPLACEMENT, self.begun.len() - 1);
                        self.begun.clear();
                    }
                },
            }
        }
        while !bytes.is_empty() {
            let (valid, error) = match std::str::from_utf8(bytes) {
                Ok(text) => (text, None),
                Err(error) => {
                    let text = std::str::from_utf8(&bytes[..error.valid_up_to()]);
                    (text.unwrap_or_default(), Some(error))
                }
            };
            valid.chars().for_each(|ch| each(ch, ch.len_utf8()));
            bytes = &bytes[valid.len()..];
            match error.map(|error| error.error_len()) {
                None => {}
                Some(Some(wrong)) => {
                    each(REPLACEMENT, wrong);
                    bytes = &bytes[wrong..];
                }
                Some(None) => {
                    self.begun.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, usize, usize) {
        let (mut decoder, mut text, mut length) = (Decoder::default(), String::new(), 0);
        for piece in pieces {
            decoder.feed(piece, |ch, bytes| {
                text.push(ch);
                length += bytes;
            });
        }
        (text, length, decoder.begun.len())
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            text in "[a-zäß€漢😀]{0,20}",
            noise in proptest::collection::vec(any::<u8>(), 0..20),
            size in 1usize..7,
        ) {
            for bytes in [text.as_bytes(), &noise, &[&noise, text.as_bytes()].concat()] {
                let (whole, length, begun) = decode([bytes]);
                prop_assert_eq!(length + begun, bytes.len());
                prop_assert_eq!(decode(bytes.chunks(size)), (whole.clone(), length, begun));
                if begun == 0 {
                    prop_assert_eq!(whole, String::from_utf8_lossy(bytes));
                }
            }
        }
    }
}
