//! nginx's configuration as a tree: just enough to see server blocks, listeners and includes.
//!
//! The text comes from `nginx -T`, so nginx itself has accepted it; what is read here decides
//! nothing but where hooks are, and is bounded all the same. Tokens follow `ngx_conf_read_token`:
//! quotes, backslashes, `${name}`, comments at the start of a word.

use crate::hook::glob;

/// One file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// As nginx names it: absolute.
    pub path: String,
    pub text: String,
}

/// `name args… ;` or `name args… { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub name: String,
    pub args: Vec<String>,
    pub block: Option<Vec<Directive>>,
    /// Its place: which file, the line of its name (from 1), and the offset behind its `{`.
    pub file: usize,
    pub line: usize,
    pub inside: usize,
}

/// A text that is not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}: {what}")]
pub(super) struct Misread {
    path: String,
    line: usize,
    what: &'static str,
}

/// Deeper nesting than any configuration has; nginx's own blocks go to about 8.
const DEPTH_MAX: usize = 64;

/// Includes within includes; nginx itself has no limit and no loops survive its test.
const INCLUDES_MAX: usize = 32;

/// Splits what `nginx -T` prints: each file behind a line that names it, and a line end after it.
pub(super) fn split_dump(dump: &str) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for line in dump.split_inclusive('\n') {
        let header =
            line.trim_end().strip_prefix("# configuration file ").and_then(|rest| rest.strip_suffix(':'));
        match (header, files.last_mut()) {
            (Some(path), _) if path.starts_with('/') => {
                files.push(File { path: path.to_owned(), text: String::new() });
            }
            (_, Some(file)) => file.text.push_str(line),
            (_, None) => (),
        }
    }
    for file in &mut files {
        if file.text.ends_with('\n') {
            file.text.pop();
        }
    }
    files
}

/// A configuration, read.
pub(super) struct Config {
    pub files: Vec<File>,
    trees: Vec<Vec<Directive>>,
    /// What relative includes are relative to: the folder of the first file.
    prefix: String,
}

impl Config {
    /// Reads every file. The first one is the main one.
    pub(super) fn read(files: Vec<File>) -> Result<Config, Misread> {
        let trees = files.iter().enumerate().map(|(n, file)| parse(file, n)).collect::<Result<_, _>>()?;
        let main = files.first().map(|file| file.path.as_str()).unwrap_or_default();
        let prefix = main.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        Ok(Config { files, trees, prefix })
    }

    /// The main context, with what it includes.
    pub(super) fn main(&self) -> Vec<&Directive> {
        self.with_includes(self.trees.first().map(Vec::as_slice).unwrap_or_default())
    }

    /// The directives of a block, each `include` followed by what it includes.
    pub(super) fn inside<'a>(&'a self, block: &'a Directive) -> Vec<&'a Directive> {
        self.with_includes(block.block.as_deref().unwrap_or_default())
    }

    /// Whether an include in the block would read a file of that name.
    pub(super) fn would_include(&self, block: &Directive, path: &str) -> bool {
        self.inside(block).iter().any(|d| self.pattern(d).is_some_and(|pattern| glob(&pattern, path)))
    }

    /// What an `include` names, made absolute.
    pub(super) fn pattern(&self, include: &Directive) -> Option<String> {
        let pattern = include.args.first().filter(|_| include.name == "include")?;
        Some(if pattern.starts_with('/') { pattern.clone() } else { format!("{}{pattern}", self.prefix) })
    }

    fn with_includes<'a>(&'a self, directives: &'a [Directive]) -> Vec<&'a Directive> {
        let mut found = Vec::new();
        self.collect(directives, INCLUDES_MAX, &mut found);
        found
    }

    fn collect<'a>(&'a self, directives: &'a [Directive], depth: usize, found: &mut Vec<&'a Directive>) {
        for directive in directives {
            found.push(directive);
            let Some(pattern) = self.pattern(directive).filter(|_| depth > 0) else { continue };
            // Only files that nginx did include are in the dump, in any order.
            for (file, tree) in self.files.iter().zip(&self.trees) {
                if glob(&pattern, &file.path) {
                    self.collect(tree, depth - 1, found);
                }
            }
        }
    }
}

