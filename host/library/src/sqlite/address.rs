//! Addresses in the one spelling that they are looked for in: telephone numbers (E.164), SIP URIs
//! (RFC 3261), `tel` URIs (RFC 3966), e-mail addresses.
//! Not for: whether an address exists, or what country a number without one is of.

/// The spellings under which an address is found: its own, and the number that a SIP address is of.
pub(super) fn spellings(address: &str) -> Vec<String> {
    let whole = canonical(address);
    let user = whole.split_once('@').map(|(user, _)| user);
    let number = user.and_then(number);
    let spellings = [Some(whole), number].into_iter().flatten();
    spellings.filter(|text| !text.is_empty()).collect()
}

/// A number's digits, with the country's first and neither "+" nor "00" before them; otherwise the
/// text in lower case, without the scheme and the parameters that a URI has.
pub(super) fn canonical(address: &str) -> String {
    let folded = address.trim().to_lowercase();
    let schemes = ["tel:", "sips:", "sip:", "mailto:"];
    let uri = schemes
        .iter()
        .find_map(|scheme| folded.strip_prefix(scheme))
        .map(|rest| rest.split([';', '?']).next().unwrap_or_default());
    let text = uri.unwrap_or(&folded);
    number(text).unwrap_or_else(|| text.to_owned())
}

/// How many of the first words may be one telephone number.
pub(super) fn number_of_words(words: &[&str]) -> usize {
    let goes_on = |(index, word): &(usize, &&str)| {
        word.chars().all(is_of_number) && (*index == 0 || !word.starts_with('+'))
    };
    words.iter().enumerate().take_while(goes_on).count()
}

/// The digits of a telephone number; `None` where it is none.
fn number(text: &str) -> Option<String> {
    if !text.chars().all(is_of_number) || text.rfind('+').is_some_and(|at| at > 0) {
        return None;
    }
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let number = match international {
        // The zero that is dialled within the country alone.
        Some(rest) => digits(&rest.replace("(0)", "")),
        None => digits(text),
    };
    (!number.is_empty()).then_some(number)
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || c.is_whitespace() || "+-.()/\u{2010}\u{2011}\u{2013}".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_spelling() {
        for text in [
            "+41446681800",
            "+41 44 668 18 00",
            "+41 (0)44 668 18 00",
            "0041-44-668-18-00",
            "41446681800",
            "tel:+41-44-668-18-00;phone-context=x",
            " +41.44.668/18.00 ",
            "+41\u{a0}44\u{2011}668 1800",
        ] {
            assert_eq!(canonical(text), "41446681800", "{text}");
        }
        // A national number may be of any country.
        assert_eq!(canonical("044 668 18 00"), "0446681800");
        assert_eq!(canonical("2041"), "2041");
    }

    #[test]
    fn what_is_no_number_is_kept_whole_in_lower_case() {
        for (text, expected) in [
            ("Maya.CHEN@Example.ORG", "maya.chen@example.org"),
            ("mailto:a@b.example?subject=x", "a@b.example"),
            ("sip:Maya@pbx.example;transport=tls", "maya@pbx.example"),
            ("1+1", "1+1"),
            ("+", "+"),
            ("", ""),
            ("ext. 12", "ext. 12"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
        assert_eq!(
            spellings("sip:+41446681800@pbx.example"),
            ["+41446681800@pbx.example", "41446681800"]
        );
        assert_eq!(spellings("maya@example.org"), ["maya@example.org"]);
        assert!(spellings(" ").is_empty());
    }

    #[test]
    fn a_number_ends_where_another_begins() {
        for (words, expected) in [
            (&["+41", "44", "(0)", "maya"][..], 3),
            (&["+41", "44", "+1"], 2),
            (&["maya", "44"], 0),
            (&["44"], 1),
            (&[], 0),
        ] {
            assert_eq!(number_of_words(words), expected, "{words:?}");
        }
    }
}
