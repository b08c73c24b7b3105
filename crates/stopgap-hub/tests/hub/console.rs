//! The console's pages, over HTTP and without a script: what they show, what forms do, and what is refused.

use crate::common::fleet::{self, PASSWORD};
use crate::common::{Hub, on_both};
use serde_json::json;
use stopgap_hub::people::Role;

/// What a browser without scripts does: it keeps a cookie, and sends forms with what stands in them.
struct Browser {
    url: String,
    http: reqwest::Client,
    cookie: String,
}

struct Answer {
    status: u16,
    text: String,
    location: String,
    kind: String,
}

impl Browser {
    fn new(hub: &Hub) -> Browser {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Browser { url: hub.url.clone(), http: http.build().unwrap(), cookie: String::new() }
    }

    async fn signed_in(hub: &Hub, name: &str) -> Browser {
        let mut browser = Browser::new(hub);
        let answer = browser.send("/sign-in", &[("name", name), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/"), "{}", answer.text);
        browser
    }

    async fn answer(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.header("cookie", &self.cookie).send().await.unwrap();
        if let Some(set) = response.headers().get("set-cookie") {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (status, location, kind) =
            (response.status().as_u16(), header("location"), header("content-type"));
        Answer { status, location, kind, text: response.text().await.unwrap() }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        self.answer(request).await
    }

    /// A page that is there.
    async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }

    /// A form as it is, without the token of the session.
    async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('&', "%26").replace(' ', "+")))
            .collect();
        let request = self.http.post(format!("{}{path}", self.url));
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").body(body.join("&"));
        self.answer(request).await
    }

    /// A form with the token that stands on a page of this session.
    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf().await;
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.send(path, &all).await
    }

    async fn csrf(&mut self) -> String {
        let page = self.page("/").await;
        between(&page, "name=\"csrf\" value=\"", "\"").to_owned()
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.split_once(after).unwrap().0
}

/// A page's words, without its markup.
fn words(html: &str) -> String {
    let ends = ["svg", "td", "th", "dt", "dd", "h1", "h2", "p", "li", "a", "small", "button"];
    let html = ends.iter().fold(html.to_owned(), |html, tag| html.replace(&format!("</{tag}>"), " "));
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

on_both!(pages_show_the_fleet_to_whoever_is_signed_in, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut nobody = Browser::new(&hub);
    let led = nobody.get("/servers?state=quiet").await;
    assert_eq!((led.status, led.location.as_str()), (303, "/sign-in?next=%2Fservers%3Fstate%3Dquiet"));
    let wrong = nobody.send("/sign-in", &[("name", "vera"), ("password", "not this one")]).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("name or password is wrong") && wrong.text.contains("value=\"vera\""));
    assert_eq!(nobody.get("/").await.status, 303);

    let mut vera = Browser::signed_in(&hub, "vera").await;
    let overview = words(&vera.page("/").await);
    for said in ["14 servers", "2 Needs attention", "1 Quiet", "1 Warns", "example:M1", "intern:M7.1"] {
        assert!(overview.contains(said), "{said}: {overview}");
    }
    let servers = words(&vera.page("/servers").await);
    assert!(servers.contains("build01") && servers.contains("web05 Waiting"), "{servers}");
    let quiet = words(&vera.page("/servers?state=quiet").await);
    assert!(quiet.contains("web04 Quiet") && !quiet.contains("web01"), "{quiet}");
    let group = words(&vera.page("/servers?group=edge&name=DGE").await);
    assert!(group.contains("edge01") && !group.contains("mail01"), "{group}");
    let server = words(&vera.page("/servers/MAIL04").await);
    for said in [
        "mail04",
        "Blocked, in force",
        "the plotter needs it",
        "nginx 1.22.1",
        "example 42",
        "M1 was applied",
    ] {
        assert!(server.contains(said), "{said}: {server}");
    }
    let mitigation = words(&vera.page("/mitigations/example/M1").await);
    for said in ["In force on 8 servers", "mail06 Ineffective, in force", "still passes"] {
        assert!(mitigation.contains(said), "{said}: {mitigation}");
    }
    let applied = words(&vera.page("/mitigations/example/M1?status=Applied").await);
    assert!(applied.contains("edge01") && !applied.contains("mail06"), "{applied}");
    assert_eq!(vera.get("/servers/nowhere").await.status, 404);
    assert_eq!(vera.get("/mitigations/example/M99").await.status, 404);
    // Who only sees is offered no form, and is not shown the log.
    assert!(!mitigation.contains("Ask for approval") && !overview.contains("Audit log"));
    assert_eq!(vera.get("/audit").await.status, 403);
});

