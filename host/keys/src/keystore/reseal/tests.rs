//! Epochs: what is left opens, what was destroyed opens nowhere, and nothing is lost in between.

use std::fs;
use std::path::Path;

use keyreel_format::{ProviderId, TenantId};

use super::super::tests::{Place, derived, tenant};
use super::epochs::{self, Epoch};
use super::{Keystore, KeystoreError, Sealed};

fn managed() -> ProviderId {
    ProviderId::parse("managed").unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn kek(keystore: &Keystore, id: &str, name: &str) -> Option<[u8; 32]> {
    let key = keystore.kek_key(&tenant(id), &managed(), name).unwrap();
    key.map(|key| **key)
}

#[test]
fn a_new_epoch_keeps_what_is_left_and_ends_every_copy() {
    let place = Place::new();
    let keystore = place.create();
    for id in ["acme", "other"] {
        keystore.create_root(&tenant(id)).unwrap();
        for name in ["kek/1", "kek/2"] {
            keystore
                .make_kek_key(&tenant(id), &managed(), name)
                .unwrap();
        }
    }
    let service = *keystore.service_key("grants").unwrap();
    let before = (
        derived(&keystore, "other"),
        kek(&keystore, "other", "kek/1"),
    );
    let backup = place.directory.with_extension("backup");
    copy(&place.directory, &backup);
    let former = fs::read(epochs::beside(&place.master)).unwrap();

    keystore.destroy_root(&tenant("acme")).unwrap();
    let names = [(managed(), "kek/2".to_owned())];
    keystore.destroy_kek_keys(&tenant("other"), &names).unwrap();
    assert_eq!(keystore.begin_epoch().unwrap(), 2);

    for keystore in [keystore, place.open().unwrap()] {
        assert_eq!(keystore.epoch().unwrap(), 2);
        let after = (
            derived(&keystore, "other"),
            kek(&keystore, "other", "kek/1"),
        );
        assert_eq!(before, after);
        assert_eq!(kek(&keystore, "other", "kek/2"), None);
        assert_eq!(*keystore.service_key("grants").unwrap(), service);
        assert!(keystore.root(&tenant("acme")).is_err());
    }
    // The whole copy, and single files of it among those of now.
    let restored = Keystore::open(&backup, &place.master);
    let epoch = epochs::beside(&place.master);
    let error = Keystore::open_with(&backup, &place.master, &epoch).unwrap_err();
    assert!(
        restored.is_err() && error.to_string().contains("epoch 1"),
        "{error}"
    );
    let keystore = place.open().unwrap();
    for id in ["acme", "other"] {
        let path = keystore.path(Sealed::Root, id);
        let name = path.file_name().unwrap();
        fs::copy(backup.join("roots").join(name), &path).unwrap();
        let root = keystore.root(&tenant(id));
        assert!(matches!(
            root,
            Err(KeystoreError::FormerEpoch {
                found: 1,
                current: 2,
                ..
            })
        ));
    }
    // As a check of this test: it was that key alone that was missing.
    fs::write(&epoch, former).unwrap();
    let keystore = Keystore::open(&backup, &place.master).unwrap();
    assert_eq!(derived(&keystore, "other"), before.0);
}

#[test]
fn the_former_key_is_overwritten_where_it_lay() {
    use std::io::Read as _;
    let place = Place::new();
    let keystore = place.create();
    let path = epochs::beside(&place.master);
    let mut still_open = fs::File::open(&path).unwrap();
    let digits = fs::read_to_string(&path).unwrap();
    let digits = digits.trim_end().split_once(' ').unwrap().1.to_owned();
    keystore.begin_epoch().unwrap();
    let mut left = Vec::new();
    still_open.read_to_end(&mut left).unwrap();
    assert!(left.iter().all(|&byte| byte == 0));
    assert!(!fs::read_to_string(&path).unwrap().contains(&digits));
}

#[test]
fn another_process_meets_the_new_epoch() {
    let place = Place::new();
    let (here, there) = (place.create(), place.open().unwrap());
    here.create_root(&tenant("acme")).unwrap();
    let before = derived(&there, "acme");
    for epoch in 2..6 {
        assert_eq!(here.begin_epoch().unwrap(), epoch);
        assert_eq!(derived(&there, "acme"), before);
        // What it makes is of the new epoch, though nobody told it of that.
        let name = format!("kek/{epoch}");
        let made = there
            .make_kek_key(&tenant("acme"), &managed(), &name)
            .unwrap();
        assert_eq!(kek(&here, "acme", &name), Some(**made));
        there.service_key(&name).unwrap();
    }
    let all = place.open().unwrap();
    assert!((2..6).all(|epoch| kek(&all, "acme", &format!("kek/{epoch}")).is_some()));
}

#[test]
fn keys_made_while_epochs_begin_are_not_lost() {
    let place = Place::new();
    let keystore = place.create();
    keystore.create_root(&tenant("acme")).unwrap();
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|thread| {
                let other = place.open().unwrap();
                scope.spawn(move || {
                    for n in 0..10 {
                        let name = format!("kek/{thread}-{n}");
                        other
                            .make_kek_key(&tenant("acme"), &managed(), &name)
                            .unwrap();
                        other.root(&tenant("acme")).unwrap();
                    }
                })
            })
            .collect();
        while makers.iter().any(|maker| !maker.is_finished()) {
            keystore.begin_epoch().unwrap();
        }
    });
    for thread in 0..4 {
        for n in 0..10 {
            assert!(kek(&keystore, "acme", &format!("kek/{thread}-{n}")).is_some());
        }
    }
}

