//! In place of the collectors that make system calls of Linux, where there are none.
//!
//! Invariant: nothing here is ever asked: the component is refused on such a system (`needs_linux`). It is there so that
//! everything else compiles, and is tested, on a developer's machine.

pub(super) mod timex {
    use super::super::{CollectorError, Family, Outcome, Paths};

    pub(in super::super) fn collect(_: &Paths, _: &mut Vec<Family>) -> Outcome {
        Err(CollectorError::System { call: "adjtimex", source: std::io::ErrorKind::Unsupported.into() })
    }
}

pub(super) mod netlink {
    use std::net::IpAddr;

    use super::super::CollectorError;

    /// An address of a device.
    #[derive(Debug, Clone, PartialEq)]
    pub(in super::super) struct Address {
        pub(in super::super) device: String,
        pub(in super::super) address: IpAddr,
        pub(in super::super) prefix: u8,
    }

    pub(in super::super) fn addresses() -> Result<Vec<Address>, CollectorError> {
        Err(CollectorError::System { call: "netlink", source: std::io::ErrorKind::Unsupported.into() })
    }
}