fn parse(file: &File, number: usize) -> Result<Vec<Directive>, Misread> {
    let mut reader = Reader { text: file.text.as_bytes(), at: 0, line: 1 };
    let misread = |reader: &Reader, what| Misread { path: file.path.clone(), line: reader.line, what };
    // Innermost last: the directives so far of each open block, with its opening one.
    let mut open: Vec<(Option<Directive>, Vec<Directive>)> = vec![(None, Vec::new())];
    let mut words: Vec<String> = Vec::new();
    let mut line = 1;
    while let Some(token) = reader.token().map_err(|what| misread(&reader, what))? {
        match token {
            Token::Word(word) => {
                if words.is_empty() {
                    line = reader.line;
                }
                words.push(word);
            }
            Token::End | Token::Open => {
                let mut parts = std::mem::take(&mut words).into_iter();
                let name = parts.next().ok_or_else(|| misread(&reader, "a directive without a name"))?;
                let lua = name.ends_with("_by_lua_block");
                let directive = Directive {
                    name,
                    args: parts.collect(),
                    block: None,
                    file: number,
                    line,
                    inside: reader.at,
                };
                if token == Token::Open && lua {
                    reader.skip_lua().map_err(|what| misread(&reader, what))?;
                } else if token == Token::Open {
                    if open.len() == DEPTH_MAX {
                        return Err(misread(&reader, "blocks nested too deeply"));
                    }
                    open.push((Some(directive), Vec::new()));
                    continue;
                }
                if let Some((_, siblings)) = open.last_mut() {
                    siblings.push(directive);
                }
            }
            Token::Close => {
                let (Some((Some(mut block), children)), true) = (open.pop(), words.is_empty()) else {
                    return Err(misread(&reader, "an unexpected }"));
                };
                block.block = Some(children);
                if let Some((_, siblings)) = open.last_mut() {
                    siblings.push(block);
                }
            }
        }
    }
    match (open.pop(), open.is_empty() && words.is_empty()) {
        (Some((_, directives)), true) => Ok(directives),
        _ => Err(misread(&reader, "the file ends within a directive")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn token(&mut self) -> Result<Option<Token>, &'static str> {
        loop {
            match self.peek() {
                None => return Ok(None),
                Some(b' ' | b'\t' | b'\r' | b'\n') => drop(self.next()),
                Some(b'#') => while self.next().is_some_and(|b| b != b'\n') {},
                Some(b';') => return Ok(self.single(Token::End)),
                Some(b'{') => return Ok(self.single(Token::Open)),
                Some(b'}') => return Ok(self.single(Token::Close)),
                Some(quote @ (b'"' | b'\'')) => {
                    return self.quoted(quote).map(|word| Some(Token::Word(word)));
                }
                Some(_) => return Ok(Some(Token::Word(self.bare()))),
            }
        }
    }

    fn single(&mut self, token: Token) -> Option<Token> {
        self.next();
        Some(token)
    }

    fn quoted(&mut self, quote: u8) -> Result<String, &'static str> {
        self.next();
        let mut word = Vec::new();
        loop {
            match self.next() {
                None => return Err("a quote that does not end"),
                Some(byte) if byte == quote => return Ok(lossy(word)),
                Some(b'\\') => self.escape(&mut word),
                Some(byte) => word.push(byte),
            }
        }
    }

    fn bare(&mut self) -> String {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                // `${name}` is part of a word, any other brace opens a block.
                b'{' if word.last() != Some(&b'$') => break,
                _ => (),
            }
            self.next();
            if byte == b'\\' { self.escape(&mut word) } else { word.push(byte) }
        }
        lossy(word)
    }

    /// What follows a backslash: quotes, blanks and letters for white space lose it, the rest keeps
    /// it (it may belong to a regular expression).
    fn escape(&mut self, word: &mut Vec<u8>) {
        match self.next() {
            Some(byte @ (b'"' | b'\'' | b'\\')) => word.push(byte),
            Some(b't') => word.push(b'\t'),
            Some(b'r') => word.push(b'\r'),
            Some(b'n') => word.push(b'\n'),
            Some(byte) => word.extend([b'\\', byte]),
            None => word.push(b'\\'),
        }
    }

    /// Passes over a block of Lua, whose braces balance outside strings and comments.
    fn skip_lua(&mut self) -> Result<(), &'static str> {
        let mut depth = 1;
        while depth > 0 {
            match self.next().ok_or("a block of Lua that does not end")? {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                quote @ (b'"' | b'\'') => {
                    while self.next().is_some_and(|b| b != quote) {
                        if self.text.get(self.at.wrapping_sub(1)) == Some(&b'\\') {
                            self.next();
                        }
                    }
                }
                b'-' if self.peek() == Some(b'-') => while self.next().is_some_and(|b| b != b'\n') {},
                _ => (),
            }
        }
        Ok(())
    }
}