#[test]
fn an_epoch_cut_off_anywhere_is_finished_by_whoever_comes_next() {
    // Any number of files sealed anew, the check file last, the former key still there.
    for sealed_anew in 0..5 {
        let place = Place::new();
        let keystore = place.create();
        for id in ["a", "b"] {
            keystore.create_root(&tenant(id)).unwrap();
        }
        keystore.service_key("grants").unwrap();
        let before = ["a", "b"].map(|id| derived(&keystore, id));
        let path = epochs::beside(&place.master);
        let epochs = epochs::read(&path).unwrap().unwrap();
        let next: Epoch = epochs[0].next().unwrap();
        epochs::replace(&path, &[&epochs[0], &next]).unwrap();
        let key = keystore.newest().unwrap();
        let files = [
            (Sealed::Root, keystore.path(Sealed::Root, "a")),
            (Sealed::Root, keystore.path(Sealed::Root, "b")),
            (Sealed::Service, keystore.path(Sealed::Service, "grants")),
            (Sealed::Check, keystore.check_file()),
        ];
        for (kind, path) in files.iter().take(sealed_anew) {
            keystore.seal_file_anew(*kind, path, &key).unwrap();
        }
        assert_eq!(
            before,
            ["a", "b"].map(|id| derived(&keystore, id)),
            "meanwhile"
        );
        let opened = place.open().unwrap();
        assert_eq!(epochs::read(&path).unwrap().unwrap().len(), 1);
        assert_eq!(
            (before, 2),
            (
                ["a", "b"].map(|id| derived(&opened, id)),
                opened.epoch().unwrap()
            )
        );
        // One more is a new one, not the end of that one.
        assert_eq!(keystore.begin_epoch().unwrap(), 3);
    }
}

