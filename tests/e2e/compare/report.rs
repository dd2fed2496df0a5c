//! The report of `compare`, in a real browser: what is read first, and whether it can be read.

use ::compare::{
    plan::Plan,
    record::Record,
    report,
    workload::{BASE_CALLERS, BASE_PAYLOAD, Subject},
};
use proto::Transport;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::browser::{Browser, Screen};

use super::sample;

const SCREENS: [Screen; 6] = [
    Screen { width: 1280, height: 900, dark: false },
    Screen { width: 1280, height: 900, dark: true },
    Screen { width: 768, height: 900, dark: false },
    Screen { width: 768, height: 900, dark: true },
    Screen { width: 390, height: 844, dark: false },
    Screen { width: 390, height: 844, dark: true },
];

/// The report of a run, open in a browser.
struct Report {
    browser: Browser,
    _directory: TempDir,
}

impl Report {
    async fn open(record: &Record) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        report::write(record, directory.path()).expect("it is written");
        let browser = Browser::start("en-US").await;
        browser.open(&format!("file://{}", directory.path().join("report.html").display())).await;
        Report { browser, _directory: directory }
    }

    /// The two sentences.
    async fn answer(&self) -> String {
        let text =
            self.browser.value("[...document.querySelectorAll('.answer')].map((p) => p.innerText).join(' ')");
        text.await.as_str().expect("a text").to_owned()
    }

    /// What a script finds wrong, in words.
    async fn wrong(&self, script: &str) -> Vec<String> {
        let found: Value = self.browser.run(script, json!([])).await;
        serde_json::from_value(found).expect("a list of words")
    }
}

#[tokio::test]
async fn the_first_screen_says_which_transport_to_take_and_shows_it() {
    let record = sample::record(Plan::usual());
    let report = Report::open(&record).await;
    report.browser.see(Screen { width: 1280, height: 900, dark: false }).await;
    let answer = report.answer().await;
    assert!(answer.starts_with("For the most entries per second take rpc: it wins 12 cells by"), "{answer}");
    assert!(answer.contains("99 of 100 entries are stored within"), "{answer}");
    assert_eq!(report.browser.text("figcaption strong").await, "Time to stored by rate, p99");
    let below =
        report.browser.value("document.querySelector('figure').getBoundingClientRect().bottom - innerHeight");
    let below = below.await.as_f64().expect("a number");
    assert!(below <= 0.0, "the picture goes {below} px below the first screen");
}

#[tokio::test]
async fn a_run_without_verdicts_says_that_it_is_too_short() {
    let report = Report::open(&sample::record(Plan::quick())).await;
    let answer = report.answer().await;
    assert!(answer.starts_with("This run is too short to say which transport is the fastest"), "{answer}");
    assert!(!answer.contains("take rpc"), "{answer}");
}

#[tokio::test]
async fn each_transport_has_its_colour_and_shape_in_both_schemes() {
    let report = Report::open(&sample::record(Plan::usual())).await;
    for (dark, colours) in [
        (false, ["rgb(31, 79, 216)", "rgb(168, 79, 0)", "rgb(122, 44, 192)", "rgb(8, 115, 94)"]),
        (true, ["rgb(143, 179, 255)", "rgb(255, 178, 101)", "rgb(208, 164, 255)", "rgb(94, 214, 189)"]),
    ] {
        report.browser.see(Screen { width: 1280, height: 900, dark }).await;
        for ((transport, colour), shape) in
            Transport::ALL.into_iter().zip(colours).zip(["circle", "path", "rect", "path"])
        {
            let drawn = "const [name, shape] = arguments; \
                return [...document.querySelectorAll(`figure svg.wide .of-${name} .shape > *, \
                    .mark.of-${name} svg > *`)] \
                    .map((mark) => `${mark.tagName} ${getComputedStyle(mark).fill}`)";
            let drawn = report.browser.run(drawn, json!([transport.as_str(), shape])).await;
            let drawn: Vec<String> = serde_json::from_value(drawn).expect("a list of words");
            assert!(drawn.len() > 10, "{transport}: {drawn:?}");
            assert!(drawn.iter().all(|mark| *mark == format!("{shape} {colour}")), "{transport}: {drawn:?}");
        }
    }
}

