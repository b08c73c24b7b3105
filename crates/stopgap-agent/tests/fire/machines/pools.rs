//! A php-fpm with a few pools, each in a file of its own: `m1`, `m1old`, `m2` and `shop`.

use std::io;
use std::path::Path;

use stopgap_drivers::host::{Command, Output};
use stopgap_testkit::fire::Tree;
use stopgap_testkit::host::{FakeHost, Node};

use super::{Memory, lines};

const MAIN: &str = "/etc/php/8.2/fpm/php-fpm.conf";
const POOLS: &str = "/etc/php/8.2/fpm/pool.d";
const MASTER: &str = "/proc/7";

pub(super) fn machine() -> (FakeHost, Memory) {
    let memory = Memory::default();
    let served = memory.clone();
    let host = FakeHost::new().on_run(move |host, command| program(host, &served, command));
    host.put(MAIN, format!("[global]\npid = /run/php.pid\ninclude={POOLS}/*.conf\n"));
    for name in ["m1", "m1old", "m2", "shop"] {
        host.put(format!("{POOLS}/{name}.conf"), format!("[{name}]\nlisten = /run/$pool.sock\n"));
    }
    boot(&host);
    (host, memory)
}

/// The pools that are served once the files are read.
pub(super) fn rules(disk: &Tree) -> String {
    let main = disk.get(Path::new(MAIN)).cloned();
    lines(main.map_or(Vec::new(), |main| pools(disk, &main)).into_iter())
}

/// The pools in the files that a main file includes.
fn pools(disk: &Tree, main: &Node) -> Vec<String> {
    let text = |node: &Node| match node {
        Node::File(octets) => String::from_utf8_lossy(octets).into_owned(),
        other => panic!("{other:?}"),
    };
    let patterns = text(main);
    let patterns: Vec<&str> = patterns.lines().filter_map(|line| line.strip_prefix("include=")).collect();
    let included = |path: &Path| {
        let path = path.to_string_lossy();
        let names = |pattern: &&str| {
            **pattern == path
                || path.ends_with(".conf")
                    && pattern.strip_suffix("/*.conf").is_some_and(|f| path.starts_with(f))
        };
        patterns.iter().any(names)
    };
    let files = disk.iter().filter(|(path, _)| path.starts_with(POOLS) && included(path));
    let name = |node: &Node| {
        let text = text(node);
        let name = text.lines().find_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        name.map(str::to_owned)
    };
    files.filter_map(|(_, node)| name(node)).collect()
}

/// php-fpm starts: a process for every pool.
pub(super) fn boot(host: &FakeHost) {
    serve(host, 8);
}

/// New processes for every pool that is configured now, whose sockets the master holds.
fn serve(host: &FakeHost, first: u32) {
    host.take("/proc");
    host.put("/run/php.pid", "7\n");
    host.put(format!("{MASTER}/comm"), "php-fpm8.2\n");
    host.put(format!("{MASTER}/fd/0"), "");
    let mut table = "Num RefCount Protocol Flags Type St Inode Path\n".to_owned();
    let mut children = String::new();
    for (pid, pool) in (first..).zip(rules(&host.tree("/")).lines()) {
        host.put(format!("/proc/{pid}/cmdline"), format!("php-fpm: pool {pool}\0\0"));
        host.link(format!("{MASTER}/fd/{pid}"), format!("socket:[{pid}]"));
        table += &format!("0: 00000002 00000000 00010000 0001 01 {pid} /run/{pool}.sock\n");
        children += &format!("{pid} ");
    }
    host.put(format!("{MASTER}/net/unix"), table);
    host.put(format!("{MASTER}/task/7/children"), children);
}

fn program(host: &FakeHost, memory: &Memory, command: &Command) -> io::Result<Output> {
    let said = |status, text: String| {
        Ok(Output { status: Some(status), stderr: text.into_bytes(), ..Output::default() })
    };
    if command.program == Path::new("/bin/sh") {
        assert_eq!(command.args[3], "USR2", "a pool is always left");
        let children = host.peek(format!("{MASTER}/task/7/children")).unwrap();
        let first: u32 = String::from_utf8(children).unwrap().split(' ').next().unwrap().parse().unwrap();
        serve(host, if first < 50 { first + 10 } else { 8 });
        *memory.lock().unwrap() = rules(&host.tree("/"));
        return said(0, String::new());
    }
    assert_eq!(command.args[0], "-tt");
    let disk = host.tree("/");
    let pools = pools(&disk, &disk[Path::new(&command.args[2])]);
    said(0, pools.iter().map(|pool| format!("NOTICE: [{pool}]\n")).collect())
}
