//! What is never stopped: the services without which nobody can work on a server, or look after it, any more.

/// Our own service, as `agent install` registers it.
pub(super) const OWN: &str = "StopgapMitigation";

/// Microsoft's own mitigation service: beside it we live, and its settings are never written to.
const MICROSOFT: &str = "MSExchangeMitigation";

/// Names, `*` at the end for all that begin so, and what they are. A service of Windows that is not here may still not be
/// stopped, where one that is here needs it.
const PROTECTED: &[(&str, &str)] = &[
    (OWN, "Stopgap itself"),
    (MICROSOFT, "Microsoft's mitigation service"),
    ("RpcSs", "Windows cannot work without it"),
    ("RpcEptMapper", "Windows cannot work without it"),
    ("DcomLaunch", "Windows cannot work without it"),
    ("BrokerInfrastructure", "Windows cannot work without it"),
    ("SystemEventsBroker", "Windows cannot work without it"),
    ("LSM", "sessions"),
    ("SamSs", "accounts"),
    ("KeyIso", "keys"),
    ("CryptSvc", "certificates"),
    ("ProfSvc", "profiles of users"),
    ("gpsvc", "group policy"),
    ("PlugPlay", "devices"),
    ("Power", "power"),
    ("Schedule", "scheduled tasks"),
    ("EventLog", "the event log"),
    ("Winmgmt", "management (WMI)"),
    ("WinRM", "remote administration"),
    ("TermService", "remote administration"),
    ("SessionEnv", "remote administration"),
    ("sshd", "remote administration"),
    ("Dhcp", "the network"),
    ("Dnscache", "resolves names"),
    ("DNS", "resolves names"),
    ("NlaSvc", "the network"),
    ("netprofm", "the network"),
    ("nsi", "the network"),
    ("Tcpip", "the network"),
    ("AFD", "the network"),
    ("iphlpsvc", "the network"),
    ("LanmanWorkstation", "the network"),
    ("LanmanServer", "file shares, and administration over them"),
    ("Netlogon", "the domain"),
    ("NTDS", "the domain"),
    ("kdc", "the domain"),
    ("ADWS", "the domain"),
    ("DFSR", "the domain"),
    ("W32Time", "the clock"),
    ("BFE", "the packet filter"),
    ("MpsSvc", "the packet filter"),
    ("WinDefend", "protection from malware"),
    ("WdNisSvc", "protection from malware"),
    ("Sense", "protection from malware"),
    ("TrustedInstaller", "updates: the fix comes with one"),
    ("wuauserv", "updates: the fix comes with one"),
    ("UsoSvc", "updates: the fix comes with one"),
    ("BITS", "updates: the fix comes with one"),
    ("msiserver", "updates: the fix comes with one"),
    ("VSS", "backups"),
    ("vmic*", "the hypervisor"),
    ("VMTools", "the hypervisor"),
    ("HTTP", "every web site: a rule or an application pool is the smaller means"),
    ("WAS", "every web site: a rule or an application pool is the smaller means"),
    ("W3SVC", "every web site: a rule or an application pool is the smaller means"),
];

/// Why `service` is not stopped; `None`: it may be. `never_touch`: the operator's names, `*` at the end for all that begin
/// so. Windows finds names whatever their case, and so do we.
pub(super) fn protected(service: &str, never_touch: &[String]) -> Option<String> {
    if let Some((_, what)) = PROTECTED.iter().find(|(name, _)| matches(name, service)) {
        return Some(format!("{service} is protected: {what}"));
    }
    let name = never_touch.iter().find(|name| matches(name, service))?;
    Some(format!("{service} is in `never_touch` of this target (`{name}`)"))
}

fn matches(name: &str, service: &str) -> bool {
    let (name, service) = (name.to_lowercase(), service.to_lowercase());
    match name.strip_suffix('*') {
        Some(begin) => service.starts_with(begin),
        None => service == name,
    }
}

/// What starts services of a product again when they stop: the beginning of their names, and who does.
const WATCHDOGS: &[(&str, &[&str])] = &[("MSExchange", &["MSExchangeHM", "MSExchangeHMRecovery"])];

/// Who would start `service` again.
pub(super) fn watchdogs(service: &str) -> &'static [&'static str] {
    let of = WATCHDOGS.iter().find(|(begin, _)| service.to_lowercase().starts_with(&begin.to_lowercase()));
    of.map_or(&[], |(_, watchdogs)| watchdogs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_needs_is_protected_whatever_the_case_and_what_the_operator_names() {
        let never = ["MSSQL*".to_owned(), "Spooler".to_owned()];
        for service in ["rpcss", "WINRM", "TermService", "w3svc", "vmicheartbeat", "stopgapmitigation"] {
            assert!(protected(service, &never).is_some_and(|why| why.contains("is protected")), "{service}");
        }
        for service in ["MSSQLSERVER", "mssql$one", "spooler"] {
            assert!(protected(service, &never).is_some_and(|why| why.contains("never_touch")), "{service}");
        }
        for service in ["MSExchangeUM", "MSExchangeUMCR", "Fax", "W3SVCX", "SpoolerX"] {
            assert_eq!(protected(service, &never), None, "{service}");
        }
    }

    #[test]
    fn what_watches_exchange_is_known() {
        assert_eq!(watchdogs("msexchangeum"), ["MSExchangeHM", "MSExchangeHMRecovery"]);
        assert!(watchdogs("Spooler").is_empty());
    }
}
