//! The Local Key Manager.

use keyreel_keys::ErrorClass as C;
use keyreel_lkm::PairState;

use super::{Row, of_any_service, row, run};
use crate::front::Fault;
use crate::rig::{LKM, Rig, keep_logs, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_local_key_manager() {
    keep_logs();
    let rig = Rig::new().await;
    let mut table = of_any_service();
    table.extend(of_lkm());
    let count = run(&rig, LKM, &rig.lkm, table).await;
    assert!(count >= 30, "{count}");
    rig.assert_no_secret_was_told().await;
}

/// It is well formed, so it passes for the key until the header's MAC is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_of_the_right_length_plays_nothing() {
    let rig = Rig::new().await;
    let (recording, plaintext) = rig.recording(LKM).await;
    rig.lkm.front.fail(answer(&[7; 32]));
    let played = rig.play(LKM, &recording).await;
    assert_eq!(played.status, 422, "{:?}", played.code);
    let audit = rig.audit(LKM, &recording).await;
    let actions: Vec<_> = audit.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(
        actions,
        ["key.unwrap.requested", "key.unwrapped", "integrity.failed"]
    );
    rig.lkm.front.fail(Fault::None);
    rig.keyring.purge(&tenant(LKM));
    assert!(rig.play(LKM, &recording).await.body == plaintext);
}

/// What the service itself says of a pair that was taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_taken_away_ends_it() {
    let rig = Rig::new().await;
    let (recording, plaintext) = rig.recording(LKM).await;
    assert_eq!(rig.play(LKM, &recording).await.status, 200);
    rig.lkm_pairs
        .set_state(rig.lkm_pair, PairState::Disabled)
        .unwrap();
    rig.keyring.purge(&tenant(LKM));
    let played = rig.play(LKM, &recording).await;
    assert_eq!(
        (played.status, played.code.as_deref()),
        (403, Some("key-disabled"))
    );
    rig.lkm_pairs
        .set_state(rig.lkm_pair, PairState::Active)
        .unwrap();
    rig.keyring.purge(&tenant(LKM));
    assert!(rig.play(LKM, &recording).await.body == plaintext);
}

fn of_lkm() -> Vec<Row> {
    let json = |status: u16| Fault::answer(status, &[], r#"{"error":"said by the key service"}"#);
    vec![
        row("400 in JSON", json(400), C::NotFound, 404),
        row("400 as a page", Fault::page(400), C::Request, 502),
        row("401", json(401), C::Denied, 403),
        row("403", json(403), C::Denied, 403),
        row("404", json(404), C::NotFound, 404),
        row("407", Fault::page(407), C::Config, 500),
        row("408", Fault::page(408), C::Timeout, 504),
        row("409", json(409), C::KeyDisabled, 403),
        row("410", json(410), C::NotFound, 404),
        row("418", json(418), C::Internal, 502),
        row("429 with Retry-After", throttled(), C::Throttled, 503),
        row(
            "null for a body",
            Fault::answer(200, &[], r#"{"body":null}"#),
            C::Integrity,
            422,
        ),
        row("421", json(421), C::Config, 500),
        row("422 in JSON", json(422), C::Integrity, 422),
        row("422 as a page", Fault::page(422), C::Request, 502),
        row(
            "a number for a body",
            Fault::answer(200, &[], r#"{"body":7}"#),
            C::Internal,
            502,
        ),
        row(
            "not base64",
            Fault::answer(200, &[], r#"{"body":"*"}"#),
            C::Internal,
            502,
        ),
        row("no byte", answer(&[]), C::Internal, 502),
        row("31 bytes", answer(&[7; 31]), C::Internal, 502),
        row("33 bytes", answer(&[7; 33]), C::Internal, 502),
    ]
}

fn throttled() -> Fault {
    Fault::answer(
        429,
        &[("retry-after", "9")],
        r#"{"error":"said by the key service"}"#,
    )
}

fn answer(dek: &[u8]) -> Fault {
    use base64::Engine as _;
    let dek = base64::engine::general_purpose::STANDARD.encode(dek);
    Fault::answer(
        200,
        &[("content-type", "application/json")],
        format!(r#"{{"body":"{dek}"}}"#),
    )
}
