//! The keystore: what lies on disk, what opens, and above all what does not.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keyreel_format::TenantId;

use super::{Keystore, KeystoreError, MasterKey, RootKey, generate_master_key};

pub(super) struct Place {
    _folder: tempfile::TempDir,
    pub(super) directory: PathBuf,
    pub(super) master: PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (directory, master) = (folder.path().join("keystore"), folder.path().join("master"));
        generate_master_key(&master).unwrap();
        Self {
            _folder: folder,
            directory,
            master,
        }
    }

    pub(super) fn create(&self) -> Keystore {
        Keystore::open_or_create(&self.directory, &self.master).unwrap()
    }

    pub(super) fn open(&self) -> Result<Keystore, KeystoreError> {
        Keystore::open(&self.directory, &self.master)
    }

    fn write_master(&self, contents: &[u8]) {
        fs::write(&self.master, contents).unwrap();
    }
}

pub(super) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(super) fn derived(keystore: &Keystore, id: &str) -> [u8; 32] {
    **keystore.root(&tenant(id)).unwrap().derive("test").unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn roots_survive_a_restart_and_differ() {
    let place = Place::new();
    let keystore = place.create();
    let ids = ["acme", "ACME", "..", ".", "a".repeat(128).leak()];
    for id in ids {
        keystore.create_root(&tenant(id)).unwrap();
    }
    let before = ids.map(|id| derived(&keystore, id));
    let keystore = place.open().unwrap();
    assert_eq!(before, ids.map(|id| derived(&keystore, id)));
    for (n, key) in before.iter().enumerate() {
        assert!(!before[n + 1..].contains(key));
    }
    let root = keystore.root(&tenant("acme")).unwrap();
    assert_ne!(
        **root.derive("test").unwrap(),
        **root.derive("another").unwrap()
    );
}

#[test]
fn a_root_is_never_replaced() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let before = derived(&keystore, "acme");
    let again = keystore.create_root(&tenant("acme"));
    assert!(matches!(again, Err(KeystoreError::RootExists { .. })));
    assert_eq!(before, derived(&keystore, "acme"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let temporary = files(&place.directory)
        .iter()
        .map(name)
        .find(|name| name.contains(".tmp-"));
    assert_eq!(temporary, None);
}

#[test]
fn files_are_private_and_named_safely() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("..")).unwrap();
    keystore.service_key("grants").unwrap();
    assert_eq!(mode(&place.directory), 0o700);
    assert_eq!(mode(&place.master), 0o600);
    let files = files(&place.directory);
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        assert_eq!(
            mode(&file),
            if file.is_dir() { 0o700 } else { 0o600 },
            "{file:?}"
        );
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
        );
    }
}

#[test]
fn another_master_key_is_refused() {
    let place = Place::new();
    place.create().create_root(&tenant("acme")).unwrap();
    fs::remove_file(&place.master).unwrap();
    generate_master_key(&place.master).unwrap();
    assert!(matches!(
        place.open(),
        Err(KeystoreError::WrongMaster { .. })
    ));
    let again = Keystore::open_or_create(&place.directory, &place.master);
    assert!(matches!(again, Err(KeystoreError::WrongMaster { .. })));
}

#[test]
fn a_keystore_without_its_check_file_is_not_taken_for_a_new_one() {
    let place = Place::new();
    place.create().create_root(&tenant("acme")).unwrap();
    fs::remove_file(place.directory.join("keystore.check")).unwrap();
    let again = Keystore::open_or_create(&place.directory, &place.master);
    assert!(matches!(again, Err(KeystoreError::Missing { .. })));
    assert!(matches!(place.open(), Err(KeystoreError::Missing { .. })));
}

#[test]
fn nothing_is_made_by_opening() {
    let place = Place::new();
    assert!(place.open().is_err());
    assert!(!place.directory.exists());
}

#[test]
fn every_damaged_byte_and_every_cut_is_noticed() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let path = keystore.path(super::Sealed::Root, "acme");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x01;
        fs::write(&path, &damaged).unwrap();
        let root = keystore.root(&tenant("acme"));
        // Eight of the bytes say which epoch's it is.
        let noticed = matches!(
            root,
            Err(KeystoreError::Damaged { .. } | KeystoreError::FormerEpoch { .. })
        );
        assert!(noticed, "byte {at}");
        if at > 0 {
            fs::write(&path, &whole[..at]).unwrap();
            let root = keystore.root(&tenant("acme"));
            assert!(
                matches!(root, Err(KeystoreError::Damaged { .. })),
                "cut at {at}"
            );
        }
    }
    fs::write(&path, &whole).unwrap();
    assert!(keystore.root(&tenant("acme")).is_ok());
}