#[test]
fn a_damaged_file_stops_it_and_nothing_is_destroyed() {
    let place = Place::new();
    let keystore = place.create();
    for id in ["a", "b"] {
        keystore.create_root(&tenant(id)).unwrap();
    }
    let path = keystore.path(Sealed::Root, "a");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    assert!(matches!(
        keystore.begin_epoch(),
        Err(KeystoreError::Damaged { .. })
    ));
    assert_eq!(keystore.epoch().unwrap(), 1, "nothing was begun");
    // Nor does one that was begun before keep anybody from opening it.
    let epochs = epochs::read(&epochs::beside(&place.master))
        .unwrap()
        .unwrap();
    let next = epochs[0].next().unwrap();
    epochs::replace(&epochs::beside(&place.master), &[&epochs[0], &next]).unwrap();
    derived(&place.open().unwrap(), "b");
    fs::write(&path, whole).unwrap();
    keystore.begin_epoch().unwrap();
    for id in ["a", "b"] {
        derived(&keystore, id);
    }
}

#[test]
fn copies_under_other_names_do_not_outlive_what_was_destroyed() {
    let place = Place::new();
    let keystore = place.create();
    for id in ["acme", "kept"] {
        keystore.create_root(&tenant(id)).unwrap();
    }
    keystore.set_mark("one", b"old").unwrap();
    let paths = [
        keystore.path(Sealed::Root, "acme"),
        keystore.path(Sealed::Mark, "one"),
    ];
    for path in &paths {
        fs::copy(path, path.with_extension("bak")).unwrap();
    }
    keystore.destroy_root(&tenant("acme")).unwrap();
    keystore.begin_epoch().unwrap();
    for path in &paths {
        assert!(!path.with_extension("bak").exists(), "{path:?}");
    }
    derived(&keystore, "kept");
    assert_eq!(keystore.mark("one").unwrap().unwrap(), b"old");
}

#[test]
fn what_a_cut_off_write_left_of_an_epoch_key_goes() {
    let place = Place::new();
    let keystore = place.create();
    let path = epochs::beside(&place.master);
    let mut leftover = path.clone().into_os_string();
    leftover.push(".tmp-0011223344556677");
    fs::copy(&path, &leftover).unwrap();
    keystore.begin_epoch().unwrap();
    assert!(!Path::new(&leftover).exists());
    let beside = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains(".tmp-")));
}

#[test]
fn two_keystores_do_not_share_an_epoch() {
    let place = Place::new();
    place.create();
    let other = place.directory.with_extension("other");
    let made = Keystore::open_or_create(&other, &place.master);
    assert!(matches!(made, Err(KeystoreError::EpochTaken { .. })));
}

#[test]
fn an_epoch_key_that_is_missing_or_malformed_is_told() {
    let place = Place::new();
    place.create();
    let path = epochs::beside(&place.master);
    let good = fs::read_to_string(&path).unwrap();
    let digits = "ab".repeat(32);
    let bad = [
        String::new(),
        good.replace(' ', ""),
        good.replacen("1 ", "x ", 1),
        format!("{good}{good}"),
        format!("1 {digits}\n2 {digits}\n3 {digits}\n"),
        good[..good.len() - 3].to_owned(),
    ];
    for bad in bad {
        fs::write(&path, &bad).unwrap();
        let error = place.open().unwrap_err();
        assert!(
            matches!(error, KeystoreError::MalformedEpoch { .. }),
            "{bad:?}: {error}"
        );
        assert!(!error.to_string().contains(&digits));
    }
    fs::remove_file(&path).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, KeystoreError::NoEpoch { .. }), "{error}");
    let again = Keystore::open_or_create(&place.directory, &place.master);
    assert!(
        matches!(again, Err(KeystoreError::NoEpoch { .. })),
        "none is made in its place"
    );
    // Another keystore's.
    fs::write(&path, format!("1 {digits}\n")).unwrap();
    fs::set_permissions(&path, fs::metadata(&place.master).unwrap().permissions()).unwrap();
    assert!(matches!(
        place.open(),
        Err(KeystoreError::WrongMaster { .. })
    ));
    let id = TenantId::parse("acme").unwrap();
    fs::write(&path, good).unwrap();
    place.open().unwrap().create_root(&id).unwrap();
}