on_both!(
    a_mitigation_is_shown_with_its_rules_probes_and_side_effects_where_the_feed_is_mirrored,
    async |mut hub: Hub| {
        fleet::fill(&hub).await;
        let page = words(&Browser::signed_in(&hub, "vera").await.page("/mitigations/example/M1").await);
        assert!(page.contains("stopgap explain example:M1 on a server shows them"), "{page}");
        fleet::mirror(&mut hub).await;
        let mut vera = Browser::signed_in(&hub, "vera").await;
        let page = vera.page("/mitigations/example/M1").await;
        // As it is written, and no markup of this page.
        assert!(page.contains("&#60;add input=&#34;{UrlDecode:{REQUEST_URI}}&#34;"), "{page}");
        let page = words(&page);
        for said in [
            "As serial 42 of its feed has it. CVE-2022-41040.",
            "M1.1 refuses or rewrites requests by these rules, at Default Web Site",
            "Requests whose address holds both words, autodiscover and powershell, are refused.",
            "GET /autodiscover/autodiscover.xml HTTP/1.1 is answered as before",
            "p%6Fwershell/ HTTP/1.1 is refused",
            "Remove the rule whose name holds",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        let withdrawn = words(&vera.page("/mitigations/example/M2").await);
        assert!(withdrawn.contains("stopgap explain example:M2 on a server shows them"), "{withdrawn}");
    }
);

on_both!(what_would_be_done_stands_with_what_waits, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut vera = Browser::signed_in(&hub, "vera").await;
    for path in ["/mitigations/example/M2", "/servers/web01"] {
        let page = vera.page(path).await;
        assert!(page.contains("<summary>What would be done</summary>"), "{path}: {page}");
        let said = words(&page);
        assert!(
            said.contains("nginx write /var/lib/stopgap/nginx/sets/6d1c/server.conf 412 bytes"),
            "{path}: {said}"
        );
        // As text, and no markup of this page.
        assert!(page.contains("to &#60;6d1c&#62; (example:M2)"), "{path}: {page}");
    }
    let applied = vera.page("/mitigations/example/M1").await;
    assert!(!applied.contains("What would be done"), "{applied}");
});

on_both!(a_block_with_revert_is_set_and_lifted_and_stands_in_the_log, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut olga = Browser::signed_in(&hub, "olga").await;
    let path = "/mitigations/example/M1/block";
    let form = [("place", "group mail"), ("take_off", "1"), ("for", "24"), ("reason", "breaks the & client")];
    let asked = olga.submit(path, &form).await;
    assert_eq!(asked.status, 200);
    assert!(
        words(&asked.text).contains("It is in force on 6 servers of group mail."),
        "{}",
        words(&asked.text)
    );
    let page = words(&olga.page("/mitigations/example/M1").await);
    assert!(!page.contains("Lists that block it"), "asking alone changes nothing: {page}");
    let mut confirmed = form.to_vec();
    confirmed.push(("confirmed", "1"));
    let done = olga.submit(path, &confirmed).await;
    assert_eq!((done.status, done.location.as_str()), (303, "/mitigations/example/M1?done=reverting"));
    let page = words(&olga.page(&done.location).await);
    for said in ["Blocked, and taken off", "group mail example:M1 taken off", "breaks the &#38; client olga,"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    let token = hub.token(Role::Viewer).await;
    let (_, settings) = hub.get("/v1/groups/mail/settings", &token).await;
    let block = &settings["mitigations_blocked"][0];
    assert_eq!(
        (&block["id"], &block["feed"], &block["take_off"]),
        (&json!("M1"), &json!("example"), &json!(true))
    );
    assert!(block["until"].is_string(), "{block}");

    let server = words(&olga.page("/servers/mail01").await);
    assert!(server.contains("example:M1, taken off, until") && server.contains("group mail"), "{server}");
    let lift =
        [("place", "group mail"), ("feed", "example"), ("id", "M1"), ("reason", "the client is mended")];
    let lifted = olga.submit("/mitigations/example/M1/unblock", &lift).await;
    assert_eq!(lifted.location, "/mitigations/example/M1?done=unblocked");
    assert_eq!(
        olga.submit("/mitigations/example/M1/unblock", &lift).await.status,
        409,
        "there is none any more"
    );

    let mut udo = Browser::signed_in(&hub, "udo").await;
    let log = words(&udo.page("/audit?action=settings&user=olga").await);
    assert!(log.contains("settings.set group mail") && log.contains("the client is mended"), "{log}");
    let checked = words(&udo.page("/audit?check=1").await);
    assert!(checked.contains("entries follow each other without a gap"), "{checked}");
});

