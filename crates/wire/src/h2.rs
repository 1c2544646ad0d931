//! What passes on an HTTP/2 connection, frame by frame, without understanding it: how many frames
//! of each kind came, and whether they are more than any use of the protocol explains.
//!
//! It is not an HTTP/2 implementation: it reads the nine bytes before each frame and skips the
//! rest, so it can be put in front of one that has no such limits of its own. A flood is frames that
//! cost the receiver work but move nothing: pings, settings, priorities, window updates, resets,
//! empty data (CVE-2019-9512 to 9518, CVE-2023-44487). Each kind has a [`Bucket`] that drains with
//! the frames, fills with time, and fills with the useful work that explains them: a stream that was
//! opened, data that was sent. So a busy connection is never taken for a flood, however long it
//! lives, and a flood ends after some hundred frames.

/// The length of the client's preface, which comes before its first frame.
const PREFACE: u32 = 24;

/// The length of a frame's header (RFC 9113 §4.1).
const HEADER: usize = 9;

/// `END_STREAM` of DATA.
const END_STREAM: u8 = 0x1;

/// A kind of frames of which too many came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flood {
    /// PING, SETTINGS, GOAWAY, CONTINUATION and frames of unknown types.
    #[error("too many control frames")]
    Control,
    /// `RST_STREAM`: streams that are opened to be reset (rapid reset).
    #[error("too many streams were reset")]
    Reset,
    /// PRIORITY.
    #[error("too many priority frames")]
    Priority,
    /// `WINDOW_UPDATE`.
    #[error("too many window updates")]
    Window,
    /// DATA without data.
    #[error("too many empty data frames")]
    Empty,
}

/// Watches the bytes that a peer sends.
#[derive(Debug)]
pub struct Observer {
    /// How many bytes of the preface or of a frame's payload are still to come.
    skip: u32,
    header: [u8; HEADER],
    filled: usize,
    now: u64,
    has_settings: bool,
    control: Bucket,
    resets: Bucket,
    priorities: Bucket,
    windows: Bucket,
    empties: Bucket,
}

/// An allowance of frames.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    most: u32,
    per_second: u32,
}

// === impl Observer ===

impl Observer {
    /// Watches what a client sends, from its preface on.
    pub fn of_client() -> Self {
        Self {
            skip: PREFACE,
            ..Self::of_server()
        }
    }

    /// Watches what a server sends.
    pub fn of_server() -> Self {
        Self {
            skip: 0,
            header: [0; HEADER],
            filled: 0,
            now: 0,
            has_settings: false,
            // gRPC measures the bandwidth with a ping per round trip while data flows, which is why
            // frames that are sent earn some.
            control: Bucket::new(200, 20),
            // Two per reset, and one back per stream: half of all streams may be cancelled for
            // ever, which no hedging client does, and 400 at once.
            resets: Bucket::new(400, 20),
            // Browsers of some years ago sent half a dozen per connection, and one per stream.
            priorities: Bucket::new(500, 20),
            // Ten per frame of data that was sent, as Envoy has it.
            windows: Bucket::new(2000, 100),
            empties: Bucket::new(100, 10),
        }
    }

