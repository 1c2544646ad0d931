//! Frames of HTTP/2: whatever comes, in whatever pieces, a flood is seen at the same byte, and a peer
//! is judged the same by those who read its frames one by one.

use lateen_wire::h2::{Flood, Observer};

/// The length of the client's preface.
const PREFACE: usize = 24;

/// Checks one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let whole = Observer::of_client().received(input, 0);
    let (cut, at) = byte_by_byte(input);
    assert_eq!(whole, cut, "the pieces matter");
    if let Some(at) = at {
        // Nothing that comes later takes a flood back.
        let later = Observer::of_client().received(&input[..=at], 0);
        assert_eq!(later, whole);
    }
    // At most one frame a byte and a bit: too few bytes are never a flood.
    if input.len() < PREFACE + 100 * 9 {
        assert_eq!(whole, Ok(()));
    }
}

/// The verdict, and the byte at which it was a flood.
fn byte_by_byte(input: &[u8]) -> (Result<(), Flood>, Option<usize>) {
    let mut observer = Observer::of_client();
    for (at, byte) in input.iter().enumerate() {
        let verdict = observer.received(&[*byte], 0);
        if verdict.is_err() {
            return (verdict, Some(at));
        }
    }
    (Ok(()), None)
}

/// Floods of each kind, and a mixture.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let preface = lateen_wire::sniff::HTTP2_PREFACE;
    let frame = |kind, payload: u8| {
        let mut frame = vec![0, 0, payload, kind, 0, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(0, usize::from(payload)));
        frame
    };
    let repeated = |frames: Vec<u8>, times| [preface, &frames.repeat(times)].concat();
    let mixed = [frame(1, 1), frame(3, 4)].concat();
    (0..11)
        .flat_map(|kind| [(frame(kind, 0), 220), (frame(kind, 8), 5)])
        .chain([(mixed, 150)])
        .map(|(frames, times)| repeated(frames, times))
        .collect()
}
