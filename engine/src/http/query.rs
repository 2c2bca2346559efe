//! Query parameters, decoded as a form and strictly: what is not UTF-8 is refused, never replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::http::{Kind, Refusal};

/// Why a parameter cannot be had. The texts are what the routes answer with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("{key:?} is given twice in the query; give it once")]
    Twice { key: &'static str },
    #[error("{key:?} in the query is not UTF-8 once its percent escapes are decoded")]
    NotUtf8 { key: &'static str },
}

/// Of an unknown parameter's name, for the refusal.
const SHOWN_CHARS_MAX: usize = 64;

/// Refuses a query that names anything but these: what is misspelt would be taken as not given.
pub(crate) fn check_known(query: &str, route: &str, accepted: &[&'static str]) -> Result<(), Refusal> {
    let mut names = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    let is_unknown = |name: &&str| !accepted.iter().any(|key| is_key(name, key));
    let Some(unknown) = names.find(is_unknown) else { return Ok(()) };
    let shown: String = unknown.chars().take(SHOWN_CHARS_MAX).collect();
    let accepted = match accepted {
        [] => "it takes none".to_owned(),
        [only] => format!("accepted is {only}"),
        _ => format!("accepted are {}", accepted.join(", ")),
    };
    let reason = format!("{shown:?} is no parameter of {route}; {accepted}");
    Err(Refusal::new(Kind::BadRequest, "parameter-unknown", reason))
}

/// The one value of `key`, or `None` if the query does not name it.
pub(crate) fn parameter<'query>(query: &'query str, key: &'static str) -> Result<Option<Cow<'query, str>>, QueryError> {
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        is_key(name, key).then_some(value)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(QueryError::Twice { key });
    }
    decode(value).map(Some).map_err(|_| QueryError::NotUtf8 { key })
}

/// Every value of `key`, in the order of the query.
pub(crate) fn parameters(query: &str, key: &'static str) -> Result<Vec<String>, QueryError> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(|(name, _)| is_key(name, key)).map(|(_, value)| decode(value).map(Cow::into_owned));
    values.collect::<Result<_, _>>().map_err(|_| QueryError::NotUtf8 { key })
}

/// A key may be escaped as well: `n%61me` is `name` to every form decoder, so a second one must not slip by.
fn is_key(name: &str, key: &str) -> bool {
    name == key || (name.contains('%') && decode(name).is_ok_and(|name| name == key))
}

fn decode(text: &str) -> Result<Cow<'_, str>, std::str::Utf8Error> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8();
    }
    let spaced = text.replace('+', " ");
    Ok(Cow::Owned(percent_decode_str(&spaced).decode_utf8()?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<Option<&str>, QueryError>) {
        let found = parameter(query, "name");
        assert_eq!(found, expected.map(|value| value.map(Cow::Borrowed)), "{query:?}");
    }

    #[test]
    fn decodes_one_value() {
        check("", Ok(None));
        check("x=1&names=2&nam=e", Ok(None));
        check("name", Ok(Some("")));
        check("name=", Ok(Some("")));
        check("name=plugin2.so", Ok(Some("plugin2.so")));
        check("a=b&name=plugin2.so&c", Ok(Some("plugin2.so")));
        check("name=a=b", Ok(Some("a=b")));
        check("name=%2e%2E%2fa", Ok(Some("../a")));
        check("name=a%00b", Ok(Some("a\0b")));
        check("name=a+b%2B", Ok(Some("a b+")));
        check("name=%zz%2", Ok(Some("%zz%2")));
        check("n%61me=a", Ok(Some("a")));
        check("name=%C3%BC", Ok(Some("ü")));
    }

    #[test]
    fn refuses_what_nobody_asked_for() {
        let refused = |query: &str, accepted: &[&'static str]| {
            check_known(query, "/load", accepted).map_err(|refusal| refusal.reason().to_owned())
        };
        for query in ["", "&", "name", "name=a&&force=1&", "n%61me=a&name=b", "force=1&force"] {
            assert_eq!(refused(query, &["name", "force"]), Ok(()), "{query:?}");
        }
        for (query, unknown) in [
            ("name=a&forse=1", "forse"),
            ("Name=a", "Name"),
            ("=1", ""),
            ("name=a&%66orc=1&b", "%66orc"),
            ("%ff", "%ff"),
        ] {
            let reason = format!("{unknown:?} is no parameter of /load; accepted are name, force");
            assert_eq!(refused(query, &["name", "force"]), Err(reason), "{query:?}");
        }
        let reason = "\"name\" is no parameter of /load; it takes none";
        assert_eq!(refused("name=a", &[]), Err(reason.to_owned()));
        assert!(refused(&"ü".repeat(5000), &[]).unwrap_err().len() < 200);
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        check("name=a&name=a", Err(QueryError::Twice { key: "name" }));
        check("name=a&%6eame=b", Err(QueryError::Twice { key: "name" }));
        check("name=%ff", Err(QueryError::NotUtf8 { key: "name" }));
        check("name=+%c3", Err(QueryError::NotUtf8 { key: "name" }));
    }
}
