//! Text out of a plugin, made fit for logs and error messages.
//! Not for: escaping for HTML or JSON: whoever prints it does that.

/// `text` with control and bidirectional formatting characters replaced, cut to `max` characters.
pub(crate) fn sanitised(text: &str, max: usize) -> String {
    let mut clean: String = text
        .chars()
        .take(max)
        .map(|c| {
            if is_unfit(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(max).is_some() {
        clean.push('…');
    }
    clean
}

/// Whether `text` is a stable code: 1 to 64 of A-Z a-z 0-9 - _ . /
pub(crate) fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

/// Whether `c` could forge a line, move a terminal's cursor or reorder what stands beside it.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_what_forges_lines_and_directions() {
        assert_eq!(
            sanitised("a\nb\u{1b}[31mc\u{202e}d", 99),
            "a\u{fffd}b\u{fffd}[31mc\u{fffd}d"
        );
        assert_eq!(sanitised("ééé", 2), "éé…");
        assert_eq!(sanitised("ééé", 3), "ééé");
    }

    #[test]
    fn codes_are_short_and_plain() {
        assert!(is_code("aws.KMSInvalidStateException"));
        assert!(!is_code(""));
        assert!(!is_code("a b"));
        assert!(!is_code(&"x".repeat(65)));
    }
}
