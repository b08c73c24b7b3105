//! The story that the README begins with.

use crate::world::run;

#[test]
fn the_demonstration_s_story_holds_with_the_embedded_gateway() {
    let ran = run(&["demo", "--once", "--json"]);
    let summary = ran.json();
    assert_eq!((ran.code, &summary["ok"]), (0, &serde_json::Value::Bool(true)), "{ran:#?}");
    println!("published to in force: {} ms", summary["publish_to_in_force_ms"]);
}
