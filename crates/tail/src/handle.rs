//! An open file: read at any offset, whether it is plain or compressed.
//!
//! Offsets of a compressed file are those of what it holds. Invariant: a read from a plain file in
//! [`Mode::Inline`] never waits for a disk: it fails with `WouldBlock` and is tried again on a blocking thread.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use rustix::fs::OFlags;

use crate::identity::{FileId, Print};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// gzip, perhaps several members.
    Gzip,
    /// zlib.
    Zlib,
    /// bzip2, perhaps several streams.
    Bzip2,
}

impl Codec {
    /// What a rotated file's name says.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "gz" | "gzip" => Some(Self::Gzip),
            "bz2" => Some(Self::Bzip2),
            "z" | "zz" => Some(Self::Zlib),
            _ => None,
        }
    }
}

/// Whether a read may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On a worker of the runtime: only what is in memory.
    Inline,
    /// On a thread that may block.
    Blocking,
}

/// An open file.
pub struct Handle {
    file: File,
    packed: Option<Packed>,
    slot: Option<Slot>,
}

/// Counts the files that are kept open.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<AtomicUsize>);

struct Slot(Slots);

impl Slots {
    /// How many are.
    pub fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Packed {
    codec: Codec,
    decoder: Option<Box<dyn Read + Send>>,
    /// What is unpacked and may still be asked for; it starts at `start`.
    window: Vec<u8>,
    start: u64,
    /// Why nothing comes after the window, once that is known.
    end: Option<End>,
}

/// Why there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is no more now.
    Eof,
    /// A compressed file stops in the middle; it may be written still.
    Cut,
    /// A compressed file is damaged: there will not be more.
    Damaged,
}

impl Handle {
    /// Opens a file. What is no regular file is refused, and a pipe without anybody at its other end does not
    /// hold up.
    pub fn open(path: &Path, codec: Option<Codec>) -> io::Result<Self> {
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblock).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
        }
        let packed =
            codec.map(|codec| Packed { codec, decoder: None, window: Vec::new(), start: 0, end: None });
        Ok(Self { file, packed, slot: None })
    }

    /// Counts it as one that is kept open.
    pub fn count_in(&mut self, slots: &Slots) {
        self.slot.get_or_insert_with(|| {
            slots.0.fetch_add(1, Ordering::Relaxed);
            Slot(slots.clone())
        });
    }

    /// Size on disk, identity and times.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Which file it is.
    pub fn id(&self) -> io::Result<FileId> {
        Ok(FileId::of(&self.metadata()?))
    }

    /// Whether what is read is not what is on disk.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads at an offset as much as there is and fits; why there is not more is told where it does not fill
    /// `buffer`.
    pub fn read_at(
        &mut self,
        buffer: &mut [u8],
        offset: u64,
        mode: Mode,
    ) -> io::Result<(usize, Option<End>)> {
        if let Some(packed) = &mut self.packed {
            if mode == Mode::Inline {
                return Err(ErrorKind::WouldBlock.into());
            }
            return packed.read_at(&self.file, buffer, offset);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let got = match mode {
                Mode::Blocking => self.file.read_at(&mut buffer[filled..], at),
                Mode::Inline => read_cached(&self.file, &mut buffer[filled..], at),
            };
            match got {
                Ok(0) => return Ok((filled, Some(End::Eof))),
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What is there already is worth taking.
                Err(error) if error.kind() == ErrorKind::WouldBlock && filled > 0 => {
                    return Ok((filled, None));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((filled, None))
    }

    /// The first bytes.
    pub fn head(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; len];
        let (got, _) = self.read_at(&mut head, 0, Mode::Blocking)?;
        head.truncate(got);
        Ok(head)
    }

    /// Whether the bytes right before an offset are those of a print.
    pub fn has_seam(&mut self, offset: u64, seam: Print) -> io::Result<bool> {
        let Some(from) = offset.checked_sub(seam.len.into()) else { return Ok(false) };
        let mut bytes = vec![0; seam.len as usize];
        let (got, _) = self.read_at(&mut bytes, from, Mode::Blocking)?;
        Ok(got == bytes.len() && seam.heads(&bytes))
    }

    /// Where data comes after an offset, if a hole of the file is there.
    pub fn next_data(&self, offset: u64) -> Option<u64> {
        let found = rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(offset)).ok()?;
        (found > offset).then_some(found)
    }

    /// Tells the kernel that what was read is not needed in its cache.
    pub fn let_go(&self, offset: u64, length: usize) {
        #[cfg(target_os = "linux")]
        {
            let length = std::num::NonZeroU64::new(length as u64);
            let _ = rustix::fs::fadvise(&self.file, offset, length, rustix::fs::Advice::DontNeed);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, length);
    }

    /// Locks the file for reading, if nobody keeps it for himself; `false`: somebody does.
    pub fn lock(&self) -> bool {
        rustix::fs::flock(&self.file, rustix::fs::FlockOperation::NonBlockingLockShared).is_ok()
    }

    /// Gives the lock back.
    pub fn unlock(&self) {
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }

    /// Lets go of what is unpacked; it is unpacked again when it is asked for.
    pub fn forget_window(&mut self) {
        if let Some(packed) = &mut self.packed {
            packed.rewind();
        }
    }

    /// A compressed file has grown: what ended may go on.
    pub fn has_grown(&mut self) {
        if let Some(packed) = &mut self.packed
            && packed.end.take().is_some()
        {
            packed.rewind();
        }
    }
}

