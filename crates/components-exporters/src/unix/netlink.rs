//! Addresses of the network devices, asked of the kernel over a netlink socket (rtnetlink(7)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::error::CollectorError;

/// An address of a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Address {
    pub(super) device: String,
    pub(super) address: IpAddr,
    /// Length of the network prefix in bits.
    pub(super) prefix: u8,
}

const DONE: u16 = 3;
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// NLM_F_REQUEST and NLM_F_DUMP.
const REQUEST_DUMP: u16 = 0x301;
/// Attribute of a link.
const IFLA_IFNAME: u16 = 3;
/// Attributes of an address.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// All addresses in order of their devices.
pub(super) fn addresses() -> Result<Vec<Address>, CollectorError> {
    let ask = |request, kind| {
        dump(request, kind).map_err(|source| CollectorError::System { call: "netlink", source })
    };
    Ok(join(&ask(GET_LINK, NEW_LINK)?, &ask(GET_ADDRESS, NEW_ADDRESS)?))
}

fn join(links: &[Vec<u8>], addresses: &[Vec<u8>]) -> Vec<Address> {
    let mut devices: Vec<(u32, String)> = links.iter().filter_map(|link| device(link)).collect();
    devices.sort_unstable();
    let mut found: Vec<Address> = Vec::new();
    for (index, device) in &devices {
        let of_device =
            addresses.iter().filter_map(|message| address(message)).filter(|found| found.0 == *index);
        found.extend(of_device.map(|(_, address, prefix)| Address {
            device: device.clone(),
            address,
            prefix,
        }));
    }
    found
}

/// Index and name of a link message: `ifinfomsg` and attributes.
fn device(message: &[u8]) -> Option<(u32, String)> {
    let index = u32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
    let (_, name) = attributes(message.get(16..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    Some((index, String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned()))
}

/// Index, address and prefix of an address message: `ifaddrmsg` and attributes. On links between
/// two hosts IFA_ADDRESS is the other end's, so IFA_LOCAL is preferred.
fn address(message: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let prefix = *message.get(1)?;
    let index = u32::from_ne_bytes(message.get(4..8)?.try_into().ok()?);
    let attributes = attributes(message.get(8..)?);
    let (_, bytes) = attributes
        .filter(|(kind, _)| matches!(*kind, IFA_ADDRESS | IFA_LOCAL))
        .max_by_key(|(kind, _)| *kind)?;
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((index, address, prefix))
}

/// Kind and content of attributes, which are padded to four bytes.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}

/// Sends a dump request and gives the bodies of the messages of one kind.
fn dump(request: u16, kind: u16) -> io::Result<Vec<Vec<u8>>> {
    // Protocol 0 of this family, the default, is routing.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // A header (length, kind, flags, sequence, port) and a zero `rtgenmsg`: all families.
    let mut message = Vec::with_capacity(20);
    message.extend(20u32.to_ne_bytes());
    message.extend(request.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    message.extend([0; 8]);
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if length == 0 || gather(&buffer[..length], kind, &mut found)? {
            return Ok(found);
        }
    }
}

/// Takes the bodies of one kind out of a datagram; true when the dump is complete.
fn gather(mut bytes: &[u8], wanted: u16, found: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while let Some(header) = bytes.get(..16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = bytes.get(16..length) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "truncated netlink message"));
        };
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
                return Err(io::Error::from_raw_os_error(-code));
            }
            kind if kind == wanted => found.push(body.to_vec()),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut out = (content.len() as u16 + 4).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn links_and_addresses_are_joined_by_index() {
        let mut link = vec![0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        link[4..8].copy_from_slice(&7u32.to_ne_bytes());
        link.extend(attribute(9, b"x"));
        link.extend(attribute(IFLA_IFNAME, b"ppp0\0"));
        let mut address = vec![2, 32, 0, 0, 0, 0, 0, 0];
        address[4..8].copy_from_slice(&7u32.to_ne_bytes());
        address.extend(attribute(IFA_ADDRESS, &[10, 0, 0, 2]));
        address.extend(attribute(IFA_LOCAL, &[10, 0, 0, 1]));
        let expected = Address { device: "ppp0".into(), address: "10.0.0.1".parse().unwrap(), prefix: 32 };
        assert_eq!(join(&[link], &[address]), [expected]);
    }

    #[test]
    fn broken_messages_are_errors_or_left_out() {
        assert!(join(&[vec![0; 3]], &[vec![0; 9]]).is_empty());
        assert!(attributes(&[255, 0, 0, 0, 1]).next().is_none());
        let mut message = vec![0; 16];
        message[..4].copy_from_slice(&99u32.to_ne_bytes());
        assert!(gather(&message, NEW_LINK, &mut Vec::new()).is_err());
    }

    #[test]
    fn the_loopback_address_of_this_machine_is_found() {
        let found = addresses().unwrap();
        let loopback = Address { device: "lo".into(), address: "127.0.0.1".parse().unwrap(), prefix: 8 };
        assert!(found.contains(&loopback), "{found:?}");
    }
}
