//! The table of what each `Range` header gets, by length.

use super::{Wanted, wanted};

/// What is expected: the status, and for 206 the first and last positions.
enum Answer {
    Whole,
    Part(&'static [(u64, u64)]),
    No,
}
use Answer::{No, Part, Whole};

const TABLE: &[(u64, &str, Answer)] = &[
    // Shapes of one range.
    (1000, "bytes=0-5", Part(&[(0, 5)])),
    (1000, "bytes=0-0", Part(&[(0, 0)])),
    (1000, "bytes=5-", Part(&[(5, 999)])),
    (1000, "bytes=0-", Part(&[(0, 999)])),
    (1000, "bytes=999-", Part(&[(999, 999)])),
    (1000, "bytes=999-999", Part(&[(999, 999)])),
    (1000, "bytes=0-999", Part(&[(0, 999)])),
    (1000, "bytes=0-1000", Part(&[(0, 999)])),
    (1000, "bytes=500-2000", Part(&[(500, 999)])),
    (1000, "bytes=-1", Part(&[(999, 999)])),
    (1000, "bytes=-5", Part(&[(995, 999)])),
    (1000, "bytes=-1000", Part(&[(0, 999)])),
    (1000, "bytes=-1001", Part(&[(0, 999)])),
    (1000, "bytes=-2000", Part(&[(0, 999)])),
    // Numbers.
    (1000, "bytes=00-05", Part(&[(0, 5)])),
    (1000, "bytes=0000000000000000000000000-5", Part(&[(0, 5)])),
    (
        1000,
        "bytes=-0000000000000000000000005",
        Part(&[(995, 999)]),
    ),
    (1000, "bytes=0-99999999999999999999999", Part(&[(0, 999)])),
    (1000, "bytes=0-18446744073709551615", Part(&[(0, 999)])),
    (1000, "bytes=0-18446744073709551616", Part(&[(0, 999)])),
    (1000, "bytes=-99999999999999999999999", Part(&[(0, 999)])),
    (1000, "bytes=99999999999999999999999-", No),
    (1000, "bytes=18446744073709551615-18446744073709551615", No),
    (
        1000,
        "bytes=99999999999999999999999-99999999999999999999999",
        No,
    ),
    (1000, "bytes=+0-5", No),
    (1000, "bytes=0-+5", No),
    (1000, "bytes=0x0-0x5", No),
    (1000, "bytes=\u{664}-5", No),
    (1000, "bytes=1e1-20", No),
    // Nothing of it exists.
    (1000, "bytes=1000-", No),
    (1000, "bytes=1000-1000", No),
    (1000, "bytes=5000-6000", No),
    (1000, "bytes=5-4", No),
    (1000, "bytes=-0", No),
    (1000, "bytes=-00", No),
    (1000, "bytes=5000-,6000-", No),
    (1000, "bytes=-0,5000-", No),
    // Some of it exists.
    (1000, "bytes=5000-,0-5", Part(&[(0, 5)])),
    (1000, "bytes=0-5,5000-", Part(&[(0, 5)])),
    (1000, "bytes=-0,0-5", Part(&[(0, 5)])),
    (1000, "bytes=5-4,0-5", Part(&[(0, 5)])),
    // Not ranges at all.
    (1000, "bytes=", No),
    (1000, "bytes=,", No),
    (1000, "bytes=,,, ,", No),
    (1000, "bytes=-", No),
    (1000, "bytes=--5", No),
    (1000, "bytes=5--", No),
    (1000, "bytes=5", No),
    (1000, "bytes=abc", No),
    (1000, "bytes=a-b", No),
    (1000, "bytes=0-5-9", No),
    (1000, "bytes=0 -5", No),
    (1000, "bytes=0- 5", No),
    (1000, "bytes=0-5;1-2", No),
    (1000, "bytes=0-5,abc", No),
    (1000, "bytes=abc,0-5", No),
    (1000, "bytes=0-5 10-20", No),
    // Units.
    (1000, "Bytes=0-5", Part(&[(0, 5)])),
    (1000, "BYTES=0-5", Part(&[(0, 5)])),
    (1000, "bytes =0-5", Part(&[(0, 5)])),
    (1000, "items=0-5", Whole),
    (1000, "seconds=0-5", Whole),
    (1000, "bytesx=0-5", Whole),
    (1000, "=0-5", Whole),
    (1000, "bytes", Whole),
    (1000, "bytes 0-5", Whole),
    (1000, "bytes:0-5", Whole),
    (1000, "0-5", Whole),
    (1000, "", Whole),
    // White space and empty elements.
    (1000, "bytes= 0-5", Part(&[(0, 5)])),
    (1000, "bytes=0-5 ", Part(&[(0, 5)])),
    (1000, "bytes=\t0-5\t", Part(&[(0, 5)])),
    (1000, "bytes=,0-5", Part(&[(0, 5)])),
    (1000, "bytes=0-5,", Part(&[(0, 5)])),
    (1000, "bytes=0-5 , 200-205", Part(&[(0, 5), (200, 205)])),
    (1000, "bytes=0-5,,200-205", Part(&[(0, 5), (200, 205)])),
    (1000, "bytes=0-5,\t, 200-205", Part(&[(0, 5), (200, 205)])),
    // Several, in the order asked for.
    (1000, "bytes=0-4,200-204", Part(&[(0, 4), (200, 204)])),
    (1000, "bytes=200-204,0-4", Part(&[(200, 204), (0, 4)])),
    (1000, "bytes=-4,0-4", Part(&[(996, 999), (0, 4)])),
    (
        1000,
        "bytes=900-,500-510,0-0",
        Part(&[(900, 999), (500, 510), (0, 0)]),
    ),
    (
        1000,
        "bytes=0-0,100-100,200-200,300-300,400-400,500-500,600-600,700-700",
        Part(&[
            (0, 0),
            (100, 100),
            (200, 200),
            (300, 300),
            (400, 400),
            (500, 500),
            (600, 600),
            (700, 700),
        ]),
    ),
    (1000, "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", Whole),
    // Joined.
    (1000, "bytes=0-5,3-10", Part(&[(0, 10)])),
    (1000, "bytes=3-10,0-5", Part(&[(0, 10)])),
    (1000, "bytes=0-5 , 10-20", Part(&[(0, 20)])),
    (1000, "bytes=0-5,,10-20", Part(&[(0, 20)])),
    (1000, "bytes=0-5,0-5", Part(&[(0, 5)])),
    (1000, "bytes=0-100,10-20", Part(&[(0, 100)])),
    (1000, "bytes=10-20,0-100", Part(&[(0, 100)])),
    (1000, "bytes=0-5,6-10", Part(&[(0, 10)])),
    (1000, "bytes=0-0,80-80", Part(&[(0, 80)])),
    (1000, "bytes=0-0,81-81", Part(&[(0, 0), (81, 81)])),
    (
        1000,
        "bytes=0-0,300-300,150-150",
        Part(&[(0, 0), (300, 300), (150, 150)]),
    ),
    (1000, "bytes=0-100,300-400,90-310", Part(&[(0, 400)])),
    (
        1000,
        "bytes=600-700,0-100,300-400,90-310",
        Part(&[(600, 700), (0, 400)]),
    ),
    (
        1000,
        "bytes=0-100,600-700,300-400,90-310",
        Part(&[(0, 400), (600, 700)]),
    ),
    // More than the whole.
    (1000, "bytes=0-,0-", Whole),
    (1000, "bytes=0-999,0-0", Whole),
    (1000, "bytes=0-499,500-999", Part(&[(0, 999)])),
    (1000, "bytes=-1000,0-0", Whole),
    (10, "bytes=0-4,5-9", Part(&[(0, 9)])),
    (10, "bytes=0-5,5-9", Whole),
    // One byte.
    (1, "bytes=0-", Part(&[(0, 0)])),
    (1, "bytes=0-1", Part(&[(0, 0)])),
    (1, "bytes=1-", No),
    (1, "bytes=-1", Part(&[(0, 0)])),
    // No byte.
    (0, "bytes=0-", Whole),
    (0, "bytes=0-0", Whole),
    (0, "bytes=-5", Whole),
    (0, "bytes=-0", Whole),
    (0, "bytes=5-", No),
    (0, "bytes=abc", No),
    // The longest.
    (u64::MAX, "bytes=0-0", Part(&[(0, 0)])),
    (u64::MAX, "bytes=-1", Part(&[(u64::MAX - 1, u64::MAX - 1)])),
    (
        u64::MAX,
        "bytes=18446744073709551614-18446744073709551615",
        Part(&[(u64::MAX - 1, u64::MAX - 1)]),
    ),
];

#[test]
fn every_header_of_the_table_gets_its_answer() {
    for (len, header, answer) in TABLE {
        let expected = match answer {
            Whole => Wanted::Whole,
            No => Wanted::Unsatisfiable,
            Part(parts) => {
                Wanted::Ranges(parts.iter().map(|(first, last)| *first..last + 1).collect())
            }
        };
        assert_eq!(
            wanted(header.as_bytes(), *len),
            expected,
            "{header:?} of {len}"
        );
    }
}

#[test]
fn a_header_that_is_not_text_or_endless_is_ignored() {
    assert_eq!(wanted(b"bytes=0-5\xff", 1000), Wanted::Whole);
    assert_eq!(
        wanted(format!("bytes=0-5{}", " ".repeat(600)).as_bytes(), 1000),
        Wanted::Whole
    );
}

/// Whatever the header, the ranges are within the representation, apart from one another, and hold
/// every byte that a satisfiable element names.
#[test]
fn ranges_are_sound_for_every_small_header() {
    let numbers = ["", "0", "1", "5", "9", "10", "11", "99"];
    let mut elements = Vec::new();
    for first in numbers {
        for last in numbers {
            elements.push(format!("{first}-{last}"));
        }
    }
    for len in [0, 1, 2, 10, 500] {
        for one in &elements {
            for other in &elements {
                let header = format!("bytes={one},{other}");
                if let Wanted::Ranges(ranges) = wanted(header.as_bytes(), len) {
                    assert!(!ranges.is_empty(), "{header}");
                    for (i, range) in ranges.iter().enumerate() {
                        assert!(
                            range.start < range.end && range.end <= len,
                            "{header} of {len}"
                        );
                        for later in ranges.iter().skip(i + 1) {
                            let apart =
                                range.end + 80 <= later.start || later.end + 80 <= range.start;
                            assert!(apart, "{header} of {len}: {ranges:?}");
                        }
                    }
                }
            }
        }
    }
}
