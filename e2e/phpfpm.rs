//! A feed that takes pools of php-fpm out of service, on a machine with a systemd of its own: one, then the last, and
//! the way back; and what somebody brings back three times is left.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use stopgap_testkit::feeds;
use stopgap_testkit::machine::{Machine, Root};
use stopgap_testkit::pki::{Options, TestPki};

use crate::world::{STOPGAP, mitigation};

const CONFIG: &str = "data = \"/var/lib/stopgap\"\nlogs = \"/var/log/stopgap\"\nsoak = \"0s\"\n\
     [[feed]]\nname = \"example\"\nurl = \"file:///srv/feed.xml\"\ntrust = \"trust.toml\"\n\
     [[target]]\nkind = \"phpfpm\"\n";

const POOLS: &str = "/etc/php/8.2/fpm/pool.d";

fn takes_out(id: &str, pool: &str) -> String {
    format!(
        "<Config id=\"{id}\" desc=\"Out of service\"><ActionList><Action id=\"{id}.1\" type=\"AppPool\" \
         scope=\"Server\" desc=\"takes it out\"><Value>{pool}</Value></Action></ActionList></Config>"
    )
}

struct Server {
    machine: Machine,
    pki: TestPki,
}

impl Server {
    fn release(&self, serial: u64, content: &str) {
        let feed = feeds::feed("example", serial, Timestamp::now(), content);
        self.machine.write("/srv/feed.xml", feeds::signed(&feed, &self.pki), 0o644);
    }

    fn stopgap(&self, words: &[&str]) -> String {
        let output = self.machine.run(&[&["/usr/local/bin/stopgap"], words].concat());
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn status(&self, id: &str) -> Value {
        let json = self.machine.run(&["/usr/local/bin/stopgap", "status", "--json"]).stdout;
        mitigation(&serde_json::from_slice(&json).unwrap(), id)
    }

    /// The state of the unit, the sockets and the files.
    fn states(&self) -> String {
        let script = "systemctl show -P UnitFileState -P ActiveState php8.2-fpm; ls /run/php | grep sock$ | grep -v \
                      ^php-fpm; cd \"$0\" && sha256sum * && stat -c '%n %a %U' *";
        self.machine.ok(&["sh", "-c", &format!("{script}; true"), POOLS])
    }
}

#[test]
fn a_feed_takes_a_pool_out_and_then_the_last_one_and_its_unit_until_they_are_withdrawn() {
    let test = "a_feed_takes_a_pool_out_and_then_the_last_one_and_its_unit_until_they_are_withdrawn";
    if !Path::new("/usr/sbin/php-fpm8.2").exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no php-fpm: {test}");
        println!("skipped (no php-fpm): {test}");
        return;
    }
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    let server = Server { machine, pki: TestPki::new(Options::default()) };
    let machine = &server.machine;
    machine.copy(STOPGAP.as_ref(), "/usr/local/bin/stopgap");
    machine.write("/etc/stopgap/stopgap.toml", CONFIG, 0o644);
    machine.write("/etc/stopgap/trust.toml", server.pki.trust_toml(), 0o644);
    let shop = "[shop]\nuser = www-data\ngroup = www-data\nlisten = /run/php/shop.sock\npm = ondemand\n\
                pm.max_children = 2\n";
    machine.write(&format!("{POOLS}/shop.conf"), shop, 0o640);
    machine.ok(&["systemctl", "enable", "--quiet", "php8.2-fpm"]);
    machine.ok(&["systemctl", "restart", "php8.2-fpm"]);
    let before = server.states();

    server.release(1, &takes_out("P1", "www"));
    let plan = server.stopgap(&["plan"]);
    assert!(plan.contains("www.conf.stopgap") && plan.contains("gets no answer any more"), "{plan}");
    assert_eq!(server.states(), before, "a plan changes nothing");
    let applied = server.stopgap(&["apply"]);
    let status = server.status("P1");
    assert_eq!(
        (&status["status"], &status["in_force"]),
        (&"Applied".into(), &true.into()),
        "{applied}{status:#}"
    );
    let one = server.states();
    assert!(one.contains("active") && one.contains("shop.sock") && !one.contains("php8.2-fpm.sock"), "{one}");

    server.release(2, &(takes_out("P1", "www") + &takes_out("P2", "shop")));
    let applied = server.stopgap(&["apply"]);
    let both = server.states();
    assert!(both.contains("masked\n") && both.contains("inactive\n"), "{applied}{both}");
    assert_eq!(server.status("P2")["in_force"], true);

    server.release(3, "<Withdrawn id=\"P1\" reason=\"test\"/><Withdrawn id=\"P2\" reason=\"test\"/>");
    let back = server.stopgap(&["apply"]);
    assert_eq!(server.states(), before, "{back}");

    // Somebody brings it back, three times.
    server.release(4, &takes_out("P3", "www"));
    server.stopgap(&["apply"]);
    for _ in 0..3 {
        let file = format!("{POOLS}/www.conf");
        server.machine.ok(&["mv", &format!("{file}.stopgap"), &file]);
        server.machine.ok(&["systemctl", "reload", "php8.2-fpm"]);
        server.stopgap(&["apply"]);
    }
    let contested = server.status("P3");
    assert_eq!(contested["status"], "Contested", "{contested:#}");
}
