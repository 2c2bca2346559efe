//! What players send: payloads with placeholders, chosen by weight or in order.
//!
//! A script is a file of lines. Empty lines and lines that begin with `#` say nothing.
//!
//! ```text
//! order random                       # or: order sequence. Without this line: random
//! text up
//! 3 text {"steer": {random -127 127}, "number": {n}}
//! hex 01 {random:i8 -127 127} {n:u32}
//! base64 AAECAw==
//! ```
//!
//! A number before a payload is its weight (in a sequence: how often it comes before the next). Placeholders stand in `text` and
//! `hex`: `{n}` is the number of the player's message, from 1; `{player}` the number of the player, from 0; `{random}` any `u32`,
//! `{random LOW HIGH}` a whole number between these, both included. With a width after the name (`{n:u32}`, `{random:i8 -1 1}`; `u8`,
//! `u16`, `u32`, `u64` and `i8` to `i64`) they are little-endian bytes, and without one, in `text` only, decimal digits. In `text`, a
//! brace that no letter follows is a brace; `{{` is one in any case.

use base64::Engine as _;
use std::fmt::Write as _;

/// Bytes of one payload, placeholders filled in.
const PAYLOAD_BYTES_MAX: usize = 32 << 10;
/// Lines of a script.
const LINES_MAX: usize = 10_000;
const WEIGHT_MAX: u32 = 1_000_000;

const _: () = assert!(PAYLOAD_BYTES_MAX < wire::limits::CLIENT_FRAME_BYTES_MAX);

/// What is sent, and when.
#[derive(Debug, Clone)]
pub struct Script {
    payloads: Vec<(u32, Template)>,
    weights: u64,
    sequence: bool,
}

/// Why a script cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    #[error("line {line}: {fault}")]
    Line { line: usize, fault: TemplateError },
    #[error("it has no payload: write a line such as \"text hello {{n}}\"")]
    Empty,
    #[error("it has more than {LINES_MAX} lines")]
    TooLong,
}

/// Why a payload cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{0:?} is no kind of line; there are text, hex, base64 and order, with a weight before the first three")]
    UnknownWord(String),
    #[error("order {0:?}: there are random and sequence")]
    UnknownOrder(String),
    #[error("the weight {0} is not from 1 to {WEIGHT_MAX}")]
    Weight(String),
    #[error(
        "{{{0}}} is no placeholder; there are {{n}}, {{player}}, {{random}} and {{random LOW HIGH}}; a plain brace is {{{{"
    )]
    UnknownPlaceholder(String),
    #[error("{{{0}}}: {1:?} is no width; there are u8, u16, u32, u64, i8, i16, i32 and i64")]
    UnknownWidth(String, String),
    #[error("{{{0}}} among hex digits needs a width, such as {{n:u32}}")]
    NoWidth(String),
    #[error("{{{0}}}: the bounds must be whole numbers of 64 bits, the lower one first")]
    Bounds(String),
    #[error("{{{0}}}: a bound does not fit its width")]
    BoundsAboveWidth(String),
    #[error("a placeholder is not closed: {0:?}")]
    Open(String),
    #[error("{0:?} is not hex: two digits for each byte")]
    Hex(String),
    #[error("{0:?} is not base64")]
    Base64(String),
    #[error("a payload of more than {PAYLOAD_BYTES_MAX} bytes")]
    TooLong,
}

