//! The hook: the same lines in every frontend, whatever the rules are.

use std::fmt::Write;

use crate::translate::OBSERVES;

/// Statuses that a CustomResponse can have: a status is a word of HAProxy's configuration and cannot come from
/// a map, so the hook has a line for each.
pub(super) const STATUSES: [u16; 24] = [
    200, 204, 400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 421, 422, 429, 444, 451, 500, 501,
    502, 503, 504,
];

/// The lines, with the file of the rules.
pub(super) fn lines(file: &str) -> String {
    // In a variable of their own: a capture would change what the site logs.
    format!(
        "{}http-request set-var-fmt(txn.stopgap_seen) \"{OBSERVES} %[var(txn.stopgap),word(2,:,0)]: %[src] %[fe_name] \
         %[method] %[var(txn.stopgap_target)]\" if {{ var(txn.stopgap) -m beg observe: }}\n\
         http-request set-var(txn.stopgap_seen) var(txn.stopgap_seen),debug(stopgap,buf0),debug(stopgap,stderr) if \
         {{ var(txn.stopgap_seen) -m found }}\n",
        lines_without_observing(file)
    )
}

/// As they were before anything could be observed: they refuse as they always did.
pub(super) fn lines_without_observing(file: &str) -> String {
    let mut hook = String::from(
        r#"http-request set-var(txn.stopgap_target) url,regsub(^https?://[^/?]*/?,/,i)
http-request set-var-fmt(txn.stopgap_request) "%[fe_name]\n%[var(txn.stopgap_target)]\n%[method]\n%[dst_port]\n%[ssl_fc]\n%[req.hdrs]"
http-request deny deny_status 400 unless { var(txn.stopgap_request) -m end "\r\n\r\n" }
"#,
    );
    let gate = super::gate_file(file);
    // Writing to a string cannot fail.
    let _ = writeln!(
        hook,
        "http-request set-var(txn.stopgap) var(txn.stopgap_request),map_reg({file}) \
         if {{ var(txn.stopgap_request),map_reg({gate}) -m found }}\n\
         http-request reject if {{ var(txn.stopgap) -m str abort }}"
    );
    for status in STATUSES {
        let _ =
            writeln!(hook, "http-request return status {status} if {{ var(txn.stopgap) -m str {status} }}");
    }
    hook
}
