//! Query parameters, decoded as a form and strictly: what is not UTF-8 is refused, never replaced.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Why a parameter cannot be had. The texts are what the routes answer with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("{key:?} is given twice in the query; give it once")]
    Twice { key: &'static str },
    #[error("{key:?} in the query is not UTF-8 once its percent escapes are decoded")]
    NotUtf8 { key: &'static str },
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
    fn refuses_what_could_be_read_in_two_ways() {
        check("name=a&name=a", Err(QueryError::Twice { key: "name" }));
        check("name=a&%6eame=b", Err(QueryError::Twice { key: "name" }));
        check("name=%ff", Err(QueryError::NotUtf8 { key: "name" }));
        check("name=+%c3", Err(QueryError::NotUtf8 { key: "name" }));
    }
}
