//! What no feed may stop, whatever is allowed: what the server needs to run, to be reached, to resolve names,
//! to keep its filter, and this agent.

/// By the beginning of their names, type included or not.
const PROTECTED: &[(&str, &str)] = &[
    ("systemd-", "a part of systemd"),
    ("init.", "a part of systemd"),
    ("dbus", "the system's message bus"),
    ("messagebus", "the system's message bus"),
    ("polkit", "decides who may do what"),
    ("ssh.", "the way to this server"),
    ("ssh@", "the way to this server"),
    ("sshd.", "the way to this server"),
    ("sshd@", "the way to this server"),
    ("dropbear", "the way to this server"),
    ("getty@", "the way to this server"),
    ("serial-getty@", "the way to this server"),
    ("console-getty", "the way to this server"),
    ("user@", "somebody's session"),
    ("user-runtime-dir@", "somebody's session"),
    ("emergency.", "the way to a broken server"),
    ("rescue.", "the way to a broken server"),
    ("network", "the network"),
    ("NetworkManager", "the network"),
    ("ifup@", "the network"),
    ("netplan", "the network"),
    ("dhclient", "the network"),
    ("dhcpcd", "the network"),
    ("wpa_supplicant", "the network"),
    ("wicked", "the network"),
    ("connman", "the network"),
    ("cloud-init", "the network"),
    ("resolvconf", "resolves names"),
    ("nscd.", "resolves names"),
    ("nslcd.", "resolves users"),
    ("sssd", "resolves users"),
    ("nftables.", "the packet filter"),
    ("iptables", "the packet filter"),
    ("ip6tables", "the packet filter"),
    ("netfilter-persistent.", "the packet filter"),
    ("firewalld.", "the packet filter"),
    ("ufw.", "the packet filter"),
    ("auditd.", "the audit trail"),
    ("stopgap", "Stopgap itself"),
];

/// Why `unit` is not stopped; `None`: it may be. `own`: the unit that this process runs in. `never_touch`: the
/// operator's names, with or without their type, `*` at the end for all that begin so.
pub(super) fn protected(unit: &str, own: Option<&str>, never_touch: &[String]) -> Option<String> {
    if own == Some(unit) {
        return Some(format!("{unit} is protected: Stopgap itself"));
    }
    if !unit.ends_with(".service")
        && !unit.ends_with(".socket")
        && !unit.ends_with(".timer")
        && !unit.ends_with(".path")
    {
        return Some(format!("{unit} is protected: it is no service, socket, timer or path"));
    }
    if let Some((_, what)) = PROTECTED.iter().find(|(begin, _)| unit.starts_with(begin)) {
        return Some(format!("{unit} is protected: {what}"));
    }
    let bare = unit.rsplit_once('.').map_or(unit, |(bare, _)| bare);
    let named = |name: &&String| match name.strip_suffix('*') {
        Some(begin) => unit.starts_with(begin),
        None => *name == unit || *name == bare,
    };
    let name = never_touch.iter().find(named)?;
    Some(format!("{unit} is in `never_touch` of this target (`{name}`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_needs_is_protected_and_what_the_operator_names() {
        let never = ["postgresql*".to_owned(), "nginx".to_owned()];
        let why = |unit| protected(unit, Some("agent.service"), &never);
        for unit in [
            "ssh.service",
            "sshd@1.service",
            "ssh.socket",
            "systemd-resolved.service",
            "dbus.service",
            "dbus-broker.service",
            "NetworkManager.service",
            "networking.service",
            "stopgap.service",
            "agent.service",
            "multi-user.target",
            "postgresql@15-main.service",
            "nginx.service",
        ] {
            assert!(why(unit).is_some(), "{unit}");
        }
        for unit in ["cups.service", "sshguard.service", "nginx-extra.service", "squid.service"] {
            assert_eq!(why(unit), None, "{unit}");
        }
    }
}
