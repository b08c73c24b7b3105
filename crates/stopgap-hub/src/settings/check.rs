//! What a layer may hold, and how it is written in JSON.

use http::Uri;
use serde_json::{Map, Value, json};
use stopgap_core::organization::Layer;
use stopgap_core::policy::{Block, Level};

use super::MAX_BLOCKS;
use crate::problem::{Answer, Problem};

/// Letters of a reason or of any other text in a layer.
const MAX_TEXT: usize = 2000;
/// Rings, and hosts that are asked without the proxy.
const MAX_LIST: usize = 200;

/// Maintenance windows of a layer.
const MAX_WINDOWS: usize = 50;

/// Reads a layer. A block may be an id alone, `M1` or `example:M1`; its level is the layer's, whatever it says.
pub fn layer_of(mut document: Value, level: Level) -> Answer<Layer> {
    if !document.is_object() {
        return Err(Problem::unprocessable("settings are a JSON object"));
    }
    // Nothing said, in a document as in a patch.
    if let Value::Object(said) = &mut document {
        said.retain(|_, value| !value.is_null());
    }
    let word = json!(level);
    if let Some(Value::Array(blocks)) = document.get_mut("mitigations_blocked") {
        for block in blocks {
            *block = match block.take() {
                Value::String(text) => match text.split_once(':') {
                    Some((feed, id)) => json!({"feed": feed, "id": id, "level": word}),
                    None => json!({"id": text, "level": word}),
                },
                Value::Object(mut block) => {
                    block.insert("level".into(), word.clone());
                    Value::Object(block)
                }
                other => other,
            };
        }
    }
    serde_json::from_value(document)
        .map_err(|error| Problem::unprocessable(format_args!("these are no settings: {error}")))
}

/// What a layer says after a patch (RFC 7396): what the patch names is replaced, `null` says nothing any more.
pub fn merged(layer: &Layer, patch: Value) -> Answer<Value> {
    let Value::Object(patch) = patch else {
        return Err(Problem::unprocessable("a patch of settings is a JSON object"));
    };
    let mut document = match serde_json::to_value(layer) {
        Ok(Value::Object(document)) => document,
        _ => Map::new(),
    };
    for (name, value) in patch {
        match value {
            Value::Null => document.remove(&name),
            value => document.insert(name, value),
        };
    }
    Ok(Value::Object(document))
}

/// A layer that may be kept: within its bounds, each block once, and of this level.
pub(super) fn checked(mut layer: Layer, level: Level) -> Answer<Layer> {
    let mut blocks: Vec<Block> = Vec::new();
    for mut block in std::mem::take(&mut layer.mitigations_blocked) {
        block.level = level;
        text("a block's reason", block.reason.as_deref())?;
        // Of two that name the same, the later one is what somebody meant.
        blocks.retain(|other| (&other.feed, &other.id) != (&block.feed, &block.id));
        blocks.push(block);
    }
    bound("blocks", blocks.len(), MAX_BLOCKS)?;
    layer.mitigations_blocked = blocks;
    if let Some(proxy) = layer.internet_web_proxy.as_deref().filter(|proxy| !proxy.is_empty()) {
        text("internet_web_proxy", Some(proxy))?;
        let url = proxy.parse::<Uri>().ok();
        let fits = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
        if !url.is_some_and(|url| fits(&url)) {
            return Err(Problem::unprocessable(format_args!(
                "internet_web_proxy is {proxy:?}; expected http://HOST:PORT"
            )));
        }
    }
    let bypass = layer.internet_web_proxy_bypass.as_deref().unwrap_or_default();
    bound("hosts in internet_web_proxy_bypass", bypass.len(), MAX_LIST)?;
    bypass.iter().try_for_each(|host| text("a host of internet_web_proxy_bypass", Some(host)))?;
    bound("rings", layer.rings.as_deref().unwrap_or_default().len(), MAX_LIST)?;
    bound("windows", layer.windows.as_deref().unwrap_or_default().len(), MAX_WINDOWS)?;
    if layer.max_parallel == Some(0) {
        return Err(Problem::unprocessable(
            "max_parallel is 0, so that no server would ever change; expected 1 or more",
        ));
    }
    if layer.max_stopped == Some(0) {
        return Err(Problem::unprocessable(
            "max_stopped is 0, so that nothing could ever be stopped; expected 1 or more; a server whose feeds may \
             stop nothing says so in `allow` of its trust file",
        ));
    }
    Ok(layer)
}

fn bound(what: &str, found: usize, most: usize) -> Answer<()> {
    if found <= most {
        return Ok(());
    }
    Err(Problem::unprocessable(format_args!("{found} {what}; at most {most}")))
}

fn text(what: &str, found: Option<&str>) -> Answer<()> {
    match found.map(|text| text.chars().count()) {
        Some(letters) if letters > MAX_TEXT => {
            Err(Problem::unprocessable(format_args!("{what} has {letters} letters; at most {MAX_TEXT}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_an_id_or_more_and_its_level_is_the_layers() {
        let document = json!({"mitigations_blocked": ["M1", "example:M2", {"id": "M3", "level": "server", "take_off": true}]});
        let layer = layer_of(document, Level::Organization).unwrap();
        let blocks = checked(layer, Level::Organization).unwrap().mitigations_blocked;
        let said: Vec<_> = blocks
            .iter()
            .map(|b| (b.feed.as_ref().map(ToString::to_string), b.id.to_string(), b.level, b.take_off))
            .collect();
        assert_eq!(said[0], (None, "M1".into(), Level::Organization, false));
        assert_eq!(said[1], (Some("example".into()), "M2".into(), Level::Organization, false));
        assert_eq!(said[2], (None, "M3".into(), Level::Organization, true));
    }

    #[test]
    fn what_is_misspelled_or_out_of_bounds_is_refused() {
        for document in [
            json!({"mitigation_enabled": true}),
            json!({"mitigations_blocked": ["no id"]}),
            json!({"mitigations_blocked": [7]}),
            json!([]),
            json!({"internet_web_proxy": "proxy"}),
            json!({"internet_web_proxy": "ftp://proxy:21"}),
            json!({"max_parallel": 0}),
            json!({"max_stopped": 0}),
            json!({"windows": ["25:00 1h"]}),
            json!({"windows": vec!["22:00 1h"; 51]}),
            json!({"mitigations_blocked": (0..1001).map(|n| format!("M{n}")).collect::<Vec<_>>()}),
        ] {
            let refused =
                layer_of(document.clone(), Level::Server).and_then(|layer| checked(layer, Level::Server));
            assert_eq!(refused.map_err(|problem| problem.status), Err(422), "{document}");
        }
    }

    #[test]
    fn a_patch_replaces_what_it_names_and_takes_back_with_null() {
        let layer = Layer { mitigations_enabled: Some(false), max_parallel: Some(2), ..Layer::default() };
        let patched =
            merged(&layer, json!({"mitigations_enabled": null, "data_collection_enabled": true})).unwrap();
        assert_eq!(patched, json!({"max_parallel": 2, "data_collection_enabled": true}));
    }
}