#[test]
fn one_tenants_root_does_not_pass_for_anothers() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let acme = fs::read(keystore.path(super::Sealed::Root, "acme")).unwrap();
    let other = keystore.path(super::Sealed::Root, "evil");
    fs::write(&other, &acme).unwrap();
    assert!(matches!(
        keystore.root(&tenant("evil")),
        Err(KeystoreError::Damaged { .. })
    ));
    // Nor with the name in clear changed to fit: it is sealed as well.
    let renamed = [&acme[..18], b"evil", &acme[22..]].concat();
    fs::write(&other, renamed).unwrap();
    assert!(matches!(
        keystore.root(&tenant("evil")),
        Err(KeystoreError::Damaged { .. })
    ));
    // Nor a service key for a root.
    keystore.service_key("evil").unwrap();
    fs::copy(keystore.path(super::Sealed::Service, "evil"), &other).unwrap();
    assert!(matches!(
        keystore.root(&tenant("evil")),
        Err(KeystoreError::Damaged { .. })
    ));
}

#[test]
fn a_destroyed_root_is_overwritten_and_gone_with_its_leftovers() {
    let place = Place::new();
    let keystore = place.create();
    for id in ["acme", "kept"] {
        keystore.create_root(&tenant(id)).unwrap();
    }
    let kept = derived(&keystore, "kept");
    let path = keystore.path(super::Sealed::Root, "acme");
    let mut leftover = path.clone().into_os_string();
    leftover.push(".tmp-00");
    fs::copy(&path, &leftover).unwrap();
    let mut still_open = [
        fs::File::open(&path).unwrap(),
        fs::File::open(&leftover).unwrap(),
    ];

    assert!(keystore.destroy_root(&tenant("acme")).unwrap());

    assert!(matches!(
        keystore.root(&tenant("acme")),
        Err(KeystoreError::NoRoot { .. })
    ));
    assert!(!path.exists() && !Path::new(&leftover).exists());
    for file in &mut still_open {
        let mut left = Vec::new();
        file.read_to_end(&mut left).unwrap();
        assert!(left.iter().all(|&byte| byte == 0));
    }
    assert!(!keystore.destroy_root(&tenant("acme")).unwrap());
    assert_eq!(kept, derived(&keystore, "kept"));
    keystore.create_root(&tenant("acme")).unwrap();
}

#[test]
fn a_destruction_cut_short_leaves_no_root() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let path = keystore.path(super::Sealed::Root, "acme");
    fs::write(&path, vec![0; 70]).unwrap();
    assert!(matches!(
        keystore.root(&tenant("acme")),
        Err(KeystoreError::NoRoot { .. })
    ));
    assert!(keystore.destroy_root(&tenant("acme")).unwrap());
}

#[test]
fn service_keys_are_made_once() {
    let place = Place::new();
    let keystore = place.create();
    let keys = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| *keystore.service_key("grants").unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_ne!(*keystore.service_key("another").unwrap(), keys[0]);
    assert_eq!(
        *place.open().unwrap().service_key("grants").unwrap(),
        keys[0]
    );
}

