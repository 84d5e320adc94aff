//! Histories with damage: bytes, pieces of the notations, and whole forms cut, doubled, moved and nested.

use rusd_checker::synthetic::Dice;

/// Longer inputs are cut.
const INPUT_BYTES_MAX: usize = 128 << 10;
/// Pieces that are doubled or overwritten.
const PIECE_BYTES_MAX: usize = 200;

/// Pieces that mean something to one format or another.
const TOKENS: [&str; 52] = [
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "#{",
    "#_",
    "#tag ",
    "\"",
    "\\",
    "\\u",
    "\\ud83d",
    ";",
    ",",
    ":",
    "::",
    "nil",
    "true",
    "##Inf",
    "1/3",
    "1.5M",
    "0x1f",
    "99999999999999999999",
    "-0",
    "007",
    "1e999",
    "\u{feff}",
    "\u{0}",
    "\n",
    "\r\n",
    "\t",
    "INFO  jepsen.util - ",
    ":type :ok",
    ":process :nemesis",
    ":process 18446744073709551615",
    ":index -1",
    ":key \"a\"",
    ":value [[:append 1 2]]",
    "\"type\":\"ok\"",
    "\"value\":[[\"r\",1,null]]",
    "null",
    "{\"t\":\"op\",",
    "\"Request\":{}",
    "\"Responses\":[",
    "\"Error\":\"x\"",
    "\"Events\":null",
    "\"ModRevision\":-9223372036854775808",
    "\"member-id\":\"zz\"",
    "\"KVs\":[]",
    "{:a ",
    "{\"a\":",
];

/// Numbers at which something ends.
const NUMBERS: [&str; 10] = [
    "0",
    "-1",
    "1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "0.5",
];

/// One of the corpus, with some damage.
pub(crate) fn damaged(corpus: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut input = pick(corpus, dice).clone();
    for _ in 0..=dice.below(6) {
        if dice.below(3) == 0 {
            damage_form(&mut input, corpus, dice);
        } else {
            damage_bytes(&mut input, corpus, dice);
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

/// Whatever the notation says.
fn damage_bytes(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    let at = place(input, dice);
    let to = at + place(&input[at..], dice).min(PIECE_BYTES_MAX);
    match dice.below(9) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => {
            let piece = input[at..to].to_vec();
            splice(input, to, &piece);
        }
        3 => {
            let other = pick(corpus, dice);
            let from = place(other, dice);
            let until = from + place(&other[from..], dice);
            splice(input, at, &other[from..until]);
        }
        4 => splice(input, at, TOKENS[index(TOKENS.len(), dice)].as_bytes()),
        5 => {
            let times = 1 << dice.below(17);
            let token = TOKENS[index(TOKENS.len(), dice)].repeat(times);
            splice(input, at, token.as_bytes());
        }
        6 => {
            let times = index(20, dice);
            let piece = input[at..to].repeat(times);
            splice(input, to, &piece);
        }
        7 => {
            for byte in &mut input[at..to] {
                *byte = u8::try_from(dice.below(256)).expect("a byte");
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
        }
    }
}

/// Forms stay whole, so that damage comes through to what they mean.
fn damage_form(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    let at = place(input, dice);
    match dice.below(7) {
        // A number, which the next digits are.
        0 => {
            let Some(from) = input[at..].iter().position(u8::is_ascii_digit) else { return };
            let from = at + from;
            let digits = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = NUMBERS[index(NUMBERS.len(), dice)];
            input.splice(from..from + digits, number.bytes());
        }
        // Lines change places, or one comes twice.
        1 | 2 => {
            let mut lines: Vec<Vec<u8>> =
                input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if lines.len() < 2 {
                return;
            }
            let (one, other) = (index(lines.len(), dice), index(lines.len(), dice));
            if dice.below(2) == 0 {
                lines.swap(one, other);
            } else {
                lines.insert(other, lines[one].clone());
            }
            *input = lines.concat();
        }
        3 => {
            let Some((from, to)) = form(input, at) else { return };
            input.drain(from..to);
        }
        4 => {
            let Some((from, to)) = form(input, at) else { return };
            let (open, close) =
                [("[", "]"), ("{:a ", "}"), ("#{", "}"), ("{\"a\":", "}")][index(4, dice)];
            let times = 1 << dice.below(15);
            splice(input, to, close.repeat(times).as_bytes());
            splice(input, from, open.repeat(times).as_bytes());
        }
        5 => {
            let Some((from, to)) = form(input, at) else { return };
            let times = 1 << dice.below(8);
            let copies = input[from..to].repeat(times);
            splice(input, to, &copies);
        }
        _ => {
            let other = pick(corpus, dice);
            let Some((from, to)) = form(input, at) else { return };
            let Some((other_from, other_to)) = form(other, place(other, dice)) else { return };
            input.splice(from..to, other[other_from..other_to].iter().copied());
        }
    }
}

/// The next form in brackets from a place on, with its brackets.
fn form(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let from = at + input[at..].iter().position(|byte| b"([{".contains(byte))?;
    let mut depth = 0_usize;
    let mut in_string = false;
    for (place, byte) in input.iter().enumerate().skip(from) {
        match byte {
            b'"' => in_string = !in_string,
            b'(' | b'[' | b'{' if !in_string => depth += 1,
            b')' | b']' | b'}' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return Some((from, place + 1));
                }
            }
            _ => {}
        }
    }
    None
}

fn splice(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let room = (2 * INPUT_BYTES_MAX).saturating_sub(input.len());
    input.splice(at..at, piece[..piece.len().min(room)].iter().copied());
}

fn place(bytes: &[u8], dice: &mut Dice) -> usize {
    index(bytes.len() + 1, dice)
}

fn index(bound: usize, dice: &mut Dice) -> usize {
    let bound = u64::try_from(bound).expect("usize fits u64");
    usize::try_from(dice.below(bound)).expect("below a usize")
}

fn pick<'a>(corpus: &'a [Vec<u8>], dice: &mut Dice) -> &'a Vec<u8> {
    &corpus[index(corpus.len(), dice)]
}
