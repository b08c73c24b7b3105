//! Debian's aiosmtpd, which takes mail over TLS and with a password alone.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub const PASSWORD: &str = "the password of the mail server";

const SERVER: &str = r#"
import asyncio, os, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
folder, password = sys.argv[1], sys.argv[2]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(folder + "/chain.pem", folder + "/key.pem")
class Handler:
    count = 0
    async def handle_DATA(self, server, session, envelope):
        Handler.count += 1
        head = f"X-Test-Session: tls={session.ssl is not None} user={session.auth_data}\r\n".encode()
        path = f"{folder}/mails/{Handler.count:04}"
        with open(path + ".part", "wb") as file:
            file.write(head + envelope.content)
        os.rename(path + ".part", path + ".eml")
        return "250 taken"
def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password.decode() == password
    return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)
async def main():
    make = lambda: SMTP(Handler(), hostname="localhost", tls_context=context, require_starttls=True,
                        auth_required=True, authenticator=authenticate)
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"#;

/// A mail server that takes nothing without STARTTLS and a password.
pub struct Smtp {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Smtp {
    pub fn start(test: &str) -> Option<Smtp> {
        let there = std::path::Path::new("/usr/lib/python3/dist-packages/aiosmtpd/smtp.py").exists();
        if !there {
            assert!(
                std::env::var_os("CI").is_none(),
                "aiosmtpd is missing: Debian's package python3-aiosmtpd"
            );
            println!("skipped (no aiosmtpd): {test}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut root = rcgen::CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        root.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let authority = root.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(root, key);
        let own = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let leaf = rcgen::CertificateParams::new(names).unwrap().signed_by(&own, &issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", authority.pem());
        write("chain.pem", leaf.pem());
        write("key.pem", own.serialize_pem());
        write("server.py", SERVER.to_owned());
        write("password", PASSWORD.to_owned());
        std::fs::create_dir(folder.path().join("mails")).unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(folder.path().join("server.py"))
            .arg(folder.path())
            .arg(PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Some(Smtp { child, port, folder })
    }

    pub fn password_file(&self) -> String {
        self.folder.path().join("password").display().to_string()
    }

    /// `[mail]` for it.
    pub fn table(&self) -> String {
        format!(
            "[mail]\nserver = \"127.0.0.1\"\nport = {}\nuser = \"stopgap\"\npassword_file = \"{}\"\n\
             ca_file = \"{}\"\nfrom = \"Stopgap <stopgap@example.org>\"\n\
             to = [\"ops@example.org\", \"Duty <duty@example.org>\"]\n",
            self.port,
            self.password_file(),
            self.folder.path().join("ca.pem").display(),
        )
    }

    /// Mails as they came, in order.
    pub fn mails(&self) -> Vec<String> {
        let mut paths: Vec<_> = std::fs::read_dir(self.folder.path().join("mails"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
            .collect();
        paths.sort();
        let unfolded = |path| String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        paths.into_iter().map(unfolded).collect()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
