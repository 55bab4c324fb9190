//! Objects for tests/interop/check.py, which opens them with PyPI `cryptography`; and the other way
//! round. `interop seal DIR COUNT` writes hostile sizes under all wrap algorithms with a manifest;
//! `interop open DIR` opens what `check.py seal` wrote.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use aws_lc_rs::digest;
use bytes::BytesMut;
use keyreel_format::wrap::{self, PrivateKey};
use keyreel_format::{
    ContentType, Dek, Header, Identity, KekId, KeyBlock, PartName, ProviderId, Reader, Recipient,
    RecordingId, Sealer, TenantId, WrapAlgorithm,
};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const EDGES: [usize; 16] = [
    0, 1, 15, 16, 17, 56, 16_367, 16_368, 16_383, 16_384, 16_385, 16_399, 16_400, 32_767, 32_768,
    32_769,
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let count = match words.as_slice() {
        ["seal", directory, count] => seal_all(Path::new(directory), count.parse()?)?,
        ["open", directory] => open_all(Path::new(directory))?,
        _ => return Err("usage: interop seal DIR COUNT | interop open DIR".into()),
    };
    writeln!(std::io::stdout(), "{count} objects")?;
    Ok(())
}

fn seal_all(directory: &Path, count: usize) -> Result<usize, Failure> {
    fs::create_dir_all(directory)?;
    let mut manifest = fs::File::create(directory.join("manifest.jsonl"))?;
    let keys = WrapAlgorithm::ALL
        .into_iter()
        .map(|algorithm| Ok((algorithm, PrivateKey::generate(algorithm)?)))
        .collect::<Result<Vec<_>, keyreel_format::Error>>()?;
    for (number, (algorithm, key)) in (0..count).zip(keys.iter().cycle()) {
        let edge = EDGES.get(number).copied();
        let plaintext = pattern(number, edge.unwrap_or(number * 7919 % 100_000));
        let (object, dek) = seal_one(number, *algorithm, key, &plaintext)?;
        let file = format!("{number}.krc");
        fs::write(directory.join(&file), object)?;
        let field = match algorithm {
            WrapAlgorithm::HpkeMlkem1024P384 => "hpke_seed",
            _ => "rsa_pkcs8",
        };
        let mut entry = json!({
            "file": file,
            "dek": hex::encode(dek.expose()),
            "sha256": sha256(&plaintext),
        });
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(field.into(), hex::encode(&*key.secret_bytes()?).into());
        }
        writeln!(manifest, "{entry}")?;
    }
    Ok(count)
}

fn seal_one(
    number: usize,
    algorithm: WrapAlgorithm,
    key: &PrivateKey,
    plaintext: &[u8],
) -> Result<(BytesMut, Dek), Failure> {
    let identity = Identity {
        object_id: Identity::new_object_id()?,
        tenant: TenantId::parse("interop")?,
        recording: RecordingId::parse(&format!("r-{number}"))?,
        part: PartName::parse("media")?,
        content_type: ContentType::parse("audio/wav")?,
        created_ms: 1_793_696_400_000,
    };
    let dek = Dek::generate();
    let context = wrap::context(&identity.tenant, &identity.recording);
    let recipient = Recipient {
        algorithm,
        provider: ProviderId::parse("managed")?,
        kek: KekId::parse("kek/1")?,
        wrapped_dek: wrap::wrap(algorithm, &key.public_key()?, &context, &dek)?,
        info: vec![],
    };
    let recipients = vec![recipient; 1 + number % 4];
    let (slot, prefix, mut sealer) = Sealer::new(
        &identity,
        &KeyBlock {
            generation: 1,
            recipients,
        },
        &dek,
    )?;
    let mut object = BytesMut::from(slot.as_slice());
    object.extend_from_slice(&prefix);
    for piece in plaintext.chunks(1 + number * 37) {
        sealer.push(piece, &mut object)?;
    }
    sealer.finish(&mut object)?;
    Ok((object, dek))
}

fn open_all(directory: &Path) -> Result<usize, Failure> {
    let manifest = fs::read_to_string(directory.join("manifest.jsonl"))?;
    for line in manifest.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let field = |name: &str| entry.get(name).and_then(Value::as_str).ok_or("manifest");
        let dek = Dek::from_slice(&hex::decode(field("dek")?)?).ok_or("a DEK is 32 bytes")?;
        let plaintext = open_one(&fs::read(directory.join(field("file")?))?, &dek)?;
        if sha256(&plaintext) != field("sha256")? {
            return Err(format!("{}: wrong plaintext", field("file")?).into());
        }
    }
    Ok(manifest.lines().count())
}

fn open_one(object: &[u8], dek: &Dek) -> Result<Vec<u8>, Failure> {
    let header = Header::parse(object)?.verify(dek)?;
    let fetch = |range: std::ops::Range<u64>| -> Result<BytesMut, Failure> {
        let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
        Ok(object.get(range).ok_or("range")?.into())
    };
    let prefix = fetch(header.slot_len()..header.slot_len() + 56)?;
    let prefix = prefix.first_chunk().ok_or("prefix")?;
    let reader = Reader::new(&header, dek, prefix, u64::try_from(object.len())?)?;
    let length = reader.verify_last_chunk(&mut fetch(reader.last_chunk().object_range)?)?;
    let mut plaintext = Vec::new();
    for span in reader.spans(0..length.bytes(), 1 << 18)? {
        let sealed = fetch(span.object_range.clone())?;
        reader
            .open(&span, sealed)?
            .for_each(|chunk| plaintext.extend_from_slice(&chunk));
    }
    Ok(plaintext)
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(31) ^ at.rotate_right(7) ^ seed).to_be_bytes()[7])
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
