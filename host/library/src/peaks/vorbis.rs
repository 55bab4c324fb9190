//! The setup header of Vorbis, read far enough to know what its codebooks take once they are
//! unpacked: twenty bytes can ask for 16 MiB, and there may be 256 of them.
//! Not for: decoding, which is symphonia's.

use super::Undecodable;

/// Codewords of all books together; each takes up to 256 bytes of lookup tables. What libvorbis
/// writes has at most some 20,000.
const MAX_ENTRIES: u64 = 1 << 17;
/// Numbers in the vectors of all books together. What libvorbis writes has at most some 90,000.
const MAX_VALUES: u64 = 1 << 21;

/// "\x01vorbis" and what follows: always of one length (Vorbis I, section 4.2.2).
const IDENTIFICATION_LEN: usize = 30;
const SETUP: &[u8] = b"\x05vorbis";
const SYNC: u32 = 0x56_4342;

/// Checks a setup header, as it stands after the identification header, before anything is made of
/// it (Vorbis I, sections 3.2.1 and 4.2.4).
pub(super) fn check_setup(headers: &[u8]) -> Result<(), Undecodable> {
    let setup = headers.get(IDENTIFICATION_LEN..).unwrap_or_default();
    let malformed = || Undecodable::new("malformed Vorbis setup header");
    let books = setup.strip_prefix(SETUP).ok_or_else(malformed)?;
    let size = Size::of(books).ok_or_else(malformed)?;
    if size.entries > MAX_ENTRIES || size.values > MAX_VALUES {
        return Err(Undecodable::new("its Vorbis codebooks are too large"));
    }
    Ok(())
}

/// What codebooks take.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) entries: u64,
    pub(super) values: u64,
}

impl Size {
    /// Of the codebooks that `bytes` begins with; `None` where they do not end within.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let mut bits = Bits { bytes, at: 0 };
        let mut size = Self::default();
        for _ in 0..=bits.take(8)? {
            if bits.take(24)? != SYNC {
                return None;
            }
            let dimensions = bits.take(16)?;
            let entries = bits.take(24)?;
            size.entries += u64::from(entries);
            skip_lengths(&mut bits, entries)?;
            match bits.take(4)? {
                0 => {}
                lookup @ 1..=2 => {
                    bits.skip(64)?;
                    let value_bits = u64::from(bits.take(4)?) + 1;
                    bits.skip(1)?;
                    let values = u64::from(entries) * u64::from(dimensions);
                    size.values += values;
                    let written = match lookup {
                        1 => u64::from(root(entries, dimensions)?),
                        _ => values,
                    };
                    bits.skip(written * value_bits)?;
                }
                _ => return None,
            }
        }
        Some(size)
    }
}

/// The codeword lengths of one book.
fn skip_lengths(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        bits.skip(5)?;
        let mut known = 0;
        while known < entries {
            known += bits.take(u32::BITS - (entries - known).leading_zeros())?;
        }
        return (known == entries).then_some(());
    }
    let is_sparse = bits.take(1)? == 1;
    if !is_sparse {
        return bits.skip(u64::from(entries) * 5);
    }
    for _ in 0..entries {
        if bits.take(1)? == 1 {
            bits.skip(5)?;
        }
    }
    Some(())
}

/// The greatest number whose `dimensions`th power is at most `entries` (section 9.2.3).
fn root(entries: u32, dimensions: u32) -> Option<u32> {
    if dimensions == 0 {
        return None;
    }
    let fits = |value: u32| value.checked_pow(dimensions).is_some_and(|p| p <= entries);
    let (mut low, mut high) = (0, entries.saturating_add(1));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

/// Bits, the least significant of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..count {
            let byte = self.bytes.get(usize::try_from(self.at / 8).ok()?)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len() as u64 * 8).then_some(())
    }
}
