//! Lists: words, filters by field, sorting, pages.
//!
//! Every list of the API takes the same parameters: `q` (words that all stand somewhere in the
//! item), `sort` (a field, `-` before it for the other way round), `limit`, `after` (the cursor that the page
//! before gave), and one for each of its fields.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::parse;
use crate::Refusal;
use crate::world::World;

/// Items where no limit is given.
const LIMIT: usize = 200;
/// The most items of one answer.
const MOST: usize = 5000;

/// What a list can be asked for.
pub struct Listed {
    /// Fields that filter and sort.
    pub fields: &'static [&'static str],
    /// The field that no two items share; it breaks ties.
    pub key: &'static str,
    /// The order where none is asked for.
    pub sort: &'static str,
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page {
    /// The items.
    pub items: Vec<Value>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// `away` while the keeper is: what is listed is what was known when it was last there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeper: Option<&'static str>,
}

impl Page {
    /// The same, saying whether the keeper is away.
    #[must_use]
    pub fn as_known_to(mut self, world: &World) -> Self {
        self.keeper = (!world.keeper().present).then_some("away");
        self
    }
}

#[derive(Debug, PartialEq)]
struct Wish {
    words: Vec<String>,
    filters: Vec<(String, String)>,
    sort: String,
    descending: bool,
    limit: usize,
    after: Option<Cursor>,
}

/// The last item of a page: what it was sorted by, and its key.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor(Value, Value);

impl Cursor {
    pub(crate) fn write(&self) -> String {
        crate::access::secret::hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let digits = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        parse(&bytes?).ok()
    }
}

impl Listed {
    fn wish(&self, query: Vec<(String, String)>) -> Result<Wish, Refusal> {
        let mut wish = Wish {
            words: Vec::new(),
            filters: Vec::new(),
            sort: self.sort.trim_start_matches('-').to_owned(),
            descending: self.sort.starts_with('-'),
            limit: LIMIT,
            after: None,
        };
        for (name, value) in query {
            match name.as_str() {
                "q" => wish.words = value.split_whitespace().map(str::to_lowercase).collect(),
                "sort" => {
                    let field = value.trim_start_matches('-');
                    if !self.fields.contains(&field) {
                        return Err(self.unknown("sort", field));
                    }
                    wish.descending = value.starts_with('-');
                    wish.sort = field.to_owned();
                }
                "limit" => match value.parse() {
                    Ok(limit) if (1..=MOST).contains(&limit) => wish.limit = limit,
                    _ => {
                        return Err(Refusal::unusable(
                            "limit",
                            format!("A limit is a number between 1 and {MOST}."),
                        ));
                    }
                },
                "after" => {
                    let cursor = Cursor::read(&value).ok_or_else(|| {
                        Refusal::unusable("after", "This is no cursor that a page's \"next\" gave.")
                    })?;
                    wish.after = Some(cursor);
                }
                field if self.fields.contains(&field) => wish.filters.push((name, value)),
                field => return Err(self.unknown(field, field)),
            }
        }
        Ok(wish)
    }

    fn unknown(&self, parameter: &str, field: &str) -> Refusal {
        let shown: String = field.chars().filter(|c| !c.is_control()).take(60).collect();
        Refusal::unusable(
            parameter,
            format!(
                "This list has no field \"{shown}\". It has: {}.",
                self.fields.join(", ")
            ),
        )
    }

    /// The page that was asked for.
    pub fn page(
        &self,
        items: impl IntoIterator<Item = Value>,
        query: Vec<(String, String)>,
    ) -> Result<Page, Refusal> {
        let wish = self.wish(query)?;
        let mut items: Vec<Value> = items
            .into_iter()
            .filter(|item| wish.matches(item))
            .collect();
        let order = |a: (&Value, &Value), b: (&Value, &Value)| {
            let by_field = compare(a.0, b.0);
            let by_field = if wish.descending {
                by_field.reverse()
            } else {
                by_field
            };
            by_field.then_with(|| compare(a.1, b.1))
        };
        items.sort_by(|a, b| {
            order(
                (field(a, &wish.sort), field(a, self.key)),
                (field(b, &wish.sort), field(b, self.key)),
            )
        });
        if let Some(Cursor(by, key)) = &wish.after {
            let begin = items.partition_point(|item| {
                order((field(item, &wish.sort), field(item, self.key)), (by, key))
                    != Ordering::Greater
            });
            items.drain(..begin);
        }
        let next = (items.len() > wish.limit).then(|| {
            let last = &items[wish.limit - 1];
            Cursor(
                field(last, &wish.sort).clone(),
                field(last, self.key).clone(),
            )
            .write()
        });
        items.truncate(wish.limit);
        Ok(Page {
            items,
            next,
            keeper: None,
        })
    }
}

