//! Which addresses are anybody's: those that IANA's registries call globally reachable, and not
//! all of these.
//! Not for: names (see `network`), who may be reached by grant (see `connect`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be done with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// On the open Internet.
    Public,
    /// Of this machine, this network, or a door to one: by grant only.
    Private,
    /// No destination at all: unspecified, multicast, broadcast.
    Never,
}

/// What may be done with `address`.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Networks that are not public, by their first address and the length of their prefix.
/// IANA IPv4 Special-Purpose Address Registry; 192.88.99.0/24 was 6to4's relays (RFC 7526).
const PRIVATE_V4: [([u8; 4], u32); 13] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
];

fn reach_v4(address: Ipv4Addr) -> Reach {
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Reach::Never;
    }
    // 240.0.0.0/4 is reserved.
    let private = address.octets()[0] >= 240
        || PRIVATE_V4.iter().any(|(network, prefix)| {
            let mask = u32::MAX << (32 - prefix);
            address.to_bits() & mask == u32::from_be_bytes(*network)
        });
    if private {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Within 2000::/3, what is not public: protocol assignments with Teredo and ORCHID, documentation
/// twice, 6to4.
const PRIVATE_V6: [(u128, u32); 4] = [
    (0x2001_0000 << 96, 23),
    (0x2001_0db8 << 96, 32),
    (0x2002_0000 << 96, 16),
    (0x3fff_0000 << 96, 20),
];

/// Global unicast is 2000::/3, and nothing else: loopback, unique local, link-local, IPv4-mapped
/// and NAT64 addresses all lie outside it.
fn reach_v6(address: Ipv6Addr) -> Reach {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return match reach_v4(mapped) {
            Reach::Never => Reach::Never,
            Reach::Private | Reach::Public => Reach::Private,
        };
    }
    if address.is_unspecified() || address.is_multicast() {
        return Reach::Never;
    }
    let bits = address.to_bits();
    let within = |network: u128, prefix: u32| bits & (u128::MAX << (128 - prefix)) == network;
    let public = within(0x2000_0000 << 96, 3)
        && !PRIVATE_V6
            .iter()
            .any(|(network, prefix)| within(*network, *prefix));
    if public {
        Reach::Public
    } else {
        Reach::Private
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_open_internet_is_public() {
        for (addresses, expected) in [
            (
                "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
                 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 \
                 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 \
                 2000:: 2001:200:: 2600::1 2a00:1450:4001::1 3fff:1000::",
                Reach::Public,
            ),
            (
                "0.0.0.1 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 \
                 127.255.255.254 169.254.169.254 172.16.0.0 172.31.255.255 192.0.0.8 192.0.2.1 \
                 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 \
                 240.0.0.1 255.255.255.254 \
                 ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:1.1.1.1 64:ff9b::7f00:1 64:ff9b:1::1 100::1 \
                 2001::1 2001:db8::1 2002:7f00:1:: 2002:101:101:: 3fff::1 5f00::1 fc00::1 fd12::1 \
                 fe80::1 fec0::1 4000::1",
                Reach::Private,
            ),
            (
                "0.0.0.0 224.0.0.1 239.255.255.255 255.255.255.255 :: ff02::1 ::ffff:0.0.0.0 \
                 ::ffff:224.0.0.1",
                Reach::Never,
            ),
        ] {
            for address in addresses.split_ascii_whitespace() {
                assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
            }
        }
    }
}