impl Default for Script {
    /// One text with the number of the message and a random one.
    fn default() -> Self {
        Script::parse("text swarm {n} {random}").expect("a good script")
    }
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`ScriptError`] at the first line that is not accepted.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script { payloads: Vec::new(), weights: 0, sequence: false };
        for (index, line) in text.lines().enumerate() {
            if index == LINES_MAX {
                return Err(ScriptError::TooLong);
            }
            script.line(line.trim_end_matches('\r')).map_err(|fault| ScriptError::Line { line: index + 1, fault })?;
        }
        if script.payloads.is_empty() { Err(ScriptError::Empty) } else { Ok(script) }
    }

    fn line(&mut self, line: &str) -> Result<(), TemplateError> {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (word, rest) = split_word(line);
        if word == "order" {
            self.sequence = match split_word(rest).0 {
                "random" => false,
                "sequence" => true,
                other => return Err(TemplateError::UnknownOrder(other.to_owned())),
            };
            return Ok(());
        }
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        let (weight, (word, rest)) = if is_number {
            let weight = word.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
            (weight.ok_or_else(|| TemplateError::Weight(word.to_owned()))?, split_word(rest))
        } else {
            (1, (word, rest))
        };
        let template = Template::of(word, rest)?;
        self.weights += u64::from(weight);
        self.payloads.push((weight, template));
        Ok(())
    }

    /// Appends the payload of a message. The same arguments give the same bytes, so that it can be sent, or compared, again.
    pub fn write(&self, seed: u64, player: u32, number: u32, to: &mut Vec<u8>) {
        let mut random = Random::new(seed, player, number);
        let place = if self.sequence { u64::from(number.wrapping_sub(1)) } else { random.next() } % self.weights;
        let mut passed = 0;
        for (weight, template) in &self.payloads {
            passed += u64::from(*weight);
            if place < passed {
                return template.fill(&mut random, player, number, to);
            }
        }
        unreachable!("the place is below the sum of the weights")
    }
}

/// The first word, and what follows the one space after it: a payload may begin with spaces.
fn split_word(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace).unwrap_or((line, ""))
}

/// Bytes with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Hole { value: Value, width: Option<Width> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Number,
    Player,
    /// From, and how many values there are; 0: all of 64 bits.
    Random {
        low: i64,
        count: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Width {
    bytes: usize,
    signed: bool,
}

impl Template {
    /// A text.
    ///
    /// # Errors
    /// [`TemplateError`] for a placeholder that there is not.
    pub fn text(text: &str) -> Result<Template, TemplateError> {
        Template::of("text", text)
    }

    /// As a line of a script without a weight: `text …`, `hex …` or `base64 …`.
    ///
    /// # Errors
    /// [`TemplateError`] if it is none.
    pub fn parse(line: &str) -> Result<Template, TemplateError> {
        let (word, rest) = split_word(line);
        Template::of(word, rest)
    }

    fn of(word: &str, rest: &str) -> Result<Template, TemplateError> {
        let pieces = match word {
            "text" => pieces(rest, false)?,
            "hex" => pieces(rest, true)?,
            "base64" => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim());
                vec![Piece::Bytes(decoded.map_err(|_| TemplateError::Base64(rest.trim().to_owned()))?)]
            }
            other => return Err(TemplateError::UnknownWord(other.to_owned())),
        };
        let bytes: usize = pieces.iter().map(Piece::bytes_max).sum();
        if bytes > PAYLOAD_BYTES_MAX { Err(TemplateError::TooLong) } else { Ok(Template { pieces }) }
    }

    /// The bytes for a player before the first message.
    #[must_use]
    pub fn filled(&self, seed: u64, player: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.fill(&mut Random::new(seed, player, 0), player, 0, &mut bytes);
        bytes
    }

    fn fill(&self, random: &mut Random, player: u32, number: u32, to: &mut Vec<u8>) {
        for piece in &self.pieces {
            let (value, width) = match piece {
                Piece::Bytes(bytes) => {
                    to.extend_from_slice(bytes);
                    continue;
                }
                Piece::Hole { value, width } => (value, width),
            };
            let value = match *value {
                Value::Number => i64::from(number),
                Value::Player => i64::from(player),
                Value::Random { low, count: 0 } => low.wrapping_add(random.next().cast_signed()),
                Value::Random { low, count } => low.wrapping_add((random.next() % count).cast_signed()),
            };
            match width {
                Some(width) => to.extend_from_slice(&value.to_le_bytes()[..width.bytes]),
                None => {
                    let mut digits = String::new();
                    write!(digits, "{value}").expect("a String takes everything");
                    to.extend_from_slice(digits.as_bytes());
                }
            }
        }
    }
}

