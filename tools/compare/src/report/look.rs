//! How the transports look wherever they are shown: the colours and shapes of the broker's page, so that who knows one
//! reads the other. Who cannot tell the colours apart has the shapes and the names.

use maud::{Markup, html};
use proto::Transport;

use crate::workload::Subject;

/// The class whose `--own` is its colour.
pub(super) const fn class(subject: Subject) -> &'static str {
    match subject {
        Subject::Transport(Transport::Http) => "of-http",
        Subject::Transport(Transport::Rpc) => "of-rpc",
        Subject::Transport(Transport::Rabbitmq) => "of-rabbitmq",
        Subject::Transport(Transport::Grpc) => "of-grpc",
        Subject::Echo => "of-echo",
    }
}

/// Its shape, in a square of twelve.
pub(super) fn shape(subject: Subject) -> Markup {
    html! {
        @match subject {
            Subject::Transport(Transport::Http) => { circle cx="6" cy="6" r="5" {} }
            Subject::Transport(Transport::Rpc) => { path d="M6 .8 11.6 11H.4Z" {} }
            Subject::Transport(Transport::Rabbitmq) => { rect x="1.2" y="1.2" width="9.6" height="9.6" {} }
            Subject::Transport(Transport::Grpc) => { path d="M6 0 12 6 6 12 0 6Z" {} }
            Subject::Echo => { path d="M1 4.5H11V7.5H1Z" {} }
        }
    }
}

/// Its name behind its mark.
pub(super) fn named(subject: Subject) -> Markup {
    html! {
        span class={ "mark " (class(subject)) } {
            svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" { (shape(subject)) }
            (subject.as_str())
        }
    }
}

/// The same of a transport.
pub(super) fn transport(transport: Transport) -> Markup {
    named(Subject::Transport(transport))
}

#[cfg(test)]
mod tests {
    const PAGE: &str = include_str!("../../../../broker/page/page.css");
    const MARKS: &str = include_str!("../../../../broker/page/marks.js");
    const REPORT: &str = include_str!("report.css");

    /// The values of a variable, that of the light scheme first.
    fn values<'a>(css: &'a str, name: &str) -> Vec<&'a str> {
        let lines = css.lines().map(str::trim);
        lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    }

    #[test]
    fn the_colours_are_those_of_the_page_in_both_schemes() {
        for name in
            ["--http", "--rpc", "--rabbitmq", "--grpc", "--ground", "--card", "--text", "--quiet", "--line"]
        {
            let own = values(REPORT, name);
            assert_eq!(own.len(), 2, "{name} has a light and a dark value");
            assert_eq!(own, values(PAGE, name), "{name}");
        }
    }

    /// What Grafana draws for each transport: it has no shapes, and is dark unless it is told otherwise.
    #[test]
    fn the_dashboard_has_the_colours_of_the_dark_scheme() {
        let dashboard = include_str!("../../../../deploy/grafana/fourwire.json");
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("JSON");
        let mut seen = 0;
        for panel in dashboard["panels"].as_array().expect("panels") {
            let targets = panel["targets"].as_array().into_iter().flatten();
            let legends: Vec<&str> = targets.filter_map(|target| target["legendFormat"].as_str()).collect();
            if !legends.iter().any(|legend| legend.contains("{{transport}}")) {
                continue;
            }
            for name in proto::Transport::ALL.map(proto::Transport::as_str) {
                let overrides = panel["fieldConfig"]["overrides"].as_array().expect("overrides");
                let own = overrides.iter().find(|own| own["matcher"]["options"] == format!(r"/\b{name}\b/"));
                let colour = own.map(|own| own["properties"][0]["value"]["fixedColor"].as_str());
                let dark = values(PAGE, &format!("--{name}"))[1].trim_end_matches(';');
                assert_eq!(colour, Some(Some(dark)), "{name} of {}", panel["title"]);
            }
            seen += 1;
        }
        assert!(seen > 10, "the panels are found");
    }

    #[test]
    fn the_shapes_are_those_of_the_page() {
        for (transport, path) in [("rpc", "M6 .8 11.6 11H.4Z"), ("grpc", "M6 0 12 6 6 12 0 6Z")] {
            assert!(MARKS.contains(path), "{transport}");
        }
        assert!(MARKS.contains("http: () => svg('circle'"), "http");
        assert!(MARKS.contains("rabbitmq: () => svg('rect'"), "rabbitmq");
    }
}
