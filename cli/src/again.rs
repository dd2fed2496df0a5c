//! The command that goes on where this one stopped.

/// An option, and whether a value follows it.
pub(crate) type Dropped = (&'static str, bool);

/// This command line again, without the options `dropped` and with `added`, to be typed into a shell.
pub(crate) fn again(dropped: &[Dropped], added: &[String]) -> String {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    rewritten(arguments, dropped, added)
}

fn rewritten(arguments: impl Iterator<Item = String>, dropped: &[Dropped], added: &[String]) -> String {
    let mut arguments = arguments;
    let mut words: Vec<String> = Vec::new();
    while let Some(argument) = arguments.next() {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (argument.as_str(), None),
        };
        if let Some((_, takes_value)) = dropped.iter().find(|(name, _)| *name == option) {
            if *takes_value && value.is_none() {
                arguments.next();
            }
        } else if option == "--amqp-url" {
            // It holds a password, and what is said here may be kept.
            words.push("--amqp-url=…".to_owned());
            if value.is_none() {
                arguments.next();
            }
        } else {
            words.push(quoted(&argument));
        }
    }
    // Behind `--` they would be no options.
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    words.splice(end..end, added.iter().map(|word| quoted(word)));
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).expect("no argument of a process has a NUL in it").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str, dropped: &[Dropped], added: &[&str]) -> String {
        let added: Vec<String> = added.iter().map(|word| (*word).to_owned()).collect();
        rewritten(line.split(' ').map(str::to_owned), dropped, &added)
    }

    #[test]
    fn a_place_takes_the_place_of_the_one_before() {
        let dropped = [("--from-line", true), ("--from-start", false)];
        for line in [
            "fourwire load a --from-line 3 -x",
            "fourwire load a -x --from-line=3",
            "fourwire load a --from-start -x",
        ] {
            assert_eq!(after(line, &dropped, &["--from-line", "7"]), "fourwire load a -x --from-line 7");
        }
    }

    #[test]
    fn what_is_added_stands_before_the_end_of_the_options() {
        let line = after("fourwire load -- -weird.ndjson", &[], &["--from-line", "7"]);
        assert_eq!(line, "fourwire load --from-line 7 -- -weird.ndjson");
    }

    #[test]
    fn a_password_is_left_out() {
        for line in
            ["fourwire --amqp-url amqp://u:hidden@h/ load a", "fourwire --amqp-url=amqp://u:hidden@h/ load a"]
        {
            assert_eq!(after(line, &[], &[]), "fourwire --amqp-url=… load a");
        }
    }

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        for word in ["a b", "it's", "", "$x", "a/b.c", "ж", "!a\\"] {
            assert_eq!(shlex::split(&quoted(word)), Some(vec![word.to_owned()]), "{word}");
        }
        assert_eq!((quoted("a/b.c"), quoted("a b")), ("a/b.c".to_owned(), "'a b'".to_owned()));
    }
}