#[tokio::test]
async fn everything_can_be_read_on_every_screen() {
    let report = Report::open(&sample::record(Plan::usual())).await;
    for screen in SCREENS {
        report.browser.see(screen).await;
        let wide = report.browser.value("document.documentElement.scrollWidth - innerWidth").await;
        assert!(wide.as_i64().expect("a number") <= 0, "{screen:?}: {wide} px too wide");
        let small = "return [...document.querySelectorAll('figure svg text')] \
            .map((text) => [text.textContent, text.getBoundingClientRect().height]) \
            .filter(([, height]) => height > 0 && height < 11).map(([text, height]) => `${text}: ${height} px`)";
        assert_eq!(report.wrong(small).await, Vec::<String>::new(), "{screen:?}: too small to read");
        let twice = "return [...document.querySelectorAll('figure svg')].flatMap((picture) => { \
            const ticks = [...picture.querySelectorAll('.tick')] \
                .map((text) => `${text.textContent} ${text.getAttribute('text-anchor')}`); \
            return ticks.filter((tick, at) => ticks.indexOf(tick) !== at || ticks.length < 4); })";
        assert_eq!(
            report.wrong(twice).await,
            Vec::<String>::new(),
            "{screen:?}: an axis names a value twice, or none"
        );
        let over = "return [...document.querySelectorAll('figure svg')].flatMap((picture) => { \
            const texts = [...picture.querySelectorAll('text')] \
                .map((text) => [text.textContent, text.getBoundingClientRect()]) \
                .filter(([, box]) => box.width > 0); \
            return texts.flatMap(([name, a], at) => texts.slice(at + 1).filter(([, b]) => \
                a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3) \
                .map(([other]) => `${name} and ${other}`)); })";
        assert_eq!(report.wrong(over).await, Vec::<String>::new(), "{screen:?}: texts lie over each other");
        let outside = "return [...document.querySelectorAll('figure')].flatMap((figure) => { \
            const edge = figure.getBoundingClientRect(); \
            return [...figure.querySelectorAll('svg text')].filter((text) => { \
                const box = text.getBoundingClientRect(); \
                return box.width > 0 && (box.right > edge.right || box.left < edge.left); }) \
                .map((text) => text.textContent); })";
        assert_eq!(report.wrong(outside).await, Vec::<String>::new(), "{screen:?}: outside of its picture");
    }
}

#[tokio::test]
async fn cpu_time_is_one_figure_in_the_picture_the_table_and_the_terminal() {
    let record = sample::record(Plan::usual());
    let report = Report::open(&record).await;
    let terminal = report::summary(&record);
    for subject in Subject::ALL {
        let row = record.grid(subject, BASE_PAYLOAD, BASE_CALLERS).expect("it was measured");
        let figure = format!("{:.1} µs", row.system_us());
        let line = terminal.lines().find(|line| line.starts_with(subject.as_str())).expect("a row");
        assert!(line.contains(&figure), "{line} has {figure}");
        let shown = "const name = arguments[0]; \
            const bars = [...document.querySelectorAll('figure')] \
                .find((figure) => figure.innerText.startsWith('CPU time')); \
            const rows = [...bars.querySelectorAll('svg.wide .name')].map((text) => text.textContent); \
            const sums = [...bars.querySelectorAll('svg.wide .sum')].map((text) => text.textContent); \
            const table = [...document.querySelectorAll('td')].map((cell) => cell.textContent); \
            return [sums[rows.indexOf(name)], table.includes(arguments[1])]";
        let shown = report.browser.run(shown, json!([subject.as_str(), figure])).await;
        assert_eq!(shown, json!([figure, true]), "{}", subject.as_str());
    }
}

#[tokio::test]
async fn the_parts_of_a_bar_are_told_apart_without_any_colour() {
    let report = Report::open(&sample::record(Plan::usual())).await;
    let fills = "return [0, 1, 2, 3] \
        .map((part) => getComputedStyle(document.querySelector(`.legend .part-${part}`)).fill)";
    let fills = report.wrong(fills).await;
    assert!(fills[2].contains("#lines") && fills[3].contains("#dots"), "{fills:?}");
    assert_eq!((fills[0].as_str(), fills[1].as_str()), ("rgb(26, 33, 48)", "rgb(255, 255, 255)"));
}