    /// Takes note of bytes that were received `now`, in milliseconds of any clock that does not go
    /// back.
    ///
    /// # Errors
    /// The peer floods: the connection is to be closed with `ENHANCE_YOUR_CALM`.
    pub fn received(&mut self, mut input: &[u8], now: u64) -> Result<(), Flood> {
        self.refill(now);
        while !input.is_empty() {
            if self.skip > 0 {
                let count =
                    usize::try_from(self.skip).map_or(input.len(), |it| it.min(input.len()));
                self.skip -= u32::try_from(count).unwrap_or(self.skip);
                input = &input[count..];
                continue;
            }
            let count = (HEADER - self.filled).min(input.len());
            self.header[self.filled..self.filled + count].copy_from_slice(&input[..count]);
            self.filled += count;
            input = &input[count..];
            if self.filled == HEADER {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Takes note that a frame was sent that its receiver may answer.
    pub fn sent(&mut self) {
        self.control.earn(1);
        self.windows.earn(10);
    }

    /// Whether the peer's settings have begun to come.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length;
        match kind {
            0x0 if length == 0 && flags & END_STREAM == 0 => self.empties.take(1, Flood::Empty),
            0x0 => {
                self.empties.earn(1);
                Ok(())
            }
            0x1 => {
                self.resets.earn(1);
                self.priorities.earn(10);
                Ok(())
            }
            0x2 => self.priorities.take(1, Flood::Priority),
            0x3 => self.resets.take(2, Flood::Reset),
            0x8 => self.windows.take(1, Flood::Window),
            0x4 => {
                self.has_settings = true;
                self.control.take(1, Flood::Control)
            }
            _ => self.control.take(1, Flood::Control),
        }
    }

    fn refill(&mut self, now: u64) {
        // Whole seconds only, so that a bucket is not cheated by many small steps.
        let seconds = now.saturating_sub(self.now) / 1000;
        if seconds == 0 {
            return;
        }
        self.now += seconds * 1000;
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        for bucket in [
            &mut self.control,
            &mut self.resets,
            &mut self.priorities,
            &mut self.windows,
            &mut self.empties,
        ] {
            bucket.earn(bucket.per_second.saturating_mul(seconds));
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(most: u32, per_second: u32) -> Self {
        Self {
            left: most,
            most,
            per_second,
        }
    }

    fn earn(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.most);
    }

    fn take(&mut self, count: u32, flood: Flood) -> Result<(), Flood> {
        self.left = self.left.checked_sub(count).ok_or(flood)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    /// How many times these frames are taken at one moment, at most 10,000.
    fn taken(frames: &[u8]) -> usize {
        let mut observer = Observer::of_server();
        (0..10_000)
            .take_while(|_| observer.received(frames, 5).is_ok())
            .count()
    }

    #[test]
    fn each_flood_ends_after_some_hundred_frames() {
        assert_eq!(taken(&frame(6, 0, &[0; 8])), 200);
        assert_eq!(taken(&frame(4, 0, &[])), 200);
        assert_eq!(taken(&frame(0xbe, 0, &[1; 100])), 200);
        assert_eq!(taken(&frame(2, 0, &[0; 5])), 500);
        assert_eq!(taken(&frame(8, 0, &[0; 4])), 2000);
        assert_eq!(taken(&frame(0, 0, &[])), 100);
        assert_eq!(taken(&frame(3, 0, &[0; 4])), 200);
        let rapid_reset = [frame(1, 5, &[0x82]), frame(3, 0, &[0; 4])].concat();
        assert!((390..=400).contains(&taken(&rapid_reset)));
    }

    #[test]
    fn what_work_explains_is_no_flood() {
        // Every second stream cancelled; an empty frame after each that has data.
        let stream = frame(1, 4, &[0x82]);
        let half = [stream.clone(), stream, frame(3, 0, &[0; 4])].concat();
        assert_eq!(taken(&half), 10_000);
        let data = [frame(0, 0, b"x"), frame(0, 0, b"")].concat();
        assert_eq!(taken(&data), 10_000);
        assert_eq!(taken(&frame(0, 1, b"")), 10_000);
        let mut observer = Observer::of_server();
        for _ in 0..10_000 {
            observer.sent();
            let answer = [frame(8, 0, &[0; 4]), frame(6, 0, &[0; 8])].concat();
            assert_eq!(observer.received(&answer, 5), Ok(()));
        }
    }

    #[test]
    fn time_gives_back_what_a_quiet_peer_took() {
        let mut observer = Observer::of_server();
        for second in 0..1000 {
            for _ in 0..20 {
                let ping = frame(6, 0, &[0; 8]);
                assert_eq!(observer.received(&ping, second * 1000), Ok(()));
            }
        }
    }

    #[test]
    fn the_cut_of_the_bytes_does_not_matter() {
        let mut bytes = crate::sniff::HTTP2_PREFACE.to_vec();
        bytes.extend(frame(4, 0, &[0; 12]));
        for _ in 0..200 {
            bytes.extend(frame(6, 0, &[6; 8]));
        }
        for size in [1, 2, 3, 8, 9, 10, 17, 1000, bytes.len()] {
            let mut observer = Observer::of_client();
            let mut refused = 0;
            for piece in bytes.chunks(size) {
                refused += usize::from(observer.received(piece, 0).is_err());
            }
            assert!(observer.has_settings());
            assert_eq!(refused, 1, "pieces of {size}");
        }
    }
}
