//! The lines of a file, one after the other, and from an earlier one on again. Whatever the file is, little of it is
//! held.

use std::{collections::VecDeque, io, os::fd::AsFd, path::Path, sync::Arc};

use anyhow::ensure;
use jiff::Timestamp;
use proto::{Code, Failure, LogEntry, json::parse_line, limits::DATA_BYTES};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncSeekExt, BufReader, SeekFrom},
};
use uuid::Uuid;

use super::{hint, progress::Meter};
use crate::text::counted;

/// Longest line, in bytes: the longest entry with every byte escaped, and as much again of whatever else.
pub(super) const LINE_BYTES: usize = 8 * DATA_BYTES;

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Most that is held of what cannot be read again, in bytes.
const HELD_BYTES: usize = 16 * 1024 * 1024;

/// About what a line takes in memory besides its text.
const HELD_LINE_BYTES: usize = 48;

/// The names of our ids are lines.
const NAMESPACE: Uuid = Uuid::from_u128(0xc782_4aaa_6018_4931_b011_453d_4a6c_6807);

/// A line that is not blank.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// As it was, without its line feed; `None` if it is too long.
    pub(super) text: Option<Vec<u8>>,
    /// What it says.
    pub(super) entry: Result<LogEntry, Failure>,
    /// Just behind it.
    pub(super) end: Place,
}

/// A place between two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the line behind it, counted from 1.
    pub(super) line: u64,
    /// In the file, in bytes.
    offset: u64,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    reader: BufReader<File>,
    /// What has been read of the next line, up to one byte more than a line may have.
    part: Vec<u8>,
    /// How much of the next line has been read.
    part_bytes: u64,
    place: Place,
    /// What cannot be read again is held until it is settled; `None`: it is a file.
    held: Option<Held>,
    /// What the lines belong to, for the ids of those that bring none.
    source: Source,
    meter: Arc<Meter>,
}

/// What lines belong to.
#[derive(Debug)]
struct Source {
    name: String,
    /// It is the name of this input, and not of whatever comes by this way.
    own: bool,
    /// It is in the id of a line that brings none.
    used: bool,
}

/// Lines that are not settled.
#[derive(Debug, Default)]
struct Held {
    lines: VecDeque<RawLine>,
    /// The number of the first.
    first: u64,
    /// How many of them have been told since the last step back.
    told: usize,
    bytes: usize,
}

/// A line as it was read.
#[derive(Debug, Clone)]
struct RawLine {
    text: Vec<u8>,
    /// With its line feed, and with what is left out of `text`.
    bytes: u64,
}

impl Lines {
    /// Opens a file; `-` is standard input. `source` is what its lines belong to; by default the name of the file.
    ///
    /// # Errors
    /// If it cannot be read, or is a directory.
    pub(super) async fn open(path: &Path, source: Option<&str>, meter: Arc<Meter>) -> io::Result<Self> {
        let mut file = if path == Path::new("-") {
            // A handle of its own, so that one that leads to a file can be read again, too.
            File::from_std(io::stdin().as_fd().try_clone_to_owned()?.into())
        } else {
            File::open(path).await?
        };
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let offset = if metadata.is_file() { file.stream_position().await? } else { 0 };
        meter.set_total(metadata.is_file().then_some(metadata.len()));
        let held = (!metadata.is_file()).then(|| Held { first: 1, ..Held::default() });
        let reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = source.is_some() || (metadata.is_file() && path != Path::new("-"));
        let source = Source { name: source.map_or_else(name, str::to_owned), own, used: false };
        let place = Place { line: 1, offset };
        Ok(Lines { reader, part: Vec::new(), part_bytes: 0, place, held, source, meter })
    }

    /// Passes over the lines before a number. It may be the one after the last.
    ///
    /// # Errors
    /// If they cannot be read, or there are not so many.
    pub(super) async fn skip_to(&mut self, number: u64) -> anyhow::Result<()> {
        while self.place.line < number && self.raw().await?.is_some() {
            self.settle(self.place);
        }
        let lines = self.place.line - 1;
        ensure!(
            lines + 1 == number,
            "--from-line {number}: the file has only {}",
            counted(lines, "line", "lines")
        );
        Ok(())
    }

    /// Whether lines have got an id of a name that every standard input has: those of another one, equal and in the same
    /// place, have the same.
    pub(super) fn share_ids(&self) -> bool {
        self.source.used && !self.source.own
    }