on_both!(a_form_of_another_session_or_site_changes_nothing, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut olga = Browser::signed_in(&hub, "olga").await;
    let mut vera = Browser::signed_in(&hub, "vera").await;
    let path = "/mitigations/example/M1/block";
    let form = [("place", "organization"), ("reason", "x"), ("take_off", "")];
    assert_eq!(olga.send(path, &form).await.status, 403, "without a token");
    let others = vera.csrf().await;
    let mut with_others = form.to_vec();
    with_others.push(("csrf", &others));
    assert_eq!(olga.send(path, &with_others).await.status, 403, "with another session's token");
    assert_eq!(vera.submit(path, &form).await.status, 403, "who may only see");
    let own = olga.csrf().await;
    let body = format!("csrf={own}&place=organization&reason=x");
    for (header, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://elsewhere.example")] {
        let request = olga.http.post(format!("{}{path}", olga.url)).header(header, value);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        assert_eq!(olga.answer(request).await.status, 403, "{header}: {value}");
    }
    assert_eq!(
        olga.submit(path, &[("place", "organization"), ("reason", " ")]).await.status,
        422,
        "no reason"
    );
    assert_eq!(olga.submit(path, &[("place", "galaxy"), ("reason", "x")]).await.status, 422, "no such place");
    let (_, settings) = hub.get("/v1/organization/settings", &hub.token(Role::Viewer).await).await;
    assert_eq!(settings.get("mitigations_blocked"), None, "{settings}");
    // After signing out, the cookie opens nothing.
    let cookie = olga.cookie.clone();
    assert_eq!(olga.submit("/sign-out", &[]).await.location, "/sign-in");
    olga.cookie = cookie;
    assert_eq!(olga.get("/").await.status, 303);
});

on_both!(an_approval_is_somebody_elses, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut olga = Browser::signed_in(&hub, "olga").await;
    let mut arno = Browser::signed_in(&hub, "arno").await;
    let asked = olga
        .submit("/mitigations/example/M2/approvals", &[("place", "group web"), ("reason", "tested")])
        .await;
    assert_eq!(asked.location, "/mitigations/example/M2?done=requested", "{}", asked.text);
    let own = olga.page("/approvals").await;
    assert!(
        words(&own).contains("somebody else approves") && !own.contains("value=\"approve\""),
        "{}",
        words(&own)
    );
    let page = arno.page("/approvals").await;
    let address = format!("/approvals/{}", between(&page, "action=\"/approvals/", "\""));
    assert_eq!(olga.submit(&address, &[("decision", "approve")]).await.status, 403);
    assert_eq!(arno.submit(&address, &[("decision", "approve")]).await.location, "/approvals?done=approved");
    let page = words(&arno.page("/approvals").await);
    assert!(page.contains("Approved olga,") && page.contains("tested arno,"), "{page}");
});

on_both!(tables_are_files_and_the_past_is_told, async |hub: Hub| {
    fleet::fill(&hub).await;
    let evil = hub.server("=cmd|'calc'!A0", &[]).await;
    hub.reports(&evil, "example:M1", "Applied", true).await;
    let mut arno = Browser::signed_in(&hub, "arno").await;
    for (path, header, holds) in [
        ("/servers?format=csv", "Server,State,InForce,", "'=cmd|'calc'!A0,Quiet,1,"),
        ("/mitigations?format=csv", "Feed,ID,Type,Description,Servers,", "example,M1,UrlRewrite,"),
        ("/mitigations/example/M1?format=csv", "Server,ID,Type,Description,Status,", "mail06,M1,UrlRewrite,"),
        ("/servers/mail01?format=csv", "Server,ID,Type,Description,Status,", "mail01,M4,StopService,"),
        ("/audit?format=csv", "Number,Time,User,Action,", ",enrollment.create,"),
        ("/approvals?format=csv", "Mitigation,Revision,For,State,", ""),
    ] {
        let file = arno.get(path).await;
        assert_eq!((file.status, file.kind.as_str()), (200, "text/csv; charset=utf-8"), "{path}");
        assert!(file.text.starts_with(header) && file.text.contains(holds), "{path}: {}", file.text);
    }
    let day = |hours: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        at.to_string()[..10].to_owned()
    };
    let path = format!("/past?mitigation=example:M3&day={}", day(100));
    let past = words(&arno.page(&path).await);
    assert!(
        past.contains("6 all day, 0 for a part of it, 8 not.") && past.contains("mail01 All day"),
        "{past}"
    );
    let path = format!("/past?mitigation=example:M3&day={}", day(40));
    let past = words(&arno.page(&path).await);
    assert!(past.contains("0 all day, 6 for a part of it"), "{past}");
    assert_eq!(arno.get("/past?mitigation=nothing&day=2026-11-22").await.status, 422);
});

