//! AWS KMS.

use keyreel_keys::ErrorClass as C;

use super::{Row, of_any_service, row, run};
use crate::front::Fault;
use crate::rig::{KMS, Rig, keep_logs};

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_aws_kms() {
    keep_logs();
    let rig = Rig::new().await;
    let mut table = of_any_service();
    table.extend(of_kms());
    let count = run(&rig, KMS, &rig.kms, table).await;
    assert!(count >= 30, "{count}");
    rig.assert_no_secret_was_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_is_not_even_noticed() {
    let rig = Rig::patient().await;
    for fault in [
        exception("ThrottlingException", 400),
        exception("KMSInternalException", 500),
        Fault::page(503),
    ] {
        let (recording, plaintext) = rig.recording(KMS).await;
        let _ = rig.kms.front.requests();
        rig.kms.front.fail_once(fault);
        let played = rig.play(KMS, &recording).await;
        assert_eq!(played.status, 200);
        assert!(played.body == plaintext);
        assert_eq!(rig.kms.front.requests(), 2);
    }
    // What will not pass is not asked again; nor is what asks to wait for longer than there is.
    for (fault, retry_after) in [
        (exception("AccessDeniedException", 400), None),
        (throttled(7), Some(7)),
    ] {
        let (recording, _) = rig.recording(KMS).await;
        let _ = rig.kms.front.requests();
        rig.kms.front.fail_once(fault);
        let played = rig.play(KMS, &recording).await;
        assert_eq!(
            (played.status == 200, played.retry_after),
            (false, retry_after)
        );
        assert_eq!(rig.kms.front.requests(), 1);
    }
}

fn of_kms() -> Vec<Row> {
    let kms = |name, status, class, http| row(name, exception(name, status), class, http);
    vec![
        kms("AccessDeniedException", 400, C::Denied, 403),
        kms("DisabledException", 400, C::KeyDisabled, 403),
        kms("KMSInvalidStateException", 400, C::KeyDisabled, 403),
        kms("NotFoundException", 400, C::NotFound, 404),
        kms("IncorrectKeyException", 400, C::Integrity, 422),
        kms("InvalidCiphertextException", 400, C::Integrity, 422),
        kms("KeyUnavailableException", 500, C::Unavailable, 503),
        kms("DependencyTimeoutException", 503, C::Timeout, 504),
        kms("KMSInternalException", 500, C::Unavailable, 503),
        kms("ThrottlingException", 400, C::Throttled, 503),
        kms("LimitExceededException", 400, C::Throttled, 503),
        kms("ExpiredTokenException", 400, C::Config, 500),
        kms("UnrecognizedClientException", 400, C::Config, 500),
        kms("InvalidSignatureException", 400, C::Config, 500),
        kms("InvalidKeyUsageException", 400, C::Config, 500),
        kms("ValidationException", 400, C::Config, 500),
        kms("AnExceptionOfTomorrow", 400, C::Internal, 502),
        row(
            "throttled, with Retry-After",
            throttled(7),
            C::Throttled,
            503,
        ),
        row(
            "400 without AWS's words",
            Fault::page(400),
            C::Internal,
            502,
        ),
        row("401 without AWS's words", Fault::page(401), C::Denied, 403),
        row("403 without AWS's words", Fault::page(403), C::Denied, 403),
        row("404 without AWS's words", Fault::page(404), C::Config, 500),
        row(
            "409 without AWS's words",
            Fault::page(409),
            C::Internal,
            502,
        ),
        row(
            "another key's answer",
            Fault::Changed(of_another_key),
            C::Internal,
            502,
        ),
        row("no key in it", Fault::Changed(not_a_key), C::Integrity, 422),
        row("null for a key", Fault::Changed(null), C::Internal, 502),
        row("not base64", Fault::Changed(not_base64), C::Internal, 502),
    ]
}

fn exception(name: &str, status: u16) -> Fault {
    let body = format!(r#"{{"__type":"{name}","message":"said by the key service"}}"#);
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amzn-errortype", name),
    ];
    Fault::answer(status, &headers, body)
}

fn throttled(seconds: u32) -> Fault {
    let seconds = seconds.to_string();
    let body = r#"{"__type":"com.amazonaws.kms#ThrottlingException"}"#;
    Fault::answer(400, &[("retry-after", &seconds)], body)
}

/// Changes fields of a JSON answer.
fn changed(answer: Vec<u8>, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut body = serde_json::from_slice(&answer[end..]).unwrap();
    change(&mut body);
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn of_another_key(answer: Vec<u8>) -> Vec<u8> {
    changed(answer, |body| {
        let arn = body["KeyId"].as_str().unwrap().to_owned();
        body["KeyId"] = format!("{}00000000", &arn[..arn.len() - 8]).into();
    })
}

fn not_a_key(answer: Vec<u8>) -> Vec<u8> {
    changed(answer, |body| body["Plaintext"] = "bm90IGEga2V5".into())
}

fn null(answer: Vec<u8>) -> Vec<u8> {
    changed(answer, |body| body["Plaintext"] = serde_json::Value::Null)
}

fn not_base64(answer: Vec<u8>) -> Vec<u8> {
    changed(answer, |body| body["Plaintext"] = "*".into())
}
