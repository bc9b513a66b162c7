//! Events are there when they were recorded, for good, and in their order.

use autostack_domain::{By, Event, UnixMillis};

use super::World;

fn event(number: i64) -> Event {
    let app = (number % 2 == 0).then(super::app);
    Event::new(UnixMillis(number), By::Operator, app, "ps:scale", format!("web={number}"))
}

#[test]
fn events_survive_a_restart_and_the_removal_of_their_app() {
    let world = World::new();
    let logs = world.open();
    (1..=5).for_each(|number| logs.record(&event(number)));
    logs.remove_app(&super::app()).unwrap();
    drop(logs);
    let logs = world.open();
    logs.record(&event(6));
    let (found, end) = logs.events().unwrap().last(4, |_| true).unwrap();
    let found: Vec<_> = found.into_iter().map(|(_, event)| event).collect();
    assert_eq!(found, (3..=6).map(event).collect::<Vec<_>>());
    assert_eq!(logs.events().unwrap().last(1, |_| true).unwrap().0[0].0, end);
}

#[test]
fn the_last_that_are_wanted_are_found_behind_others() {
    let world = World::new();
    let logs = world.open();
    (1..=2_000).for_each(|number| logs.record(&event(number)));
    let (found, _) = logs.events().unwrap().last(2, |event| event.at.0 <= 7 && event.app.is_some()).unwrap();
    assert_eq!(found.iter().map(|(_, event)| event.at.0).collect::<Vec<_>>(), [4, 6]);
}

#[tokio::test]
async fn a_follower_gets_what_comes_and_what_another_version_wrote_is_passed_over() {
    let world = World::new();
    let logs = world.open();
    logs.record(&event(1));
    let events = logs.events().unwrap();
    let (_, end) = events.last(1, |_| true).unwrap();
    let mut reader = events.reader(end);
    let stream = logs.event_stream().unwrap();
    stream.append(&[super::said("{\"of\": \"tomorrow\"}")]).unwrap();
    logs.record(&event(2));
    let (_, next) = reader.next().await.unwrap().unwrap();
    assert_eq!(next, event(2));
}