fn lossy(word: Vec<u8>) -> String {
    String::from_utf8(word).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Directive>, Misread> {
        parse(&File { path: "/n.conf".into(), text: text.into() }, 0)
    }

    fn printed(directives: &[Directive]) -> String {
        let print = |d: &Directive| {
            let block = d.block.as_ref().map(|b| format!("{{{}}}", printed(b))).unwrap_or_default();
            format!("{}{:?}{block}@{} ", d.name, d.args, d.line)
        };
        directives.iter().map(print).collect()
    }

    #[test]
    fn words_quotes_comments_and_blocks_are_nginx_s() {
        let text = "user www; # a { comment\nhttp {\n  map $a $b { default 0; \"~*^a;{b}\\\"\" 'x y'; }\n\
                    log_format x '$a # no comment'; set $c a#b; set $d ${e}f;\n}\n";
        assert_eq!(
            printed(&read(text).unwrap()),
            "user[\"www\"]@1 http[]{map[\"$a\", \"$b\"]{default[\"0\"]@3 ~*^a;{b}\"[\"x y\"]@3 }@3 \
             log_format[\"x\", \"$a # no comment\"]@4 set[\"$c\", \"a#b\"]@4 set[\"$d\", \"${e}f\"]@4 }@2 "
        );
    }

    #[test]
    fn a_block_of_lua_is_passed_over() {
        let text =
            "location / { content_by_lua_block { local t = {a = \"}\", b = '\\'}'} -- }\n } return 200; }";
        assert_eq!(
            printed(&read(text).unwrap()),
            "location[\"/\"]{content_by_lua_block[]@1 return[\"200\"]@2 }@1 "
        );
    }

    #[test]
    fn what_is_not_a_configuration_is_named_with_its_line() {
        for (text, line, what) in [
            ("a;\nb", 2, "ends within"),
            ("a {\n", 2, "ends within"),
            ("a;\n}\n", 2, "unexpected }"),
            ("\n;", 2, "without a name"),
            ("a \"b;\n", 2, "quote"),
            ("a { b }", 1, "unexpected }"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
        }
        assert!(read(&"a {".repeat(100_000)).unwrap_err().what.contains("deeply"));
    }

    #[test]
    fn includes_are_followed_through_the_dump() {
        let dump = "# configuration file /e/nginx.conf:\nhttp { include conf.d/*.conf; include /e/none; }\n\n\
                    # configuration file /e/conf.d/a.conf:\nserver { listen 80; }\n\n";
        let config = Config::read(split_dump(dump)).unwrap();
        assert_eq!(config.files[1].text, "server { listen 80; }\n");
        let http = config.main()[0];
        let names: Vec<&str> = config.inside(http).iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["include", "server", "include"]);
        assert!(config.would_include(http, "/e/conf.d/stopgap.conf"));
        assert!(!config.would_include(http, "/e/conf.d/stopgap"));
    }
}
