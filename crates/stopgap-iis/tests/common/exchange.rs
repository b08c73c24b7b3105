//! A server of our own making, laid out as Exchange's: two sites, `owa` with three applications in its folder, a
//! back end with virtual directories over one folder.

use stopgap_iis::MemoryTree;

pub const HOST: &str = r"C:\Windows\System32\inetsrv\config\applicationHost.config";
pub const ROOT: &str = r"C:\inetpub\wwwroot\web.config";
pub const OWA: &str = r"C:\Exchange\HttpProxy\owa\web.config";
pub const ECP: &str = r"C:\Exchange\HttpProxy\ecp\web.config";
pub const BACK: &str = r"C:\Exchange\ClientAccess\owa\web.config";

/// `applicationHost.config` with more of the server's own at its end.
pub fn host(more: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<configuration>
    <configSections>
        <sectionGroup name="system.webServer">
            <section name="handlers" overrideModeDefault="Deny" />
            <sectionGroup name="rewrite">
                <section name="globalRules" overrideModeDefault="Deny" allowDefinition="AppHostOnly" />
                <section name="rules" overrideModeDefault="Allow" />
                <section name="outboundRules" overrideModeDefault="Allow" />
                <section name="providers" overrideModeDefault="Allow" />
                <section name="rewriteMaps" overrideModeDefault="Allow" />
                <section name="allowedServerVariables" overrideModeDefault="Deny" />
            </sectionGroup>
        </sectionGroup>
    </configSections>
    <system.applicationHost>
        <sites>
            <site name="Default Web Site" id="1">
                <application path="/" applicationPool="Own">
                    <virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />
                </application>
                <application path="/owa"><virtualDirectory path="/" physicalPath="C:\Exchange\HttpProxy\owa" /></application>
                <application path="/owa/Calendar"><virtualDirectory path="/" physicalPath="C:\Exchange\HttpProxy\owa" /></application>
                <application path="/owa/Integrated"><virtualDirectory path="/" physicalPath="C:\Exchange\HttpProxy\OWA\" /></application>
                <application path="/owa/oma"><virtualDirectory path="/" physicalPath="C:\Exchange\HttpProxy\owa" /></application>
                <application path="/ecp"><virtualDirectory path="/" physicalPath="C:\Exchange\HttpProxy\ecp" /></application>
                <bindings>
                    <binding protocol="http" bindingInformation="*:80:" />
                    <binding protocol="https" bindingInformation="*:443:mail.example.org" />
                </bindings>
            </site>
            <site name="Exchange Back End" id="2">
                <application path="/">
                    <virtualDirectory path="/" physicalPath="C:\Exchange\ClientAccess" />
                    <virtualDirectory path="/Public" physicalPath="C:\Exchange\ClientAccess\owa" />
                </application>
                <application path="/owa"><virtualDirectory path="/" physicalPath="C:\Exchange\ClientAccess\owa" /></application>
                <bindings><binding protocol="https" bindingInformation="*:444:" /></bindings>
            </site>
            <applicationDefaults applicationPool="DefaultAppPool" />
        </sites>
    </system.applicationHost>
{more}</configuration>
"#
    )
}

/// The server, with more in `applicationHost.config`, and these files.
pub fn tree(more: &str, files: &[(&str, &str)]) -> MemoryTree {
    let mut tree = MemoryTree::default();
    tree.insert(HOST, host(more));
    for (path, text) in files {
        tree.insert(path, *text);
    }
    tree
}

/// A `web.config` with this in its `<rewrite>`.
pub fn rewrite(inside: &str) -> String {
    format!(
        "<configuration>\n<system.webServer>\n<rewrite>\n{inside}\n</rewrite>\n</system.webServer>\n</configuration>\n"
    )
}

/// The same in a `<location>`.
pub fn location(attributes: &str, inside: &str) -> String {
    format!(
        "<location {attributes}>\n<system.webServer>\n<rewrite>\n{inside}\n</rewrite>\n</system.webServer>\n</location>\n"
    )
}

pub fn rule(name: &str) -> String {
    format!("<rule name=\"{name}\"><match url=\".*\" /><action type=\"None\" /></rule>\n")
}

pub fn rules(names: &[&str]) -> String {
    format!("<rules>\n{}</rules>", names.iter().map(|name| rule(name)).collect::<String>())
}