/// Reads only what is in the page cache; file systems that cannot tell count as slow.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut slices = [io::IoSliceMut::new(buffer)];
    rustix::io::preadv2(file, &mut slices, offset, rustix::io::ReadWriteFlags::NOWAIT).map_err(|error| {
        match error {
            rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS => {
                ErrorKind::WouldBlock.into()
            }
            other => other.into(),
        }
    })
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_file: &File, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
    Err(ErrorKind::WouldBlock.into())
}

impl Packed {
    fn rewind(&mut self) {
        self.decoder = None;
        self.window = Vec::new();
        self.start = 0;
        self.end = None;
    }

    fn read_at(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<(usize, Option<End>)> {
        if offset < self.start {
            self.rewind();
        }
        let mut piece = vec![0; 64 << 10];
        loop {
            let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.window.len());
            self.window.drain(..skip);
            self.start += skip as u64;
            let ready = self.start == offset;
            if ready && self.window.len() >= buffer.len() || self.end.is_some() {
                break;
            }
            match self.decoder(file)?.read(&mut piece) {
                Ok(0) => self.end = Some(End::Eof),
                Ok(n) => self.window.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => self.end = Some(End::Cut),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                    self.end = Some(End::Damaged);
                }
                Err(error) => return Err(error),
            }
        }
        if self.start != offset {
            return Ok((0, self.end));
        }
        let count = self.window.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.window[..count]);
        Ok((count, self.end.filter(|_| count == self.window.len() && count < buffer.len())))
    }

    fn decoder(&mut self, file: &File) -> io::Result<&mut Box<dyn Read + Send>> {
        if self.decoder.is_none() {
            let source = At { file: file.try_clone()?, offset: 0 };
            self.decoder = Some(match self.codec {
                Codec::Gzip => Box::new(MultiGzDecoder::new(source)),
                Codec::Zlib => Box::new(ZlibDecoder::new(source)),
                Codec::Bzip2 => Box::new(MultiBzDecoder::new(source)),
            });
        }
        Ok(self.decoder.as_mut().expect("it was made above"))
    }
}

/// Reads a file from its start without its cursor, which clones of a handle share.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.offset)?;
        self.offset += got as u64;
        Ok(got)
    }
}

/// Compresses, for tests.
#[cfg(any(test, feature = "test-util"))]
pub fn pack(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let level = flate2::Compression::fast();
    match codec {
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        }
        Codec::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        }
        Codec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).expect("memory takes everything");
            encoder.finish().expect("memory takes everything")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_of_a_compressed_file_can_be_read_in_any_order() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|i| i.to_le_bytes()).collect();
        for codec in [Codec::Gzip, Codec::Zlib, Codec::Bzip2] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), pack(codec, &text)).unwrap();
            let mut handle = Handle::open(file.path(), Some(codec)).unwrap();
            let mut buffer = vec![0; 100_000];
            for offset in [0, 50_000, 700_000, 3, 1_150_000] {
                let (got, end) = handle.read_at(&mut buffer, offset as u64, Mode::Blocking).unwrap();
                let expected = &text[offset..(offset + buffer.len()).min(text.len())];
                assert_eq!(
                    (&buffer[..got], end.is_some()),
                    (expected, got < buffer.len()),
                    "{codec:?} {offset}"
                );
            }
            let beyond = handle.read_at(&mut buffer, 2_000_000, Mode::Blocking).unwrap();
            assert_eq!(beyond, (0, Some(End::Eof)), "{codec:?}");
        }
    }

    #[test]
    fn several_members_are_one_text_and_a_cut_one_goes_on_when_it_has_grown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut packed = pack(Codec::Gzip, b"one\n");
        packed.extend(pack(Codec::Gzip, b"two\n"));
        std::fs::write(file.path(), &packed[..packed.len() - 10]).unwrap();
        let mut handle = Handle::open(file.path(), Some(Codec::Gzip)).unwrap();
        let mut buffer = [0; 100];
        let (_, end) = handle.read_at(&mut buffer, 0, Mode::Blocking).unwrap();
        assert_eq!(end, Some(End::Cut));
        std::fs::write(file.path(), &packed).unwrap();
        handle.has_grown();
        let (got, end) = handle.read_at(&mut buffer, 2, Mode::Blocking).unwrap();
        assert_eq!((&buffer[..got], end), (&b"e\ntwo\n"[..], Some(End::Eof)));
    }

    #[test]
    fn damage_ends_a_compressed_file_and_a_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.gz");
        std::fs::write(&path, b"this was never compressed").unwrap();
        let mut handle = Handle::open(&path, Some(Codec::Gzip)).unwrap();
        assert_eq!(handle.read_at(&mut [0; 9], 0, Mode::Blocking).unwrap(), (0, Some(End::Damaged)));
        assert!(Handle::open(folder.path(), None).is_err());
    }

    #[test]
    fn a_seam_tells_a_place_from_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        let mut handle = Handle::open(file.path(), None).unwrap();
        let seam = Print::of(b"one\n");
        assert!(handle.has_seam(4, seam).unwrap());
        assert!(!handle.has_seam(8, seam).unwrap() && !handle.has_seam(100, seam).unwrap());
        assert!(!handle.has_seam(2, seam).unwrap());
        assert_eq!(handle.head(3).unwrap(), b"one");
    }
}