#[test]
fn a_master_key_has_32_bytes_in_either_form() {
    let raw = [0xA7; 32];
    let digits = "a7".repeat(32);
    let place = Place::new();
    place.write_master(&raw);
    place.create();
    let good: [Vec<u8>; 4] = [
        raw.to_vec(),
        digits.clone().into(),
        format!("{digits}\n").into(),
        format!("{}\r\n", digits.to_uppercase()).into(),
    ];
    for master in good {
        place.write_master(&master);
        place.open().unwrap();
    }
    let bad: [&[u8]; 8] = [
        b"",
        &[b'a'; 32],
        &raw[..31],
        &[0xA7; 33],
        &digits.as_bytes()[..62],
        &[b'g'; 64],
        &[b'a'; 66],
        &[b'a'; 5000],
    ];
    for master in bad {
        place.write_master(master);
        let error = place.open().unwrap_err();
        assert!(
            matches!(error, KeystoreError::MalformedMaster { .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("aaaa") && !error.to_string().contains("gggg"));
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let place = Place::new();
    place.create();
    for bad in [0o640, 0o604, 0o660, 0o644] {
        fs::set_permissions(&place.master, fs::Permissions::from_mode(bad)).unwrap();
        let error = place.open().unwrap_err().to_string();
        assert!(
            error.contains(&format!("{bad:04o}")) && error.contains("chmod 600"),
            "{error}"
        );
    }
    fs::set_permissions(&place.master, fs::Permissions::from_mode(0o400)).unwrap();
    place.open().unwrap();
    fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o750)).unwrap();
    let error = place.open().unwrap_err().to_string();
    assert!(error.contains("chmod 700"), "{error}");
}

#[test]
fn the_master_key_lies_outside_and_is_never_overwritten() {
    let place = Place::new();
    place.create();
    let inside = place.directory.join("master");
    fs::copy(&place.master, &inside).unwrap();
    let opened = Keystore::open(&place.directory, &inside);
    assert!(matches!(opened, Err(KeystoreError::KeyInside { .. })));
    let before = fs::read(&place.master).unwrap();
    assert!(generate_master_key(&place.master).is_err());
    assert_eq!(before, fs::read(&place.master).unwrap());
}

#[test]
fn folders_of_key_files_are_made_and_those_that_are_there_stay() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    let (master, epoch) = (there.join("a/b/master"), there.join("c/epoch"));
    let directory = folder.path().join("keystore");
    Keystore::open_or_create_with_keys(&directory, &master, Some(&epoch)).unwrap();
    for made in ["a", "a/b", "c"] {
        assert_eq!(mode(&there.join(made)), 0o700, "{made}");
    }
    assert_eq!(mode(&there), 0o755);
    Keystore::open_with(&directory, &master, &epoch).unwrap();
}

#[test]
fn a_new_master_key_goes_again_where_no_keystore_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, master) = (folder.path().join("keystore"), folder.path().join("master"));
    let make = |epoch: &Path| Keystore::open_or_create_with_keys(&directory, &master, Some(epoch));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let failed = make(&file.join("epoch"));
    assert!(
        matches!(failed, Err(KeystoreError::Io { .. })),
        "{failed:?}"
    );
    assert!(!master.exists());
    let failed = make(&directory.join("folder/epoch"));
    assert!(
        matches!(failed, Err(KeystoreError::KeyInside { .. })),
        "{failed:?}"
    );
    assert!(!master.exists() && !directory.join("folder").exists());

    let epoch = folder.path().join("epoch");
    make(&epoch).unwrap();
    make(&epoch).unwrap();
    // That of a keystore stays, and none is made in its place.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(make(&epoch).is_err() && master.exists());
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_file(&master).unwrap();
    let failed = make(&epoch);
    assert!(
        matches!(failed, Err(KeystoreError::NoMaster { .. })),
        "{failed:?}"
    );
    assert!(!master.exists());
}

#[test]
fn keys_that_move_leave_their_bytes_in_place() {
    let sizes = [size_of::<RootKey>(), size_of::<MasterKey>()];
    assert_eq!(sizes, [size_of::<usize>(); 2], "a box and no bytes");
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let key = keystore
        .root(&tenant("acme"))
        .unwrap()
        .derive("test")
        .unwrap();
    let at = key.as_ptr();
    let moved = Box::new(key);
    assert_eq!(moved.as_ptr(), at);
}

#[test]
fn nothing_on_disk_or_in_debug_output_shows_a_key() {
    let place = Place::new();
    let canary = *b"CANARY-master-key-of-32-bytes!!!";
    place.write_master(&canary);
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    let service = keystore.service_key("grants").unwrap();
    let shown = format!("{keystore:?}");
    assert!(
        !shown.contains("CANARY") && !shown.contains(&hex::encode(canary)),
        "{shown}"
    );
    for file in files(&place.directory)
        .into_iter()
        .filter(|file| file.is_file())
    {
        let contents = fs::read(&file).unwrap();
        let has = |needle: &[u8]| {
            contents
                .windows(needle.len())
                .any(|window| window == needle)
        };
        assert!(!has(b"CANARY") && !has(&service[..]), "{file:?}");
    }
}
