//! Who may use an app, and who may come at all.

use crate::world::World;

#[test]
fn an_app_of_somebody_else_is_not_there() {
    let world = World::new();
    let (ada, eve) = (world.developer("ada"), world.person("eve"));
    ada.ssh(&["apps:create", "shop"]).ok();
    for words in [
        &["url", "shop"][..],
        &["config:show", "shop"],
        &["logs", "shop"],
        &["apps:destroy", "shop", "--force"],
    ] {
        let (shop, nothing) = (eve.ssh(words), words.join(" ").replace("shop", "none"));
        let none = eve.ssh(&[&nothing]);
        assert_eq!((shop.code, none.code), (Some(20), Some(20)), "{words:?}: {shop}");
        assert_eq!(shop.all().replace("shop", "none"), none.all(), "{words:?}");
    }
    assert!(ada.ssh(&["apps:list"]).ok().contains("shop"));
    assert!(!eve.ssh(&["apps:list"]).ok().contains("shop"));
}
