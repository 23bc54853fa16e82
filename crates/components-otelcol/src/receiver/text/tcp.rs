//! Connections: read, split, handed over.
//!
//! What arrives together travels together. While a batch waits to be taken nothing is read, so that the sender has
//! to wait too. A connection that is to end is read until it is empty.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use net::ServerTls;
use net::connections::{Connected, Stream};
use net::socket::Claim;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use wire::syslog::Framer;

use super::{Entries, Frames, Map, Reading, Shared};

/// How long a connection that is to end may be silent until it is taken for empty, and what that may take.
const EMPTY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(3)];
/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Accepts until the listener is retired or claimed by another; returns when its connections have ended.
pub(super) async fn accept(claim: Claim<TcpListener>, tls: Option<Arc<ServerTls>>, shared: Arc<Shared>) {
    let retire = shared.retire.clone();
    net::connections::accept(claim, tls, retire, move |connected| {
        let shared = shared.clone();
        async move { serve(connected, &shared).await }
    })
    .await;
}

async fn serve(connected: Connected, shared: &Shared) {
    let Connected { mut stream, peer, local } = connected;
    let mut reading = shared.current.load_full();
    let mut attributes = shared.attributes(&reading, "IP.TCP", peer, local).await;
    let mut input = Input { buffer: BytesMut::new(), framer: framer(&reading), retiring: None };
    loop {
        let is_last = input.read(&mut *stream, shared).await;
        let now = shared.current.load_full();
        if !Arc::ptr_eq(&now, &reading) {
            reading = now;
            attributes = shared.attributes(&reading, "IP.TCP", peer, local).await;
            input.framer = framer(&reading);
        }
        let goes_on = input.take(&reading, &attributes, is_last, shared).await;
        if is_last || !goes_on {
            break;
        }
    }
    let _ = tokio::time::timeout(EMPTY[1], stream.shutdown()).await;
}

fn framer(reading: &Reading) -> Option<Framer> {
    use wire::syslog::Framing;
    match reading.frames {
        Frames::Counted(most) => Some(Framer::new(Framing::Lines { delimiter: b'\n' }, most)),
        Frames::Trailer(delimiter, most) => Some(Framer::new(Framing::Lines { delimiter }, most)),
        Frames::Split(_) | Frames::Whole(_) => None,
    }
}

struct Input {
    buffer: BytesMut,
    framer: Option<Framer>,
    /// Since when the connection is to end.
    retiring: Option<Instant>,
}

impl Input {
    /// Waits for more; whether that was all.
    async fn read(&mut self, stream: &mut dyn Stream, shared: &Shared) -> bool {
        if self.buffer.capacity() - self.buffer.len() < CHUNK / 4 {
            self.buffer.reserve(CHUNK);
        }
        loop {
            if shared.retire.is_cancelled() {
                let since = *self.retiring.get_or_insert_with(Instant::now);
                if since.elapsed() > EMPTY[1] {
                    return true;
                }
                let read = tokio::time::timeout(EMPTY[0], stream.read_buf(&mut self.buffer)).await;
                return !matches!(read, Ok(Ok(length)) if length > 0);
            }
            tokio::select! {
                read = stream.read_buf(&mut self.buffer) => return !matches!(read, Ok(length) if length > 0),
                () = shared.retire.cancelled() => {}
            }
        }
    }

    /// Hands over what has arrived as a whole; `false` if nothing that follows can be made sense of.
    async fn take(&mut self, reading: &Reading, attributes: &Map, is_last: bool, shared: &Shared) -> bool {
        let mut goes_on = true;
        let mut entries = Entries::new(reading, attributes);
        match &reading.frames {
            Frames::Split(framing) => {
                let piece = std::mem::take(&mut self.buffer).freeze();
                let consumed = entries.split(&piece, framing, reading.encoding.charset, is_last);
                let rest = piece.slice(consumed..);
                drop(piece);
                // Nobody else has it, so that it stays where it is.
                self.buffer = rest.try_into_mut().unwrap_or_else(|rest| BytesMut::from(&rest[..]));
            }
            Frames::Whole(most) => {
                while self.buffer.len() > *most {
                    let part = reading.encoding.charset.cut(&self.buffer, *most).max(1);
                    let part = self.buffer.split_to(part);
                    entries.add_bytes(&part);
                    entries.cut += 1;
                }
                if is_last {
                    entries.whole(&self.buffer, *most);
                    self.buffer.clear();
                }
            }
            Frames::Counted(_) | Frames::Trailer(..) => goes_on = self.frames(&mut entries, is_last, shared),
        }
        shared.hand_over(entries.finish(&shared.delivery)).await;
        goes_on
    }

    fn frames(&mut self, entries: &mut Entries<'_>, is_last: bool, shared: &Shared) -> bool {
        let Some(framer) = &mut self.framer else { return true };
        loop {
            let frame = if is_last { framer.finish(&mut self.buffer) } else { framer.next(&mut self.buffer) };
            match frame {
                Ok(Some(frame)) => {
                    entries.cut += u64::from(frame.cut);
                    entries.add_bytes(&frame.bytes);
                }
                Ok(None) => return true,
                Err(error) => {
                    shared.delivery.count_dropped("framing", 1);
                    tracing::debug!(%error, "a connection is closed: its frames cannot be read");
                    return false;
                }
            }
        }
    }
}
