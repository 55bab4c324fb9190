//! How many files this process may have open: systems start processes with few (1024), and every
//! connection takes one.
//! Not for: the limit on connections itself (see `settings::LimitSettings`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to what so many connections need, as far as the hard limit allows.
pub(crate) fn raise(connections: u32) {
    let needed = u64::from(connections) * PER_CONNECTION + RESERVED;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let allowed = limit.maximum.map_or(needed, |hard| hard.min(needed));
    let raised = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, needed, "the limit on open files cannot be raised");
    } else if allowed < needed {
        tracing::warn!(
            allowed,
            needed,
            "fewer files may be open than limits.connections needs"
        );
    }
}

/// Its socket, and the object that it listens to.
const PER_CONNECTION: u64 = 2;
/// The database, objects kept open, listeners, key services.
const RESERVED: u64 = 1024;

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed_and_allowed() {
        super::raise(3_000);
        let limit = getrlimit(Resource::Nofile);
        let expected = limit.maximum.map_or(7_024, |hard| hard.min(7_024));
        assert!(limit.current.is_none_or(|current| current >= expected));
    }
}