on_both!(the_part_that_changes_is_sent_only_when_it_changed, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut vera = Browser::signed_in(&hub, "vera").await;
    let page = vera.page("/mitigations").await;
    let seen = between(&page, "\"x-seen\":\"", "\"").to_owned();
    let poll = async |browser: &mut Browser| {
        let request = browser.http.get(format!("{}/mitigations", browser.url));
        let request = request.header("hx-request", "true").header("x-seen", &seen);
        browser.answer(request).await
    };
    assert_eq!(poll(&mut vera).await.status, 204);
    let other = hub.server("new01", &[]).await;
    hub.reports(&other, "example:M1", "Failed", false).await;
    let part = poll(&mut vera).await;
    assert!(part.status == 200 && part.text.starts_with("<div id=\"live\"") && !part.text.contains("<html"));
    // A session that ended leads to the sign-in, and not a part of it into the page.
    vera.cookie.clear();
    assert_eq!(poll(&mut vera).await.status, 401);
    // Whoever wants the page to hold still gets it without a script's orders.
    let mut vera = Browser::signed_in(&hub, "vera").await;
    assert!(!vera.page("/mitigations?still=1").await.contains("hx-get"));
});

on_both!(pages_hold_no_script_no_style_and_no_markup_of_others, async |hub: Hub| {
    fleet::fill(&hub).await;
    let evil = "<img src=x onerror=alert(1)>";
    let id = hub.server(evil, &[("role", "\"><script>")]).await;
    hub.reports(&id, "example:M1", evil, true).await;
    let mut arno = Browser::signed_in(&hub, "arno").await;
    let path = "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E";
    for path in [
        "/",
        "/servers",
        "/mitigations",
        "/mitigations/example/M1",
        "/audit",
        "/approvals",
        "/past",
        &format!("/servers/{path}"),
    ] {
        let response =
            arno.http.get(format!("{}{path}", arno.url)).header("cookie", &arno.cookie).send().await.unwrap();
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        let html = response.text().await.unwrap();
        assert!(!html.contains("<img src=x") && !html.contains("\"><script>"), "{path}");
        assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains("onclick"), "{path}");
        let scripts: Vec<&str> = html.split("<script").skip(1).collect();
        assert!(scripts.iter().all(|script| script.starts_with(" src=\"/static/")), "{path}");
    }
    let page = arno.page("/").await;
    for address in ["console-", "htmx-", "icon-"] {
        let address = format!("/static/{address}{}", between(&page, &format!("\"/static/{address}"), "\""));
        assert_eq!(arno.get(&address).await.status, 200, "{address}");
    }
    assert_eq!(arno.get("/static/console.css").await.status, 404);
});

