//! Any datagrams as GELF: no panic, bounded memory, and what is written of a message is read again.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use wire::gelf::{Assembled, Chunks, Message, unpack};

fuzz::target!(|datagrams: Vec<(u8, Vec<u8>)>| {
    let (mut chunks, mut now) = (Chunks::default(), Duration::ZERO);
    for (later, datagram) in datagrams {
        now += Duration::from_millis(u64::from(later) * 100);
        let taken = chunks.take(IpAddr::V4(Ipv4Addr::LOCALHOST), Bytes::from(datagram), now);
        let Ok(Assembled::Message(bytes)) = taken else { continue };
        let Ok(json) = unpack(&bytes, 1 << 20) else { continue };
        let Ok(message) = Message::parse(&json) else { continue };
        let (_, _) = (message.level_name(), message.timestamp_ns());
        let mut line = String::new();
        message.write(&mut line);
        let again = Message::parse(line.as_bytes()).expect("what is written is GELF");
        assert_eq!(
            (again.host, again.short, again.extra.len()),
            (message.host, message.short, message.extra.len())
        );
    }
});
