//! Owns: cutting bytes into the messages of an Arrow IPC stream. Any bytes are accepted: what is no message is said, and
//! no memory is taken for bytes that a length merely promises.
//! Must not know: what is in a message.

use std::io::Read;

/// Bytes of a message's description, at most. The head and notes are in there.
pub(super) const MAX_META: u64 = 64 << 20;
/// Bytes of a message's body, at most; a batch of ours has a few MB.
pub(super) const MAX_BODY: u64 = 128 << 20;

/// What stands before each length (Arrow columnar format, "encapsulated message format").
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// Why there is no further message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The stream says that it ends here.
    End,
    /// It does not, but there is nothing that can be read.
    Broken(String),
}

/// A message as it lies in the stream.
pub(super) struct Frame {
    /// A flatbuffer, not looked at.
    pub(super) meta: Vec<u8>,
    /// As long as `body_of` said.
    pub(super) body: Vec<u8>,
    /// Where it begins, in bytes from the start.
    pub(super) at: u64,
}

/// Messages of a stream.
pub(super) struct Frames<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, at: 0 }
    }

    /// The next message. `body_of` says how long the body is that belongs to a description.
    pub(super) fn next(&mut self, body_of: impl FnOnce(&[u8]) -> Result<u64, String>) -> Result<Frame, Stop> {
        let began = self.at;
        let broken = |why: String| Stop::Broken(format!("{why} (in what begins at byte {began})"));
        let cut = |got: usize| {
            let why = if got == 0 && began == 0 { "there is nothing" } else { "it was cut off" };
            broken(why.to_owned())
        };
        let mut prefix = Vec::new();
        if self.read(8, &mut prefix).map_err(&broken)? != 8 {
            return Err(cut(prefix.len()));
        }
        let (mark, length) = prefix.split_at(4);
        if mark != CONTINUATION {
            return Err(broken("these bytes are no message".to_owned()));
        }
        let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        if length == 0 {
            return self.nothing_after().map_or_else(|why| Err(broken(why)), |()| Err(Stop::End));
        }
        if length > MAX_META {
            return Err(broken(format!(
                "a description of {length} bytes, of which {MAX_META} at most are read"
            )));
        }
        let mut frame = Frame { meta: Vec::new(), body: Vec::new(), at: began };
        if self.read(length, &mut frame.meta).map_err(&broken)? as u64 != length {
            return Err(cut(1));
        }
        let length = body_of(&frame.meta).map_err(&broken)?;
        if length > MAX_BODY {
            return Err(broken(format!("a body of {length} bytes, of which {MAX_BODY} at most are read")));
        }
        if self.read(length, &mut frame.body).map_err(&broken)? as u64 != length {
            return Err(cut(1));
        }
        Ok(frame)
    }

    fn read(&mut self, length: u64, into: &mut Vec<u8>) -> Result<usize, String> {
        // Grows with the bytes that come; a length that lies costs nothing.
        let read = (&mut self.input).take(length).read_to_end(into).map_err(|error| error.to_string())?;
        self.at += read as u64;
        Ok(read)
    }

    fn nothing_after(&mut self) -> Result<(), String> {
        let mut more = Vec::new();
        match self.read(1, &mut more)? {
            0 => Ok(()),
            _ => Err("more bytes follow the mark of the end".to_owned()),
        }
    }
}

/// A description of so many bytes, which no reader would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) u64);

/// Whether a description of so many bytes may be written.
pub(super) fn vet(bytes: usize) -> Result<(), TooLong> {
    if bytes as u64 <= MAX_META { Ok(()) } else { Err(TooLong(bytes as u64)) }
}

/// Writes a description without a body as a message.
pub(super) fn write_bare(meta: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let padded = meta.len().next_multiple_of(8);
    vet(padded)?;
    let length = u32::try_from(padded).map_err(|_| TooLong(padded as u64))?;
    out.extend_from_slice(&CONTINUATION);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(meta);
    out.resize(out.len() + padded - meta.len(), 0);
    Ok(())
}
