//! A client of the public API, as an integrator would write it.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, Response, StatusCode};

use crate::json::{JsonRequest as _, JsonResponse as _};

/// A client with one bearer token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A row of the listing.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Its id.
    pub id: String,
    /// Its conversation.
    pub conversation_id: String,
    /// "call".
    pub media: String,
    /// Media type.
    pub content_type: String,
    /// RFC 3339.
    pub start_time: String,
    /// Its length.
    pub duration_ms: u64,
    /// Who holds the KEK.
    pub provider: String,
    /// The KEK.
    pub kek_id: String,
    /// The wrap algorithm's name.
    pub wrap_algorithm: String,
}

/// What `POST …/playback` answers.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Playback {
    /// The media.
    pub media_uri: String,
    /// The peaks.
    pub waveform_uri: Option<String>,
    /// The transcript.
    pub transcript_uri: Option<String>,
    /// RFC 3339.
    pub expires: String,
}

impl Client {
    /// A client for the server at `url`.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            // Sooner than the server lets go of them: a request on a connection that is being
            // closed fails, and one that changes something is not sent twice.
            http: reqwest::Client::builder()
                .pool_idle_timeout(Duration::from_secs(2))
                .build()
                .unwrap_or_default(),
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// Sends one request. `path` begins with a slash.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Response> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await
    }

    /// Sends a request with a JSON body and gives the answer's status and JSON.
    ///
    /// # Errors
    /// The server does not answer, or not with JSON.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<(StatusCode, serde_json::Value)> {
        let request = self
            .http
            .request(method, self.url(path))
            .bearer_auth(&self.token)
            .json(body)?;
        let answer = request.send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Seals one recording under the tenant's current key and gives its id.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn ingest(&self, conversation: &str, audio: Vec<u8>) -> anyhow::Result<String> {
        let path = format!("/api/v1/conversations/{conversation}/recordings?media=call");
        let request = self
            .http
            .post(self.url(&path))
            .bearer_auth(&self.token)
            .header("content-type", "audio/wav")
            .body(audio);
        let answer = request.send().await?;
        let status = answer.status();
        let body: serde_json::Value = answer.json().await?;
        anyhow::ensure!(
            status == StatusCode::CREATED,
            "POST {path}: {status} {body}"
        );
        let id = body.get("id").and_then(serde_json::Value::as_str);
        Ok(id.context("id")?.to_owned())
    }

    /// All recordings, page by page.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn recordings(&self, limit: u32) -> anyhow::Result<Vec<Recording>> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listing {
            entities: Vec<Recording>,
            next_uri: Option<String>,
        }
        let mut all = Vec::new();
        let mut next = Some(format!("/api/v1/recordings?limit={limit}"));
        while let Some(path) = next {
            let answer = self
                .send(Method::GET, &path, &[])
                .await?
                .error_for_status()?;
            let page: Listing = answer.json().await?;
            all.extend(page.entities);
            next = page.next_uri;
        }
        Ok(all)
    }

    /// Asks for a grant.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn playback(&self, id: &str) -> anyhow::Result<Playback> {
        let path = format!("/api/v1/recordings/{id}/playback");
        let answer = self.send(Method::POST, &path, &[]).await?;
        anyhow::ensure!(
            answer.status() == StatusCode::CREATED,
            "POST {path}: {}",
            answer.status()
        );
        answer.json().await
    }

    /// The absolute URL of a URI that the server gave.
    #[must_use]
    pub fn url(&self, uri: &str) -> String {
        format!("{}{uri}", self.url)
    }

    /// The bytes `first..=last`; checks status and `Content-Range`.
    ///
    /// # Errors
    /// The server answers anything but 206 with that range, or breaks off.
    pub async fn range(&self, uri: &str, first: u64, last: u64) -> anyhow::Result<Vec<u8>> {
        let range = format!("bytes={first}-{last}");
        let answer = self
            .http
            .get(self.url(uri))
            .header("range", range)
            .send()
            .await?;
        anyhow::ensure!(
            answer.status() == StatusCode::PARTIAL_CONTENT,
            "{}",
            answer.status()
        );
        let content_range = answer
            .headers()
            .get("content-range")
            .context("Content-Range")?;
        let expected = format!("bytes {first}-{last}/");
        anyhow::ensure!(
            content_range.to_str()?.starts_with(&expected),
            "{content_range:?}"
        );
        Ok(answer.bytes().await?.to_vec())
    }
}