    /// Where the next line begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Waits until there is a next line. Returns whether there is one, or the end.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn has_more(&mut self) -> io::Result<bool> {
        let told_again = self.held.as_ref().is_some_and(|held| held.told < held.lines.len());
        Ok(told_again || self.part_bytes > 0 || !self.reader.fill_buf().await?.is_empty())
    }

    /// The next line that is not blank; `None` at the end. Nothing is lost if it is dropped while it waits.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let number = self.place.line;
            let Some(RawLine { text, bytes }) = self.raw().await? else { return Ok(None) };
            self.meter.read(self.place.offset, number);
            if text.len() > LINE_BYTES {
                let entry = Err(too_long(bytes));
                return Ok(Some(Line { number, text: None, entry, end: self.place }));
            }
            if !text.trim_ascii().is_empty() {
                let entry = entry(&mut self.source, number, &text);
                return Ok(Some(Line { number, text: Some(text), entry, end: self.place }));
            }
        }
    }

    /// What comes before `place` is not asked for again.
    pub(super) fn settle(&mut self, place: Place) {
        let Some(held) = &mut self.held else { return };
        while held.first < place.line
            && let Some(line) = held.lines.pop_front()
        {
            held.first += 1;
            held.told = held.told.saturating_sub(1);
            held.bytes -= line.text.len() + HELD_LINE_BYTES;
        }
    }

    /// Goes on from `place`, which must not be settled.
    ///
    /// # Errors
    /// If the file cannot be read again.
    pub(super) async fn go_back(&mut self, place: Place) -> io::Result<()> {
        if place == self.place {
            return Ok(());
        }
        match &mut self.held {
            Some(held) => held.told = usize::try_from(place.line - held.first).unwrap_or(usize::MAX),
            None => {
                self.reader.seek(SeekFrom::Start(place.offset)).await?;
                self.part.clear();
                self.part_bytes = 0;
            }
        }
        self.place = place;
        Ok(())
    }

    /// Whether no more can be held, so that something must be settled first.
    pub(super) fn is_full(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.bytes >= HELD_BYTES)
    }

    async fn raw(&mut self) -> io::Result<Option<RawLine>> {
        let told = self.held.as_ref().and_then(|held| held.lines.get(held.told).cloned());
        let line = match told {
            Some(line) => Some(line),
            None => {
                let line = self.read().await?;
                if let (Some(held), Some(line)) = (&mut self.held, &line) {
                    held.bytes += line.text.len() + HELD_LINE_BYTES;
                    held.lines.push_back(line.clone());
                }
                line
            }
        };
        if let Some(line) = &line {
            self.place = Place { line: self.place.line + 1, offset: self.place.offset + line.bytes };
            if let Some(held) = &mut self.held {
                held.told += 1;
            }
        }
        Ok(line)
    }

    async fn read(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok((self.part_bytes > 0).then(|| self.take()));
            }
            let feed = available.iter().position(|byte| *byte == b'\n');
            let text = &available[..feed.unwrap_or(available.len())];
            let passed = feed.map_or(available.len(), |feed| feed + 1);
            let room = (LINE_BYTES + 1).saturating_sub(self.part.len());
            self.part.extend_from_slice(&text[..text.len().min(room)]);
            self.part_bytes += passed as u64;
            self.reader.consume(passed);
            if feed.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> RawLine {
        RawLine { text: std::mem::take(&mut self.part), bytes: std::mem::take(&mut self.part_bytes) }
    }
}

fn entry(source: &mut Source, number: u64, line: &[u8]) -> Result<LogEntry, Failure> {
    let mut draft = parse_line(line).map_err(|failure| hint::added_to(failure, line))?;
    if draft.transport.is_some() {
        return Err(hint::stored_entry());
    }
    let text = line.trim_ascii();
    draft.id.get_or_insert_with(|| {
        source.used = true;
        id(&source.name, number, text).to_string()
    });
    draft.check(Timestamp::now())
}

/// The id of a line that brings none: the same line of the same source always has the same.
fn id(source: &str, number: u64, text: &[u8]) -> Uuid {
    let name = [source.as_bytes(), b":", number.to_string().as_bytes(), b":", text].concat();
    Uuid::new_v5(&NAMESPACE, &name)
}