impl Piece {
    fn bytes_max(&self) -> usize {
        const DIGITS_MAX: usize = 20;
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Hole { width, .. } => width.map_or(DIGITS_MAX, |width| width.bytes),
        }
    }
}

fn pieces(text: &str, hex: bool) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from_brace) = rest.split_at(at);
        plain.push_str(before);
        let inside = &from_brace[1..];
        if !hex && inside.starts_with('{') {
            plain.push('{');
            rest = &inside[1..];
            continue;
        }
        if !hex && !inside.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
            plain.push('{');
            rest = inside;
            continue;
        }
        let (hole, after) = inside.split_once('}').ok_or_else(|| TemplateError::Open(from_brace.to_owned()))?;
        pieces.push(Piece::Bytes(plain_bytes(&std::mem::take(&mut plain), hex)?));
        pieces.push(placeholder(hole, hex)?);
        rest = after;
    }
    plain.push_str(rest);
    pieces.push(Piece::Bytes(plain_bytes(&plain, hex)?));
    pieces.retain(|piece| !matches!(piece, Piece::Bytes(bytes) if bytes.is_empty()));
    Ok(pieces)
}

fn plain_bytes(plain: &str, hex: bool) -> Result<Vec<u8>, TemplateError> {
    if !hex {
        return Ok(plain.as_bytes().to_vec());
    }
    let malformed = || TemplateError::Hex(plain.trim().to_owned());
    let digits: Vec<u8> = plain.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (pairs, []) = digits.as_chunks::<2>() else {
        return Err(malformed());
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>().ok_or_else(malformed)
}

fn placeholder(hole: &str, hex: bool) -> Result<Piece, TemplateError> {
    let mut words = hole.split_whitespace();
    let head = words.next().unwrap_or_default();
    let (name, width) = head.split_once(':').map_or((head, None), |(name, width)| (name, Some(width)));
    let width = width.map(|width| {
        let unknown = || TemplateError::UnknownWidth(hole.to_owned(), width.to_owned());
        let (sign, bits) = width.split_at_checked(1).ok_or_else(unknown)?;
        let bytes = ["8", "16", "32", "64"].iter().position(|known| *known == bits).ok_or_else(unknown)?;
        match sign {
            "u" | "i" => Ok(Width { bytes: 1 << bytes, signed: sign == "i" }),
            _ => Err(unknown()),
        }
    });
    let width = width.transpose()?;
    if hex && width.is_none() {
        return Err(TemplateError::NoWidth(hole.to_owned()));
    }
    let bounds: Vec<&str> = words.collect();
    let value = match (name, &bounds[..]) {
        ("n", []) => Value::Number,
        ("player", []) => Value::Player,
        // As many as the width has, or as a u32 has.
        ("random", []) => Value::Random {
            low: 0,
            count: match width {
                Some(Width { bytes: 8, .. }) => 0,
                Some(width) => 1 << (width.bytes * 8),
                None => 1 << 32,
            },
        },
        ("random", [low, high]) => bounded(hole, low, high, width)?,
        _ => return Err(TemplateError::UnknownPlaceholder(hole.to_owned())),
    };
    Ok(Piece::Hole { value, width })
}

fn bounded(hole: &str, low: &str, high: &str, width: Option<Width>) -> Result<Value, TemplateError> {
    let bounds = || TemplateError::Bounds(hole.to_owned());
    let (low, high): (i64, i64) = (low.parse().map_err(|_| bounds())?, high.parse().map_err(|_| bounds())?);
    if low > high {
        return Err(bounds());
    }
    let fits = |bound: i64| match width {
        None => true,
        Some(Width { bytes: 8, signed }) => signed || bound >= 0,
        Some(Width { bytes, signed: true }) => {
            let half = 1i64 << (bytes * 8 - 1);
            (-half..half).contains(&bound)
        }
        Some(Width { bytes, signed: false }) => (0..1i64 << (bytes * 8)).contains(&bound),
    };
    if !fits(low) || !fits(high) {
        return Err(TemplateError::BoundsAboveWidth(hole.to_owned()));
    }
    Ok(Value::Random { low, count: high.wrapping_sub(low).cast_unsigned().wrapping_add(1) })
}

/// SplitMix64 (Steele, Lea, Flood 2014): a stream of its own for every message.
struct Random(u64);

impl Random {
    fn new(seed: u64, player: u32, number: u32) -> Self {
        let mut random =
            Random(seed ^ (u64::from(player) << 32 | u64::from(number)).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(script: &str, count: u32) -> Vec<Vec<u8>> {
        let script = Script::parse(script).unwrap();
        let payload = |number| {
            let mut bytes = Vec::new();
            script.write(7, 3, number, &mut bytes);
            bytes
        };
        (1..=count).map(payload).collect()
    }

    #[test]
    fn a_sequence_comes_in_order_with_its_holes_filled() {
        let script = "order sequence\n\n# a comment\n2 text {n} of {player}\nhex 01 {n:u16} fF\r\nbase64 AAEC\n";
        let expected: [&[u8]; 5] = [b"1 of 3", b"2 of 3", &[1, 3, 0, 0xff], &[0, 1, 2], b"5 of 3"];
        assert_eq!(payloads(script, 5), expected);
    }

    #[test]
    fn braces_of_json_are_braces() {
        assert_eq!(payloads("text {\"a\": {\"n\": {n}}}", 1), [b"{\"a\": {\"n\": 1}}"]);
        assert_eq!(payloads("text {{n} {", 1), [b"{n} {"]);
    }

    #[test]
    fn a_payload_is_the_same_each_time_and_chosen_by_weight() {
        let script = "text rare\n9 hex {random:i8 -3 3}";
        let all = payloads(script, 2000);
        assert_eq!(all, payloads(script, 2000));
        let rare = all.iter().filter(|payload| *payload == b"rare").count();
        assert!((100..300).contains(&rare), "{rare} of 2000");
        let mut steps: Vec<i8> =
            all.iter().filter(|bytes| bytes.len() == 1).map(|bytes| bytes[0].cast_signed()).collect();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps, [-3, -2, -1, 0, 1, 2, 3]);
    }

    #[test]
    fn the_arenas_script_is_a_good_one() {
        for payload in payloads(include_str!("../scripts/arena.txt"), 100) {
            assert_eq!(payload.len(), 2);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |script: &str, expected: &str| {
            assert_eq!(Script::parse(script).unwrap_err().to_string(), expected);
        };
        check("# nothing\n", "it has no payload: write a line such as \"text hello {n}\"");
        check(
            "text a\nsay b",
            "line 2: \"say\" is no kind of line; there are text, hex, base64 and order, with a weight before the first three",
        );
        check("0 text a", "line 1: the weight 0 is not from 1 to 1000000");
        check("order backwards", "line 1: order \"backwards\": there are random and sequence");
        check("hex 123", "line 1: \"123\" is not hex: two digits for each byte");
        check("hex {n}", "line 1: {n} among hex digits needs a width, such as {n:u32}");
        check("hex {n:u24}", "line 1: {n:u24}: \"u24\" is no width; there are u8, u16, u32, u64, i8, i16, i32 and i64");
        check("base64 a", "line 1: \"a\" is not base64");
        check(
            "text {tick}",
            "line 1: {tick} is no placeholder; there are {n}, {player}, {random} and {random LOW HIGH}; a plain brace is {{",
        );
        check(
            "text {random 2 1}",
            "line 1: {random 2 1}: the bounds must be whole numbers of 64 bits, the lower one first",
        );
        check("hex {random:u8 0 256}", "line 1: {random:u8 0 256}: a bound does not fit its width");
        check("text {n", "line 1: a placeholder is not closed: \"{n\"");
    }
}