on_both!(settings_are_saved_under_the_version_that_was_seen, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut olga = Browser::signed_in(&hub, "olga").await;
    let block = [("place", "group mail"), ("reason", "later")];
    assert_eq!(olga.submit("/mitigations/example/M4/block", &block).await.status, 303);
    let page = olga.page("/settings/groups/mail").await;
    let version = between(&page, "name=\"version\" value=\"", "\"").to_owned();
    let form = [
        ("version", version.as_str()),
        ("approval", "required"),
        ("rings", "10 after 0h\n100%25 after 1d"),
        ("internet_web_proxy", "none"),
        ("reason", "two steps"),
    ];
    let saved = olga.submit("/settings/groups/mail", &form).await;
    assert_eq!(saved.location, "/settings/groups/mail?done=saved", "{}", saved.text);
    let stale = olga.submit("/settings/groups/mail", &form).await;
    assert!(stale.status == 412 && words(&stale.text).contains("group mail is at version"), "{}", stale.text);
    let (_, layer) = hub.get("/v1/groups/mail/settings", &hub.token(Role::Viewer).await).await;
    assert_eq!(layer["approval"], "required");
    assert_eq!(layer["internet_web_proxy"], "");
    assert_eq!(
        layer["rings"],
        json!([{"percent": 10, "after_seconds": 0}, {"percent": 100, "after_seconds": 86400}])
    );
    assert_eq!(layer["mitigations_blocked"][0]["id"], "M4", "what is blocked stays: {layer}");
    let server = words(&olga.page("/servers/mail01").await);
    assert!(server.contains("Approval a person approves each revision group mail"), "{server}");
    // A group is an administrator's; a server's own settings are an operator's.
    let group = [("name", "lab"), ("label", "role=lab"), ("position", "9"), ("reason", "new")];
    assert_eq!(olga.submit("/settings/groups", &group).await.status, 403);
    let form = [("version", "0"), ("mitigations_enabled", "false"), ("reason", "load test")];
    assert_eq!(olga.submit("/servers/web01/settings", &form).await.status, 303);
    let mut arno = Browser::signed_in(&hub, "arno").await;
    assert_eq!(arno.submit("/settings/groups", &group).await.location, "/settings/groups/lab?done=saved");
    let labels = [("name", "lab01"), ("labels", "role=lab site=north"), ("reason", "moved")];
    assert_eq!(arno.submit("/servers/web01/labels", &labels).await.location, "/servers/lab01?done=saved");
    let server = words(&arno.page("/servers/lab01").await);
    assert!(
        server.contains("MitigationsEnabled False this server") && server.contains("Groups lab"),
        "{server}"
    );
    assert_eq!(
        arno.submit("/servers/lab01/remove", &[("reason", "gone")]).await.location,
        "/servers?done=removed"
    );
    assert_eq!(arno.get("/servers/lab01").await.status, 404);
    assert_eq!(arno.submit("/settings/groups/lab/remove", &[("reason", "gone")]).await.status, 303);
    let mut vera = Browser::signed_in(&hub, "vera").await;
    let page = vera.page("/settings").await;
    assert!(page.contains("<fieldset class=\"grid\" disabled>") && !page.contains("<button>Save"), "{page}");
});

on_both!(a_secret_is_told_once, async |hub: Hub| {
    fleet::fill(&hub).await;
    let mut arno = Browser::signed_in(&hub, "arno").await;
    let made =
        arno.submit("/people/tokens", &[("label", "nightly"), ("role", "viewer"), ("hours", "24")]).await;
    let secret = between(&made.text, "class=\"secret\">", "<").to_owned();
    assert_eq!(hub.get("/v1/me", &secret).await.0, 200);
    let page = arno.page("/people").await;
    assert!(page.contains("nightly") && !page.contains(&secret));
    let id = between(&page, "/people/tokens/", "/").to_owned();
    assert_eq!(
        arno.submit(&format!("/people/tokens/{id}/remove"), &[]).await.location,
        "/people?done=removed"
    );
    assert_eq!(hub.get("/v1/me", &secret).await.0, 401);
    let form = [("uses", "3"), ("hours", "24"), ("labels", "role=mail")];
    let made = arno.submit("/enrollments", &form).await;
    assert!(between(&made.text, "class=\"secret\">", "<").starts_with("sge_"), "{}", made.text);
    let page = words(&arno.page("/enrollments").await);
    assert!(page.contains("role=mail") && !page.contains("sge_"), "{page}");
    assert_eq!(arno.submit("/enrollments", &[("uses", "0"), ("hours", "24")]).await.status, 422);

    let user = [("name", "nora"), ("role", "operator"), ("password", PASSWORD)];
    assert_eq!(arno.submit("/people/users", &user).await.location, "/people?done=saved");
    let mut nora = Browser::signed_in(&hub, "nora").await;
    assert_eq!(arno.submit("/people/users/nora", &[("what", "disable")]).await.status, 303);
    assert_eq!(nora.get("/").await.status, 303, "who is kept out is out at once");
    assert_eq!(
        arno.submit("/people/users/arno", &[("what", "remove")]).await.status,
        409,
        "the last administrator"
    );
    let mut olga = Browser::signed_in(&hub, "olga").await;
    for path in ["/people", "/enrollments", "/audit"] {
        assert_eq!(olga.get(path).await.status, 403, "{path}");
    }
    assert_eq!(olga.submit("/people/users", &user).await.status, 403);
    let report = words(&olga.page("/report").await);
    assert!(
        report.contains("14 servers") && report.contains("web04") && !report.contains("build01"),
        "{report}"
    );
});