fn too_long(bytes: u64) -> Failure {
    Failure::new(Code::TooLarge, format!("the line has {bytes} bytes: the limit is {LINE_BYTES}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(name: &str) -> String {
        format!("{{\"name\":\"{name}\",\"data\":\"\"}}")
    }

    async fn lines(text: &[u8]) -> Lines {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text).expect("written");
        Lines::open(file.path(), Some("entries.ndjson"), Arc::default()).await.expect("it is there")
    }

    /// As [`lines`], but they cannot be read again.
    async fn stream(text: &[u8]) -> Lines {
        let mut lines = lines(text).await;
        lines.held = Some(Held { first: 1, ..Held::default() });
        lines
    }

    async fn rest(lines: &mut Lines) -> Vec<(u64, Result<String, Code>)> {
        let mut told = Vec::new();
        while let Some(line) = lines.next().await.expect("it can be read") {
            let entry = line.entry.map(|entry| entry.name().to_owned()).map_err(|failure| failure.code);
            told.push((line.number, entry));
        }
        told
    }

    #[tokio::test]
    async fn each_line_is_told_with_its_number() {
        let text = format!("{}\n\n  \r\n{}\r\nno json\n{}", line("a"), line("b"), line("c"));
        let mut lines = lines(text.as_bytes()).await;
        let told = rest(&mut lines).await;
        let names = [(1, Ok("a".into())), (4, Ok("b".into())), (5, Err(Code::BadJson)), (6, Ok("c".into()))];
        assert_eq!(told, names);
        assert_eq!(lines.place(), Place { line: 7, offset: text.len() as u64 });
    }

    #[tokio::test]
    async fn one_may_go_back_in_a_file_and_in_what_is_none() {
        let text: String = (0..100).map(|number| line(&number.to_string()) + "\n").collect();
        for mut lines in [lines(text.as_bytes()).await, stream(text.as_bytes()).await] {
            let mut places = Vec::new();
            for _ in 0..50 {
                places.push(lines.next().await.expect("read").expect("a line").end);
            }
            lines.settle(places[9]);
            lines.go_back(places[9]).await.expect("not settled");
            assert_eq!(lines.next().await.expect("read").expect("a line").number, 11);
            lines.settle(places[20]);
            lines.go_back(places[30]).await.expect("not settled");
            let told = rest(&mut lines).await;
            assert_eq!((told.len(), told[0].0, told[68].0), (69, 32, 100));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_again_is_held_up_to_a_limit() {
        let text = format!("{{\"name\":\"n\",\"data\":\"{}\"}}\n", "d".repeat(DATA_BYTES)).repeat(70);
        let mut lines = stream(text.as_bytes()).await;
        while !lines.is_full() {
            lines.next().await.expect("read").expect("the limit comes first");
        }
        let place = lines.place();
        lines.settle(place);
        assert!(!lines.is_full());
        assert_eq!(lines.held.as_ref().map(|held| (held.bytes, held.told)), Some((0, 0)));
        assert_eq!(lines.next().await.expect("read").expect("there are more").number, place.line);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_not_kept() {
        let longest = format!("{}{}", line("a"), " ".repeat(LINE_BYTES - line("a").len()));
        let text = format!("{longest}\n{longest} \n{}\n{}", "x".repeat(3 * LINE_BYTES), line("b"));
        let mut lines = lines(text.as_bytes()).await;
        let mut capacity = 0;
        let mut told = Vec::new();
        while let Some(line) = lines.next().await.expect("read") {
            capacity = capacity.max(lines.part.capacity());
            told.push(line.entry.map(|entry| entry.name().to_owned()).map_err(|failure| failure.code));
        }
        assert_eq!(told, [Ok("a".into()), Err(Code::TooLarge), Err(Code::TooLarge), Ok("b".into())]);
        assert!(capacity <= 2 * LINE_BYTES, "{capacity}");
    }

    #[tokio::test]
    async fn a_line_has_an_id_of_its_source_its_number_and_its_text() {
        let given = "01a1fc81-0c09-763f-8df2-a41011d222e4";
        let text = format!("{0}\n{0}\n{{\"name\":\"n\",\"data\":\"\",\"id\":\"{given}\"}}\n", line("a"));
        let mut ids = Vec::new();
        for mut lines in [lines(text.as_bytes()).await, stream(text.as_bytes()).await] {
            while let Some(line) = lines.next().await.expect("read") {
                ids.push(line.entry.expect("an entry").id());
            }
        }
        assert_eq!(ids[..3], ids[3..], "the same each time");
        assert_ne!(ids[0], ids[1], "the same text in another line is another entry");
        assert_eq!(ids[2].to_string(), given);
        // What an earlier release has loaded is found again.
        assert_eq!(id("entries.ndjson", 1, b"{}").to_string(), "5b8d8ede-ad7b-5488-88ab-8661c8c19550");
        assert_ne!(id("yesterday.ndjson", 1, b"{}"), id("entries.ndjson", 1, b"{}"));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_line_is_said_of_the_line() {
        for (text, code, words) in [
            ("  {", Code::BadJson, "column 3"),
            ("{\"name\":\"n\",\"data\":\"\",\"colour\":1}", Code::BadField, "`colour`"),
            ("{\"name\":\"n\",\"data\":\"\",\"transport\":\"rpc\"}", Code::BadField, "jq -c '{id,"),
            ("{\"name\":\"\",\"data\":\"\"}", Code::InvalidEntry, "name is empty"),
        ] {
            let mut source = Source { name: String::new(), own: true, used: false };
            let failure = entry(&mut source, 1, text.as_bytes()).expect_err(text);
            assert_eq!(failure.code, code);
            assert!(
                failure.message().contains(words) && !failure.message().contains("line 1"),
                "{}",
                failure.message()
            );
        }
    }

    #[tokio::test]
    async fn one_begins_where_one_is_told_to() {
        let text: String = (1..=10).map(|number| line(&number.to_string()) + "\n").collect();
        for (from, told) in [(1, 10), (4, 7), (10, 1), (11, 0)] {
            for mut lines in [lines(text.as_bytes()).await, stream(text.as_bytes()).await] {
                lines.skip_to(from).await.expect("read");
                assert_eq!(rest(&mut lines).await.len(), told);
            }
        }
        for (from, text, words) in [(12, text.as_str(), "10 lines"), (3, "{}", "1 line"), (2, "", "0 lines")]
        {
            for mut lines in [lines(text.as_bytes()).await, stream(text.as_bytes()).await] {
                let error = lines.skip_to(from).await.expect_err("there are fewer").to_string();
                assert_eq!(error, format!("--from-line {from}: the file has only {words}"));
            }
        }
    }
}
