use futures_util::FutureExt;

use super::*;

fn holding(share: &Share, bytes: usize) -> Part {
    let mut part = share.part();
    part.grow(bytes).expect("there is room");
    part
}

fn free(room: &Room) -> usize {
    room.0.free_bytes.load(Ordering::Relaxed)
}

#[tokio::test]
async fn who_holds_most_gives_way_and_a_newcomer_is_served() {
    let room = Room::new(60, 100);
    let [small, large, newcomer] = [(); 3].map(|()| room.share(None));
    let small = holding(&small, 40);
    let large = holding(&large, 60);
    let newcomer = holding(&newcomer, 10);
    assert!(large.gave_way().now_or_never().is_some());
    assert!(small.gave_way().now_or_never().is_none());
    assert_eq!(free(&room), 50);
    drop((small, large, newcomer));
    assert_eq!(free(&room), 100, "what gave way is not given back twice");
}

#[tokio::test]
async fn who_would_hold_most_itself_is_refused() {
    let room = Room::new(60, 100);
    let [first, second, third] = [(); 3].map(|()| room.share(None));
    let (first, _second) = (holding(&first, 50), holding(&second, 40));
    let mut greedy = third.part();
    greedy.grow(10).expect("there is room");
    assert_eq!(greedy.grow(40), Err(NoRoom));
    assert!(first.gave_way().now_or_never().is_none());
    greedy.empty();
    assert_eq!(greedy.grow(61), Err(NoRoom), "one connection has its own limit");
    assert_eq!(free(&room), 10);
}

#[tokio::test(start_paused = true)]
async fn who_only_holds_gives_way_before_one_that_holds_more_and_goes_on() {
    let room = Room::new(100, 100);
    let [busy, stale, newcomer] = [(); 3].map(|()| room.share(None));
    let stale = holding(&stale, 20);
    let large = holding(&busy, 70);
    tokio::time::advance(STALE).await;
    // A message of it has ended.
    drop(holding(&busy, 10));
    let newcomer = holding(&newcomer, 20);
    assert!(stale.gave_way().now_or_never().is_some());
    assert!(large.gave_way().now_or_never().is_none());
    drop((large, stale, newcomer));
    assert_eq!(free(&room), 100);
}

#[tokio::test]
async fn all_parts_of_a_connection_give_way_and_it_may_begin_anew() {
    let room = Room::new(100, 100);
    let (many, other) = (room.share(None), room.share(None));
    let mut parts: Vec<Part> = (0..10).map(|_| holding(&many, 10)).collect();
    let _other = holding(&other, 5);
    assert!(parts.iter().all(|part| part.gave_way().now_or_never().is_some()));
    assert_eq!(parts[0].grow(1), Err(NoRoom), "what it is for was given up");
    parts.clear();
    let _new = holding(&many, 90);
    assert_eq!(free(&room), 5);
}

#[tokio::test]
async fn what_is_there_as_a_whole_gives_way_to_nobody_and_counts_on() {
    let room = Room::new(100, 100);
    let (first, second) = (room.share(None), room.share(None));
    let mut whole = holding(&first, 90);
    whole.settle();
    assert_eq!(second.part().grow(20), Err(NoRoom));
    drop(whole);
    let _part = holding(&second, 100);
}

#[tokio::test]
async fn one_with_a_cut_is_ended() {
    let room = Room::new(100, 100);
    let cut = Cut::default();
    let (held, other) = (room.share(Some(cut.clone())), room.share(None));
    let _held = holding(&held, 100);
    assert!(!cut.is_made());
    let _other = holding(&other, 1);
    assert!(cut.is_made());
}
