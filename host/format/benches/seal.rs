//! How fast one core seals and opens. The last line on stdout is JSON, for `make bench`.
//! Not for: comparing with other programs, which `tests/bench` does.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use bytes::BytesMut;
use keyreel_format::{
    ContentType, Dek, Header, Identity, KekId, KeyBlock, PartName, ProviderId, Reader, Recipient,
    RecordingId, Sealer, TenantId, WrapAlgorithm,
};

const PIECE: usize = 256 << 10;
const SIZE: usize = 64 << 20;
const ROUNDS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dek = Dek::generate();
    let plaintext = vec![0x5a; PIECE];
    let mut seal_best = f64::MAX;
    let mut open_best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let (_, _, mut sealer) = Sealer::new(&identity()?, &key_block()?, &dek)?;
        // The buffer is used again for every piece, as a writer to a disk would.
        let mut out = BytesMut::with_capacity(2 * PIECE);
        for _ in 0..SIZE / PIECE {
            out.clear();
            sealer.push(&plaintext, &mut out)?;
            black_box(&out);
        }
        sealer.finish(&mut out)?;
        seal_best = seal_best.min(started.elapsed().as_secs_f64());

        open_best = open_best.min(open(&dek, &plaintext)?);
    }
    let rate = |seconds: f64| SIZE as f64 / seconds;
    let figures = serde_json::json!({
        "bytes_per_second": rate(seal_best), "open_bytes_per_second": rate(open_best),
    });
    writeln!(std::io::stdout(), "{figures}")?;
    Ok(())
}

/// Opens one piece again and again, copy of the ciphertext included: a range that is played.
fn open(dek: &Dek, plaintext: &[u8]) -> Result<f64, Box<dyn std::error::Error>> {
    let (slot, prefix, mut sealer) = Sealer::new(&identity()?, &key_block()?, dek)?;
    let mut object = BytesMut::from(&slot[..]);
    object.extend_from_slice(&prefix);
    sealer.push(plaintext, &mut object)?;
    sealer.finish(&mut object)?;
    let header = Header::parse(&slot)?.verify(dek)?;
    let reader = Reader::new(&header, dek, &prefix, object.len() as u64)?;
    let span = reader
        .spans(0..plaintext.len() as u64, 2 * PIECE)
        .map(|mut s| s.next())?;
    let span = span.ok_or("a plaintext has a span")?;
    let range = usize::try_from(span.object_range.start)?..usize::try_from(span.object_range.end)?;
    let mut buffer = BytesMut::with_capacity(range.len());
    let started = Instant::now();
    for _ in 0..SIZE / PIECE {
        buffer.clear();
        buffer.extend_from_slice(
            object
                .get(range.clone())
                .ok_or("the span lies in the object")?,
        );
        for chunk in reader.open(&span, buffer)? {
            black_box(chunk);
        }
        buffer = BytesMut::with_capacity(range.len());
    }
    Ok(started.elapsed().as_secs_f64())
}

fn identity() -> Result<Identity, Box<dyn std::error::Error>> {
    Ok(Identity {
        object_id: Identity::new_object_id()?,
        tenant: TenantId::parse("bench")?,
        recording: RecordingId::parse("bench")?,
        part: PartName::parse("media")?,
        content_type: ContentType::parse("audio/wav")?,
        created_ms: 0,
    })
}

fn key_block() -> Result<KeyBlock, Box<dyn std::error::Error>> {
    let recipient = Recipient {
        algorithm: WrapAlgorithm::RsaOaepSha256,
        provider: ProviderId::parse("managed")?,
        kek: KekId::parse("kek/1")?,
        wrapped_dek: vec![0; 384],
        info: Vec::new(),
    };
    Ok(KeyBlock {
        generation: 0,
        recipients: vec![recipient],
    })
}
