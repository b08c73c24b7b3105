//! A reader of nginx's configuration that knows nothing of the translator: words, quotes and blocks as
//! `ngx_conf_read_token` takes them (nginx 1.22, `src/core/ngx_conf_file.c`). What nginx would refuse panics.
#![allow(dead_code, reason = "each test file uses its own part")]

/// `words;` or `words { block }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub words: Vec<String>,
    pub block: Option<Vec<Directive>>,
}

/// Bytes as characters from U+0000 to U+00FF would lose nothing, but the texts are UTF-8 in any case.
pub fn read(text: &str) -> Vec<Directive> {
    assert!(!text.contains('\0'), "a NUL: {text:?}");
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let directives = block(&chars, &mut at, 0);
    assert_eq!(at, chars.len(), "a }} too many: {text}");
    directives
}

fn block(chars: &[char], at: &mut usize, depth: usize) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut words = Vec::new();
    while let Some(char) = chars.get(*at) {
        match char {
            ' ' | '\t' | '\r' | '\n' => *at += 1,
            '#' => {
                while chars.get(*at).is_some_and(|c| *c != '\n') {
                    *at += 1;
                }
            }
            ';' => {
                *at += 1;
                assert!(!words.is_empty(), "unexpected ;");
                directives.push(Directive { words: std::mem::take(&mut words), block: None });
            }
            '{' => {
                *at += 1;
                assert!(!words.is_empty(), "unexpected {{");
                let inside = block(chars, at, depth + 1);
                assert_eq!(chars.get(*at), Some(&'}'), "a block that does not end");
                *at += 1;
                directives.push(Directive { words: std::mem::take(&mut words), block: Some(inside) });
            }
            '}' => {
                assert!(depth > 0 && words.is_empty(), "unexpected }}");
                return directives;
            }
            quote @ ('"' | '\'') => {
                *at += 1;
                words.push(quoted(chars, at, *quote));
                let next = chars.get(*at).copied().unwrap_or(' ');
                assert!(" \t\r\n;{)".contains(next), "unexpected {next:?} after a quote");
            }
            _ => words.push(bare(chars, at)),
        }
    }
    assert!(depth == 0 && words.is_empty(), "the end comes within {words:?}");
    directives
}

fn quoted(chars: &[char], at: &mut usize, quote: char) -> String {
    let mut word = String::new();
    loop {
        let char = *chars.get(*at).expect("a quote that does not end");
        *at += 1;
        if char == quote {
            return word;
        }
        word.push(char);
        if char == '\\' {
            escaped(chars, at, &mut word);
        }
    }
}

fn bare(chars: &[char], at: &mut usize) -> String {
    let mut word = String::new();
    while let Some(char) = chars.get(*at) {
        if " \t\r\n;".contains(*char) || (*char == '{' && !word.ends_with('$')) {
            break;
        }
        *at += 1;
        word.push(*char);
        if *char == '\\' {
            escaped(chars, at, &mut word);
        }
    }
    word
}

/// What follows a backslash, which is already in the word.
fn escaped(chars: &[char], at: &mut usize, word: &mut String) {
    let char = *chars.get(*at).expect("a backslash at the end");
    *at += 1;
    let meant = match char {
        '"' | '\'' | '\\' => Some(char),
        't' => Some('\t'),
        'r' => Some('\r'),
        'n' => Some('\n'),
        _ => None,
    };
    match meant {
        Some(meant) => {
            word.pop();
            word.push(meant);
        }
        None => word.push(char),
    }
}
