//! The names in an expression of PromQL.

/// Words that stand between operands, and are no names.
const OPERATORS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

/// Words before a list of labels.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The series.
    pub selectors: Vec<Selector>,
    /// The labels that it groups or joins by.
    pub labels: Vec<String>,
}

/// A metric, and what its labels have to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Selector {
    /// Its name.
    pub metric: String,
    /// All must hold.
    pub matchers: Vec<Matcher>,
}

/// What a label has to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Matcher {
    /// Its name.
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub operator: String,
    /// The value, or the expression.
    pub value: String,
}

impl Query {
    /// Reads an expression. It knows no function by its name: what stands before a parenthesis is one.
    ///
    /// # Errors
    /// If it is none that this reader understands.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let tokens = tokens(expression)?;
        let mut query = Query::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let Token::Word(word) = token else {
                if *token == Token::Sign('{') {
                    return Err("a selector without the name of a metric".to_owned());
                }
                continue;
            };
            let next = tokens.get(at);
            if GROUPINGS.contains(&word.as_str()) {
                if next == Some(&Token::Sign('(')) {
                    let list = tokens[at..].iter().take_while(|token| **token != Token::Sign(')'));
                    let count = list.clone().count();
                    query.labels.extend(list.filter_map(Token::word));
                    at += count;
                }
                continue;
            }
            let is_function = next == Some(&Token::Sign('('))
                || next.and_then(Token::word).is_some_and(|next| matches!(next.as_str(), "by" | "without"));
            if is_function || OPERATORS.contains(&word.to_lowercase().as_str()) {
                continue;
            }
            let mut selector = Selector { metric: word.clone(), matchers: Vec::new() };
            if next == Some(&Token::Sign('{')) {
                at += 1;
                at += matchers(&tokens[at..], &mut selector.matchers)?;
            }
            query.selectors.push(selector);
        }
        Ok(query)
    }
}

/// Reads matchers up to the closing brace; says how many tokens they are.
fn matchers(tokens: &[Token], matchers: &mut Vec<Matcher>) -> Result<usize, String> {
    let mut at = 0;
    loop {
        match &tokens[at.min(tokens.len())..] {
            [Token::Sign('}'), ..] => return Ok(at + 1),
            [Token::Sign(','), ..] => at += 1,
            [Token::Word(label), Token::Matches(operator), Token::Text(value), ..] => {
                let (label, operator, value) = (label.clone(), operator.clone(), value.clone());
                matchers.push(Matcher { label, operator, value });
                at += 3;
            }
            other => return Err(format!("no matcher: {other:?}")),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    /// An operator of a matcher.
    Matches(String),
    Sign(char),
}

impl Token {
    fn word(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.clone()),
            Token::Text(_) | Token::Matches(_) | Token::Sign(_) => None,
        }
    }
}

/// Numbers, durations, ranges and the variables of a dashboard are left out.
fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let word_end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let taken = match first {
            '"' => {
                let (text, after) = super::parse_text(&rest[1..])?;
                tokens.push(Token::Text(text));
                rest.len() - after.len()
            }
            '[' => rest.find(']').ok_or("a range that does not end")? + 1,
            '$' => 1 + rest[1..].find(|c| !in_word(c)).unwrap_or(rest.len() - 1),
            '0'..='9' => rest.find(|c| !in_word(c) && c != '.').unwrap_or(rest.len()),
            _ if word_end > 0 => {
                tokens.push(Token::Word(rest[..word_end].to_owned()));
                word_end
            }
            '=' | '!' => {
                let two = rest.get(..2).filter(|two| matches!(*two, "=~" | "!~" | "!=" | "=="));
                let operator = two.unwrap_or(&rest[..1]);
                tokens.push(Token::Matches(operator.to_owned()));
                operator.len()
            }
            sign => {
                tokens.push(Token::Sign(sign));
                sign.len_utf8()
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(expression: &str) -> (Vec<String>, Vec<String>) {
        let query = Query::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        (query.selectors.into_iter().map(|selector| selector.metric).collect(), query.labels)
    }

    #[test]
    fn metrics_are_told_from_functions_keywords_labels_and_numbers() {
        for (expression, metrics, labels) in [
            ("up", &["up"][..], &[][..]),
            ("sum by (a, b) (rate(x_total[5m])) > 0.05", &["x_total"], &["a", "b"]),
            ("sum(rate(x_total[$__rate_interval])) without (c)", &["x_total"], &["c"]),
            ("histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))", &["x_bucket"], &["le"]),
            ("a / on (job) group_left (version) b", &["a", "b"], &["job", "version"]),
            ("max(a) > 1000 and min(b offset 5m) >= bool 1e3", &["a", "b"], &[]),
            ("a == 0 or c{d=~\"by|sum\", e!=\"(f)\"} unless g", &["a", "c", "g"], &[]),
            ("time() - x_seconds", &["x_seconds"], &[]),
        ] {
            let (found, grouped) = named(expression);
            assert_eq!(found, metrics, "{expression}");
            assert_eq!(grouped, labels, "{expression}");
        }
    }

    #[test]
    fn matchers_are_read_with_their_metric() {
        let query = Query::parse("x{a=\"b\",c=~\"d|e\"} + y").expect("an expression");
        let matcher = |label: &str, operator: &str, value: &str| Matcher {
            label: label.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(query.selectors[0].matchers, [matcher("a", "=", "b"), matcher("c", "=~", "d|e")]);
        assert_eq!(query.selectors[1], Selector { metric: "y".to_owned(), matchers: Vec::new() });
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for expression in ["{job=\"a\"}", "x{a}", "x{a=\"b\"", "x[5m", "x{a=\"b}"] {
            assert!(Query::parse(expression).is_err(), "{expression}");
        }
    }
}