impl Wish {
    fn matches(&self, item: &Value) -> bool {
        self.filters
            .iter()
            .all(|(name, wanted)| is(field(item, name), wanted))
            && self.words.iter().all(|word| contains(item, word))
    }
}

fn field<'a>(item: &'a Value, name: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    item.get(name).unwrap_or(&NONE)
}

/// Whether a value is what a query's text says. A list holds it, null is the empty text.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Null => wanted.is_empty(),
        Value::Bool(value) => wanted == if *value { "true" } else { "false" },
        Value::Number(value) => value.to_string() == wanted,
        Value::String(value) => value == wanted,
        Value::Array(values) => values.iter().any(|value| is(value, wanted)),
        // Labels: `labels=app` or `labels=app=web`.
        Value::Object(values) => match wanted.split_once('=') {
            Some((name, wanted)) => values.get(name).is_some_and(|value| is(value, wanted)),
            None => values.contains_key(wanted),
        },
    }
}

/// Whether a word in lower case stands in any text or number of a value.
fn contains(value: &Value, word: &str) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(value) => value.to_string() == word,
        Value::String(value) => value.to_lowercase().contains(word),
        Value::Array(values) => values.iter().any(|value| contains(value, word)),
        Value::Object(values) => values.values().any(|value| contains(value, word)),
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIST: Listed = Listed {
        fields: &["id", "name", "state", "size", "labels"],
        key: "id",
        sort: "name",
    };

    fn items() -> Vec<Value> {
        vec![
            json!({"id": 1, "name": "web", "state": "running", "size": 3, "labels": {"app": "Shop"}}),
            json!({"id": 2, "name": "db", "state": "running", "size": 3, "labels": {}}),
            json!({"id": 3, "name": "old", "state": "exited", "size": null, "labels": {}}),
        ]
    }

    fn ids(query: &[(&str, &str)]) -> Vec<i64> {
        let query = query
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        let page = LIST.page(items(), query).expect("a page");
        page.items
            .iter()
            .filter_map(|item| item["id"].as_i64())
            .collect()
    }

    #[test]
    fn words_filters_and_order() {
        assert_eq!(ids(&[]), [2, 3, 1], "by name");
        assert_eq!(ids(&[("sort", "-name")]), [1, 3, 2]);
        assert_eq!(
            ids(&[("sort", "size")]),
            [3, 1, 2],
            "null first, ties by id"
        );
        assert_eq!(ids(&[("state", "running")]), [2, 1]);
        assert_eq!(ids(&[("state", "running"), ("q", "shop")]), [1]);
        assert_eq!(ids(&[("labels", "app=Shop")]), [1]);
        assert_eq!(ids(&[("q", "run web")]), [1], "all the words");
        assert_eq!(ids(&[("q", "nothing")]), [0; 0]);
    }

    #[test]
    fn pages_follow_one_another_whatever_goes_meanwhile() {
        for sort in ["name", "-name", "size", "-size"] {
            let mut all = Vec::new();
            let mut after = None;
            loop {
                let mut query = vec![("sort".into(), sort.into()), ("limit".into(), "1".into())];
                query.extend(after.take().map(|cursor| ("after".to_owned(), cursor)));
                let mut left = items();
                // What the last page ended with is gone by now.
                left.retain(|item| all.last() != Some(&item["id"]));
                let page = LIST.page(left, query).expect("a page");
                all.extend(page.items.iter().map(|item| item["id"].clone()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let whole: Vec<_> = ids(&[("sort", sort)])
                .into_iter()
                .map(Value::from)
                .collect();
            assert_eq!(all, whole, "{sort}");
        }
    }

    #[test]
    fn what_no_list_has_is_named() {
        for (name, value) in [
            ("colour", "red"),
            ("sort", "colour"),
            ("limit", "0"),
            ("after", "zz"),
        ] {
            let error = LIST.page(items(), vec![(name.into(), value.into())]);
            assert_eq!(error.expect_err(name).field.as_deref(), Some(name));
        }
    }
}
