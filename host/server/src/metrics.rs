//! What the server counts, in Prometheus' text format. Labels are route templates, statuses,
//! providers: nothing that a tenant would mind, and nothing without bound.

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::Method;
use keyreel_keys::{Keyring, KeyringStats};
use keyreel_library::RewrapStats;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The server's own counters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    bytes: Family<RouteLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    connections: Gauge,
    turned_away: Counter,
    integrity: Counter,
    cuts: Counter,
    rotations: Family<RotationLabels, Counter>,
}

/// What a rotation came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trigger {
    /// Somebody wanted it.
    Request,
    /// It was due.
    Schedule,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RotationLabels {
    trigger: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("keyreel");
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Answers, by route and status",
            requests.clone(),
        );
        let bytes = Family::default();
        registry.register_with_unit(
            "http_response",
            "Bytes of answers, by route",
            Unit::Bytes,
            bytes.clone(),
        );
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register_with_unit(
            "http_duration",
            "From a request's head to the last byte of its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections", connections.clone());
        let turned_away = Counter::default();
        registry.register(
            "http_connections_refused",
            "Connections closed because their address had too many",
            turned_away.clone(),
        );
        let integrity = Counter::default();
        registry.register(
            "integrity_failures",
            "Stored objects that did not authenticate",
            integrity.clone(),
        );
        let cuts: Counter<u64, AtomicU64> = Counter::default();
        registry.register(
            "streams_cut",
            "Streams that a purge or revocation ended",
            cuts.clone(),
        );
        let rotations = Family::default();
        registry.register(
            "key_rotations",
            "Changes of tenants' keys, by what they came from and how they ended",
            rotations.clone(),
        );
        Self {
            registry,
            requests,
            bytes,
            seconds,
            connections,
            turned_away,
            integrity,
            cuts,
            rotations,
        }
    }

    /// An answer has been given.
    pub(crate) fn answered(
        &self,
        method: &Method,
        route: &str,
        status: u16,
        bytes: u64,
        took: Duration,
    ) {
        let labels = RequestLabels {
            method: known(method),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels {
            route: labels.route,
        };
        self.bytes.get_or_create(&labels).inc_by(bytes);
        self.seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.connections.dec();
    }

    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(crate) fn integrity_failed(&self) {
        self.integrity.inc();
    }

    pub(crate) fn stream_cut(&self) {
        self.cuts.inc();
    }

    /// A tenant's key was changed, or could not be.
    pub(crate) fn rotated(&self, trigger: Trigger, outcome: &'static str) {
        let trigger = match trigger {
            Trigger::Request => "request",
            Trigger::Schedule => "schedule",
        };
        let labels = RotationLabels { trigger, outcome };
        self.rotations.get_or_create(&labels).inc();
    }

    /// Everything, as text, with the keyring's counters and the re-wraps'.
    pub(crate) fn text(&self, keyring: &Keyring, rewraps: RewrapStats) -> String {
        let mut text = String::new();
        write_keyring(&mut text, &keyring.stats());
        write_rewraps(&mut text, rewraps);
        // Encoding into a string fails only where formatting does.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Methods that nobody serves must not become labels.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn histogram() -> Histogram {
    // 0.5 ms to 16 s.
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

/// Re-wraps count for themselves too: they may run where no server is.
fn write_rewraps(out: &mut String, stats: RewrapStats) {
    let RewrapStats {
        done,
        failed,
        remaining,
    } = stats;
    let _ = write!(
        out,
        "# HELP keyreel_rewrapped_recordings Recordings that re-wraps moved, or could not.\n\
         # TYPE keyreel_rewrapped_recordings counter\n\
         keyreel_rewrapped_recordings_total{{outcome=\"ok\"}} {done}\n\
         keyreel_rewrapped_recordings_total{{outcome=\"failed\"}} {failed}\n\
         # HELP keyreel_rewrap_remaining Recordings that re-wraps running here have left.\n\
         # TYPE keyreel_rewrap_remaining gauge\n\
         keyreel_rewrap_remaining {remaining}\n"
    );
}

/// The keyring counts for itself; its numbers are copied when somebody asks.
fn write_keyring(out: &mut String, stats: &KeyringStats) {
    let mut unwraps = String::new();
    let mut seconds = String::new();
    for ((provider, outcome), calls) in &stats.unwraps {
        let labels = format!("{{provider=\"{provider}\",outcome=\"{outcome}\"}}");
        let _ = writeln!(unwraps, "keyreel_unwraps_total{labels} {}", calls.count);
        let _ = writeln!(
            seconds,
            "keyreel_unwrap_seconds_total{labels} {}",
            calls.total.as_secs_f64()
        );
    }
    let mut family = |name: &str, kind: &str, help: &str, lines: &str| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
    };
    family(
        "keyreel_unwraps",
        "counter",
        "Calls to key providers, by outcome.",
        &unwraps,
    );
    family(
        "keyreel_unwrap_seconds",
        "counter",
        "How long they took.",
        &seconds,
    );
    let counters = [
        ("dek_cache_hits", stats.hits, "Keys found in the cache."),
        (
            "dek_cache_misses",
            stats.misses,
            "Keys not found in the cache.",
        ),
        (
            "dek_flights_joined",
            stats.joined,
            "Misses that joined an unwrap under way.",
        ),
        (
            "dek_refusal_hits",
            stats.refusal_hits,
            "Refusals of a moment ago, repeated.",
        ),
        (
            "unwraps_circuit_open",
            stats.circuit_open,
            "Unwraps refused by an open breaker.",
        ),
        (
            "unwraps_busy",
            stats.busy,
            "Unwraps refused because too many waited.",
        ),
        ("purges", stats.purges, "Purges of a tenant's keys."),
    ];
    for (name, value, help) in counters {
        let name = format!("keyreel_{name}");
        family(&name, "counter", help, &format!("{name}_total {value}\n"));
    }
    let gauges = [
        ("deks_cached", stats.cached, "Keys in the cache."),
        ("unwraps_in_flight", stats.in_flight, "Unwraps under way."),
    ];
    for (name, value, help) in gauges {
        let name = format!("keyreel_{name}");
        family(&name, "gauge", help, &format!("{name} {value}\n"));
    }
    // By provider, not by tenant: how many tenants' breakers are not closed.
    let mut open = std::collections::BTreeMap::new();
    for (_, provider, state) in &stats.breakers {
        *open
            .entry((provider.to_string(), format!("{state:?}").to_lowercase()))
            .or_insert(0) += 1;
    }
    let lines: String = open
        .iter()
        .map(|((provider, state), count): (&(String, String), &u64)| {
            format!("keyreel_breakers{{provider=\"{provider}\",state=\"{state}\"}} {count}\n")
        })
        .collect();
    family(
        "keyreel_breakers",
        "gauge",
        "Breakers that are not closed.",
        &lines,
    );
}
