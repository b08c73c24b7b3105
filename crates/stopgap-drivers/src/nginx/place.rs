//! Where the hook lacks: the edits that place it.

use std::collections::BTreeMap;

use super::config::Config;
use super::hook::{CONF_D_FILE, Hooks};
use crate::driver::DriverError;
use crate::hook::edit::{self, Edit, Insertion};
use crate::host::Host;
use crate::server::Settings;

pub(super) fn place(settings: &Settings, host: &dyn Host, config: &Config) -> Result<Vec<Edit>, DriverError> {
    let hooks = Hooks::new(&settings.folder);
    let mut places: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
    let mut edits = Vec::new();
    for http in config.main().into_iter().filter(|d| d.name == "http") {
        let context = config.inside(http);
        if !context.iter().any(|d| hooks.is_http(config, d)) {
            let file = settings.config.with_file_name("conf.d").join(CONF_D_FILE);
            if config.would_include(http, &file.to_string_lossy()) {
                edits.push(Edit {
                    before: edit::read(host, &file)?,
                    path: file,
                    after: Some(hooks.conf_d()),
                });
            } else {
                places.entry(http.file).or_default().push((http.inside, hooks.http_line()));
            }
        }
        for server in context.iter().filter(|d| d.name == "server") {
            if !config.inside(server).iter().any(|d| hooks.is_server(config, d)) {
                places.entry(server.file).or_default().push((server.inside, hooks.server_line()));
            }
        }
    }
    for (file, places) in places {
        let Some(file) = config.files.get(file) else { continue };
        edits.push(Insertion { path: &file.path, text: &file.text, places }.edit(settings, host)?);
    }
    Ok(edits)
}
