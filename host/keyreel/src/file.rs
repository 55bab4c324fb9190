//! `keyreel inspect` and `keyreel open`: one sealed file, no server, no keystore.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use bytes::BytesMut;
use keyreel_format::{
    BODY_PREFIX_LEN, CiphertextLen, Dek, Header, Reader, SealedSpan, UnverifiedHeader,
};
use keyreel_keys::{InvalidRecoveryPair, RecoveryPair};
use zeroize::Zeroizing;

use crate::output::{self, Usage};

/// How much ciphertext is read at a time.
const SPAN: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct InspectArgs {
    /// The sealed file.
    file: PathBuf,
    /// The key record that a re-wrap left beside it (`….key.<generation>`, the highest): it stands
    /// for the file's own header.
    #[arg(long, value_name = "FILE")]
    key_record: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct OpenArgs {
    /// The sealed file.
    file: PathBuf,
    /// The data encryption key: 64 hexadecimal digits.
    #[arg(long, value_name = "HEX", required_unless_present_any = ["dek_file", "recovery_key"])]
    dek_hex: Option<String>,
    /// A file that holds those digits: other users of this machine see command lines.
    #[arg(long, value_name = "FILE", conflicts_with = "dek_hex")]
    dek_file: Option<PathBuf>,
    /// The private half of the tenant's recovery key, PEM. Of the key records beside the file the
    /// highest that it opens is taken, else the file's own header.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dek_hex", "dek_file"])]
    recovery_key: Option<PathBuf>,
    /// The key record that a re-wrap left beside it (`….key.<generation>`, the highest): it stands
    /// for the file's own header.
    #[arg(long, value_name = "FILE")]
    key_record: Option<PathBuf>,
    /// Where the plaintext goes; default stdout. Nothing stands there unless all of it verified.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let sealed = Sealed::open(&args.file, args.key_record.as_deref())?;
    let described = sealed.describe()?;
    if args.json {
        return output::data(&serde_json::to_string_pretty(&described)?);
    }
    output::data(&format!("file        {}", args.file.display()))?;
    for (label, key) in [
        ("tenant", "tenant"),
        ("recording", "recording"),
        ("part", "part"),
        ("type", "contentType"),
        ("created", "createdMs"),
        ("object", "objectId"),
        ("generation", "generation"),
        ("plaintext", "plaintextBytes"),
    ] {
        let value = described.get(key).context("described fields are fixed")?;
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        output::data(&format!("{label:<11} {text}"))?;
    }
    for recipient in sealed.header.key_block().recipients.iter() {
        let legacy = if recipient.algorithm.is_legacy() {
            ", legacy"
        } else {
            ""
        };
        output::data(&format!(
            "wrapped     {} by {} under {} ({}{legacy})",
            recipient.algorithm.name(),
            recipient.provider,
            recipient.kek,
            recipient.algorithm.strength(),
        ))?;
    }
    output::note("unverified: the header is authenticated only once its DEK is known");
    Ok(())
}

pub(crate) fn open(args: &OpenArgs) -> anyhow::Result<()> {
    let (sealed, dek) = match &args.recovery_key {
        Some(key) => recovered(args, key)?,
        None => {
            let dek = dek(args)?;
            let record = args.key_record.as_deref();
            (Sealed::open(&args.file, record)?, dek)
        }
    };
    let Sealed {
        mut file,
        header,
        object_len,
    } = sealed;
    let slot_len = header.slot_len();
    let failed = || {
        format!(
            "{}: does not open: the key is another's, or the file was changed",
            args.file.display()
        )
    };
    let header = header.verify(&dek).with_context(failed)?;
    let mut prefix = [0; BODY_PREFIX_LEN];
    file.seek(SeekFrom::Start(slot_len))?;
    file.read_exact(&mut prefix).with_context(failed)?;
    let reader = Reader::new(&header, &dek, &prefix, object_len).with_context(failed)?;
    let mut last = read(&mut file, &reader.last_chunk())?;
    let length = reader
        .verify_last_chunk(&mut last)
        .with_context(failed)?
        .bytes();

    let mut write = |out: &mut dyn Write| -> anyhow::Result<()> {
        for span in reader.spans(0..length, SPAN)? {
            let sealed = read(&mut file, &span)?;
            for chunk in reader.open(&span, sealed).with_context(failed)? {
                out.write_all(&chunk)?;
            }
        }
        Ok(out.flush()?)
    };
    let Some(path) = &args.output else {
        return write(&mut BufWriter::new(std::io::stdout().lock()));
    };
    // A name of its own until all is verified: half a recording must not look like one.
    let partial = path.with_extension("partial");
    // For its owner alone, as everything is that could be heard or read.
    let mut out = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| format!("cannot create {}", partial.display()))?;
    let written = write(&mut out).and_then(|()| Ok(out.sync_all()?));
    match written {
        Ok(()) => Ok(std::fs::rename(&partial, path)?),
        Err(error) => {
            let _ = std::fs::remove_file(&partial);
            Err(error)
        }
    }
}

