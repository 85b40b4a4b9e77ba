//! A line of the application's log as an event, which is what other programs read.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// An event of `firmware::event`, as its log has it: `INFO  Frame { class: Some(0), seed: 2 }`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// Such as `Frame`; of `Button(NextClass)`, `Button`.
    pub name: String,
    /// In round brackets behind the name, such as `NextClass`.
    pub argument: Option<String>,
    /// In curly brackets; `Some(0)` is `0`, and `None` has no entry.
    pub fields: BTreeMap<String, String>,
}

impl Event {
    /// Reads a line of the log.
    pub fn parse(line: &str) -> Self {
        let (level, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        let end = rest.find([' ', '(']).unwrap_or(rest.len());
        let (name, content) = rest.split_at(end);
        let mut event = Self {
            level: level.into(),
            name: name.into(),
            ..Self::default()
        };
        let inside = |open: &str, close: &str| {
            let content = content.trim().strip_prefix(open)?;
            content.strip_suffix(close)
        };
        event.argument = inside("(", ")").map(str::to_owned);
        // No value of an event has this separator in it.
        let fields = inside("{", "}").into_iter();
        let fields = fields.flat_map(|fields| fields.trim().split(", "));
        for (key, value) in fields.filter_map(|field| field.split_once(": ")) {
            let some = value
                .strip_prefix("Some(")
                .and_then(|v| v.strip_suffix(')'));
            if value != "None" {
                let value = some.unwrap_or(value).trim_matches('"');
                event.fields.insert(key.into(), value.into());
            }
        }
        event
    }

    /// A field that has to be there.
    pub fn field<T: FromStr>(&self, key: &str) -> anyhow::Result<T> {
        let value = self.optional(key)?;
        value.with_context(|| format!("no {key}: {self:?}"))
    }

    /// A field that may be `None`.
    pub fn optional<T: FromStr>(&self, key: &str) -> anyhow::Result<Option<T>> {
        let value = self.fields.get(key).map(|value| value.parse().ok());
        value
            .map(|value| value.with_context(|| format!("no number {key}: {self:?}")))
            .transpose()
    }
}
