//! Without a collector nothing is made, read or told.

use spans::{Context, Span, SpanKind};

#[test]
fn nothing_is_made_read_or_told_while_traces_are_off() {
    assert!(!spans::is_on());
    let caller = spans::extract(|_| unreachable!("no header is looked at"));
    let span = Span::entering("call", SpanKind::Server, caller);
    assert_eq!((span.is_recorded(), span.trace_id()), (false, None));
    span.note(|| -> [_; 2] { unreachable!("nothing is noted") });
    let part = span.part("part", SpanKind::Client, &[&span]);
    assert_eq!(part.trace_id(), None);
    assert!(!Span::within("part", SpanKind::Client).is_recorded());
    assert!(Span::beginning("call", SpanKind::Server, Context::new()).is_nothing());
    spans::note(|| -> [_; 2] { unreachable!("nothing is noted") });
    spans::inject(|name, _| unreachable!("{name} is told"));
    assert_eq!(spans::current_id(), None);
    assert!(spans::current_recorded().is_none());
}