/// A sealed file with the header that a recovery key opens, and its DEK.
fn recovered(args: &OpenArgs, key: &Path) -> anyhow::Result<(Sealed, Dek)> {
    let told = |error: &dyn std::fmt::Display| Usage::new(format!("{}: {error}", key.display()));
    let pem = std::fs::read_to_string(key).map_err(|error| told(&error))?;
    let pair = RecoveryPair::from_pem(&Zeroizing::new(pem)).map_err(|error| told(&error))?;
    let mut sealed = Sealed::open(&args.file, args.key_record.as_deref())?;
    let mut headers = Vec::new();
    if args.key_record.is_none() {
        for record in records_beside(&args.file)? {
            match in_place_of(&sealed.header, &record) {
                Ok(header) => headers.push(header),
                Err(error) => output::note(&format!("passed over: {error:#}")),
            }
        }
    }
    headers.push(sealed.header.clone());
    let mut refusals = Vec::new();
    for header in headers {
        match pair.unwrap(&header) {
            Ok(dek) => {
                sealed.header = header;
                return Ok((sealed, dek));
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    // Of a header that names the key, what was wrong says more.
    let is_named = |refusal: &InvalidRecoveryPair| {
        !matches!(refusal, InvalidRecoveryPair::NotARecipient { .. })
    };
    let at = refusals.iter().position(is_named).unwrap_or(0);
    Err(anyhow::Error::from(refusals.swap_remove(at)).context(args.file.display().to_string()))
}

/// The key records beside a file, highest first.
fn records_beside(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let told = || file.display().to_string();
    let mut prefix = file.file_name().with_context(told)?.to_owned();
    prefix.push(".key.");
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(told)? {
        let path = entry.with_context(told)?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        let generation = name
            .strip_prefix(prefix.as_bytes())
            .and_then(|digits| str::from_utf8(digits).ok()?.parse::<u32>().ok());
        found.extend(generation.map(|generation| (generation, path)));
    }
    found.sort_by_key(|(generation, _)| Reverse(*generation));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A sealed file and its header.
struct Sealed {
    file: File,
    header: UnverifiedHeader,
    object_len: u64,
}

impl Sealed {
    fn open(path: &Path, key_record: Option<&Path>) -> anyhow::Result<Self> {
        let told = || path.display().to_string();
        let mut file = File::open(path).with_context(told)?;
        let object_len = file.metadata().with_context(told)?.len();
        let mut slot = vec![0; 16];
        file.read_exact(&mut slot)
            .with_context(|| format!("{}: too short to be a sealed recording", told()))?;
        let slot_len = UnverifiedHeader::slot_len_of(&slot).with_context(told)?;
        slot.resize(usize::try_from(slot_len)?, 0);
        let rest = slot
            .get_mut(16..)
            .context("a slot has more than 16 bytes")?;
        file.read_exact(rest)
            .with_context(|| format!("{}: the header is cut off", told()))?;
        let mut header = Header::parse(&slot).with_context(told)?;
        if let Some(path) = key_record {
            header = in_place_of(&header, path)?;
        }
        Ok(Self {
            file,
            header,
            object_len,
        })
    }

    fn describe(&self) -> anyhow::Result<serde_json::Value> {
        let identity = self.header.identity();
        let key_block = self.header.key_block();
        let base64 = &base64::engine::general_purpose::STANDARD;
        let body = CiphertextLen::of_object(self.object_len, self.header.slot_len())?;
        let recipients: Vec<_> = key_block
            .recipients
            .iter()
            .map(|recipient| {
                serde_json::json!({
                    "algorithm": recipient.algorithm.name(),
                    "code": format!("{:04x}", recipient.algorithm.code()),
                    "strength": recipient.algorithm.strength(),
                    "legacy": recipient.algorithm.is_legacy(),
                    "provider": recipient.provider,
                    "kek": recipient.kek,
                    "wrappedDek": base64.encode(&recipient.wrapped_dek),
                    "info": base64.encode(&recipient.info),
                })
            })
            .collect();
        Ok(serde_json::json!({
            "format": "KRC1",
            "verified": false,
            "tenant": identity.tenant,
            "recording": identity.recording,
            "part": identity.part,
            "contentType": identity.content_type,
            "createdMs": identity.created_ms,
            "objectId": hex::encode(identity.object_id),
            "slotBytes": self.header.slot_len(),
            "objectBytes": self.object_len,
            "plaintextBytes": body.plaintext().bytes(),
            "generation": key_block.generation,
            "recipients": recipients,
        }))
    }
}

/// The header that a key record holds, for the same object.
fn in_place_of(header: &UnverifiedHeader, path: &Path) -> anyhow::Result<UnverifiedHeader> {
    let told = || path.display().to_string();
    let record = std::fs::read(path).with_context(told)?;
    let record = Header::parse_key_record(&record)
        .with_context(|| format!("{}: it is no key record", told()))?;
    anyhow::ensure!(
        record.identity() == header.identity() && record.slot_len() == header.slot_len(),
        "{}: it is another object's key record",
        told()
    );
    Ok(record)
}

fn read(file: &mut File, span: &SealedSpan) -> anyhow::Result<BytesMut> {
    let length = span.object_range.end - span.object_range.start;
    let mut sealed = BytesMut::zeroed(usize::try_from(length)?);
    file.seek(SeekFrom::Start(span.object_range.start))?;
    file.read_exact(&mut sealed)
        .context("the file became shorter while it was read")?;
    Ok(sealed)
}

/// The key from the command line or a file. Never quoted in an error.
fn dek(args: &OpenArgs) -> anyhow::Result<Dek> {
    let digits = match (&args.dek_hex, &args.dek_file) {
        (Some(hex), _) => Zeroizing::new(hex.clone()),
        (None, Some(path)) => Zeroizing::new(
            std::fs::read_to_string(path)
                .map_err(|source| Usage::new(format!("{}: {source}", path.display())))?,
        ),
        (None, None) => {
            return Err(Usage::new("give --dek-hex, --dek-file or --recovery-key").into());
        }
    };
    let mut bytes = Zeroizing::new([0; Dek::LEN]);
    hex::decode_to_slice(digits.trim(), &mut *bytes).map_err(|_| {
        Usage::with_hint(
            format!("the DEK is not {} hexadecimal digits", 2 * Dek::LEN),
            "it is 32 bytes, written as 64 digits 0-9 a-f",
        )
    })?;
    Ok(Dek::new(bytes))
}
