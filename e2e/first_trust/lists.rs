//! What a server says of its feeds: every form of both lists, to the letter.

use serde_json::json;

use super::{Scene, scene};
use crate::world::{ATTACK, BENIGN, VULNERABLE, World, config, probe};

const RULE: &str = "<match url=\".*\"/><conditions><add input=\"{UrlDecode:{REQUEST_URI}}\" \
                    pattern=\"(?=.*autodiscover)(?=.*powershell)\"/></conditions><action type=\"AbortRequest\"/>";

/// Two mitigations, one of which has words that markup and spreadsheets would take for their own.
fn listed() -> Scene {
    let scene = scene();
    let probes = probe("blocked", ATTACK) + &probe("allowed", BENIGN);
    let second = config("M2", "=1 &amp; &lt;b&gt;two&lt;/b&gt;", RULE, &probes).replace(
        "<Range from=\"15.2.0.0\" below=\"15.2.1118.20\"/>",
        "<Range from=\"15.2.9.0\" through=\"15.2.986.5\"/><Range from=\"15.1.2507.0\" below=\"15.1.2507.16\"/>",
    );
    scene.publisher.write("M2", &second, &[ATTACK], &[BENIGN]);
    scene.publisher.publish();
    assert_eq!(scene.add(&scene.card(&[]), &["--yes"]).code, 0);
    scene.world.ok(&["apply"]);
    scene
}

fn released(world: &World, form: &str) -> String {
    world.ok(&["feed", "list", "--released", form]).stdout
}

#[test]
fn the_table_of_released_mitigations() {
    let Scene { world, .. } = listed();
    assert_eq!(
        released(&world, "--csv"),
        "Number,Feed,ID,Description,Lowest,Highest,Rollback\n\
         1,example,M1,\"CVE-2022-41040, revision 4\",exchange 15.2.0.0,exchange before 15.2.1118.20,\
         \"Remove the rule whose name holds \"\"M1.1\"\".\"\n\
         2,example,M2,'=1 & <b>two</b>,exchange 15.1.2507.0,exchange 15.2.986.5,\
         \"Remove the rule whose name holds \"\"M2.1\"\".\"\n"
    );
    assert_eq!(
        released(&world, "--html"),
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Released mitigations</title></head>\n\
         <body>\n<table>\n<thead><tr><th scope=\"col\">Number</th><th scope=\"col\">Feed</th><th scope=\"col\">ID</th>\
         <th scope=\"col\">Description</th><th scope=\"col\">Lowest</th><th scope=\"col\">Highest</th>\
         <th scope=\"col\">Rollback</th></tr></thead>\n<tbody>\n\
         <tr><td>1</td><td>example</td><td>M1</td><td>CVE-2022-41040, revision 4</td><td>exchange 15.2.0.0</td>\
         <td>exchange before 15.2.1118.20</td><td>Remove the rule whose name holds &quot;M1.1&quot;.</td></tr>\n\
         <tr><td>2</td><td>example</td><td>M2</td><td>=1 &amp; &lt;b&gt;two&lt;/b&gt;</td><td>exchange 15.1.2507.0</td>\
         <td>exchange 15.2.986.5</td><td>Remove the rule whose name holds &quot;M2.1&quot;.</td></tr>\n\
         </tbody>\n</table>\n</body>\n</html>\n"
    );
    assert_eq!(
        world.json(0, &["feed", "list", "--released", "--feed", "example"])[1],
        json!({
            "number": 2, "feed": "example", "id": "M2", "description": "=1 & <b>two</b>",
            "lowest": "exchange 15.1.2507.0", "highest": "exchange 15.2.986.5",
            "rollback": "Remove the rule whose name holds \"M2.1\".",
        })
    );
    let table = world.ok(&["feed", "list", "--released"]).stdout;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(rows[0], ["Number", "Feed", "ID", "Description", "Lowest", "Highest", "Rollback"]);
    assert_eq!(
        rows[1],
        [
            "1",
            "example",
            "M1",
            "CVE-2022-41040, revision 4",
            "exchange 15.2.0.0",
            "exchange before 15.2.1118.20",
            "Remove the rule whose name holds \"M1.1\".",
        ]
    );
    assert_eq!(rows.len(), 3);
}

#[test]
fn the_list_of_feeds() {
    let Scene { world, publisher, .. } = listed();
    let lines = world.json(0, &["feed", "list"]);
    let (trusted_at, expires) =
        (lines[0]["trusted_at"].as_str().unwrap(), lines[0]["expires"].as_str().unwrap());
    let url = format!("file://{}", publisher.feed().display());
    assert_eq!(
        lines,
        json!([{
            "name": "example", "url": url, "serial": 2, "trusted_at": trusted_at, "expires": expires,
            "allow": ["DoNothing", "UrlRewrite"], "error": null, "message": null,
        }])
    );
    assert_eq!(
        world.ok(&["feed", "list", "--csv"]).stdout,
        format!(
            "Name,URL,Serial,TrustedAt,Expires,Allow,Error\n\
             example,{url},2,{trusted_at},{expires},\"DoNothing, UrlRewrite\",\n"
        )
    );
    let table = world.ok(&["feed", "list"]).stdout;
    assert!(table.contains(&url) && table.contains("DoNothing, UrlRewrite"), "{table}");
    assert_eq!(world.stopgap(&["feed", "list", "--html"]).code, 2, "a page is of released mitigations");
    assert_eq!(world.stopgap(&["feed", "list", "--csv", "--json"]).code, 2);
    assert_eq!(world.stopgap(&["feed", "list", "--feed", "other"]).code, 1);

    // A feed that brings nothing new says why, and its last good document still counts.
    std::fs::remove_file(publisher.feed()).unwrap();
    world.exchange(VULNERABLE);
    assert_eq!(world.stopgap(&["apply"]).code, 1);
    let lines = world.json(0, &["feed", "list"]);
    assert_eq!((&lines[0]["serial"], &lines[0]["error"]), (&json!(2), &json!("file")));
    assert_eq!(world.json(0, &["feed", "list", "--released"]).as_array().unwrap().len(), 2);
}
