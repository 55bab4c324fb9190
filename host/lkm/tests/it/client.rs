//! A client that can do everything wrong.

use std::net::SocketAddr;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Method, Response};
use serde_json::Value;

/// Signs as one credential.
pub(crate) struct Client {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) id: String,
    pub(crate) key: String,
}

/// One request, as it is meant; fields are changed to do wrong.
#[derive(Clone)]
pub(crate) struct Sending {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) query: Option<&'static str>,
    pub(crate) sign_query: bool,
    pub(crate) seconds: u64,
    pub(crate) nonce: String,
    pub(crate) hash: bool,
    pub(crate) ext: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Host and port that are signed and sent, in place of where it is.
    pub(crate) host: Option<(&'static str, u16)>,
    pub(crate) body: Vec<u8>,
    /// Sent in place of the body that was signed.
    pub(crate) other_body: Option<Vec<u8>>,
}

impl Sending {
    pub(crate) fn new(seconds: u64, body: &Value) -> Self {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        Self {
            method: Method::POST,
            path: keyreel_lkm::DECRYPT_PATH,
            query: None,
            sign_query: false,
            seconds,
            nonce: hex::encode(random),
            hash: false,
            ext: None,
            key: None,
            id: None,
            headers: Vec::new(),
            host: None,
            body: body.to_string().into_bytes(),
            other_body: None,
        }
    }
}

impl Client {
    pub(crate) async fn send(&self, sending: &Sending) -> Response {
        let base = self.url.split(keyreel_lkm::DECRYPT_PATH).next().unwrap();
        let query = sending
            .query
            .map_or_else(String::new, |query| format!("?{query}"));
        let request = reqwest::Client::new()
            .request(
                sending.method.clone(),
                format!("{base}{}{query}", sending.path),
            )
            .header("authorization", self.authorization(sending))
            .header("content-type", "application/json")
            .header("purecloud-user-id", "a-user");
        let request = sending
            .headers
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(*name, value)
            });
        let request = match sending.host {
            Some((host, port)) => request.header("host", format!("{host}:{port}")),
            None => request,
        };
        let body = sending.other_body.as_ref().unwrap_or(&sending.body);
        request.body(body.clone()).send().await.unwrap()
    }

    /// Status and JSON.
    pub(crate) async fn ask(&self, sending: &Sending) -> (u16, Value) {
        let answer = self.send(sending).await;
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap(),
        )
    }

    pub(crate) fn authorization(&self, sending: &Sending) -> String {
        let hash = sending.hash.then(|| {
            let payload = [b"hawk.1.payload\napplication/json\n", &*sending.body, b"\n"].concat();
            BASE64.encode(digest::digest(&digest::SHA256, &payload))
        });
        let resource = match sending.query {
            Some(query) if sending.sign_query => format!("{}?{query}", sending.path),
            _ => sending.path.to_owned(),
        };
        let own = self.address.ip().to_string();
        let (host, port) = sending.host.unwrap_or((&own, self.address.port()));
        let base = format!(
            "hawk.1.header\n{}\n{}\n{}\n{resource}\n{}\n{}\n{}\n{}\n",
            sending.seconds,
            sending.nonce,
            sending.method,
            host,
            port,
            hash.as_deref().unwrap_or(""),
            sending.ext.as_deref().unwrap_or(""),
        );
        let key = sending.key.as_ref().unwrap_or(&self.key);
        let mac = self.mac(key, &base);
        let id = sending.id.as_ref().unwrap_or(&self.id);
        let mut header = format!(
            r#"Hawk id="{id}", ts="{}", nonce="{}", mac="{mac}""#,
            sending.seconds, sending.nonce
        );
        if let Some(hash) = hash {
            header += &format!(r#", hash="{hash}""#);
        }
        if let Some(ext) = &sending.ext {
            header += &format!(r#", ext="{ext}""#);
        }
        header
    }

    pub(crate) fn mac(&self, key: &str, base: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        BASE64.encode(hmac::sign(&key, base.as_bytes()))
    }
}
