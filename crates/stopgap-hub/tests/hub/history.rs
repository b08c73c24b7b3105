//! The past, asked for by scripts: what the console's page says of a day.

use serde_json::{Value, json};
use stopgap_hub::people::Role;

use crate::common::{Hub, fleet, on_both};

fn day(hours_ago: i64) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours_ago);
    at.to_string()[..10].to_owned()
}

fn count(items: &[Value], how: &str) -> usize {
    items.iter().filter(|one| one["protected"] == how).count()
}

on_both!(a_day_is_told_by_mitigation_and_server_and_in_pages, async |hub: Hub| {
    fleet::fill(&hub).await;
    let token = hub.token(Role::Viewer).await;
    let ask = async |query: &str| {
        let (status, page) = hub.get(&format!("/v1/history?{query}"), &token).await;
        assert_eq!(status, 200, "{query}: {page}");
        (page["items"].as_array().unwrap().clone(), page["next"].clone())
    };
    let (items, next) = ask(&format!("on={}&mitigation=example:M3", day(100))).await;
    assert_eq!((items.len(), count(&items, "whole"), count(&items, "not"), &next), (14, 6, 8, &Value::Null));
    let (items, _) = ask(&format!("on={}&mitigation=example:M3", day(40))).await;
    assert_eq!((count(&items, "whole"), count(&items, "part")), (0, 6));
    let part = items.iter().find(|one| one["server"] == "mail01").unwrap();
    let times = part["times"].as_array().unwrap();
    assert_eq!(times.len(), 1);
    assert_eq!(times[0]["from"], json!(format!("{}T00:00:00Z", day(40))), "it was in force at midnight");

    // One server, its name in any letters; of all that was in force somewhere that day.
    let (items, _) = ask(&format!("on={}&server=MAIL01", day(72))).await;
    let of = |id: &str| items.iter().find(|one| one["id"] == id).map(|one| one["protected"].clone());
    assert!(items.iter().all(|one| one["server"] == "mail01"), "{items:?}");
    assert_eq!((of("M1"), of("M3"), of("M2")), (Some(json!("whole")), Some(json!("whole")), None));

    // All, and the same in pages that begin in the middle of a mitigation.
    let query = format!("on={}", day(72));
    let (all, _) = ask(&query).await;
    assert!(all.len() > 28 && all.len() % 14 == 0, "{}", all.len());
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let (items, next) = ask(&format!("{query}&limit=9&after={after}")).await;
        paged.extend(items);
        let Some(next) = next.as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(paged, all);

    for wrong in ["on=yesterday", "on=2999-01-01", "on=2026-01-01&mitigation=M1", "on=2026-01-01&after=x"] {
        assert_eq!(hub.get(&format!("/v1/history?{wrong}"), &token).await.0, 422, "{wrong}");
    }
    assert_eq!(hub.get("/v1/history", &token).await.0, 400, "no day");
    assert_eq!(hub.get("/v1/history?on=2026-01-01", "").await.0, 401);
});
